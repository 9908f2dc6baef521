//! Whether one topic can match two filters: what the trie is held to.

use postrider_proto::wire::Filter;

/// Whether there is a topic that both filters match. Spec: v5 section 4.7 [MQTT-4.7.2-1].
pub(crate) fn overlap(one: &Filter, other: &Filter) -> bool {
    let (one, other) = (one.path_bytes(), other.path_bytes());
    // Wildcards at the first level do not stand for names that begin with a dollar sign.
    let is_reserved = |path: &[u8]| path.first() == Some(&b'$');
    let is_wild = |path: &[u8]| matches!(path.first(), Some(b'+' | b'#'));
    if (is_reserved(one) && is_wild(other)) || (is_reserved(other) && is_wild(one)) {
        return false;
    }
    let (mut one, mut other) = (levels(one), levels(other));
    loop {
        match (one.next(), other.next()) {
            // `#` stands for its parent level too.
            (Some(b"#"), _) | (_, Some(b"#")) | (None, None) => return true,
            (Some(b"+"), Some(_)) | (Some(_), Some(b"+")) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

fn levels(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

#[cfg(test)]
mod tests {
    use postrider_proto::wire::Topic;

    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    /// v5 [MQTT-4.7.1-1] [MQTT-4.7.2-1]: filters of up to three levels overlap exactly if a topic matches both.
    #[test]
    fn filters_overlap_if_a_topic_matches_both() {
        let levels = ["a", "b", "", "+", "#", "$s"];
        let mut filters = Vec::new();
        let mut topics = Vec::new();
        for one in levels {
            for two in [None, Some("a"), Some(""), Some("+"), Some("#")] {
                for three in [None, Some("b"), Some("+"), Some("#")] {
                    let parts: Vec<&str> = [Some(one), two, three].into_iter().flatten().collect();
                    let text = parts.join("/");
                    filters.extend(Filter::new(&text));
                    // With `x` for a level that no filter names.
                    topics.extend(Topic::new(&text.replace(['+', '#'], "x")));
                }
            }
        }
        for one in &filters {
            for other in &filters {
                let wanted = topics.iter().any(|topic| one.matches(topic) && other.matches(topic));
                // Both match the empty topic, which there is not; that costs an identifier and no more.
                let is_empty = [(one, other), (other, one)]
                    .iter()
                    .any(|(one, other)| **one == "+" && **other == "/#");
                assert_eq!(overlap(one, other), wanted || is_empty, "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_shared_filter_counts_by_its_path() {
        assert!(overlap(&filter("$share/g/a/+"), &filter("a/b")));
        assert!(overlap(&filter("$share/g/a"), &filter("$share/h/a")));
        assert!(!overlap(&filter("$share/g/a"), &filter("b")));
    }
}
