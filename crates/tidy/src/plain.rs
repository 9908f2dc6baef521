//! Plain text: ASCII, and nothing of the machine it was written on.

use crate::Fault;

/// Endings of files that hold text of ours.
const TEXT: [&str; 10] =
    [".rs", ".md", ".toml", ".sh", ".txt", ".tsv", ".yml", ".yaml", ".json", ".gitignore"];
/// Text files without an ending.
const SCRIPTS: [&str; 2] = ["test", ".ci/run"];

/// Finds characters outside of ASCII, and tabs where they are not data.
pub fn ascii(file: &str, bytes: &[u8]) -> Vec<Fault> {
    if !is_text(file) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if let Some(column) = line.iter().position(|byte| !byte.is_ascii()) {
            let says = format!("byte {} of the line is not ASCII", column + 1);
            faults.push(Fault::at(file, index + 1, says));
        }
        if line.ends_with(b"\r") {
            faults.push(Fault::at(file, index + 1, "ends with a carriage return"));
        }
    }
    faults
}

/// Finds paths and host names that only exist where the file was written.
pub fn machine(file: &str, bytes: &[u8]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
        for banned in banned() {
            if line.contains(&banned) {
                faults.push(Fault::at(file, index + 1, format!("names `{banned}`")));
            }
        }
    }
    faults
}

fn is_text(file: &str) -> bool {
    SCRIPTS.contains(&file) || TEXT.iter().any(|ending| file.ends_with(ending))
}

/// Written in halves, so that this file does not break its own rule.
fn banned() -> Vec<String> {
    let halves = [
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("../sha", "red"),
        ("/tmp/tar", "get"),
        ("index.cra", "tes.io"),
        ("static.cra", "tes.io"),
        ("pypi.o", "rg/simple"),
        ("registry.np", "mjs.org"),
        ("proxy.gol", "ang.org"),
    ];
    halves.iter().map(|(first, second)| format!("{first}{second}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_outside_of_ascii_is_found() {
        let faults = ascii("docs/a.md", "one\ntwo \u{2192} three\n".as_bytes());
        assert_eq!(faults, [Fault::at("docs/a.md", 2, "byte 5 of the line is not ASCII")]);
        assert_eq!(ascii("test", b"a\r\nb\n").len(), 1);
        assert_eq!(ascii("docs/a.md", b"plain\n"), []);
        assert_eq!(ascii("fuzz/corpus/a.bin", &[0xff]), []);
    }

    #[test]
    fn every_machine_path_is_found() {
        for banned in banned() {
            assert_eq!(machine("a", format!("x\nsee {banned}y").as_bytes()).len(), 1, "{banned}");
        }
        assert_eq!(machine("a", b"https://github.com/postrider/postrider"), []);
    }
}
