//! The subscriptions that a client remembers, to subscribe again when the server has lost them.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use postrider_wire::{Filter, Properties, Property, SubscribeFilter, SubscribeOptions};

use super::operations::Request;
use crate::Fact;

/// Remembered subscriptions, in the order they were added.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_place: BTreeMap<u64, Remembered>,
    places: BTreeMap<Filter, u64>,
    last_place: u64,
}

#[derive(Debug)]
struct Remembered {
    line: SubscribeFilter,
    /// Those of its SUBSCRIBE.
    properties: Properties,
    /// Whether the server's session certainly has it.
    is_confirmed: bool,
}

impl Subscriptions {
    /// The server granted a subscription. Returns the fact to record.
    pub(super) fn put(&mut self, line: &SubscribeFilter, properties: &Properties) -> Fact {
        let identifier = properties.subscription_identifier().copied();
        let (filter, options) = (line.filter.clone(), line.options);
        self.insert(line.clone(), properties.clone());
        Fact::Subscription { filter, options, identifier }
    }

    /// The server granted one again.
    pub(super) fn confirm(&mut self, filter: &Filter) {
        let place = self.places.get(filter);
        if let Some(remembered) = place.and_then(|place| self.by_place.get_mut(place)) {
            remembered.is_confirmed = true;
        }
    }

    /// Takes up what a store held.
    pub(super) fn recover(
        &mut self,
        filter: Filter,
        options: SubscribeOptions,
        identifier: Option<u32>,
    ) {
        let properties = identifier.map(Property::SubscriptionIdentifier).into_iter().collect();
        self.insert(SubscribeFilter { filter, options }, properties);
    }

    /// Forgets one. Returns whether it was there.
    pub(super) fn remove(&mut self, filter: &Filter) -> bool {
        let place = self.places.remove(filter);
        place.is_some_and(|place| self.by_place.remove(&place).is_some())
    }

    /// Whether the server's session certainly has all of them.
    pub(super) fn is_certain(&self) -> bool {
        self.by_place.values().all(|remembered| remembered.is_confirmed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// The server lost the session: it has none of them. Returns how many there are.
    pub(super) fn doubt_all(&mut self) -> u32 {
        for remembered in self.by_place.values_mut() {
            remembered.is_confirmed = false;
        }
        u32::try_from(self.by_place.len()).unwrap_or(u32::MAX)
    }

    /// The requests that give the server what it lacks, each as one SUBSCRIBE of at most `packet_size_max` bytes, in
    /// order. Filters in `covered` are left out: an operation deals with them anyway.
    pub(super) fn requests(
        &self,
        covered: &BTreeSet<&Filter>,
        packet_size_max: u32,
    ) -> Vec<Request> {
        let mut requests: Vec<Request> = Vec::new();
        let mut size = 0;
        for remembered in self.by_place.values() {
            let Remembered { line, properties, is_confirmed } = remembered;
            if *is_confirmed || covered.contains(&line.filter) {
                continue;
            }
            let line_size = line_size(line);
            match requests.last_mut() {
                Some(Request::Resubscribe { filters, properties: common })
                    if common == properties
                        && filters.len() < FILTERS_PER_SUBSCRIBE_MAX
                        && size + line_size <= u64::from(packet_size_max) =>
                {
                    size += line_size;
                    filters.push(line.clone());
                }
                Some(_) | None => {
                    size = HEAD_SIZE_MAX + properties_size_max(properties) + line_size;
                    let (filters, properties) = (alloc::vec![line.clone()], properties.clone());
                    requests.push(Request::Resubscribe { filters, properties });
                }
            }
        }
        requests
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SubscribeFilter> {
        self.by_place.values().map(|remembered| &remembered.line)
    }

    fn insert(&mut self, line: SubscribeFilter, properties: Properties) {
        let place = *self.places.entry(line.filter.clone()).or_insert_with(|| {
            self.last_place += 1;
            self.last_place
        });
        self.by_place.insert(place, Remembered { line, properties, is_confirmed: true });
    }
}

/// Bytes of one filter with its options.
fn line_size(line: &SubscribeFilter) -> u64 {
    line.filter.as_bytes().len() as u64 + 3
}

/// An upper bound of the bytes of the properties of a SUBSCRIBE: identifier and user properties.
fn properties_size_max(properties: &Properties) -> u64 {
    let pairs = properties.user_properties();
    5 + pairs
        .map(|(name, value)| (name.as_bytes().len() + value.as_bytes().len() + 5) as u64)
        .sum::<u64>()
}

/// Bytes of a SUBSCRIBE before its filters, without the properties themselves: type, length, id, property length.
const HEAD_SIZE_MAX: u64 = 1 + 4 + 2 + 4;
/// Filters in one SUBSCRIBE that the program did not compose itself: AWS IoT closes the connection above this.
const FILTERS_PER_SUBSCRIBE_MAX: usize = 8;
