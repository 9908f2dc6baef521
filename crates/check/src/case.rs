//! Cases: short plays in text.

use postrider_wire::{QoS, Version};

/// One play: a name, the statements it is about, and steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What a conforming broker does, as a sentence.
    pub name: String,
    /// Statements of the standards, as cited in the file.
    pub statements: String,
    /// Versions it is played in.
    pub versions: Vec<Version>,
    steps: Vec<(Option<Version>, Step)>,
}

/// What one actor does or expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Actor, an upper-case letter; each is a connection with a client id of its own.
    pub actor: char,
    /// The deed.
    pub deed: Deed,
}

/// A deed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deed {
    /// Opens a connection and expects to be accepted; `resume` asks for a session that lasts.
    Connect {
        /// Whether the session outlives the connection and is taken up again.
        is_resuming: bool,
    },
    /// Opens a connection without saying anything.
    Open,
    /// Sends a CONNECT on the connection that is open already.
    ConnectAgain,
    /// Sends raw bytes.
    Hex(Vec<u8>),
    /// Sends PUBLISH with packet id 7 above QoS 0, and carries out the exchange.
    Publish {
        /// Topic.
        topic: String,
        /// QoS.
        qos: QoS,
        /// RETAIN.
        retain: bool,
        /// Payload.
        payload: String,
    },
    /// Sends SUBSCRIBE and expects it to be granted.
    Subscribe {
        /// Filter.
        filter: String,
        /// QoS.
        qos: QoS,
    },
    /// Expects this packet next, in its one-line form; `*` at the end stands for anything.
    Expect(String),
    /// Expects the connection to be closed, whatever comes before.
    Closed,
    /// Sends PINGREQ and expects PINGRESP next: nothing else was sent.
    Quiet,
    /// Closes the connection without DISCONNECT.
    Drop,
}

/// A case file is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the cases, '{text}': {what}")]
pub struct CaseError {
    /// Line from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong.
    pub what: &'static str,
}

impl Case {
    /// The steps for one version.
    pub fn steps(&self, version: Version) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(move |(only, _)| only.is_none_or(|only| only == version))
            .map(|(_, step)| step)
    }
}

/// All cases that come with this crate.
///
/// # Errors
/// [`CaseError`] names the line.
pub fn cases() -> Result<Vec<Case>, CaseError> {
    let files = [
        include_str!("../cases/connect.txt"),
        include_str!("../cases/packets.txt"),
        include_str!("../cases/publish.txt"),
        include_str!("../cases/subscribe.txt"),
    ];
    let mut all = Vec::new();
    for file in files {
        all.extend(parse(file)?);
    }
    Ok(all)
}

fn parse(file: &str) -> Result<Vec<Case>, CaseError> {
    let mut all: Vec<Case> = Vec::new();
    for (index, text) in file.lines().enumerate() {
        let text = text.trim();
        let fail = |what| CaseError { line: index + 1, text: text.to_owned(), what };
        if text.is_empty() || text.starts_with("//") {
            continue;
        }
        if let Some(name) = text.strip_prefix("## ") {
            let (name, statements) = (name.to_owned(), String::new());
            all.push(Case { name, statements, versions: Vec::new(), steps: Vec::new() });
            continue;
        }
        let case = all.last_mut().ok_or_else(|| fail("a case begins with '## its name'"))?;
        if text.starts_with('v') {
            case.statements = text.to_owned();
            let named = [("v3.1.1 ", Version::V311), ("v5 ", Version::V5)];
            let found = named.iter().filter(|(name, _)| text.contains(name));
            case.versions = found.map(|(_, version)| *version).collect();
            continue;
        }
        let (only, rest) = match text.split_once(": ") {
            Some(("3", rest)) => (Some(Version::V311), rest),
            Some(("5", rest)) => (Some(Version::V5), rest),
            _ => (None, text),
        };
        case.steps.push((only, step(rest).map_err(fail)?));
    }
    Ok(all)
}

fn step(text: &str) -> Result<Step, &'static str> {
    let (actor, rest) = text.split_once(' ').ok_or("a step is 'ACTOR deed'")?;
    let mut letters = actor.chars();
    let (Some(actor @ 'A'..='Z'), None) = (letters.next(), letters.next()) else {
        return Err("an actor is one upper-case letter");
    };
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let words: Vec<_> = rest.split_whitespace().collect();
    let deed = match (verb, words.as_slice()) {
        ("connect", []) => Deed::Connect { is_resuming: false },
        ("connect", ["resume"]) => Deed::Connect { is_resuming: true },
        ("connect", ["again"]) => Deed::ConnectAgain,
        ("open", []) => Deed::Open,
        ("hex", bytes @ [_, ..]) => Deed::Hex(hex(bytes)?),
        ("publish", [topic, level, payload @ ..]) => {
            let retain = payload.first() == Some(&"retain");
            let payload = payload.get(usize::from(retain)..).unwrap_or_default().join(" ");
            Deed::Publish { topic: (*topic).to_owned(), qos: qos(level)?, retain, payload }
        }
        ("subscribe", [filter, level]) => {
            Deed::Subscribe { filter: (*filter).to_owned(), qos: qos(level)? }
        }
        ("expect", [_, ..]) => Deed::Expect(rest.trim().to_owned()),
        ("closed", []) => Deed::Closed,
        ("quiet", []) => Deed::Quiet,
        ("drop", []) => Deed::Drop,
        _ => return Err("no such deed, or not with these words"),
    };
    Ok(Step { actor, deed })
}

/// Hexadecimal bytes; a word in quotes stands for its ASCII bytes.
fn hex(words: &[&str]) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    for word in words {
        if let Some(text) = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            bytes.extend_from_slice(text.as_bytes());
        } else {
            let byte = u8::from_str_radix(word, 16);
            bytes.push(byte.map_err(|_| "bytes are two hexadecimal digits or 'text'")?);
        }
    }
    Ok(bytes)
}

fn qos(word: &str) -> Result<QoS, &'static str> {
    let bits = word.parse().map_err(|_| "QoS is 0, 1 or 2")?;
    QoS::from_bits(bits).ok_or("QoS is 0, 1 or 2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cases_are_understood_and_cite_statements() {
        let all = cases().unwrap();
        assert!(all.len() > 30);
        for case in &all {
            assert!(!case.versions.is_empty(), "{} has no version", case.name);
            assert!(case.statements.contains("[MQTT-"), "{} cites nothing", case.name);
            for version in &case.versions {
                let judges =
                    |step: &Step| matches!(step.deed, Deed::Expect(_) | Deed::Closed | Deed::Quiet);
                assert!(case.steps(*version).any(judges), "{} expects nothing", case.name);
            }
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (file, line, what) in [
            ("A connect", 1, "a case begins with '## its name'"),
            ("## x\nv5 [MQTT-1]\nA fly", 3, "no such deed, or not with these words"),
            ("## x\nAB connect", 2, "an actor is one upper-case letter"),
            ("## x\nA hex 1g", 2, "bytes are two hexadecimal digits or 'text'"),
            ("## x\nA subscribe a 3", 2, "QoS is 0, 1 or 2"),
        ] {
            let error = parse(file).unwrap_err();
            assert_eq!((error.line, error.what), (line, what));
        }
    }

    #[test]
    fn a_step_may_belong_to_one_version() {
        let file = "## x\nv5 [MQTT-1] v3.1.1 [MQTT-1]\nA open\n5: A hex e0 'ab'\n3: A closed";
        let case = parse(file).unwrap().remove(0);
        let deeds = |version| case.steps(version).map(|step| step.deed.clone()).collect::<Vec<_>>();
        assert_eq!(deeds(Version::V5), [Deed::Open, Deed::Hex(vec![0xe0, b'a', b'b'])]);
        assert_eq!(deeds(Version::V311), [Deed::Open, Deed::Closed]);
    }
}
