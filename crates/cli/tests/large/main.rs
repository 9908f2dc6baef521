//! Large payloads from end to end, each part a process of its own: `postrider broker` with a store, a publisher and a
//! subscriber with stores, and a crowd of subscribers that only count.
//!
//! ```text
//! cargo test -p postrider-cli --test large                                   kills, with 8 MiB; a few seconds
//! cargo test --release -p postrider-cli --test large -- measure              the largest legal message, 50 subscribers
//! cargo test --release -p postrider-cli --test large -- measure BYTES COUNT
//! cargo test --release -p postrider-cli --test large -- delay                what others notice of it
//! ```
//!
//! Publisher, subscriber and crowd are this program again, with other arguments (`roles.rs`).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod delay;
mod kills;
mod measure;
mod process;
mod proxy;
mod roles;

use std::{
    env, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["publish", url, store, path] => roles::publish(url, Path::new(store), path),
        ["subscribe", url, store] => roles::subscribe(url, Path::new(store)),
        ["crowd", place, count] => roles::crowd(place, count.parse().unwrap()),
        ["measure"] => measure::run(LARGEST, 50),
        ["measure", len, count] => measure::run(len.parse().unwrap(), count.parse().unwrap()),
        ["delay"] => delay::run(LARGEST),
        ["delay", len] => delay::run(len.parse().unwrap()),
        // What `cargo test` passes on is for its own harness.
        _ => {
            measure::run(8 << 20, 5);
            kills::all();
        }
    }
}

/// The longest payload to [`TOPIC`] at QoS 2 in 5.0: the remaining length less topic, packet identifier and the length of
/// no properties.
const LARGEST: u64 = 268_435_455 - (2 + TOPIC.len() as u64) - 2 - 1;
const TOPIC: &str = "large";

/// A folder with a file to publish, and room for the stores.
struct Place {
    folder: TempDir,
    sha256: String,
    /// All bytes added up.
    sum: u64,
}

impl Place {
    fn new(len: u64) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let mut file = fs::File::create(folder.path().join("payload"))?;
        let (mut hash, mut sum, mut state, mut left) = (Sha256::new(), 0, 1_u64, len);
        let mut piece = vec![0_u8; 1 << 16];
        while left > 0 {
            for eight in piece.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                eight.copy_from_slice(&state.to_le_bytes());
            }
            let part = &piece[..piece.len().min(usize::try_from(left).unwrap())];
            hash.update(part);
            sum += add_up(part);
            file.write_all(part)?;
            left -= part.len() as u64;
        }
        Ok(Self { folder, sha256: hexadecimal(&hash.finalize()), sum })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Files with payloads that a store has, by their lengths.
    fn spools(&self, store: &str) -> Vec<u64> {
        let Ok(files) = fs::read_dir(self.path(store).join("spools")) else { return Vec::new() };
        files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).collect()
    }
}

fn add_up(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(mut reader: impl Read) -> io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            count => hash.update(&piece[..count]),
        }
    }
}
