//! How options are said in packets.

use std::time::Duration;

use postrider_proto::wire::{Properties, Property};

/// Adds a property, in place of one of its kind: only user properties may be there more than once.
pub(crate) fn say(properties: &mut Properties, property: Property) {
    if matches!(property, Property::UserProperty(..)) {
        properties.push(property);
    } else {
        properties.set(property);
    }
}

/// Whole seconds, as packets have them; a part of one counts as one, since zero often means something else.
pub(crate) fn seconds(duration: Duration) -> u32 {
    let is_broken = duration.subsec_nanos() > 0;
    u32::try_from(duration.as_secs().saturating_add(is_broken.into())).unwrap_or(u32::MAX)
}
