//! What happens in one run, drawn from its seed before it starts.

use postrider_proto::{
    SessionConfig,
    wire::{QoS, Version},
};

use crate::Random;

/// One run: who takes part, what they do and what goes wrong.
#[derive(Clone, Debug)]
pub struct Script {
    /// Seed of everything.
    pub seed: u64,
    /// Hubs of the broker, 1 or 2.
    pub hubs: u16,
    /// Whether hubs hand records to a (slow) disk and wait for it.
    pub is_durable: bool,
    /// Payloads above this many bytes are spooled.
    pub spool_above: u32,
    /// Bytes of a queue that stay in memory where there is a disk.
    pub queue_resident_bytes_max: u64,
    /// Receive Maximum that clients announce.
    pub receive_maximum: u16,
    /// The clients.
    pub clients: Vec<Actor>,
    /// Actions by simulated time in milliseconds, in order.
    pub actions: Vec<(u64, Action)>,
}

/// One client.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Version it speaks.
    pub version: Version,
    /// What it subscribes to, and at which QoS. No two filters of one client overlap, so that copies can be counted.
    pub filters: Vec<(&'static str, QoS)>,
}

/// One action.
#[derive(Clone, Debug)]
pub enum Action {
    /// A client publishes.
    Publish {
        /// Which client.
        client: usize,
        /// Topic.
        topic: &'static str,
        /// QoS.
        qos: QoS,
        /// Payload size in bytes (it is padded).
        size: usize,
    },
    /// The link of a client is reset; what was under way is lost.
    Reset(usize),
    /// The client's end goes at once, the broker notices this many milliseconds later.
    HalfOpen(usize, u64),
    /// Nothing moves on the link of a client for so many milliseconds.
    Stall(usize, u64),
}

const TOPICS: [&str; 5] = ["a/1", "a/2", "b/1", "c", "b/2/x"];
const FILTERS: [&[&str]; 6] =
    [&["a/+", "b/#"], &["#"], &["a/1", "c"], &["+/1", "c"], &["b/+/x", "a/2"], &[]];
const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

impl Script {
    /// Draws a run.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let hubs = if random.chance(50) { 1 } else { 2 };
        let is_durable = random.chance(50);
        let spool_above = *random.pick(&[64, 300, 1024 * 1024]);
        let receive_maximum = *random.pick(&[1, 2, 5, 65_535]);
        let count = random.between(2, 5) as usize;
        let clients: Vec<_> = (0..count).map(|_| Actor::draw(&mut random)).collect();
        let mut at = 5_000;
        let mut actions = Vec::new();
        for _ in 0..random.between(10, 120) {
            at += random.between(0, 400);
            let client = random.between(0, count as u64 - 1) as usize;
            actions.push((at, Action::draw(client, &mut random)));
        }
        // Drawn last, so that it changes nothing else of a seed.
        let queue_resident_bytes_max = *random.pick(&[0, 2_000, 1024 * 1024]);
        Self {
            seed,
            hubs,
            is_durable,
            spool_above,
            queue_resident_bytes_max,
            receive_maximum,
            clients,
            actions,
        }
    }

    /// Bounds of all sessions.
    pub(crate) fn session(&self) -> SessionConfig {
        let queue_resident_bytes_max = self.queue_resident_bytes_max;
        SessionConfig { queue_resident_bytes_max, ..SessionConfig::stored() }
    }
}

impl Actor {
    fn draw(random: &mut Random) -> Self {
        let version = if random.chance(50) { Version::V5 } else { Version::V311 };
        let chosen = *random.pick(&FILTERS);
        let filters = chosen.iter().map(|filter| (*filter, *random.pick(&LEVELS))).collect();
        Self { version, filters }
    }
}

impl Action {
    fn draw(client: usize, random: &mut Random) -> Self {
        match random.between(0, 99) {
            0..=9 => Self::Reset(client),
            10..=14 => Self::HalfOpen(client, random.between(1, 3_000)),
            15..=19 => Self::Stall(client, random.between(100, 8_000)),
            _ => {
                let topic = *random.pick(&TOPICS);
                let qos = *random.pick(&LEVELS);
                Self::Publish { client, topic, qos, size: random.between(16, 600) as usize }
            }
        }
    }
}
