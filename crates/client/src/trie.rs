//! Filters, found by topic, or by another filter that some topic matches as well.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use postrider_proto::wire::Filter;
use slab::Slab;
use smallvec::SmallVec;

/// Filters by levels. A lookup visits what can match, not every filter.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Slab<Node>,
    root: usize,
}

/// What stands below one level.
#[derive(Debug, Default)]
struct Node {
    /// The node above, and the level that leads here; `None` is `+`.
    parent: Option<(usize, Option<Bytes>)>,
    names: HashMap<Bytes, usize, RandomState>,
    plus: Option<usize>,
    /// Keys of filters that end here.
    here: Vec<usize>,
    /// Keys of filters that end here with `#`.
    rest: Vec<usize>,
}

impl Trie {
    pub(crate) fn new() -> Self {
        // Most sessions have no more than a few filters, and many none.
        let mut nodes = Slab::with_capacity(1);
        let root = nodes.insert(Node::default());
        Self { nodes, root }
    }

    /// Adds a key under the path of a filter.
    pub(crate) fn insert(&mut self, filter: &Filter, key: usize) {
        let (levels, has_rest) = levels(filter);
        let mut at = self.root;
        for level in levels {
            at = self.step(at, level);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            if has_rest { node.rest.push(key) } else { node.here.push(key) }
        }
    }

    /// Removes a key from the path of a filter, and the nodes that only it needed.
    pub(crate) fn remove(&mut self, filter: &Filter, key: usize) {
        let (levels, has_rest) = levels(filter);
        let mut at = self.root;
        for level in levels {
            let Some(node) = self.nodes.get(at) else { return };
            let next = if level == b"+" { node.plus } else { node.names.get(level).copied() };
            let Some(next) = next else { return };
            at = next;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            let keys = if has_rest { &mut node.rest } else { &mut node.here };
            keys.retain(|other| *other != key);
        }
        self.prune(at);
    }

    /// Appends the keys of all filters that match a topic. Spec: v5 section 4.7 [MQTT-4.7.2-1].
    pub(crate) fn find(&self, topic: &[u8], found: &mut Vec<usize>) {
        self.search(topic, found);
    }

    /// The same; says how many nodes it opened.
    fn search(&self, topic: &[u8], found: &mut Vec<usize>) -> usize {
        // Wildcards at the first level do not stand for names that begin with a dollar sign.
        let is_reserved = is_reserved(topic);
        let mut open = SmallVec::<[(usize, Option<&[u8]>, bool); 16]>::new();
        open.push((self.root, Some(topic), is_reserved));
        let mut opened = 0;
        while let Some((at, left, is_reserved)) = open.pop() {
            opened += 1;
            let Some(node) = self.nodes.get(at) else { continue };
            if !is_reserved {
                found.extend_from_slice(&node.rest);
            }
            let Some(left) = left else {
                found.extend_from_slice(&node.here);
                continue;
            };
            let slash = left.iter().position(|&byte| byte == b'/');
            let (level, below) = match slash {
                Some(slash) => (left.get(..slash).unwrap_or_default(), left.get(slash + 1..)),
                None => (left, None),
            };
            if let Some(&name) = node.names.get(level) {
                open.push((name, below, false));
            }
            if let Some(plus) = node.plus.filter(|_| !is_reserved) {
                open.push((plus, below, false));
            }
        }
        opened
    }

    /// Appends the keys of all filters that overlap this one: some topic matches both. Says how many nodes it opened.
    ///
    /// Spec: v5 section 4.7 [MQTT-4.7.1-2] [MQTT-4.7.2-1].
    pub(crate) fn find_overlapping(&self, filter: &Filter, found: &mut Vec<usize>) -> usize {
        let (levels, has_rest) = levels(filter);
        let levels: SmallVec<[&[u8]; 16]> = levels.collect();
        let mut open = SmallVec::<[(usize, usize); 16]>::new();
        open.push((self.root, 0));
        let mut opened = 0;
        while let Some((at, depth)) = open.pop() {
            opened += 1;
            let Some(node) = self.nodes.get(at) else { continue };
            let is_root = at == self.root;
            let level = levels.get(depth).copied();
            if !(is_root && level.is_some_and(is_reserved)) {
                found.extend_from_slice(&node.rest);
            }
            match level {
                Some(b"+") => node.open_below(is_root, depth + 1, &mut open),
                Some(level) => {
                    open.extend(node.names.get(level).map(|&name| (name, depth + 1)));
                    let plus = node.plus.filter(|_| !(is_root && is_reserved(level)));
                    open.extend(plus.map(|plus| (plus, depth + 1)));
                }
                None => {
                    found.extend_from_slice(&node.here);
                    if has_rest {
                        node.open_below(is_root, depth, &mut open);
                    }
                }
            }
        }
        opened
    }

    /// The node below `at` for a level, made if it is not there.
    fn step(&mut self, at: usize, level: &[u8]) -> usize {
        let is_plus = level == b"+";
        let known = self
            .nodes
            .get(at)
            .and_then(|node| if is_plus { node.plus } else { node.names.get(level).copied() });
        if let Some(known) = known {
            return known;
        }
        let name = (!is_plus).then(|| Bytes::copy_from_slice(level));
        let parent = Some((at, name.clone()));
        let made = self.nodes.insert(Node { parent, ..Node::default() });
        if let Some(node) = self.nodes.get_mut(at) {
            match name {
                Some(name) => {
                    node.names.insert(name, made);
                }
                None => node.plus = Some(made),
            }
        }
        made
    }

    fn prune(&mut self, mut at: usize) {
        while let Some(node) = self.nodes.get(at).filter(|node| node.is_empty()) {
            let Some((parent, level)) = node.parent.clone() else { return };
            self.nodes.remove(at);
            if let Some(node) = self.nodes.get_mut(parent) {
                match level {
                    Some(name) => {
                        node.names.remove(&name);
                    }
                    None => node.plus = None,
                }
            }
            at = parent;
        }
    }
}

impl Node {
    /// Opens all nodes below that a wildcard stands for: at the root not those of names that begin with a dollar sign.
    fn open_below(&self, is_root: bool, depth: usize, open: &mut SmallVec<[(usize, usize); 16]>) {
        let names = self.names.iter().filter(|(name, _)| !(is_root && is_reserved(name)));
        open.extend(names.map(|(_, &below)| below).chain(self.plus).map(|below| (below, depth)));
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.plus.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}

/// Whether wildcards at the first level do not stand for this name.
fn is_reserved(level: &[u8]) -> bool {
    level.first() == Some(&b'$')
}

/// The levels of a filter's path without a last `#`, and whether there was one.
fn levels(filter: &Filter) -> (impl Iterator<Item = &[u8]>, bool) {
    let path = filter.path_bytes();
    let has_rest = path.last() == Some(&b'#');
    let count = path.split(|&byte| byte == b'/').count() - usize::from(has_rest);
    (path.split(|&byte| byte == b'/').take(count), has_rest)
}

#[cfg(test)]
mod tests {
    use postrider_proto::wire::Topic;

    use super::*;
    use crate::overlap::overlap;

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    fn topic(text: &str) -> Topic {
        Topic::new(text).unwrap()
    }

    const FILTERS: [&str; 14] = [
        "#",
        "+",
        "a/#",
        "a/+",
        "+/b",
        "a/b",
        "a/+/c",
        "a/b/#",
        "/+",
        "+/+",
        "$SYS/#",
        "$SYS/+/x",
        "a//c",
        "$share/g/a/#",
    ];

    /// v5 [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4]: the trie and the match of one filter agree.
    #[test]
    fn the_trie_finds_what_each_filter_matches() {
        let mut trie = Trie::new();
        for (key, text) in FILTERS.iter().enumerate() {
            trie.insert(&filter(text), key);
        }
        for name in ["a", "a/b", "a/b/c", "/b", "/", "b", "$SYS", "$SYS/y/x", "a//c", "x/y/z"] {
            let mut found = Vec::new();
            trie.find(name.as_bytes(), &mut found);
            found.sort_unstable();
            let wanted: Vec<usize> = (0..FILTERS.len())
                .filter(|key| filter(FILTERS[*key]).matches(&topic(name)))
                .collect();
            assert_eq!(found, wanted, "{name}");
        }
    }

    /// 10,000 filters cost no more than a few: a lookup opens the nodes that can match, whatever stands beside them.
    #[test]
    fn a_lookup_among_ten_thousand_filters_opens_as_many_nodes_as_among_a_few() {
        let opened = |count: usize| {
            let mut trie = Trie::new();
            for key in 0..count {
                trie.insert(&filter(&format!("plant/{key}/+/temp")), key);
            }
            let mut found = Vec::new();
            let opened = trie.search(b"plant/7/press/temp", &mut found);
            assert_eq!(found, [7]);
            opened
        };
        assert_eq!(opened(10), opened(10_000));
        assert_eq!(opened(10), 5);
    }

    /// v5 [MQTT-4.7.1-2] [MQTT-4.7.2-1]: the trie and the comparison of two filters agree.
    #[test]
    fn the_trie_finds_what_each_filter_overlaps() {
        let mut trie = Trie::new();
        for (key, text) in FILTERS.iter().enumerate() {
            trie.insert(&filter(text), key);
        }
        let others =
            ["a", "/#", "$SYS/y/x", "$share/g/$SYS/y/+", "+/b/c", "x/y/z/#", "a/+/#", "$x"];
        for text in FILTERS.into_iter().chain(others) {
            let mut found = Vec::new();
            trie.find_overlapping(&filter(text), &mut found);
            found.sort_unstable();
            let wanted: Vec<usize> = (0..FILTERS.len())
                .filter(|key| overlap(&filter(text), &filter(FILTERS[*key])))
                .collect();
            assert_eq!(found, wanted, "{text}");
        }
    }

    /// A subscription among 10,000 costs no more than among a few, unless it overlaps them.
    #[test]
    fn an_overlap_among_ten_thousand_filters_opens_as_many_nodes_as_among_a_few() {
        let opened = |count: usize| {
            let mut trie = Trie::new();
            for key in 0..count {
                trie.insert(&filter(&format!("plant/{key}/press/temp")), key);
            }
            let mut found = Vec::new();
            let opened = trie.find_overlapping(&filter("plant/7/+/temp"), &mut found);
            assert_eq!(found, [7]);
            opened
        };
        assert_eq!(opened(10), opened(10_000));
        assert_eq!(opened(10), 5);
    }

    #[test]
    fn removing_every_filter_leaves_the_root_only() {
        let mut trie = Trie::new();
        for (key, text) in FILTERS.iter().enumerate() {
            trie.insert(&filter(text), key);
        }
        trie.insert(&filter("a/b"), 99);
        for (key, text) in FILTERS.iter().enumerate() {
            trie.remove(&filter(text), key);
        }
        let mut found = Vec::new();
        trie.find(b"a/b", &mut found);
        assert_eq!(found, [99]);
        trie.remove(&filter("a/b"), 99);
        assert_eq!(trie.nodes.len(), 1);
    }
}
