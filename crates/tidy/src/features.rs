//! The page of features names tests that exist.

use std::collections::BTreeSet;

use syn::{
    ItemFn,
    visit::{self, Visit},
};

use crate::{Fault, Source, source::is_test};

/// The page.
pub const PAGE: &str = "docs/features.md";
/// What stands in place of tests where there are none.
const NONE: [&str; 3] = ["not yet", "none: ", "see "];

/// The names of all tests.
pub fn tests(sources: &[Source]) -> BTreeSet<String> {
    let mut found = Tests(BTreeSet::new());
    sources.iter().for_each(|source| found.visit_file(&source.whole));
    found.0
}

/// Judges the page: each row names tests in its second cell, and each of them is one of `tests`, or it says that there
/// are none.
pub fn check(page: &str, tests: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let Some(cell) = second_cell(line) else { continue };
        if NONE.iter().any(|none| cell.starts_with(none)) {
            continue;
        }
        let mut names = 0;
        for name in cell.split(", ").filter_map(|name| name.strip_prefix('`')?.strip_suffix('`')) {
            names += 1;
            if !tests.contains(name) {
                faults.push(Fault::at(PAGE, index + 1, format!("there is no test `{name}`")));
            }
        }
        if names == 0 || names != cell.split(", ").count() {
            faults.push(Fault::at(PAGE, index + 1, format!("`{cell}` is no list of tests")));
        }
    }
    faults
}

/// The second cell of a row; `None` for other lines, and for the head of a table.
fn second_cell(line: &str) -> Option<&str> {
    let cell = line.strip_prefix('|')?.split('|').nth(1)?.trim();
    let is_head = cell == "Tests" || cell.starts_with("---");
    (!is_head).then_some(cell)
}

struct Tests(BTreeSet<String>);

impl<'a> Visit<'a> for Tests {
    fn visit_item_fn(&mut self, function: &'a ItemFn) {
        if is_test(&function.attrs) {
            self.0.insert(function.sig.ident.to_string());
        }
        visit::visit_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    #[test]
    fn a_test_that_is_not_there_is_found() {
        let text =
            "#[test] fn here() {} mod a { #[tokio::test] async fn there() {} } fn no_test() {}";
        let source = Source::parse("crates/wire/tests/a.rs", text, Purpose::Test).unwrap();
        let tests = tests(&[source]);
        let page = |cell: &str| format!("text\n| Line | Tests |\n| --- | --- |\n| a | {cell} |\n");
        for good in ["`here`", "`here`, `there`", "not yet", "see below", "none: nothing shows it"]
        {
            assert_eq!(check(&page(good), &tests), [], "{good}");
        }
        for bad in ["`gone`", "`here`, `no_test`", "here", "", "`here` and `there`"] {
            assert_eq!(check(&page(bad), &tests).len(), 1, "{bad}");
        }
    }
}
