//! Finds the subscriptions that match a topic.

use core::fmt;

use hashbrown::HashTable;
use memchr::memchr2;
use slab::Slab;
use smallvec::SmallVec;

use crate::{entries::Entries, hash::KeyedHash};

/// Finds the subscriptions that match a topic: a trie by level.
///
/// `V` is what is kept for each filter and key; the key names the subscriber. Paths are topic
/// filters that were checked before, without `$share/{group}/`.
///
/// ```text
///  exact --"plant/7/temp"--> (keys)                        one hop, however many levels
///  wild  --"plant"--> o --"+"--> o --"temp"--> (keys)      plant/+/temp
///                     `--"#"--> (keys)                     plant/#
/// ```
///
/// Filters without a wildcard hang below `exact` under their whole text: most subscriptions are of
/// this kind and need one look into one hash table. Below `wild` there is one node for each level.
/// A match goes down level by level with a list of the nodes it has reached; a node is reached by
/// one way only, so the work is bounded by the nodes that match, and neither matching nor dropping
/// recurses.
///
/// The order of matches depends on the operations only, not on the seed.
///
/// Spec: v5 section 4.7, v3.1.1 section 4.7; no difference.
pub(crate) struct Router<V> {
    hash: KeyedHash,
    /// Every node but the two roots is below its parent, and holds entries or has children.
    nodes: Slab<Node<V>>,
    /// The children that have a name, of all nodes.
    named: HashTable<Edge>,
    len: usize,
}

/// The end of a filter, or of the first levels of some.
struct Node<V> {
    /// The level, for a child that has a name.
    name: SmallVec<[u8; 32]>,
    parent: u32,
    /// The child for `+`, or [`NONE`].
    plus: u32,
    /// The child for `#`, or [`NONE`].
    rest: u32,
    /// How many children have a name.
    named: u32,
    entries: Entries<V>,
}

/// Leads to a child that has a name.
struct Edge {
    /// Of the parent and the name. Kept, so that growing the table does not visit every node.
    hash: u64,
    child: u32,
}

/// One hop of a filter.
#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a [u8]),
    Plus,
    Rest,
}

impl<V> Router<V> {
    /// A router without filters. The seed keeps strangers from choosing names that collide.
    pub(crate) fn new(seed: u64) -> Self {
        let mut nodes = Slab::new();
        let exact = nodes.insert(Node::new(NONE, &[]));
        let wild = nodes.insert(Node::new(NONE, &[]));
        debug_assert_eq!([exact, wild], [EXACT as usize, WILD as usize]);
        Self { hash: KeyedHash::new(seed), nodes, named: HashTable::new(), len: 0 }
    }

    /// Adds or replaces; returns the old value.
    pub(crate) fn insert(&mut self, path: &[u8], key: u64, value: V) -> Option<V> {
        let (mut at, steps) = steps(path);
        for step in steps {
            at = match self.child(at, step) {
                Some(child) => child,
                None => self.add_child(at, step),
            };
        }
        let old = self.nodes[at as usize].entries.insert(key, value, &self.hash);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes one subscriber off a filter; returns the value.
    pub(crate) fn remove(&mut self, path: &[u8], key: u64) -> Option<V> {
        let at = self.find(path)?;
        let value = self.nodes[at as usize].entries.remove(key, &self.hash)?;
        self.len -= 1;
        self.prune(at);
        Some(value)
    }

    /// The value of one subscriber at a filter.
    pub(crate) fn get(&self, path: &[u8], key: u64) -> Option<&V> {
        self.nodes[self.find(path)? as usize].entries.get(key, &self.hash)
    }

    /// Calls `each` for every match; once for each filter of a subscriber that matches.
    ///
    /// `+` and `#` in the first level never match a topic that starts with `$` [MQTT-4.7.2-1];
    /// `a/#` matches `a`.
    pub(crate) fn for_matches(&self, topic: &[u8], mut each: impl FnMut(u64, &V)) {
        if let Some(child) = self.named_child(EXACT, topic, self.hash.bytes(topic)) {
            self.visit(child, &mut each);
        }
        let mut reached: SmallVec<[u32; 32]> = SmallVec::new();
        let mut next: SmallVec<[u32; 32]> = SmallVec::new();
        reached.push(WILD);
        let mut are_wildcards_meant = topic.first() != Some(&b'$');
        let mut left = Some(topic);
        while let Some((level, after)) = left.map(split_level) {
            let hash = self.hash.bytes(level);
            for &at in &reached {
                let node = &self.nodes[at as usize];
                if are_wildcards_meant {
                    self.visit(node.rest, &mut each);
                    if node.plus != NONE {
                        next.push(node.plus);
                    }
                }
                if node.named > 0 {
                    next.extend(self.named_child(at, level, hash));
                }
            }
            if next.is_empty() {
                return;
            }
            core::mem::swap(&mut reached, &mut next);
            next.clear();
            are_wildcards_meant = true;
            left = after;
        }
        for &at in &reached {
            self.visit(at, &mut each);
            self.visit(self.nodes[at as usize].rest, &mut each);
        }
    }

    /// How many pairs of filter and key there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn visit(&self, at: u32, each: &mut impl FnMut(u64, &V)) {
        if at != NONE {
            for (key, value) in self.nodes[at as usize].entries.iter() {
                each(key, value);
            }
        }
    }

    fn find(&self, path: &[u8]) -> Option<u32> {
        let (root, mut steps) = steps(path);
        steps.try_fold(root, |at, step| self.child(at, step))
    }

    fn child(&self, at: u32, step: Step<'_>) -> Option<u32> {
        let child = match step {
            Step::Name(name) => return self.named_child(at, name, self.hash.bytes(name)),
            Step::Plus => self.nodes[at as usize].plus,
            Step::Rest => self.nodes[at as usize].rest,
        };
        (child != NONE).then_some(child)
    }

    /// Takes the hash of the name alone: it serves all nodes a match has reached.
    #[inline]
    fn named_child(&self, parent: u32, name: &[u8], name_hash: u64) -> Option<u32> {
        let hash = self.hash.pair(name_hash, u64::from(parent));
        let is_it = |edge: &Edge| {
            edge.hash == hash && {
                let child = &self.nodes[edge.child as usize];
                child.parent == parent && *child.name == *name
            }
        };
        self.named.find(hash, is_it).map(|edge| edge.child)
    }

    fn add_child(&mut self, parent: u32, step: Step<'_>) -> u32 {
        let name = if let Step::Name(name) = step { name } else { &[] };
        let child = self.nodes.insert(Node::new(parent, name));
        assert!(child < NONE as usize, "memory ends before the numbers of nodes do");
        let child = child as u32;
        let node = &mut self.nodes[parent as usize];
        match step {
            Step::Name(name) => {
                node.named += 1;
                let hash = self.hash.pair(self.hash.bytes(name), u64::from(parent));
                self.named.insert_unique(hash, Edge { hash, child }, |edge| edge.hash);
            }
            Step::Plus => node.plus = child,
            Step::Rest => node.rest = child,
        }
        child
    }

    /// Removes a node that is not needed, and those above it that were there for it only.
    fn prune(&mut self, mut at: u32) {
        while at != EXACT && at != WILD && self.nodes[at as usize].is_idle() {
            let gone = self.nodes.remove(at as usize);
            let parent = &mut self.nodes[gone.parent as usize];
            if parent.plus == at {
                parent.plus = NONE;
            } else if parent.rest == at {
                parent.rest = NONE;
            } else {
                parent.named -= 1;
                let hash = self.hash.pair(self.hash.bytes(&gone.name), u64::from(gone.parent));
                let edge = self.named.find_entry(hash, |edge| edge.child == at);
                debug_assert!(edge.is_ok(), "every child that has a name is in the table");
                if let Ok(edge) = edge {
                    edge.remove();
                }
            }
            at = gone.parent;
        }
        if self.named.len() < self.named.capacity() / 8 {
            self.named.shrink_to(2 * self.named.len(), |edge| edge.hash);
        }
    }
}

impl<V> fmt::Debug for Router<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Router")
            .field("len", &self.len)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

impl<V> Node<V> {
    fn new(parent: u32, name: &[u8]) -> Self {
        Self {
            name: SmallVec::from_slice(name),
            parent,
            plus: NONE,
            rest: NONE,
            named: 0,
            entries: Entries::new(),
        }
    }

    /// Whether no filter ends here or goes on from here.
    fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.plus == NONE && self.rest == NONE && self.named == 0
    }
}

/// The root to start from, and the hops from there.
fn steps(path: &[u8]) -> (u32, impl Iterator<Item = Step<'_>>) {
    let is_exact = memchr2(b'+', b'#', path).is_none();
    let mut left = Some(path);
    let steps = core::iter::from_fn(move || {
        let (level, after) = if is_exact { (left?, None) } else { split_level(left?) };
        left = after;
        Some(match level {
            b"+" => Step::Plus,
            b"#" => Step::Rest,
            name => Step::Name(name),
        })
    });
    (if is_exact { EXACT } else { WILD }, steps)
}

/// The first level, and what follows its `/`.
#[inline]
pub(crate) fn split_level(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(end) => (&path[..end], Some(&path[end + 1..])),
        None => (path, None),
    }
}

/// The root of filters without a wildcard.
const EXACT: u32 = 0;
/// The root of filters with a wildcard.
const WILD: u32 = 1;
/// In place of a node.
const NONE: u32 = u32::MAX;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Section 4.7 word by word: whether the levels of a filter match the levels of a topic.
    pub(crate) fn is_match(filter: &str, topic: &str) -> bool {
        fn go(filter: &[&str], topic: &[&str]) -> bool {
            match (filter, topic) {
                // "The multi-level wildcard represents the parent and any number of child levels."
                (["#"], _) => true,
                ([], []) => true,
                (["+", filter @ ..], [_, topic @ ..]) => go(filter, topic),
                ([want, filter @ ..], [level, topic @ ..]) => want == level && go(filter, topic),
                _ => false,
            }
        }
        if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
            return false;
        }
        let filter: Vec<&str> = filter.split('/').collect();
        let topic: Vec<&str> = topic.split('/').collect();
        go(&filter, &topic)
    }

    /// Few names, so that they meet; some sort before `/`, some are parts of others.
    pub(crate) fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "",
            "a",
            "b",
            "ab",
            "a-b",
            "!",
            "$",
            "$SYS",
            "A",
            "\u{e9}",
            "e\u{301}",
            "\u{65e5}\u{672c}",
            "a name longer than what a node holds",
        ])
    }

    pub(crate) fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5).prop_map(|levels| not_empty(levels.join("/")))
    }

    pub(crate) fn filter() -> impl Strategy<Value = String> {
        let step = prop_oneof![2 => level(), 1 => Just("+")];
        (prop::collection::vec(step, 0..5), any::<bool>()).prop_map(|(mut levels, has_rest)| {
            if has_rest {
                levels.push("#");
            }
            not_empty(levels.join("/"))
        })
    }

    /// No topic and no filter is empty [MQTT-4.7.3-1].
    fn not_empty(path: String) -> String {
        if path.is_empty() { "/".to_owned() } else { path }
    }

    fn matches<V: Copy>(router: &Router<V>, topic: &str) -> Vec<(u64, V)> {
        let mut found = Vec::new();
        router.for_matches(topic.as_bytes(), |key, &value| found.push((key, value)));
        found
    }

    /// Builds a router with one filter and says whether the topic matches it.
    fn check(filter: &str, topic: &str, is_expected: bool) {
        let mut router = Router::new(1);
        router.insert(filter.as_bytes(), 7, ());
        let found = matches(&router, topic);
        assert_eq!(found.len(), usize::from(is_expected), "{filter} on {topic}");
        assert_eq!(is_match(filter, topic), is_expected, "the model on {filter} and {topic}");
    }

    /// v5 [MQTT-4.7.1-1], v3.1.1 [MQTT-4.7.1-2], and the examples of section 4.7.1.2.
    #[test]
    fn rest_matches_the_parent_and_all_below() {
        check("sport/tennis/player1/#", "sport/tennis/player1", true);
        check("sport/tennis/player1/#", "sport/tennis/player1/ranking", true);
        check("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true);
        check("sport/tennis/player1/#", "sport/tennis/player10", false);
        check("sport/tennis/player1/#", "sport/tennis", false);
        check("sport/#", "sport", true);
        check("#", "sport", true);
        check("#", "/", true);
        check("/#", "/", true);
        check("/#", "sport", false);
    }

    /// v5 [MQTT-4.7.1-2], v3.1.1 [MQTT-4.7.1-3], and the examples of section 4.7.1.3.
    #[test]
    fn plus_matches_one_level() {
        check("sport/tennis/+", "sport/tennis/player1", true);
        check("sport/tennis/+", "sport/tennis/player1/ranking", false);
        check("sport/+", "sport", false);
        check("sport/+", "sport/", true);
        check("+", "sport", true);
        check("+", "/finance", false);
        check("+/+", "/finance", true);
        check("/+", "/finance", true);
        check("+/+/+", "//", true);
        check("a/+/b", "a//b", true);
        check("+/tennis/#", "sport/tennis", true);
        check("+/#", "sport", true);
    }

    /// v5 [MQTT-4.7.2-1], v3.1.1 [MQTT-4.7.2-1].
    #[test]
    fn wildcards_do_not_match_dollar_topics() {
        check("#", "$SYS/load", false);
        check("+/load", "$SYS/load", false);
        check("+", "$SYS", false);
        check("+/#", "$SYS", false);
        check("$SYS/#", "$SYS/load", true);
        check("$SYS/#", "$SYS", true);
        check("$SYS/+", "$SYS/load", true);
        check("$SYS/load", "$SYS/load", true);
        check("a/+", "a/$SYS", true);
        check("a/#", "a/$SYS", true);
    }

    /// v5 [MQTT-4.7.3-4], v3.1.1 [MQTT-4.7.3-4].
    #[test]
    fn names_are_compared_byte_by_byte() {
        check("Accounts", "ACCOUNTS", false);
        check("\u{e9}", "e\u{301}", false);
        check("a ", "a", false);
        check("/a", "a", false);
        check("a/", "a", false);
        check("a//b", "a/b", false);
        check("a/+/\u{65e5}\u{672c}", "a/b/\u{65e5}\u{672c}", true);
    }

    #[test]
    fn one_value_for_each_filter_and_key() {
        let mut router = Router::new(1);
        assert_eq!(router.insert(b"a/+", 1, 10), None);
        assert_eq!(router.insert(b"a/+", 2, 20), None);
        assert_eq!(router.insert(b"a/b", 1, 30), None);
        assert_eq!(router.insert(b"a/+", 1, 11), Some(10));
        assert_eq!(router.len(), 3);
        assert_eq!(router.get(b"a/+", 1), Some(&11));
        assert_eq!(router.get(b"a/b", 2), None);
        assert_eq!(router.get(b"a", 1), None);
        assert_eq!(matches(&router, "a/b"), [(1, 30), (1, 11), (2, 20)]);
        assert_eq!(router.remove(b"a/+", 3), None);
        assert_eq!(router.remove(b"a/+", 1), Some(11));
        assert_eq!(router.remove(b"a/+", 1), None);
        assert_eq!(router.remove(b"#", 1), None);
        assert_eq!(matches(&router, "a/b"), [(1, 30), (2, 20)]);
        assert_eq!(router.len(), 2);
        assert_eq!(format!("{router:?}"), "Router { len: 2, nodes: 5, .. }");
    }

    #[test]
    fn removed_filters_leave_nothing() {
        let mut router = Router::new(1);
        let filters: Vec<String> = (0..1000)
            .map(|n| match n % 4 {
                0 => format!("plant/{n}/temp"),
                1 => format!("plant/{n}/+/temp"),
                2 => format!("+/{n}/#"),
                _ => format!("plant/+/{n}"),
            })
            .collect();
        for filter in &filters {
            router.insert(filter.as_bytes(), 1, ());
        }
        assert!(router.named.capacity() >= 1000);
        for filter in &filters {
            assert_eq!(router.remove(filter.as_bytes(), 1), Some(()));
        }
        assert_eq!((router.len(), router.nodes.len(), router.named.len()), (0, 2, 0));
        assert!(router.named.capacity() < 100);
    }

    /// 32,768 levels are the most a filter of 65,535 bytes has (v5 section 1.5.4).
    #[test]
    fn deepest_paths_do_not_use_the_stack() {
        let topic = "/".repeat(32_767);
        let pluses = vec!["+"; 32_768].join("/");
        let names_and_rest = "/".repeat(32_766) + "/#";
        let mut router = Router::new(1);
        for (key, filter) in (1..).zip([&topic, &pluses, &names_and_rest]) {
            assert_eq!(router.insert(filter.as_bytes(), key, ()), None);
            assert_eq!(router.get(filter.as_bytes(), key), Some(&()));
        }
        let mut keys: Vec<u64> = matches(&router, &topic).iter().map(|&(key, ())| key).collect();
        keys.sort_unstable();
        assert_eq!(keys, [1, 2, 3]);
        assert_eq!(router.remove(pluses.as_bytes(), 2), Some(()));
        assert_eq!(matches(&router, &topic).len(), 2);
        drop(router);
    }

    /// A match does not try all ways to spread the levels over the wildcards: each node is reached
    /// once.
    #[test]
    fn many_wildcards_do_not_multiply() {
        let mut router = Router::new(1);
        let mut count = 0;
        for levels in 0..500 {
            for end in ["a", "#", "+"] {
                router.insert(format!("{}{end}", "+/".repeat(levels)).as_bytes(), count, ());
                router.insert(format!("{}{end}", "a/".repeat(levels)).as_bytes(), count + 1, ());
                count += 2;
            }
        }
        let topic = vec!["a"; 500].join("/");
        // `#` after 0 to 499 levels of either kind, and `a` and `+` as the last of 500.
        let found = matches(&router, &topic).len();
        assert_eq!(found, 2 * 500 + 4);
    }

    #[test]
    fn order_does_not_depend_on_the_seed() {
        let order = |seed| {
            let mut router = Router::new(seed);
            for key in 0..500_u64 {
                for filter in ["a/b", "a/+", "+/b", "#", "a/#", "+/#", "+/+"] {
                    router.insert(filter.as_bytes(), key * 7919 % 1009, ());
                    router.remove(filter.as_bytes(), key * 31 % 1009);
                }
            }
            matches(&router, "a/b")
        };
        assert!(order(1).len() > 1000);
        assert_eq!(order(1), order(2));
    }

    proptest! {
        /// v5 [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4] and v3.1.1 [MQTT-4.7.1-2]
        /// [MQTT-4.7.1-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4]: as the model says, after any operations.
        #[test]
        fn agrees_with_the_model(
            operations in prop::collection::vec((filter(), 0..4_u64, any::<bool>()), 0..60),
            topics in prop::collection::vec(topic(), 1..10),
            seed in any::<u64>(),
        ) {
            let mut router = Router::new(seed);
            let mut model = std::collections::BTreeMap::new();
            for (value, (filter, key, is_insert)) in operations.iter().enumerate() {
                let path = filter.as_bytes();
                if *is_insert {
                    let old = model.insert((filter, *key), value);
                    prop_assert_eq!(router.insert(path, *key, value), old);
                } else {
                    prop_assert_eq!(router.remove(path, *key), model.remove(&(filter, *key)));
                }
                prop_assert_eq!(router.get(path, *key), model.get(&(filter, *key)));
                prop_assert_eq!(router.len(), model.len());
            }
            for topic in &topics {
                let mut expected: Vec<(u64, usize)> = model
                    .iter()
                    .filter(|((filter, _), _)| is_match(filter, topic))
                    .map(|(&(_, key), &value)| (key, value))
                    .collect();
                expected.sort_unstable();
                let mut found = matches(&router, topic);
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            for (filter, key) in model.keys() {
                router.remove(filter.as_bytes(), *key);
            }
            prop_assert_eq!((router.nodes.len(), router.named.len()), (2, 0));
        }
    }
}
