//! Pure crates use no clock, thread, lock, socket, file, randomness or `async`, and write to no console.
//!
//! What they need of these arrives as an argument: time, seeds, bytes. The list of external crates they may use is
//! checked in [`crate::supply`]; clippy's `disallowed_methods` (see `clippy.toml`) watches over hash-map iteration.

use quote::ToTokens;
use syn::{
    ItemUse, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{Fault, Source, tokens};

/// Folders below `crates/` of the pure crates.
pub const PURE: [&str; 3] = ["wire", "proto", "hub"];
/// Pure crates that must say `#![no_std]`.
pub const NO_STD: [&str; 2] = ["wire", "proto"];

/// Modules and types of `std`, `core` and `alloc` that carry a clock, a thread, a lock, a socket, a file or a random
/// seed. `Arc`, `Weak`, `core::time::Duration` carry none, and an atomic counter is no lock.
const BANNED: [&str; 25] = [
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::env",
    "std::fs",
    "std::hash::RandomState",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::Barrier",
    "std::sync::Condvar",
    "std::sync::LazyLock",
    "std::sync::Mutex",
    "std::sync::Once",
    "std::sync::OnceLock",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "std::thread_local",
    "std::time",
    "core::future",
    "core::task",
    "core::net",
];

/// Words that are a fault wherever they stand.
const BANNED_WORDS: [&str; 4] = ["async", "await", "RandomState", "GlobalState"];

/// Macros that write to a console or keep state per thread.
const BANNED_MACROS: [&str; 6] = ["print", "println", "eprint", "eprintln", "dbg", "thread_local"];

/// Finds impure code in the pure crates.
pub fn check(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| PURE.contains(&source.folder())) {
        let mut uses = Uses { path: &source.path, faults: &mut faults };
        uses.visit_file(&source.production);
        scan(source, &mut faults);
        let is_root = source.path == format!("crates/{}/src/lib.rs", source.folder());
        let wants_no_std = is_root && NO_STD.contains(&source.folder());
        if wants_no_std && !crate::reach::is_no_std(&source.whole) {
            faults.push(Fault::of(&source.path, "lacks `#![no_std]`"));
        }
    }
    faults
}

/// Imports, with their braces opened.
struct Uses<'a> {
    path: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Uses<'_> {
    fn open(&mut self, tree: &UseTree, before: &str) {
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(path) => self.open(&path.tree, &extend(before, &path.ident.to_string())),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.open(tree, before);
                }
            }
            UseTree::Name(name) if name.ident == "self" => self.judge(before, line),
            UseTree::Name(name) => self.judge(&extend(before, &name.ident.to_string()), line),
            UseTree::Rename(rename) => self.judge(&extend(before, &rename.ident.to_string()), line),
            UseTree::Glob(_) => self.judge(&extend(before, "*"), line),
        }
    }

    fn judge(&mut self, path: &str, line: usize) {
        let hit = BANNED.iter().find(|banned| is_below(path, banned) || globs(path, banned));
        if let Some(banned) = hit {
            self.faults.push(Fault::at(self.path, line, format!("`{banned}` in a pure crate")));
        }
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.open(&item.tree, "");
        visit::visit_item_use(self, item);
    }
}

/// Paths in expressions, types and macro bodies, and single words.
fn scan(source: &Source, faults: &mut Vec<Fault>) {
    let row = tokens::flat(source.production.to_token_stream());
    for (at, token) in row.iter().enumerate() {
        let begins_path = ["std", "core"].contains(&token.text.as_str());
        for banned in BANNED.iter().filter(|_| begins_path) {
            let wanted: Vec<&str> =
                banned.split("::").flat_map(|part| [":", ":", part]).skip(2).collect();
            if tokens::reads(&row, at, &wanted) {
                faults.push(Fault::at(
                    &source.path,
                    token.line,
                    format!("`{banned}` in a pure crate"),
                ));
            }
        }
        let is_macro = row.get(at + 1).is_some_and(|next| next.text == "!");
        let word = token.text.as_str();
        if BANNED_WORDS.contains(&word) || (is_macro && BANNED_MACROS.contains(&word)) {
            faults.push(Fault::at(&source.path, token.line, format!("`{word}` in a pure crate")));
        }
    }
}

fn extend(before: &str, name: &str) -> String {
    if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") }
}

fn is_below(path: &str, banned: &str) -> bool {
    path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `std::sync::*` brings in `std::sync::Mutex`.
fn globs(path: &str, banned: &str) -> bool {
    path.strip_suffix('*').is_some_and(|parent| banned.starts_with(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn faults(path: &str, text: &str) -> Vec<Fault> {
        check(&[Source::parse(path, text, Purpose::Production).unwrap()])
    }

    #[test]
    fn every_impurity_is_found() {
        for text in [
            "use std::time::Instant;",
            "use std::{fmt, time};",
            "use std::{sync::{Arc, Mutex}, fmt};",
            "use std::sync::*;",
            "use std::net::{self, TcpStream};",
            "fn f() { std::thread::spawn(g); }",
            "fn f() -> std::time::Instant { g() }",
            "use std::collections::HashMap;",
            "use std::collections::{BTreeMap, HashSet};",
            "use foldhash::fast::RandomState;",
            "async fn f() {}",
            "fn f() { log!(std::fs::read(p)); }",
            "fn f() { println!(\"here\"); }",
            "fn f() { let x = async { 1 }; }",
        ] {
            assert!(!faults("crates/hub/src/a.rs", text).is_empty(), "not found: {text}");
        }
        assert_eq!(faults("crates/wire/src/lib.rs", "pub fn f() {}")[0].says, "lacks `#![no_std]`");
    }

    #[test]
    fn what_is_pure_passes() {
        for text in [
            "use std::{fmt, sync::Arc};",
            "use core::time::Duration; use alloc::sync::Arc; use core::sync::atomic::AtomicU64;",
            "use std::collections::BTreeMap;",
            "fn f(time: u64) -> u64 { self::time::of(time) }",
            "/// Runs inside an async driver; std::time is the driver's.\nfn f() {}",
            "#[cfg(test)] mod tests { use std::time::Instant; }",
        ] {
            assert_eq!(faults("crates/hub/src/a.rs", text), [], "{text}");
        }
        assert_eq!(faults("crates/broker/src/a.rs", "use std::time::Instant;"), []);
    }
}
