//! The page and the examples say the same.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../../docs/from-wlanguage.md");
const SOURCES: [&str; 2] = [include_str!("in_async.rs"), include_str!("in_blocking.rs")];

/// Issue 5, section 1: every property and verb has its place, with an example in both faces that compiles and runs.
#[test]
fn the_page_shows_the_examples_that_run() {
    let shown: BTreeSet<String> = blocks(PAGE.lines(), "```rust", "```").collect();
    let run: BTreeSet<String> =
        SOURCES.iter().flat_map(|source| blocks(source.lines(), "// example", "// end")).collect();
    assert!(run.len() >= 2 * 16, "an example of each property and verb in each face");
    if let Some(example) = shown.symmetric_difference(&run).next() {
        let place = if shown.contains(example) { "only on the page" } else { "only in the tests" };
        panic!("{place}:\n{example}");
    }
}

#[test]
fn the_page_names_every_property_and_verb() {
    let names = [
        "Address",
        "Port",
        "Option",
        "ConnectionTimeout",
        "User",
        "UserPassword",
        "PrivateKey",
        "PrivateKeyPassword",
        "ClientID",
        "CleanSession",
        "MQTTConnect",
        "MQTTPublish",
        "MQTTSubscribe",
        "MQTTUnsubscribe",
        "MQTTUnsubscribeAll",
        "MQTTDisconnect",
        "mqttQualityAtMostOnce",
        "mqttQualityAtLeastOnce",
        "mqttQualityExactlyOnce",
        "optionSSL",
        "Adresse",
        "IDClient",
        "SessionVide",
        "MQTTConnecte",
        "MQTTPublie",
        "MQTTAbonne",
        "MQTTD&eacute;sabonne",
        "MQTTD&eacute;sabonneTout",
        "MQTTD&eacute;connecte",
        "mqttQualit&eacute;AuPlusUneFois",
        "mqttQualit&eacute;AuMoinsUneFois",
        "mqttQualit&eacute;ExactementUneFois",
    ];
    for name in names {
        let is_there = |open, close| PAGE.contains(&format!("{open}{name}{close}"));
        assert!(is_there("`", "`") || is_there("<code>", "</code>"), "{name}");
    }
}

/// What stands between lines that are, without their indentation, `from` (or begin with it) and `to`; less the
/// indentation of its first line.
fn blocks<'a>(
    lines: impl Iterator<Item = &'a str> + 'a,
    from: &'a str,
    to: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let mut lines = lines.fuse();
    std::iter::from_fn(move || {
        lines.find(|line| line.trim().starts_with(from))?;
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != to).collect();
        let first = block.first().copied().unwrap_or_default();
        let indentation = first.len() - first.trim_start().len();
        let cut = |line: &&str| line.get(indentation..).unwrap_or_default().trim_end().to_owned();
        Some(block.iter().map(cut).collect::<Vec<_>>().join("\n"))
    })
}
