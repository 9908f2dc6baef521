//! Nothing unfinished: no placeholder in code, no test that is switched off.

use quote::ToTokens;

use crate::{Fault, Source, tokens};

/// Macros that stand for code somebody meant to write.
const PLACEHOLDERS: [&str; 2] = ["todo", "unimplemented"];

/// Finds placeholders and `#[ignore]`, in production code and in tests.
pub fn check(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources {
        let row = tokens::flat(source.whole.to_token_stream());
        for (at, token) in row.iter().enumerate() {
            let word = token.text.as_str();
            if PLACEHOLDERS.contains(&word) && tokens::reads(&row, at + 1, &["!"]) {
                faults.push(Fault::at(&source.path, token.line, format!("`{word}!`")));
            }
            if tokens::reads(&row, at, &["#", "[", "ignore"]) {
                faults.push(Fault::at(&source.path, token.line, "a test is switched off"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    #[test]
    fn placeholders_and_ignored_tests_are_found() {
        let text = "fn a() { todo!() } fn b() { unimplemented!(\"later\") }
            #[test] #[ignore] fn c() {} #[test] #[ignore = \"slow\"] fn d() {} fn todo() {}";
        let source = Source::parse("crates/x/src/lib.rs", text, Purpose::Production).unwrap();
        assert_eq!(check(&[source]).len(), 4);
    }
}
