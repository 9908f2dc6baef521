//! What a publisher knows of its messages, in a file that survives it.
//!
//! A line is written by one call before the program goes on, so that a kill leaves whole lines and at most the beginning
//! of one.
//!
//! ```text
//! begun QOS NUMBER .       it is about to be published: it may arrive
//! accepted QOS NUMBER .    the session has stored it, or the broker acknowledged it: it must arrive
//! ```

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// A journal that is written.
#[derive(Debug)]
pub(crate) struct Journal(File);

/// What a journal says of one QoS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Begun {
    /// The last number that was begun; numbers begin with 1.
    pub(crate) last: u64,
    pub(crate) accepted: BTreeSet<u64>,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        // Ends what a kill may have left.
        file.write_all(b"\n")?;
        Ok(Self(file))
    }

    pub(crate) fn begin(&mut self, qos: u8, number: u64) -> io::Result<()> {
        self.0.write_all(format!("begun {qos} {number} .\n").as_bytes())
    }

    pub(crate) fn accept(&mut self, qos: u8, number: u64) -> io::Result<()> {
        self.0.write_all(format!("accepted {qos} {number} .\n").as_bytes())
    }
}

/// Reads a journal; of QoS 1 and of QoS 2.
pub(crate) fn read(path: &Path) -> io::Result<[Begun; 2]> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut found = [Begun::default(), Begun::default()];
    for line in text.lines() {
        let mut words = line.split(' ');
        // The point is missing in a line that a kill cut off.
        let (Some(word), Some(qos), Some(number), Some("."), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let begun = match qos {
            "1" => &mut found[0],
            "2" => &mut found[1],
            _ => continue,
        };
        let Ok(number) = number.parse() else { continue };
        match word {
            "begun" => begun.last = begun.last.max(number),
            "accepted" => _ = begun.accepted.insert(number),
            _ => (),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_cut_anywhere_gives_the_lines_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        for number in [9, 10, 11] {
            journal.begin(2, number).unwrap();
            journal.accept(2, number).unwrap();
        }
        let text = fs::read(&path).unwrap();
        for len in 0..text.len() {
            fs::write(&path, &text[..len]).unwrap();
            let points = text[..len].iter().filter(|byte| **byte == b'.').count();
            let accepted: BTreeSet<u64> = (9..).take(points / 2).collect();
            // Another process goes on behind the cut.
            Journal::open(&path).unwrap().begin(1, 5).unwrap();
            let [one, two] = read(&path).unwrap();
            assert_eq!((one.last, one.accepted.len()), (5, 0));
            assert_eq!(two.last, [0, 9, 9, 10, 10, 11, 11][points]);
            assert_eq!(two.accepted, accepted);
        }
    }
}
