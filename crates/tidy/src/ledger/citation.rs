//! Finding citations in the comments of tests.

use std::mem;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::statement::{Standard, Statements};
use crate::{Fault, Purpose};

/// A test that cites a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// Of which standard.
    pub standard: Standard,
    /// Which statement.
    pub id: String,
    /// `file::name` of the test.
    pub test: String,
    /// Line of the citation, counted from 1.
    pub line: usize,
}

/// What the comments of the tests of one file say.
#[derive(Debug, Default)]
pub struct Comments {
    /// Citations with a version, whether the statement exists or not.
    pub citations: Vec<Citation>,
    /// Line and id of each citation without a version.
    pub without_version: Vec<(usize, String)>,
}

/// A test function: its name, and its lines from its comments to its last brace.
struct Test {
    name: String,
    first: usize,
    last: usize,
}

/// Reads the comments above and inside of each test of a file. In a file that only tests include, a `pub` function
/// counts as a test: it is a scenario that the tests of several files run.
pub fn comments(path: &str, text: &str, purpose: Purpose) -> Comments {
    let mut tests = Vec::new();
    if let Ok(stream) = text.parse::<TokenStream>() {
        find_tests(stream, purpose == Purpose::Test, &mut tests);
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Comments::default();
    for test in tests {
        let first = first_comment(&lines, test.first);
        let mut block = Block::default();
        for number in first..=test.last {
            match lines.get(number - 1).and_then(|line| comment(line)) {
                Some(comment) => block.read(number, comment),
                None => block = block.hand_over(path, &test.name, &mut found),
            }
        }
        block.hand_over(path, &test.name, &mut found);
    }
    found
}

/// Reads a file of plays of the conformance judge: a play is a title, `## like this`, and what follows it; its
/// citations are the lines that begin with a version.
pub fn plays(path: &str, text: &str) -> Comments {
    let mut found = Comments::default();
    let mut title = String::new();
    let mut block = Block::default();
    for (index, line) in text.lines().enumerate() {
        if let Some(next) = line.strip_prefix("## ") {
            block = block.hand_over(path, &title, &mut found);
            title = next.to_owned();
        } else if version(' ', line).is_some() {
            block.read(index + 1, line);
        }
    }
    block.hand_over(path, &title, &mut found);
    found
}

/// Finds ids anywhere in a file, strings included, that neither standard has.
pub(super) fn unknown(statements: &Statements, path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("MQTT-") {
            let rest = line.get(at + 5..).unwrap_or_default();
            let end = rest.find(|next: char| !next.is_ascii_digit() && next != '.' && next != '-');
            let number = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let number = number.trim_end_matches(['.', '-']);
            let id = format!("MQTT-{number}");
            let is_known = Standard::ALL.iter().any(|standard| statements.has(*standard, &id));
            if number.contains('-') && !is_known {
                faults.push(Fault::at(
                    path,
                    index + 1,
                    format!("{id} is a statement of neither standard"),
                ));
            }
        }
    }
    faults
}

/// Walks a row of tokens for `#[...test...] fn name ... { }`, also inside of modules and macro calls; with scenarios,
/// for `pub fn name ... { }` too.
fn find_tests(stream: TokenStream, has_scenarios: bool, tests: &mut Vec<Test>) {
    let row: Vec<TokenTree> = stream.into_iter().collect();
    let mut first = None;
    let mut is_test = false;
    let mut name = None;
    for (at, tree) in row.iter().enumerate() {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                first = first.or_else(|| Some(punct.span().start().line));
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                is_test |= first.is_some() && ends_in_test(group);
            }
            TokenTree::Ident(ident) if ident == "pub" => {
                first = first.or_else(|| Some(ident.span().start().line));
                is_test |= has_scenarios;
            }
            TokenTree::Ident(ident) if ident == "fn" => {
                name = row.get(at + 1).map(ToString::to_string);
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let last = group.span_close().end().line;
                if let (Some(name), Some(first), true) = (name.take(), first, is_test) {
                    tests.push(Test { name, first, last });
                } else {
                    find_tests(group.stream(), has_scenarios, tests);
                }
                (first, is_test) = (None, false);
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => (first, is_test) = (None, false),
            TokenTree::Group(_)
            | TokenTree::Ident(_)
            | TokenTree::Punct(_)
            | TokenTree::Literal(_) => {}
        }
    }
}

/// `test`, `tokio::test`, `tokio::test(flavor = "...")`.
fn ends_in_test(attribute: &Group) -> bool {
    let mut last = String::new();
    for tree in attribute.stream() {
        match tree {
            TokenTree::Ident(ident) => last = ident.to_string(),
            TokenTree::Group(_) => break,
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    last == "test"
}

/// The first of the comment lines that stand directly above a line.
fn first_comment(lines: &[&str], first: usize) -> usize {
    let above = lines.iter().take(first - 1).rev();
    first - above.take_while(|line| line.trim_start().starts_with("//")).count()
}

/// The comment of a line, if it has one; `//` in a URL is none.
fn comment(line: &str) -> Option<&str> {
    let (at, _) = line
        .match_indices("//")
        .find(|(at, _)| !line.get(..*at).is_some_and(|before| before.ends_with([':', '"', '/'])))?;
    line.get(at..).map(|comment| comment.trim_start_matches(['/', '!']))
}

/// Comment lines that stand together: a version counts from line to line, and brackets may be broken.
#[derive(Default)]
struct Block {
    versions: Vec<Standard>,
    has_cited: bool,
    bracket: Option<String>,
    cited: Vec<(Vec<Standard>, String, usize)>,
}

impl Block {
    fn read(&mut self, number: usize, comment: &str) {
        let mut before = ' ';
        let mut rest = comment;
        while let Some(next) = rest.chars().next() {
            let mut used = next.len_utf8();
            if let Some(inside) = &mut self.bracket {
                if next == ']' {
                    self.close(number);
                } else {
                    inside.push(next);
                }
            } else if rest.starts_with("[MQTT-") {
                self.bracket = Some(String::new());
            } else if let Some((standard, length)) = version(before, rest) {
                self.hear(standard);
                used = length;
            }
            before = next;
            rest = rest.get(used..).unwrap_or_default();
        }
        if let Some(inside) = &mut self.bracket {
            inside.push(' ');
        }
    }

    /// A version after a bracket begins a new list of versions.
    fn hear(&mut self, standard: Standard) {
        if mem::take(&mut self.has_cited) {
            self.versions.clear();
        }
        self.versions.push(standard);
    }

    fn close(&mut self, number: usize) {
        let inside = self.bracket.take().unwrap_or_default();
        for id in inside.split([',', ' ']).filter(|id| !id.is_empty()) {
            self.cited.push((self.versions.clone(), id.to_owned(), number));
        }
        self.has_cited = true;
    }

    fn hand_over(self, path: &str, name: &str, found: &mut Comments) -> Self {
        for (versions, id, line) in self.cited {
            if versions.is_empty() {
                found.without_version.push((line, id.clone()));
            }
            for standard in versions {
                let test = format!("{path}::{name}");
                found.citations.push(Citation { standard, id: id.clone(), test, line });
            }
        }
        Self::default()
    }
}

/// A version at the beginning of `rest`, and its length.
fn version(before: char, rest: &str) -> Option<(Standard, usize)> {
    if before.is_ascii_alphanumeric() {
        return None;
    }
    let names = [("v3.1.1", Standard::Mqtt311), ("v5.0", Standard::Mqtt5), ("v5", Standard::Mqtt5)];
    let (name, standard) = names.into_iter().find(|(name, _)| rest.starts_with(name))?;
    let after = rest.get(name.len()..)?.chars().next();
    let is_whole = !after.is_some_and(|after| after.is_ascii_alphanumeric());
    is_whole.then_some((standard, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Citations as `version id test-name`.
    fn cited(text: &str) -> Vec<String> {
        let found = comments("f.rs", text, Purpose::Production);
        assert_eq!(found.without_version, [], "{text}");
        let show = |citation: &Citation| {
            format!("{} {} {}", citation.standard.name(), citation.id, citation.test)
        };
        found.citations.iter().map(show).collect()
    }

    #[test]
    fn versions_count_until_the_next_version_after_a_bracket() {
        let test = |comment: &str| cited(&format!("/// {comment}\n#[test]\nfn t() {{}}\n"));
        assert_eq!(test("v5 [MQTT-1-1]: text"), ["v5 MQTT-1-1 f.rs::t"]);
        assert_eq!(test("v5.0 [MQTT-1-1] [MQTT-1-2]").len(), 2);
        assert_eq!(test("v5 [MQTT-1-1, MQTT-1-2]").len(), 2);
        assert_eq!(
            test("v3.1.1 and v5 [MQTT-1-1]."),
            ["v3.1.1 MQTT-1-1 f.rs::t", "v5 MQTT-1-1 f.rs::t"]
        );
        assert_eq!(
            test("v5 [MQTT-1-1], v3.1.1 [MQTT-2-1, MQTT-2-2]"),
            ["v5 MQTT-1-1 f.rs::t", "v3.1.1 MQTT-2-1 f.rs::t", "v3.1.1 MQTT-2-2 f.rs::t"]
        );
        assert_eq!(test("v5 section 4.1 says nothing; see [Link]."), [""; 0]);
    }

    #[test]
    fn comments_above_inside_and_over_several_lines_count() {
        let text = "// v5 [MQTT-1-1]\n#[test]\nfn a() {\n    step(); // v5 [MQTT-1-2]\n    open(\"x://v5\");\n}\n\n\
            /// Text: v5 [MQTT-2-1,\n/// MQTT-2-2].\n#[tokio::test(flavor = \"current_thread\")]\nasync fn b() {}\n";
        assert_eq!(
            cited(text),
            [
                "v5 MQTT-1-1 f.rs::a",
                "v5 MQTT-1-2 f.rs::a",
                "v5 MQTT-2-1 f.rs::b",
                "v5 MQTT-2-2 f.rs::b"
            ]
        );
    }

    #[test]
    fn tests_in_modules_and_macros_count_and_other_functions_do_not() {
        let text = "/// v5 [MQTT-1-1]\nfn helper() {}\n#[cfg(test)]\nmod tests {\n    proptest! {\n        \
            /// v5 [MQTT-1-2]\n        #[test]\n        fn a(x in 0..5) { f(x) }\n    }\n    #[test]\n    fn b() {}\n}\n";
        assert_eq!(cited(text), ["v5 MQTT-1-2 f.rs::a"]);
    }

    #[test]
    fn plays_cite_below_their_titles() {
        let text = "// Plays.\n\n## first words\nv5 [MQTT-1-1] v3.1.1 [MQTT-2-1]\nA connect\n5: A closed\n\n\
            ## second\nv5 [MQTT-1-2]\nA expect [MQTT-9-9]\n";
        let found = plays("c.txt", text);
        let tests: Vec<_> =
            found.citations.iter().map(|it| (it.id.as_str(), it.test.as_str())).collect();
        assert_eq!(
            tests,
            [
                ("MQTT-1-1", "c.txt::first words"),
                ("MQTT-2-1", "c.txt::first words"),
                ("MQTT-1-2", "c.txt::second")
            ]
        );
    }

    #[test]
    fn a_scenario_counts_in_a_file_of_tests() {
        let text = "/// v5 [MQTT-1-1]\npub(crate) fn scenario<S: Server>(x: S) {\n    // v5 [MQTT-1-2]\n}\n\n\
            /// v5 [MQTT-1-3]\nfn helper() {}\n\n/// v5 [MQTT-1-4]\npub(crate) struct Thing {}\n";
        let ids = |purpose| -> Vec<String> {
            comments("f.rs", text, purpose)
                .citations
                .into_iter()
                .map(|citation| citation.id)
                .collect()
        };
        assert_eq!(ids(Purpose::Test), ["MQTT-1-1", "MQTT-1-2"]);
        assert_eq!(ids(Purpose::Production), [""; 0]);
    }

    #[test]
    fn a_bracket_without_a_version_is_reported() {
        let found = comments("f.rs", "/// [MQTT-1-1]\n#[test]\nfn a() {}\n", Purpose::Test);
        assert_eq!(found.without_version, [(1, "MQTT-1-1".to_owned())]);
        let apart = "/// v5 section 1\n#[test]\nfn a() {\n    step();\n    // [MQTT-1-1]\n}\n";
        assert_eq!(comments("f.rs", apart, Purpose::Test).without_version.len(), 1);
    }

    #[test]
    fn an_unknown_id_is_found_in_strings_too() {
        let table = "h\nMQTT-1.1.0-1\ta\tb\tMUST\tx\n";
        let statements = Statements::parse(table, "h\n").unwrap();
        let text =
            "const A: &str = \"MQTT-1.1.0-1\";\nconst B: &str = \"MQTT-1.1.0-2\"; // MQTT-like\n";
        let faults = unknown(&statements, "crates/x/src/a.rs", text);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].line, 2);
    }
}
