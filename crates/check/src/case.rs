//! Cases: short plays in text.

use std::time::Duration;

use postrider_wire::{QoS, Version};

use crate::{family, hello::Hello, parse::parse, raw::Raw};

/// One play: a name, the statements it is about, and steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What a conforming broker does, as a sentence.
    pub name: String,
    /// Statements of the standards, as cited in the file.
    pub statements: String,
    /// Versions it is played in.
    pub versions: Vec<Version>,
    pub(crate) steps: Vec<(Option<Version>, Step)>,
}

/// What actors do or expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Upper-case letters; each is a connection with a client id of its own. Only [`Deed::One`] has several.
    pub(crate) actors: Vec<char>,
    pub(crate) deed: Deed,
}

/// A deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Opens a connection without saying anything.
    Open,
    /// Sends CONNECT on the open connection.
    Hello(Hello),
    /// Opens a connection, sends CONNECT, and expects to be accepted.
    Connect(Hello),
    /// Sends bytes as they are.
    Hex(Raw),
    /// Sends whole packets: lengths are counted.
    Send(Raw),
    /// Sends a PUBLISH and carries out the exchange.
    Publish(Message),
    /// Expects a PUBLISH and carries out the exchange.
    Receive(Message),
    /// Expects a PUBLISH in one copy or in several, and carries out the exchanges.
    Copies {
        message: Message,
        /// How many copies there are if it is more than one.
        count: usize,
        identifiers: Vec<u32>,
    },
    /// One of the actors gets a PUBLISH, the others get nothing.
    One(Message),
    /// Sends SUBSCRIBE and expects it to be granted.
    Subscribe { filter: String, options: u8, identifier: Option<u32> },
    /// Sends UNSUBSCRIBE and expects its answer.
    Unsubscribe(String),
    /// Expects one of these packets next, in its one-line form; `*` stands for anything.
    Expect(Vec<String>),
    /// As [`Deed::Expect`], but the connection may also end, and the play with it.
    Perhaps(Vec<String>),
    /// Expects one of these rows of bytes next.
    Bytes(Vec<Raw>),
    /// Expects this packet next, byte for byte.
    Comes(Raw),
    /// Expects the connection to be closed, in 5.0 with one of these reasons or without any.
    Ends(Vec<String>),
    /// Expects SUBACK with failures only, or the end as above.
    Rejects(Vec<String>),
    /// Expects the connection to be closed, whatever comes before.
    Closed,
    /// Sends PINGREQ and expects PINGRESP next: nothing else was sent.
    Quiet,
    /// Expects nothing for this time, and the connection to stay open.
    Still(Duration),
    /// Closes the connection without DISCONNECT, and waits until the broker knows.
    Drop,
    /// Sends DISCONNECT, and waits until the broker has closed.
    Leave,
    /// Uses each topic alias that the broker offers, below this topic, and expects what was published.
    Aliases(String),
    /// Opens one QoS 2 exchange more than the broker's Receive Maximum, and expects to be cut off for it.
    Overrun(String),
}

/// A message on its way to the broker or back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// `%` is the word of the play.
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) payload: Vec<u8>,
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
    pub(crate) fn steps(&self, version: Version) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(move |(only, _)| only.is_none_or(|only| only == version))
            .map(|(_, step)| step)
    }
}

/// All cases that come with this crate: those in text, and the families that are made of tables.
///
/// # Errors
/// [`CaseError`] names the line.
pub fn cases() -> Result<Vec<Case>, CaseError> {
    let files = [
        include_str!("../cases/authentication.txt"),
        include_str!("../cases/connect.txt"),
        include_str!("../cases/deliver.txt"),
        include_str!("../cases/keep_alive.txt"),
        include_str!("../cases/packets.txt"),
        include_str!("../cases/publish.txt"),
        include_str!("../cases/retain.txt"),
        include_str!("../cases/session.txt"),
        include_str!("../cases/shared.txt"),
        include_str!("../cases/subscribe.txt"),
        include_str!("../cases/topics.txt"),
        include_str!("../cases/will.txt"),
    ];
    let mut all = Vec::new();
    for file in files {
        all.extend(parse(file)?);
    }
    for family in family::all() {
        all.extend(parse(&family)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_cases_are_understood_and_cite_statements() {
        let all = cases().unwrap();
        assert!(all.len() > 500);
        let mut names = BTreeSet::new();
        for case in &all {
            assert!(names.insert(&case.name), "two cases are called '{}'", case.name);
            assert!(!case.versions.is_empty(), "{} has no version", case.name);
            assert!(case.statements.contains("[MQTT-"), "{} cites nothing", case.name);
            for version in &case.versions {
                let judges = |step: &Step| {
                    !matches!(
                        step.deed,
                        Deed::Open | Deed::Hello(_) | Deed::Hex(_) | Deed::Send(_) | Deed::Drop
                    )
                };
                assert!(case.steps(*version).any(judges), "{} expects nothing", case.name);
            }
        }
    }
}
