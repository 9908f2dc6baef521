//! Names made of any bytes obey the rules, and matching agrees with a slow reading of section 4.7.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use postrider_wire::{Filter, Text, Topic};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (filter, topic) = (check(input.0).0, check(input.1).1);
    if let (Some(filter), Some(topic)) = (filter, topic) {
        let path = filter.share().map_or(filter.as_str(), |share| share.path);
        assert_eq!(path.as_bytes(), filter.path_bytes());
        assert_eq!(filter.has_wildcard(), path.contains(['+', '#']));
        let pattern: Vec<&str> = path.split('/').collect();
        let levels: Vec<&str> = topic.as_str().split('/').collect();
        let is_hidden = topic.as_str().starts_with('$') && path.starts_with(['+', '#']);
        assert_eq!(filter.matches(&topic), !is_hidden && matches(&pattern, &levels));
    }
});

/// Makes every name that the bytes can be and compares with plain rules.
fn check(bytes: &[u8]) -> (Option<Filter>, Option<Topic>) {
    let shared = Bytes::copy_from_slice(bytes);
    let filter = Filter::from_bytes(shared.clone());
    let topic = Topic::from_bytes(shared.clone());
    let name = std::str::from_utf8(bytes).ok().filter(|name| !name.contains('\0'));
    let name = name.filter(|name| name.len() <= 65_535);
    assert_eq!(Text::from_bytes(shared).is_ok(), name.is_some());
    let Some(name) = name else {
        assert!(filter.is_err());
        assert!(topic.is_err());
        return (None, None);
    };
    assert_eq!(filter, Filter::new(name));
    assert_eq!(topic, Topic::new(name));
    assert_eq!(topic.is_ok(), !name.is_empty() && !name.contains(['+', '#']));
    assert_eq!(filter.is_ok(), is_filter(name));
    (filter.ok(), topic.ok())
}

/// Section 4.7 read slowly.
fn matches(pattern: &[&str], levels: &[&str]) -> bool {
    let (mut pattern, mut levels) = (pattern, levels);
    loop {
        match (pattern, levels) {
            (["#"], _) | ([], []) => return true,
            ([first, pattern_rest @ ..], [level, levels_rest @ ..])
                if *first == "+" || first == level =>
            {
                (pattern, levels) = (pattern_rest, levels_rest);
            }
            _ => return false,
        }
    }
}

/// Sections 4.7.1 and 4.8.2 read slowly.
fn is_filter(name: &str) -> bool {
    let path = match name.strip_prefix("$share/") {
        None => name,
        Some(shared) => match shared.split_once('/') {
            Some((group, path)) if !group.is_empty() && !group.contains(['+', '#']) => path,
            _ => return false,
        },
    };
    let last = path.split('/').count() - 1;
    !path.is_empty()
        && path.split('/').enumerate().all(|(index, level)| {
            !level.contains(['+', '#']) || level == "+" || (level == "#" && index == last)
        })
}
