//! The repository on disk: its files, its texts, its packages.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::{
    reach,
    source::{Purpose, Source},
};

/// The repository that this crate stands in.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
    files: Vec<String>,
    metadata: Metadata,
}

impl Repository {
    /// Lists the files that git tracks or would track, and asks cargo for the packages.
    ///
    /// # Errors
    /// If `git` or `cargo` cannot be run, or refuses.
    pub fn open() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.ancestors().nth(2).context("this crate stands in crates/tidy")?.to_owned();
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("git ls-files")?;
        ensure!(
            listed.status.success(),
            "git ls-files: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
        let mut files: Vec<String> = String::from_utf8(listed.stdout)?
            .lines()
            .filter(|file| root.join(file).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).exec()?;
        Ok(Self { root, files, metadata })
    }

    /// Paths of all files, relative to the root, sorted.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The whole dependency graph, all platforms.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// An absolute path from one inside the repository.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn bytes(&self, file: &str) -> Result<Vec<u8>> {
        fs::read(self.path(file)).with_context(|| file.to_owned())
    }

    /// The text of a file.
    ///
    /// # Errors
    /// If the file cannot be read or is not UTF-8.
    pub fn text(&self, file: &str) -> Result<String> {
        String::from_utf8(self.bytes(file)?).with_context(|| file.to_owned())
    }

    /// The texts of all Rust files below `crates/`, by path.
    ///
    /// # Errors
    /// If a file cannot be read or is not UTF-8.
    pub fn rust_texts(&self) -> Result<BTreeMap<String, String>> {
        self.files
            .iter()
            .filter(|file| file.starts_with("crates/") && file.ends_with(".rs"))
            .map(|file| Ok((file.clone(), self.text(file)?)))
            .collect()
    }

    /// The plays of the conformance judge, `crates/*/cases/*.txt`: path and text.
    ///
    /// # Errors
    /// If a file cannot be read or is not UTF-8.
    pub fn plays(&self) -> Result<Vec<(String, String)>> {
        self.files
            .iter()
            .filter(|file| {
                file.starts_with("crates/") && file.contains("/cases/") && file.ends_with(".txt")
            })
            .map(|file| Ok((file.clone(), self.text(file)?)))
            .collect()
    }

    /// The root file of every target of every workspace package, and what the target is for.
    ///
    /// # Errors
    /// If a target lies outside of the repository.
    pub fn targets(&self) -> Result<Vec<(String, Purpose)>> {
        let mut targets = Vec::new();
        for package in self.metadata.workspace_packages() {
            for target in &package.targets {
                let file = target.src_path.as_std_path().strip_prefix(&self.root)?;
                let file = file.to_str().context("a path in UTF-8")?.to_owned();
                let is_test = target.is_test() || target.is_bench() || target.is_example();
                targets.push((file, if is_test { Purpose::Test } else { Purpose::Production }));
            }
        }
        Ok(targets)
    }

    /// Every Rust file that a target reaches, parsed.
    ///
    /// # Errors
    /// If a file cannot be read or is not Rust.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let texts = self.rust_texts()?;
        let reached = reach::reach(&texts, &self.targets()?);
        reached
            .into_iter()
            .filter_map(|(file, purpose)| Some((texts.get(&file)?, file, purpose)))
            .map(|(text, file, purpose)| Source::parse(&file, text, purpose))
            .collect()
    }
}
