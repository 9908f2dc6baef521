//! How often named situations occurred.

use std::collections::BTreeMap;

/// Counts of situations by name, of one run or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_name: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Every situation that a long enough run must see, in the order in which they are shown.
    pub const NAMES: [&'static str; 98] = [
        "steps",
        "published",
        "delivered",
        "published offline",
        "published retained",
        "published with expiry",
        "packets looked at",
        "records written",
        "link: reset",
        "link: half open",
        "link: stalled",
        "link: moved to another hub",
        "link: taken over by its own client",
        "link: taken over by a stranger",
        "link: taken over with open flights",
        "lost: PUBLISH",
        "lost: PUBACK",
        "lost: PUBREC",
        "lost: PUBREL",
        "lost: PUBCOMP",
        "session: resumed",
        "session: clean start over an old one",
        "session: expired at the broker",
        "session: new, and the client not told",
        "session: new, and CONNACK lost",
        "resume: client awaits PUBACK",
        "resume: client awaits PUBREC",
        "resume: client awaits PUBCOMP",
        "resume: client awaits PUBREL",
        "resume: broker awaits PUBACK",
        "resume: broker awaits PUBREC",
        "resume: broker awaits PUBCOMP",
        "resume: broker awaits PUBREL",
        "sent again by a client",
        "sent again by the broker",
        "subscribed",
        "unsubscribed",
        "retained message replayed",
        "shared message delivered",
        "will published",
        "expired at the client",
        "dropped by the broker",
        "queue full at the client",
        "window full towards a client",
        "window full towards the broker",
        "message between hubs",
        "payload spooled",
        "page: read back by a client",
        "page: read back by the broker",
        "page: retained message read back",
        "crash: client with store",
        "crash: client without store",
        "crash: client that was recovered before",
        "crash: broker",
        "crash: client and broker",
        "crash: records lost",
        "crash: records survived unsynced",
        "crash: QoS 2 PUBLISH stored, not sent",
        "crash: PUBREC received and stored, PUBREL not sent",
        "crash: PUBREC stored, not sent",
        "crash: PUBREL taken, release not stored",
        "crash: finished, not stored",
        "crash: delivery forgotten with its record",
        "crash: publish lost before it was stored",
        "crash: number given out, not stored",
        "crash: will pending",
        "stop: client",
        "stop: broker",
        "restart: more hubs",
        "restart: fewer hubs",
        "restart: flights recovered by a client",
        "restart: flights recovered by the broker",
        "restart: QoS 2 message on its way between hubs",
        "restart: will on its way between hubs",
        "disk: slow",
        "disk: full",
        "disk: record waited for room",
        "disk: sync failed at a client",
        "disk: sync failed at the broker",
        "session: answer lost",
        "session: crash over the answer",
        "program: acknowledged",
        "program: acknowledged out of order",
        "program: acknowledged too late",
        "program: dropped",
        "program: redelivered",
        "crash: program had messages",
        "kill: client with store",
        "kill: broker",
        "power cut: handed records of a client lost",
        "power cut: handed records of the broker lost",
        "loose: process, by a power cut of the client",
        "loose: process, by a power cut of the broker",
        "loose: memory, by a crash of the broker",
        "restart: payload of a client kept",
        "restart: orphan removed by a client",
        "restart: payload of the broker kept",
        "restart: orphan removed by the broker",
    ];

    /// It happened once more.
    pub fn note(&mut self, name: &'static str) {
        self.more(name, 1);
    }

    /// It happened so many times more.
    pub fn more(&mut self, name: &'static str, times: u64) {
        debug_assert!(
            Self::NAMES.contains(&name),
            "a situation without a place in the list: {name}"
        );
        *self.by_name.entry(name).or_default() += times;
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (name, times) in &other.by_name {
            self.more(name, *times);
        }
    }

    /// How often it happened.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.by_name.get(name).copied().unwrap_or_default()
    }

    /// Every count with its name, in order.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Self::NAMES.iter().map(|name| (*name, self.of(name)))
    }
}
