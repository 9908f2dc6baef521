//! Imports go one way.
//!
//! ```text
//! wire <- proto <- hub        store, net: import none of ours
//! client  -> proto, store, net            broker -> hub, proto, store, net
//! testing -> client, broker               check, bench -> wire, net
//! cli     -> client, broker, check, bench, wire  sim -> wire, proto, hub
//! ```
//! Who may use `proto` may use `wire`, whose types it speaks. Tests may use more: see [`Arrows::tests`].

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Metadata};
use quote::ToTokens;

use crate::{Fault, Purpose, Source, tokens};

/// What one crate may import of ours.
#[derive(Clone, Copy, Debug)]
pub struct Arrows {
    /// Folder below `crates/`.
    pub folder: &'static str,
    /// Package name.
    pub package: &'static str,
    /// Folders of the crates that production code may import.
    pub production: &'static [&'static str],
    /// Folders of further crates that tests, benches and examples may import.
    pub tests: &'static [&'static str],
}

/// The arrows of the design, one row a crate.
pub const ARROWS: [Arrows; 14] = [
    arrows("wire", "postrider-wire", &[], &[]),
    arrows("proto", "postrider-proto", &["wire"], &[]),
    arrows("hub", "postrider-hub", &["wire", "proto"], &[]),
    arrows("store", "postrider-store", &[], &[]),
    arrows("net", "postrider-net", &[], &[]),
    arrows("client", "postrider", &["wire", "proto", "store", "net"], &["broker", "testing"]),
    arrows(
        "broker",
        "postrider-broker",
        &["wire", "proto", "hub", "store", "net"],
        &["client", "testing"],
    ),
    arrows("testing", "postrider-testing", &["client", "broker", "wire"], &[]),
    arrows("check", "postrider-check", &["wire", "net"], &["broker"]),
    arrows("bench", "postrider-bench", &["wire", "net"], &["broker"]),
    arrows("cli", "postrider-cli", &["wire", "client", "broker", "check", "bench"], &["testing"]),
    arrows("sim", "postrider-sim", &["wire", "proto", "hub"], &[]),
    arrows("crash", "postrider-crash", &["client", "broker", "wire", "sim"], &[]),
    arrows("tidy", "postrider-tidy", &[], &[]),
];

const fn arrows(
    folder: &'static str,
    package: &'static str,
    production: &'static [&'static str],
    tests: &'static [&'static str],
) -> Arrows {
    Arrows { folder, package, production, tests }
}

/// One dependency of a workspace package on another.
#[derive(Clone, Debug)]
pub struct Import {
    /// Package that declares it.
    pub from: String,
    /// Package it names.
    pub to: String,
    /// Whether only tests use it.
    pub purpose: Purpose,
}

/// The dependencies between workspace packages.
pub fn imports(metadata: &Metadata) -> Vec<Import> {
    let ours: Vec<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut imports = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in package.dependencies.iter().filter(|it| ours.contains(&it.name.as_str()))
        {
            let is_dev = dependency.kind == DependencyKind::Development;
            imports.push(Import {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                purpose: if is_dev { Purpose::Test } else { Purpose::Production },
            });
        }
    }
    imports
}

/// Judges the manifests: every package has a row in [`ARROWS`], every dependency is allowed there.
pub fn manifests(packages: &[(String, String)], imports: &[Import]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (package, folder) in packages {
        let is_known = ARROWS.iter().any(|row| row.package == package && row.folder == folder);
        if !is_known {
            faults.push(Fault::of(package, format!("crates/{folder} has no row in `ARROWS`")));
        }
    }
    for import in imports {
        let Some(row) = ARROWS.iter().find(|row| row.package == import.from) else { continue };
        if !allows(row, &import.to, import.purpose) {
            faults.push(Fault::of(&import.from, format!("depends on {}", import.to)));
        }
    }
    faults
}

/// Judges the sources: whatever names a crate of ours must be allowed to, also where the manifest is silent.
pub fn sources(sources: &[Source]) -> Vec<Fault> {
    let by_library: BTreeMap<String, &Arrows> =
        ARROWS.iter().map(|row| (row.package.replace('-', "_"), row)).collect();
    let mut faults = Vec::new();
    for source in sources {
        let Some(row) = ARROWS.iter().find(|row| row.folder == source.folder()) else { continue };
        for (file, purpose) in
            [(&source.production, Purpose::Production), (&source.whole, Purpose::Test)]
        {
            let tokens = tokens::flat(file.to_token_stream());
            for (at, token) in tokens.iter().enumerate() {
                let Some(target) = by_library.get(&token.text) else { continue };
                let is_path = tokens::reads(&tokens, at + 1, &[":", ":"])
                    && tokens.get(at.wrapping_sub(1)).is_none_or(|before| before.text != ":");
                let is_self = target.folder == row.folder;
                if is_path && !is_self && !allows(row, target.package, purpose) {
                    let says = format!("imports {}", target.package);
                    faults.push(Fault::at(&source.path, token.line, says));
                }
            }
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

fn allows(row: &Arrows, package: &str, purpose: Purpose) -> bool {
    let Some(target) = ARROWS.iter().find(|other| other.package == package) else { return false };
    row.production.contains(&target.folder)
        || (purpose == Purpose::Test
            && (row.tests.contains(&target.folder) || target.folder == row.folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(from: &str, to: &str, purpose: Purpose) -> Import {
        Import { from: from.to_owned(), to: to.to_owned(), purpose }
    }

    #[test]
    fn an_arrow_against_the_design_is_found() {
        for (from, to) in [
            ("postrider-wire", "postrider-proto"),
            ("postrider-proto", "postrider-hub"),
            ("postrider-store", "postrider-wire"),
            ("postrider", "postrider-hub"),
            ("postrider-bench", "postrider"),
            ("postrider-check", "postrider-proto"),
            ("postrider-broker", "postrider-cli"),
        ] {
            assert_eq!(
                manifests(&[], &[import(from, to, Purpose::Production)]).len(),
                1,
                "{from} -> {to}"
            );
        }
        assert_eq!(manifests(&[], &[import("postrider", "postrider-broker", Purpose::Test)]), []);
        assert_eq!(
            manifests(&[], &[import("postrider", "postrider-broker", Purpose::Production)]).len(),
            1
        );
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let packages = [("postrider-extra".to_owned(), "extra".to_owned())];
        assert_eq!(manifests(&packages, &[]).len(), 1);
    }

    #[test]
    fn an_import_in_a_source_is_judged_too() {
        let check = |path: &str, text: &str| {
            sources(&[Source::parse(path, text, Purpose::Production).unwrap()])
        };
        let bad = "fn f() {}\nuse postrider_hub::Hub;";
        assert_eq!(
            check("crates/client/src/a.rs", bad),
            [Fault::at("crates/client/src/a.rs", 2, "imports postrider-hub")]
        );
        assert_eq!(check("crates/net/src/a.rs", "fn f() { postrider::Session::new() }").len(), 1);
        assert_eq!(check("crates/net/src/a.rs", "fn f() { let postrider = 1; }"), []);
        assert_eq!(check("crates/cli/src/a.rs", "use postrider::Session;"), []);
        let in_tests = "#[cfg(test)] mod tests { use postrider_broker::Broker; }";
        assert_eq!(check("crates/client/src/a.rs", in_tests), []);
        assert_eq!(check("crates/wire/src/a.rs", in_tests).len(), 1);
    }
}
