//! What we take from others: licences, sources, versions; and what pure crates may take at all.
//!
//! The policy stands in `deny.toml`, once, in the format of cargo-deny; this module applies the three parts of it
//! that need no network.

use anyhow::{Context, Result};
use cargo_metadata::{
    DependencyKind, Metadata,
    semver::{Version, VersionReq},
};
use spdx::{Expression, ParseMode};
use toml::{Table, Value};

use crate::{Fault, purity::PURE};

/// External crates that pure crates may use. One more needs a decision record; see `docs/decisions/001`.
pub const PURE_DEPENDENCIES: [&str; 7] =
    ["bytes", "foldhash", "hashbrown", "indexmap", "memchr", "slab", "smallvec"];

/// The parts of `deny.toml` that are applied here.
#[derive(Debug)]
pub struct Policy {
    licences: Vec<String>,
    registries: Vec<String>,
    duplicates: Vec<Duplicate>,
}

/// A second version of a package that is put up with.
#[derive(Debug)]
struct Duplicate {
    name: String,
    versions: VersionReq,
}

/// What the policy asks of a package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Package version.
    pub version: Version,
    /// Licence expression; `None` if the package names none.
    pub licence: Option<String>,
    /// Where it comes from; `None` for a path.
    pub source: Option<String>,
    /// Whether it is a member of the workspace.
    pub is_ours: bool,
}

impl Policy {
    /// Reads the text of `deny.toml`.
    ///
    /// # Errors
    /// If the text is not TOML, a key is missing, or an exception has no reason.
    pub fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse()?;
        let licences = strings(&table, "licenses", "allow")?;
        let registries = strings(&table, "sources", "allow-registry")?;
        let skip = key(&table, "bans", "skip")?.as_array().context("bans.skip is a list")?;
        let duplicates = skip.iter().map(Duplicate::parse).collect::<Result<_>>()?;
        Ok(Self { licences, registries, duplicates })
    }
}

impl Duplicate {
    fn parse(value: &Value) -> Result<Self> {
        let entry =
            value.get("crate").and_then(Value::as_str).context("bans.skip without a crate")?;
        let reason = value.get("reason").and_then(Value::as_str).unwrap_or("");
        anyhow::ensure!(!reason.is_empty(), "bans.skip: {entry} has no reason");
        let (name, versions) =
            entry.split_once('@').with_context(|| format!("{entry}: name@version"))?;
        Ok(Self { name: name.to_owned(), versions: versions.parse()? })
    }

    fn covers(&self, package: &Package) -> bool {
        self.name == package.name && self.versions.matches(&package.version)
    }
}

/// All packages of the graph.
pub fn packages(metadata: &Metadata) -> Vec<Package> {
    let packages = metadata.packages.iter().map(|package| Package {
        name: package.name.to_string(),
        version: package.version.clone(),
        licence: package.license.clone(),
        source: package.source.as_ref().map(|source| source.repr.clone()),
        is_ours: metadata.workspace_members.contains(&package.id),
    });
    packages.collect()
}

/// Finds packages whose licence expression cannot be met with the licences allowed.
pub fn licences(policy: &Policy, packages: &[Package]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in packages {
        let text = package.licence.as_deref().unwrap_or("");
        let is_met = Expression::parse_mode(text, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|wanted| policy.licences.contains(&wanted.to_string()))
        });
        if !is_met {
            faults.push(Fault::of(&package.name, format!("licence `{text}` is not on the list")));
        }
    }
    faults
}

/// Finds packages that come neither from an allowed registry nor from this workspace.
pub fn sources(policy: &Policy, packages: &[Package]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in packages {
        let is_allowed = match &package.source {
            None => package.is_ours,
            Some(source) => source
                .strip_prefix("registry+")
                .is_some_and(|registry| policy.registries.iter().any(|known| known == registry)),
        };
        if !is_allowed {
            let source = package.source.as_deref().unwrap_or("a path outside of the workspace");
            faults.push(Fault::of(&package.name, format!("comes from {source}")));
        }
    }
    faults
}

/// Finds packages present in two versions, and exceptions that nothing needs.
pub fn duplicates(policy: &Policy, packages: &[Package]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in packages {
        let is_excused = policy.duplicates.iter().any(|duplicate| duplicate.covers(package));
        let newer = packages.iter().find(|other| {
            other.name == package.name
                && other.version != package.version
                && !policy.duplicates.iter().any(|duplicate| duplicate.covers(other))
                && other.version > package.version
        });
        if let (Some(newer), false) = (newer, is_excused) {
            let says = format!("is there as {} and as {}", package.version, newer.version);
            faults.push(Fault::of(&package.name, says));
        }
    }
    for duplicate in &policy.duplicates {
        let versions = packages.iter().filter(|package| package.name == duplicate.name).count();
        let is_needed = versions > 1 && packages.iter().any(|package| duplicate.covers(package));
        if !is_needed {
            let says = format!(
                "deny.toml excuses version {}, which is not a second one",
                duplicate.versions
            );
            faults.push(Fault::of(&duplicate.name, says));
        }
    }
    faults
}

/// The external dependencies of the pure crates, tests left out: package and dependency.
pub fn pure_dependencies(metadata: &Metadata) -> Vec<(String, String)> {
    let ours: Vec<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut found = Vec::new();
    for package in metadata.workspace_packages() {
        let is_pure =
            PURE.iter().any(|folder| package.name.as_str() == format!("postrider-{folder}"));
        for dependency in &package.dependencies {
            let is_used = dependency.kind != DependencyKind::Development;
            if is_pure && is_used && !ours.contains(&dependency.name.as_str()) {
                found.push((package.name.to_string(), dependency.name.clone()));
            }
        }
    }
    found
}

/// Finds dependencies of pure crates that are not on the list.
pub fn pure(dependencies: &[(String, String)]) -> Vec<Fault> {
    dependencies
        .iter()
        .filter(|(_, dependency)| !PURE_DEPENDENCIES.contains(&dependency.as_str()))
        .map(|(package, dependency)| {
            Fault::of(package, format!("is pure and uses {dependency}: see docs/decisions/001"))
        })
        .collect()
}

fn strings(table: &Table, section: &str, name: &str) -> Result<Vec<String>> {
    let list =
        key(table, section, name)?.as_array().with_context(|| format!("{section}.{name}"))?;
    let texts = list.iter().map(|value| value.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().with_context(|| format!("{section}.{name} is a list of strings"))
}

fn key<'a>(table: &'a Table, section: &str, name: &str) -> Result<&'a Value> {
    let value = table.get(section).and_then(|section| section.get(name));
    value.with_context(|| format!("deny.toml has no {section}.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "https://github.com/rust-lang/crates.io-index";

    fn policy(skip: &str) -> Policy {
        let text = format!(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Unicode-3.0\", \"Apache-2.0 WITH LLVM-exception\"]\n\
             [bans]\nskip = [{skip}]\n[sources]\nallow-registry = [\"{REGISTRY}\"]\n"
        );
        Policy::parse(&text).unwrap()
    }

    fn package(name: &str, version: &str, licence: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            licence: Some(licence.to_owned()),
            source: Some(format!("registry+{REGISTRY}")),
            is_ours: false,
        }
    }

    #[test]
    fn licences_are_judged_as_expressions() {
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(licences(&policy(""), &[package("a", "1.0.0", good)]), [], "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "",
            "no such licence",
            "Apache-2.0 WITH GCC-exception-3.1",
        ] {
            assert_eq!(licences(&policy(""), &[package("a", "1.0.0", bad)]).len(), 1, "{bad}");
        }
        let unnamed = Package { licence: None, ..package("a", "1.0.0", "MIT") };
        assert_eq!(licences(&policy(""), &[unnamed]).len(), 1);
    }

    #[test]
    fn only_the_registry_and_the_workspace_are_sources() {
        let from = |source: Option<&str>, is_ours| Package {
            source: source.map(str::to_owned),
            is_ours,
            ..package("a", "1.0.0", "MIT")
        };
        assert_eq!(sources(&policy(""), &[package("a", "1.0.0", "MIT"), from(None, true)]), []);
        assert_eq!(sources(&policy(""), &[from(None, false)]).len(), 1);
        assert_eq!(
            sources(&policy(""), &[from(Some("git+https://example.org/a"), false)]).len(),
            1
        );
        assert_eq!(
            sources(&policy(""), &[from(Some("registry+https://example.org/"), false)]).len(),
            1
        );
    }

    #[test]
    fn a_second_version_needs_an_excuse_and_an_excuse_a_second_version() {
        let excuse = "{ crate = \"a@1\", reason = \"b still wants it\" }";
        let two = [package("a", "1.4.0", "MIT"), package("a", "2.0.0", "MIT")];
        let three = [two.as_slice(), &[package("a", "3.0.0", "MIT")]].concat();
        assert_eq!(duplicates(&policy(""), &two).len(), 1);
        assert_eq!(duplicates(&policy(excuse), &two), []);
        assert_eq!(duplicates(&policy(excuse), &three).len(), 1);
        assert_eq!(duplicates(&policy(excuse), &two[1..]).len(), 1);
        assert_eq!(duplicates(&policy(excuse), &[]).len(), 1);
    }

    #[test]
    fn an_excuse_without_a_reason_is_an_error() {
        let text = "[licenses]\nallow = []\n[bans]\nskip = [{ crate = \"a@1\" }]\n[sources]\nallow-registry = []\n";
        assert!(Policy::parse(text).unwrap_err().to_string().contains("no reason"));
        assert!(Policy::parse("[licenses]\n").is_err());
    }

    #[test]
    fn a_dependency_of_a_pure_crate_must_be_on_the_list() {
        let dependency = |name: &str| ("postrider-hub".to_owned(), name.to_owned());
        assert_eq!(pure(&[dependency("foldhash"), dependency("slab")]), []);
        assert_eq!(pure(&[dependency("rand")]).len(), 1);
    }
}
