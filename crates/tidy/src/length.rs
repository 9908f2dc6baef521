//! At most 600 lines a file without its tests, at most 70 lines a function.

use syn::{
    Block, ImplItemFn, Item, ItemFn, Signature, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{Fault, Purpose, Source, source::is_test};

/// Lines of a production file before its `#[cfg(test)] mod tests`, comments included.
pub const FILE_LINES_MAX: usize = 600;
/// Lines of a function from `fn` to its closing brace, in production code and in tests.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Finds production files that are too long.
pub fn files(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| source.purpose == Purpose::Production) {
        let lines = lines_before_tests(source);
        if lines > FILE_LINES_MAX {
            let says = format!(
                "{lines} lines before its tests, {FILE_LINES_MAX} at most: split it by noun"
            );
            faults.push(Fault::of(&source.path, says));
        }
    }
    faults
}

/// Finds functions that are too long. Functions inside macro calls are not seen.
pub fn functions(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources {
        let mut finder = Finder { path: &source.path, faults: &mut faults };
        finder.visit_file(&source.whole);
    }
    faults
}

fn lines_before_tests(source: &Source) -> usize {
    let mut tests = source.whole.items.iter().filter_map(|item| {
        let Item::Mod(module) = item else { return None };
        is_test(&module.attrs).then(|| module.attrs.first()).flatten()
    });
    tests.next().map_or_else(
        || source.text.lines().count(),
        |attribute| attribute.span().start().line.saturating_sub(1),
    )
}

struct Finder<'a> {
    path: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Finder<'_> {
    fn measure(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        let lines = last + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            let name = &signature.ident;
            let says = format!("`{name}` has {lines} lines, {FUNCTION_LINES_MAX} at most");
            self.faults.push(Fault::at(self.path, first, says));
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, purpose: Purpose) -> Source {
        Source::parse("crates/x/src/lib.rs", text, purpose).unwrap()
    }

    fn function_of(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_is_measured_up_to_its_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(900));
        let at_limit = format!("{}{tests}", "// line\n".repeat(FILE_LINES_MAX));
        let over = format!("// line\n{at_limit}");
        assert_eq!(files(&[source(&at_limit, Purpose::Production)]), []);
        assert_eq!(files(&[source(&over, Purpose::Production)]).len(), 1);
        assert_eq!(files(&[source(&over, Purpose::Test)]), []);
    }

    #[test]
    fn a_function_is_measured_wherever_it_stands() {
        let over = function_of(FUNCTION_LINES_MAX + 1);
        assert_eq!(functions(&[source(&function_of(FUNCTION_LINES_MAX), Purpose::Production)]), []);
        for text in [
            over.clone(),
            format!("struct X; impl X {{ {over} }}"),
            format!("trait X {{ {over} }}"),
            format!("mod m {{ fn outer() {{ {over} }} }}"),
            format!("#[cfg(test)] mod tests {{ #[test] {over} }}"),
        ] {
            let faults = functions(&[source(&text, Purpose::Production)]);
            assert!(!faults.is_empty(), "{text}");
            assert!(
                faults.iter().any(|fault| fault.says.contains("`long` has 71 lines")),
                "{faults:?}"
            );
        }
    }
}
