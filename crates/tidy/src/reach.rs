//! No dead files, no empty crates, no crate without `#![forbid(unsafe_code)]`.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Attribute, Expr, File, Item, ItemMod, Lit, Meta};

use crate::{
    Fault,
    source::{Purpose, is_test},
};

/// Crates in which unsafe code is allowed, by folder. They do not exist yet.
const UNSAFE_ALLOWED: [&str; 2] = ["capi", "python"];

/// Follows `mod` declarations from the root file of each target.
///
/// Returns the files found in `texts`, and what each is for: a file that production code reaches is
/// production code, whoever else includes it.
pub fn reach(
    texts: &BTreeMap<String, String>,
    roots: &[(String, Purpose)],
) -> BTreeMap<String, Purpose> {
    let mut reached: BTreeMap<String, Purpose> = BTreeMap::new();
    let mut waiting: Vec<(String, Purpose, String)> = roots
        .iter()
        .map(|(file, purpose)| (file.clone(), *purpose, folder(file).to_owned()))
        .collect();
    while let Some((path, purpose, home)) = waiting.pop() {
        if reached.get(&path).is_some_and(|known| *known <= purpose) {
            continue;
        }
        let Some(text) = texts.get(&path) else { continue };
        reached.insert(path.clone(), purpose);
        if let Ok(file) = syn::parse_file(text) {
            declared(&file.items, &path, &home, purpose, texts, &mut waiting);
        }
    }
    reached
}

/// Finds files below `crates/` that no target reaches.
pub fn dead_files(texts: &BTreeMap<String, String>, roots: &[(String, Purpose)]) -> Vec<Fault> {
    let reached = reach(texts, roots);
    texts
        .keys()
        .filter(|path| !reached.contains_key(*path))
        .map(|path| {
            Fault::of(path, "no target reaches this file; declare it with `mod` or delete it")
        })
        .collect()
}

/// Finds root files of libraries and programs that hold nothing or do not forbid unsafe code.
pub fn roots(texts: &BTreeMap<String, String>, roots: &[(String, Purpose)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let files: BTreeSet<&String> = roots
        .iter()
        .filter(|(_, purpose)| *purpose == Purpose::Production)
        .map(|(file, _)| file)
        .collect();
    for path in files {
        let Some(text) = texts.get(path) else { continue };
        let Ok(file) = syn::parse_file(text) else {
            faults.push(Fault::of(path, "does not parse"));
            continue;
        };
        if file.items.is_empty() {
            faults.push(Fault::of(path, "holds nothing; fill the crate or remove it"));
        }
        let may_be_unsafe =
            UNSAFE_ALLOWED.iter().any(|name| path.starts_with(&format!("crates/{name}/")));
        if !may_be_unsafe && !file.attrs.iter().any(forbids_unsafe) {
            faults.push(Fault::of(path, "lacks `#![forbid(unsafe_code)]`"));
        }
    }
    faults
}

/// Whether a crate root says `#![no_std]`.
pub fn is_no_std(file: &File) -> bool {
    file.attrs.iter().any(|attribute| attribute.path().is_ident("no_std"))
}

fn forbids_unsafe(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("forbid") && list.tokens.to_string().contains("unsafe_code")
}

/// `home` is the folder in which a `mod x;` of these items is looked for.
fn declared(
    items: &[Item],
    path: &str,
    home: &str,
    purpose: Purpose,
    texts: &BTreeMap<String, String>,
    waiting: &mut Vec<(String, Purpose, String)>,
) {
    for item in items {
        let Item::Mod(module) = item else { continue };
        let purpose = if is_test(&module.attrs) { Purpose::Test } else { purpose };
        let name = module.ident.to_string();
        let below = join(home, &name);
        if let Some((_, inner)) = &module.content {
            declared(inner, path, &below, purpose, texts, waiting);
        } else if let Some(file) = named_path(module) {
            let file = join(folder(path), &file);
            let next = folder(&file).to_owned();
            waiting.push((file, purpose, next));
        } else {
            let flat = format!("{below}.rs");
            let file = if texts.contains_key(&flat) { flat } else { format!("{below}/mod.rs") };
            waiting.push((file, purpose, below));
        }
    }
}

fn named_path(module: &ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(value) = &pair.value else { return None };
        let Lit::Str(value) = &value.lit else { return None };
        pair.path.is_ident("path").then(|| value.value())
    })
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Joins and resolves `..`.
fn join(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        if part == ".." {
            parts.pop();
        } else if part != "." {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    fn root(path: &str, purpose: Purpose) -> (String, Purpose) {
        (path.to_owned(), purpose)
    }

    #[test]
    fn modules_are_followed_in_every_form() {
        let texts = texts(&[
            (
                "crates/x/src/lib.rs",
                "mod a; mod b; mod c { mod d; } #[cfg(test)] mod t; #[path = \"odd/e.rs\"] mod e;",
            ),
            ("crates/x/src/a.rs", "mod inner;"),
            ("crates/x/src/a/inner.rs", ""),
            ("crates/x/src/b/mod.rs", "mod inner;"),
            ("crates/x/src/b/inner.rs", ""),
            ("crates/x/src/c/d.rs", ""),
            ("crates/x/src/t.rs", ""),
            ("crates/x/src/odd/e.rs", "mod f;"),
            ("crates/x/src/odd/f.rs", ""),
            ("crates/x/tests/it.rs", "mod world; #[path = \"../src/a.rs\"] mod a;"),
            ("crates/x/tests/world/mod.rs", ""),
        ]);
        let roots = [
            root("crates/x/tests/it.rs", Purpose::Test),
            root("crates/x/src/lib.rs", Purpose::Production),
        ];
        assert_eq!(dead_files(&texts, &roots), []);
        let reached = reach(&texts, &roots);
        assert_eq!(reached["crates/x/src/a.rs"], Purpose::Production);
        assert_eq!(reached["crates/x/src/t.rs"], Purpose::Test);
        assert_eq!(reached["crates/x/tests/world/mod.rs"], Purpose::Test);
    }

    #[test]
    fn a_file_nobody_declares_is_dead() {
        let texts = texts(&[
            ("crates/x/src/lib.rs", "mod a;"),
            ("crates/x/src/a.rs", ""),
            ("crates/x/src/b.rs", ""),
        ]);
        let faults = dead_files(&texts, &[root("crates/x/src/lib.rs", Purpose::Production)]);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].place, "crates/x/src/b.rs");
    }

    #[test]
    fn an_empty_crate_and_one_that_allows_unsafe_are_found() {
        let texts = texts(&[
            ("crates/x/src/lib.rs", "//! Nothing.\n#![forbid(unsafe_code)]"),
            ("crates/y/src/lib.rs", "pub fn y() {}"),
            ("crates/z/src/main.rs", "#![forbid(unsafe_code)]\nfn main() {}"),
        ]);
        let all: Vec<_> = texts.keys().map(|path| root(path, Purpose::Production)).collect();
        let faults = roots(&texts, &all);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].says.contains("holds nothing"));
        assert!(faults[1].says.contains("forbid(unsafe_code)"));
    }
}
