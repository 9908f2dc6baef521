//! Every rule of the house, applied to this repository.

use std::sync::LazyLock;

use postrider_tidy::{
    Fault, Repository, Source, arrows, features, finished,
    ledger::{self, Standard, Statements},
    length, plain, purity, reach, readme,
    supply::{self, Policy},
    version,
};

static REPOSITORY: LazyLock<Repository> =
    LazyLock::new(|| Repository::open().expect("the repository opens"));
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let text = REPOSITORY.text("deny.toml").expect("deny.toml is there");
    Policy::parse(&text).expect("deny.toml is a policy")
});

#[test]
fn manifests_follow_the_arrows() {
    let metadata = REPOSITORY.metadata();
    let packages: Vec<(String, String)> = metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let folder = package.manifest_path.parent().and_then(|folder| folder.file_name());
            (package.name.to_string(), folder.unwrap_or_default().to_owned())
        })
        .collect();
    none(arrows::manifests(&packages, &arrows::imports(metadata)));
}

#[test]
fn sources_follow_the_arrows() {
    none(arrows::sources(&sources()));
}

#[test]
fn pure_crates_depend_on_the_short_list() {
    none(supply::pure(&supply::pure_dependencies(REPOSITORY.metadata())));
}

#[test]
fn pure_crates_are_pure() {
    none(purity::check(&sources()));
}

#[test]
fn files_are_short() {
    none(length::files(&sources()));
}

#[test]
fn functions_are_short() {
    none(length::functions(&sources()));
}

#[test]
fn only_the_codec_and_the_link_match_on_version() {
    none(version::check(&sources()));
}

#[test]
fn every_file_is_reached() {
    let texts = REPOSITORY.rust_texts().expect("the sources are text");
    none(reach::dead_files(&texts, &REPOSITORY.targets().expect("targets lie in the workspace")));
}

#[test]
fn every_crate_holds_something_and_forbids_unsafe_code() {
    let texts = REPOSITORY.rust_texts().expect("the sources are text");
    none(reach::roots(&texts, &REPOSITORY.targets().expect("targets lie in the workspace")));
}

#[test]
fn nothing_is_unfinished() {
    none(finished::check(&sources()));
}

#[test]
fn texts_are_ascii_and_name_no_machine() {
    let mut faults = Vec::new();
    for file in REPOSITORY.files() {
        let bytes = REPOSITORY.bytes(file).expect("a listed file can be read");
        faults.extend(plain::ascii(file, &bytes));
        faults.extend(plain::machine(file, &bytes));
    }
    none(faults);
}

#[test]
fn licences_are_allowed() {
    none(supply::licences(&POLICY, &supply::packages(REPOSITORY.metadata())));
}

#[test]
fn packages_come_from_the_registry() {
    none(supply::sources(&POLICY, &supply::packages(REPOSITORY.metadata())));
}

#[test]
fn no_package_is_there_twice() {
    none(supply::duplicates(&POLICY, &supply::packages(REPOSITORY.metadata())));
}

#[test]
fn citations_exist_and_the_ledger_is_current() {
    let text = |standard: Standard| REPOSITORY.text(standard.file()).expect("the table is there");
    let statements = Statements::parse(&text(Standard::Mqtt311), &text(Standard::Mqtt5))
        .expect("the tables are whole");
    let plays = REPOSITORY.plays().expect("the plays are text");
    let (citations, faults) = ledger::collect(&statements, &sources(), &plays);
    none(faults);
    let on_disk = REPOSITORY.text(ledger::LEDGER).unwrap_or_default();
    let is_current = on_disk == ledger::write(&statements, &citations);
    assert!(is_current, "{} is out of date; renew it: {}", ledger::LEDGER, ledger::RENEW);
}

#[test]
fn the_first_program_of_the_readme_is_the_example() {
    let readme = REPOSITORY.text("README.md").expect("README.md is there");
    let example =
        REPOSITORY.text("crates/client/examples/first_program.rs").expect("the example is there");
    none(readme::check(&readme, &example));
}

#[test]
fn the_page_of_features_names_tests_that_exist() {
    let page = REPOSITORY.text(features::PAGE).expect("the page is there");
    none(features::check(&page, &features::tests(&sources())));
}

/// Parsed anew by each test: the syntax tree cannot be shared between threads.
fn sources() -> Vec<Source> {
    REPOSITORY.sources().expect("the sources parse")
}

fn none(faults: Vec<Fault>) {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), lines.join("\n"));
}
