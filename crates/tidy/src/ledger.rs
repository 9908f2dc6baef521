//! The conformance ledger: every statement of the standards, and the tests that cite it.
//!
//! ```text
//! docs/conformance/*.tsv --Statements--.
//!                                      +--> write --> docs/conformance/ledger.md
//! comments of tests ------Citation-----+
//! plays of the judge -----Citation-----'
//! ```
//! A citation is `v5 [MQTT-3.3.1-4]` or `v3.1.1 [MQTT-3.3.1-4]` in a comment above or inside of a test, or of a
//! scenario: a `pub` function in a file that only tests include. A version
//! counts for the brackets after it, until the next version after a bracket: `v3.1.1 v5 [A] [B]` cites A and B of
//! both, `v5 [A], v3.1.1 [B, C]` cites A of one and B and C of the other. The same id often means different things
//! in the two versions, so an id without a version is a fault in a test.

mod citation;
mod statement;

use std::{collections::BTreeMap, fmt::Write};

pub use self::{
    citation::{Citation, Comments, comments, plays},
    statement::{Standard, Statement, Statements},
};
use crate::{Fault, Source};

/// Where the ledger stands in the repository.
pub const LEDGER: &str = "docs/conformance/ledger.md";
/// The command that renews it.
pub const RENEW: &str = "cargo run -p postrider-tidy --bin ledger";

/// Columns of a requirement; the whole text stands in the tables beside the ledger.
const REQUIREMENT_CHARS_MAX: usize = 110;

/// Collects the citations of all sources, and of the judge's plays (path and text). Faults are ids that do not exist
/// and ids without a version.
pub fn collect(
    statements: &Statements,
    sources: &[Source],
    plays: &[(String, String)],
) -> (Vec<Citation>, Vec<Fault>) {
    // The examples in this crate's own tests cite statements that do not exist.
    let sources = sources.iter().filter(|source| source.folder() != "tidy");
    let sources = sources.map(|source| {
        (&source.path, &source.text, comments(&source.path, &source.text, source.purpose))
    });
    let plays = plays.iter().map(|(path, text)| (path, text, citation::plays(path, text)));
    let mut citations = Vec::new();
    let mut faults = Vec::new();
    for (path, text, found) in sources.chain(plays) {
        faults.extend(citation::unknown(statements, path, text));
        for (line, id) in found.without_version {
            faults.push(Fault::at(path, line, format!("cites {id} without a version")));
        }
        for citation in found.citations {
            if statements.has(citation.standard, &citation.id) {
                citations.push(citation);
            } else {
                let says = format!("{} has no statement {}", citation.standard.name(), citation.id);
                faults.push(Fault::at(path, citation.line, says));
            }
        }
    }
    (citations, faults)
}

/// Writes the ledger.
pub fn write(statements: &Statements, citations: &[Citation]) -> String {
    let mut by_statement: BTreeMap<(Standard, &str), Vec<&str>> = BTreeMap::new();
    for citation in citations {
        let tests = by_statement.entry((citation.standard, &citation.id)).or_default();
        tests.push(&citation.test);
        tests.sort_unstable();
        tests.dedup();
    }
    let mut text = format!(
        "# Conformance ledger\n\nWritten by `{RENEW}`; do not edit. Which tests cite which statement of the \
         standards; a citation\nsays that a test is about the statement, not that it covers all of it. The full \
         requirements stand in\n`mqtt-3.1.1.tsv` and `mqtt-5.0.tsv`.\n\n| standard | statements | cited | not \
         cited |\n| --- | ---: | ---: | ---: |\n"
    );
    for standard in Standard::ALL {
        let all = statements.of(standard).len();
        let cited = by_statement.keys().filter(|(of, _)| *of == standard).count();
        line(&mut text, &format!("| {} | {all} | {cited} | {} |", standard.title(), all - cited));
    }
    for standard in Standard::ALL {
        line(&mut text, &format!("\n## {}\n", standard.title()));
        line(&mut text, "| statement | level | requirement | tests |\n| --- | --- | --- | --- |");
        for statement in statements.of(standard) {
            let tests = by_statement.get(&(standard, statement.id.as_str()));
            let tests = tests.map(|tests| tests.join("<br>")).unwrap_or_default();
            let requirement = short(&statement.requirement).replace('|', "\\|");
            let row =
                format!("| {} | {} | {requirement} | {tests} |", statement.id, statement.level);
            line(&mut text, &row);
        }
    }
    text
}

fn line(text: &mut String, row: &str) {
    writeln!(text, "{row}").expect("a String takes every text");
}

/// Cuts at a word.
fn short(requirement: &str) -> String {
    if requirement.chars().count() <= REQUIREMENT_CHARS_MAX {
        return requirement.to_owned();
    }
    let head: String = requirement.chars().take(REQUIREMENT_CHARS_MAX).collect();
    let end = head.rfind(' ').unwrap_or(head.len());
    format!("{} ...", head.get(..end).unwrap_or_default().trim_end_matches([',', ';', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    const TABLE: &str = "id\twho\ttopic\tlevel\trequirement\n\
        MQTT-1.1.0-1\tboth\tencoding\tMUST\tStrings are | text.\n\
        MQTT-1.1.0-2\tboth\tencoding\tMAY\tNothing.\n";

    fn statements() -> Statements {
        Statements::parse(TABLE, TABLE).unwrap()
    }

    fn source(text: &str) -> Source {
        Source::parse("crates/x/tests/a.rs", text, Purpose::Test).unwrap()
    }

    #[test]
    fn a_cited_statement_is_listed_with_its_test() {
        let text = "/// v5 [MQTT-1.1.0-1]: strings.\n#[test]\nfn strings() {}\n";
        let (citations, faults) = collect(&statements(), &[source(text)], &[]);
        assert_eq!(faults, []);
        let ledger = write(&statements(), &citations);
        assert!(ledger.contains("| MQTT 3.1.1 | 2 | 0 | 2 |"), "{ledger}");
        assert!(ledger.contains("| MQTT 5.0 | 2 | 1 | 1 |"), "{ledger}");
        let row = "| MQTT-1.1.0-1 | MUST | Strings are \\| text. | crates/x/tests/a.rs::strings |";
        assert_eq!(ledger.matches(row).count(), 1, "{ledger}");
    }

    #[test]
    fn unknown_ids_and_ids_without_a_version_are_faults() {
        for text in [
            "/// v5 [MQTT-9.9.9-9]\n#[test]\nfn a() {}",
            "/// [MQTT-1.1.0-1]\n#[test]\nfn a() {}",
            "const CLAUSE: &str = \"MQTT-9.9.9-9\";",
            "/// v5 [MQTT-1.1.0-1, 1.1.0-2]\n#[test]\nfn a() {}",
        ] {
            let (_, faults) = collect(&statements(), &[source(text)], &[]);
            assert!(!faults.is_empty(), "{text}");
        }
    }

    #[test]
    fn long_requirements_are_cut_at_a_word() {
        let long = "word ".repeat(40);
        assert!(short(&long).ends_with("word ..."));
        assert!(short(&long).len() <= REQUIREMENT_CHARS_MAX + 4);
        assert_eq!(short("short"), "short");
    }
}
