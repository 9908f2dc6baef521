//! One Rust file, parsed, with its tests told apart from the rest.

use anyhow::{Context, Result};
use syn::{Attribute, File, ImplItem, Item, Meta};

/// What a piece of code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Compiled into a library or a program.
    Production,
    /// Tests, benches, examples: compiled for the project only.
    Test,
}

/// A parsed Rust file.
pub struct Source {
    /// Path inside the repository, with `/`.
    pub path: String,
    /// The text as it stands on disk.
    pub text: String,
    /// Whether the file as a whole is production code.
    pub purpose: Purpose,
    /// The whole file.
    pub whole: File,
    /// The file without items under `#[cfg(test)]` or `#[test]`; empty for a test file.
    pub production: File,
}

impl Source {
    /// Parses `text`.
    ///
    /// # Errors
    /// If the text is not Rust.
    pub fn parse(path: &str, text: &str, purpose: Purpose) -> Result<Self> {
        let whole: File = syn::parse_file(text).with_context(|| path.to_owned())?;
        let mut production = whole.clone();
        match purpose {
            Purpose::Production => retain_production(&mut production.items),
            Purpose::Test => production.items.clear(),
        }
        Ok(Self { path: path.to_owned(), text: text.to_owned(), purpose, whole, production })
    }

    /// The folder below `crates/` that the file stands in.
    pub fn folder(&self) -> &str {
        self.path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or("")
    }
}

/// Whether an item with these attributes is compiled for tests only.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let is_test_fn = path.segments.last().is_some_and(|last| last.ident == "test");
        is_test_fn || (path.is_ident("cfg") && names_test_alone(&attribute.meta))
    })
}

/// `cfg(test)` and `cfg(all(test, ...))`; not `cfg(any(test, ...))`, which production code may reach.
fn names_test_alone(meta: &Meta) -> bool {
    let Meta::List(list) = meta else { return false };
    let inner = list.tokens.to_string().replace(' ', "");
    inner == "test"
        || inner.starts_with("all(test,")
        || inner.ends_with(",test)") && inner.starts_with("all(")
}

fn retain_production(items: &mut Vec<Item>) {
    items.retain(|item| !is_test(attributes(item)));
    for item in items {
        if let Item::Mod(module) = item {
            if let Some((_, inner)) = &mut module.content {
                retain_production(inner);
            }
        } else if let Item::Impl(block) = item {
            block
                .items
                .retain(|item| !matches!(item, ImplItem::Fn(function) if is_test(&function.attrs)));
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "syn's enum is open; the rest has no tests in it"
)]
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn production(text: &str) -> Vec<String> {
        let source = Source::parse("crates/x/src/lib.rs", text, Purpose::Production).unwrap();
        let mut names = Vec::new();
        for item in &source.production.items {
            if let Item::Fn(item) = item {
                names.push(item.sig.ident.to_string());
            }
        }
        names
    }

    #[test]
    fn test_items_are_left_out() {
        let text = "fn a() {} #[test] fn b() {} #[tokio::test] fn c() {} #[cfg(test)] fn d() {}
            #[cfg(all(test, unix))] fn e() {} #[cfg(any(test, unix))] fn f() {} #[cfg(unix)] fn g() {}";
        assert_eq!(production(text), ["a", "f", "g"]);
    }

    #[test]
    fn a_test_file_has_no_production_code() {
        let source = Source::parse("crates/x/tests/a.rs", "fn a() {}", Purpose::Test).unwrap();
        assert!(source.production.items.is_empty());
        assert_eq!(source.whole.items.len(), 1);
        assert_eq!(source.folder(), "x");
    }

    #[test]
    fn what_is_not_rust_is_an_error() {
        assert!(Source::parse("crates/x/src/lib.rs", "fn a( {", Purpose::Production).is_err());
    }
}
