//! Every statement that the decoder can cite exists in the tables of the standard.

use std::collections::BTreeSet;

use postrider_wire::Version;

const V311: &str = include_str!("../../../../docs/conformance/mqtt-3.1.1.tsv");
const V5: &str = include_str!("../../../../docs/conformance/mqtt-5.0.tsv");
const SOURCE: &str = include_str!("../../src/statement.rs");

/// The table in the source has the form `of("MQTT-...", "MQTT-...")` or `both("MQTT-...")`.
#[test]
fn cited_statements_exist() {
    let (old, new) = (ids(V311), ids(V5));
    let mut count = 0;
    for line in SOURCE.lines() {
        let cited: Vec<&str> = line.split('"').filter(|part| part.starts_with("MQTT-")).collect();
        if line.contains("both(") {
            assert!(cited.iter().all(|id| old.contains(id) && new.contains(id)), "{line}");
        } else if let [first, second] = cited[..] {
            assert!(old.contains(first), "{line}");
            assert!(new.contains(second), "{line}");
        } else if line.contains("GENERAL.v3") {
            assert!(cited.iter().all(|id| new.contains(id)), "{line}");
        } else {
            assert!(cited.iter().all(|id| old.contains(id)), "{line}");
        }
        count += cited.len();
    }
    assert!(count > 60, "only {count} statements were found");
    assert!(Version::V31 < Version::V5);
}

fn ids(table: &str) -> BTreeSet<&str> {
    table.lines().skip(1).filter_map(|line| line.split('\t').next()).collect()
}
