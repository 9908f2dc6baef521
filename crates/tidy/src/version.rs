//! Where `Version` is matched: in the codec and in the link machine, and nowhere else.
//!
//! MQTT 3.1.1 is 5.0 with defaults. What a version allows is read once, when a link is negotiated, into `Limits`;
//! everything else reads facts there and would have to be changed for every new version if it did not.
//!
//! In production code outside of [`ALLOWED`] these are faults:
//! - a pattern that names a version (`match`, `if let`, `let else`, a parameter), or `matches!` and its kin;
//! - a comparison with a version by operator (`==`, `<`, ...), by method (`eq`, `cmp`, `contains`, ...) or by
//!   assertion (`assert_eq!`, ...), and a cast of a version to a number;
//! - a question to the version itself (`has_properties()`, `version.level()`, `version.protocol_name()`);
//! - an import of the variants or another name for the type, because it would hide all of the above.
//!
//! Allowed: a version as a value or an argument (`Decoder::new(Version::V5)`, the right side of a match arm), and
//! comparing two versions that are carried as opaque keys. In a macro call whose body is not a list of expressions,
//! naming a version counts as a match. Tests, benches and examples are free.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    BinOp, Expr, ExprBinary, ExprCast, ExprMethodCall, ExprPath, ItemType, ItemUse, Macro, Pat,
    Path, Token, UseTree,
    parse::Parser,
    punctuated::Punctuated,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{Fault, Source, tokens};

/// Files and folders that may match on `Version`, and why.
pub const ALLOWED: [(&str, &str); 6] = [
    ("crates/bench/src/peer", "the load generator speaks raw packets and has no link"),
    ("crates/check/src/", "the judge plays each version on raw packets and has no link"),
    (
        "crates/client/src/tap/",
        "notes which version was spoken, for people, and decides nothing by it",
    ),
    ("crates/wire/src/", "the bytes differ by version"),
    ("crates/proto/src/link", "negotiation turns the version into limits"),
    ("crates/proto/src/reconnect", "falls back from 5.0 to 3.1.1"),
];

const COMPARING_METHODS: [&str; 9] =
    ["eq", "ne", "cmp", "partial_cmp", "lt", "le", "gt", "ge", "contains"];
/// Methods of `Version` that tell one from the other.
const PREDICATES: [&str; 3] = ["has_properties", "level", "protocol_name"];
const COMPARING_MACROS: [&str; 8] = [
    "matches",
    "assert_matches",
    "debug_assert_matches",
    "assert_eq",
    "assert_ne",
    "debug_assert_eq",
    "debug_assert_ne",
    "macro_rules",
];

/// Finds matches on `Version` outside of the files allowed.
pub fn check(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources {
        if !is_allowed(&source.path) {
            let mut finder = Finder { path: &source.path, faults: &mut faults };
            finder.visit_file(&source.production);
        }
    }
    faults
}

/// `crates/proto/src/link.rs`, `link_inbound.rs` and `link/inbound.rs` are all of the link; `linked.rs` is not.
fn is_allowed(path: &str) -> bool {
    ALLOWED.iter().any(|(prefix, _)| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| prefix.ends_with('/') || rest.starts_with(['.', '/', '_']))
    })
}

struct Finder<'a> {
    path: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Finder<'_> {
    fn report(&mut self, line: usize, what: &str) {
        let says = format!("{what}; read a fact in `Limits`, or move this to the link");
        self.faults.push(Fault::at(self.path, line, says));
    }

    fn scan(&mut self, stream: TokenStream, what: &str) {
        let row = tokens::flat(stream);
        for at in 0..row.len() {
            let is_named = tokens::reads(&row, at, &["Version", ":", ":"]);
            if is_named && row.get(at + 3).is_some_and(|token| is_variant(&token.text)) {
                self.report(row[at].line, what);
            }
        }
    }

    fn scan_use(&mut self, tree: &UseTree, inside_version: bool) {
        match tree {
            UseTree::Path(path) => self.scan_use(&path.tree, path.ident == "Version"),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.scan_use(tree, inside_version);
                }
            }
            UseTree::Rename(rename) if rename.ident == "Version" => {
                self.report(rename.span().start().line, "gives `Version` another name");
            }
            UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => {
                if inside_version {
                    self.report(tree.span().start().line, "imports the variants of `Version`");
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_pat(&mut self, pattern: &'ast Pat) {
        if let Pat::Path(ExprPath { path, .. }) = pattern
            && names_version(path)
        {
            self.report(path.span().start().line, "matches on `Version`");
        }
        visit::visit_pat(self, pattern);
    }

    fn visit_expr_binary(&mut self, expression: &'ast ExprBinary) {
        let compares = matches!(
            expression.op,
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
        );
        if compares && (is_version(&expression.left) || is_version(&expression.right)) {
            self.report(expression.span().start().line, "compares a `Version`");
        }
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_cast(&mut self, expression: &'ast ExprCast) {
        if is_version(&expression.expr) {
            self.report(expression.span().start().line, "casts a `Version`");
        }
        visit::visit_expr_cast(self, expression);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if COMPARING_METHODS.iter().any(|name| call.method == name) {
            for part in call.args.iter().chain([call.receiver.as_ref()]) {
                let row = tokens::flat(part.to_token_stream());
                let named = |at| tokens::reads(&row, at, &["Version", ":", ":"]);
                if (0..row.len()).any(named) {
                    self.report(call.method.span().start().line, "compares a `Version`");
                }
            }
        }
        let is_asked = call.args.is_empty() && PREDICATES.iter().any(|name| call.method == name);
        if is_asked && (call.method == "has_properties" || ends_in_version(&call.receiver)) {
            self.report(call.method.span().start().line, "asks a `Version` about itself");
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.scan_use(&item.tree, false);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        let row = tokens::flat(item.ty.to_token_stream());
        if row.last().is_some_and(|token| token.text == "Version") {
            self.report(item.span().start().line, "gives `Version` another name");
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let name = call.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let body = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(call.tokens.clone());
        match body {
            Ok(expressions) if !COMPARING_MACROS.contains(&name.as_str()) => {
                // The parsed body lives here only, so a second finder visits it.
                let mut inner = Finder { path: self.path, faults: self.faults };
                for expression in &expressions {
                    inner.visit_expr(expression);
                }
            }
            Ok(_) | Err(_) => self.scan(call.tokens.clone(), "matches on `Version` in a macro"),
        }
    }
}

fn is_version(expression: &Expr) -> bool {
    if let Expr::Path(path) = expression {
        names_version(&path.path)
    } else if let Expr::Paren(inner) = expression {
        is_version(&inner.expr)
    } else if let Expr::Reference(inner) = expression {
        is_version(&inner.expr)
    } else {
        false
    }
}

/// `version`, `self.version`, `connect.version`, `head.version()`.
fn ends_in_version(receiver: &Expr) -> bool {
    let row = tokens::flat(receiver.to_token_stream());
    row.iter()
        .rev()
        .find(|token| !["(", ")"].contains(&token.text.as_str()))
        .is_some_and(|last| last.text == "version")
}

fn names_version(path: &Path) -> bool {
    let mut last_first = path.segments.iter().rev();
    let variant = last_first.next().is_some_and(|last| is_variant(&last.ident.to_string()));
    variant && last_first.next().is_some_and(|owner| owner.ident == "Version")
}

/// `V31`, `V311`, `V5` and those to come.
fn is_variant(name: &str) -> bool {
    name.strip_prefix('V')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn faults(path: &str, body: &str) -> Vec<Fault> {
        let text = format!("fn f(v: Version) {{ {body} }}");
        check(&[Source::parse(path, &text, Purpose::Production).unwrap()])
    }

    #[test]
    fn every_way_to_match_is_found() {
        for body in [
            "match v { Version::V5 => a(), _ => b() }",
            "match v { wire::Version::V31 | wire::Version::V311 => a(), _ => b() }",
            "match (v, q) { (Version::V5, 1) => a(), _ => b() }",
            "if let Version::V5 = v { a() }",
            "let Version::V5 = v else { return };",
            "while let Some(Version::V5) = next() {}",
            "if v == Version::V5 { a() }",
            "if Version::V311 >= v { a() }",
            "if *v != (Version::V5) { a() }",
            "if v.eq(&Version::V5) { a() }",
            "if [Version::V31, Version::V311].contains(&v) { a() }",
            "let x = Version::V5 as u8;",
            "let x = matches!(v, Version::V5);",
            "let x = matches!(v, Version::V5 | Version::V311 if y);",
            "debug_assert!(v == Version::V5, \"only 5.0\");",
            "assert_eq!(v, Version::V5);",
            "select! { _ = v => match v { Version::V5 => 1 } }",
            "if v.has_properties() { a() }",
            "if connect.version.level() > 4 { a() }",
            "use wire::Version::*;",
            "use wire::Version::{V5, V311};",
            "use wire::{PacketId, Version as Level};",
            "type Level = wire::Version;",
        ] {
            assert!(!faults("crates/hub/src/router.rs", body).is_empty(), "not found: {body}");
        }
    }

    #[test]
    fn a_version_as_a_value_is_free() {
        for body in [
            "let x = Decoder::new(Version::V5);",
            "let x = match name { \"5\" => Some(Version::V5), _ => None };",
            "let same = head.version == link.version;",
            "if self.has_properties(link) && event.level() > 1 { a() }",
            "let x = vec![Version::V5, Version::V311];",
            "use wire::{PacketId, Version};",
            "use wire::Version;",
        ] {
            assert_eq!(faults("crates/hub/src/router.rs", body), [], "{body}");
        }
    }

    #[test]
    fn only_the_codec_and_the_link_may_match() {
        let body = "match v { Version::V5 => a(), _ => b() }";
        for path in [
            "crates/wire/src/decode/publish.rs",
            "crates/proto/src/link.rs",
            "crates/proto/src/link/handshake.rs",
            "crates/proto/src/link_inbound.rs",
            "crates/proto/src/reconnect.rs",
        ] {
            assert_eq!(faults(path, body), [], "{path}");
        }
        for path in [
            "crates/proto/src/linked.rs",
            "crates/proto/src/session/link.rs",
            "crates/cli/src/main.rs",
        ] {
            assert_eq!(faults(path, body).len(), 1, "{path}");
        }
    }

    #[test]
    fn tests_are_free() {
        let text = "#[cfg(test)] mod tests { fn f() { if v == Version::V5 {} } }";
        let source = Source::parse("crates/hub/src/lib.rs", text, Purpose::Production).unwrap();
        assert_eq!(check(&[source]), []);
    }
}
