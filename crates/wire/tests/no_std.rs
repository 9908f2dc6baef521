//! The crate works in a program that has no standard library.
#![cfg(unix)]

use std::{fs, path::Path, process::Command};

/// Builds `tests/no_std`, links it for this host and runs it.
///
/// The package is copied below the target directory, with the workspace's lock file: so it uses the
/// dependencies that are here already, and the source tree stays as it is.
#[test]
fn a_program_without_std_encodes_and_decodes() {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = wire.ancestors().nth(2).expect("crates/wire is two below the root");
    let source = root.join("tests/no_std");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_std");
    fs::create_dir_all(copy.join("src")).expect("a folder for the copy");
    let manifest = fs::read_to_string(source.join("Cargo.toml")).expect("the manifest");
    let path = format!("path = {:?}", wire.display().to_string());
    let manifest = manifest.replace("path = \"../../crates/wire\"", &path);
    assert!(manifest.contains(&path), "the manifest names the crate in another way");
    fs::write(copy.join("Cargo.toml"), manifest).expect("the manifest");
    fs::copy(source.join("src/main.rs"), copy.join("src/main.rs")).expect("the program");
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).expect("the lock file");

    let target = copy.join("target");
    let build = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(copy.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .expect("cargo runs");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let status = Command::new(target.join("debug/postrider-no-std")).status().expect("it runs");
    assert_eq!(status.code(), Some(0), "the status is the step that failed");
}
