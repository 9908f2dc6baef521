//! What happens in one run, drawn from its seed before it starts.

use postrider_proto::{
    Durability,
    wire::{QoS, Version},
};

use crate::Random;

mod extras;

/// One run: who takes part, what they do and what goes wrong.
#[derive(Clone, Debug)]
pub struct Script {
    /// Seed of everything.
    pub seed: u64,
    /// Hubs of the broker at its start, 1 to 3.
    pub hubs: u16,
    /// Whether hubs hand records to a disk and wait for it.
    pub is_durable: bool,
    /// Payloads above this many bytes are spooled.
    pub spool_above: u32,
    /// Receive Maximum that clients announce.
    pub receive_maximum: u16,
    /// Receive Maximum that the broker announces.
    pub receive_maximum_hub: u16,
    /// Most messages queued and in flight in a session of the broker.
    pub queue_max_hub: u32,
    /// The same in a client.
    pub queue_max_client: u32,
    /// Bytes of a queue that stay in memory where there is a disk.
    pub queue_resident_bytes_max: u64,
    /// Bytes of retained messages that stay in memory where there is a disk.
    pub retained_resident_bytes_max: u64,
    /// Whether records are handed to the operating system before they are synced, and processes end without a power cut.
    pub has_stages: bool,
    /// The clients; the last two look at retained messages when all is over.
    pub clients: Vec<Actor>,
    /// Actions by simulated time in milliseconds, in order.
    pub actions: Vec<(u64, Action)>,
}

/// One client.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Version it speaks.
    pub version: Version,
    /// Whether that version has properties.
    pub has_properties: bool,
    /// Whether it has a store.
    pub has_store: bool,
    /// Seconds for which its session outlives a connection; `u32::MAX` for ever.
    pub expiry_s: u32,
    /// Its will, with its delay in seconds.
    pub will: Option<(QoS, u32)>,
    /// Whether its program acknowledges messages itself.
    pub is_manual: bool,
    /// In which sense the broker has stored what this client hears of.
    pub durability: Durability,
    /// In which sense its own store has, `Process` or `Durable`.
    pub keeps: Durability,
    /// What it may subscribe to, and at which QoS. No two filters of one client overlap, so that copies can be counted.
    pub filters: Vec<(&'static str, QoS)>,
    /// Whether it comes when all is over.
    pub is_auditor: bool,
}

/// Who something happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// One client.
    Client(usize),
    /// The broker, with all its hubs.
    Broker,
}

/// What becomes of a CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It arrives.
    Kept,
    /// It is lost with its connection.
    Lost,
    /// The client crashes when it has read it.
    Crash,
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
        /// Whether it is retained.
        retain: bool,
        /// Seconds after which it expires.
        expiry_s: Option<u32>,
        /// Payload size in bytes (it is padded).
        size: usize,
    },
    /// A client subscribes to its filter with this index, or ends that subscription.
    Toggle(usize, usize),
    /// The link of a client is reset; what was under way is lost.
    Reset(usize),
    /// The client's end goes at once, the broker notices this many milliseconds later.
    HalfOpen(usize, u64),
    /// Nothing moves on the link of a client for so many milliseconds.
    Stall(usize, u64),
    /// A stranger connects with the identifier of this client and stays so many milliseconds.
    Stranger(usize, u64),
    /// A client is without network for so many milliseconds; then the next CONNACK meets its fate.
    Away {
        /// Which client.
        client: usize,
        /// Milliseconds.
        ms: u64,
        /// Its fate.
        answer: Answer,
    },
    /// A process ends without notice: what it handed to the operating system survives.
    Kill(Who),
    /// The processes of a client and the broker end without notice.
    KillBoth(usize),
    /// Crash, by a power cut: what was not synced is lost, or not.
    Crash(Who),
    /// Crash of a client and the broker at once.
    CrashBoth(usize),
    /// Stop in order, and start again.
    Stop(Who),
    /// The next sync fails.
    FailSync(Who),
    /// The disk is full for so many milliseconds.
    FillDisk(Who, u64),
    /// The disk is slow for so many milliseconds.
    SlowDisk(Who, u64),
}

const TOPICS: [&str; 5] = ["a/1", "a/2", "b/1", "c", "b/2/x"];
const FILTERS: [&[&str]; 6] =
    [&["a/+", "b/#"], &["#"], &["a/1", "c"], &["+/1", "c"], &["b/+/x", "a/2"], &[]];
const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
/// Publishes are mostly of the levels that promise something.
const PUBLISHED: [QoS; 5] =
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce];
const SHARED: &str = "$share/g/#";

impl Script {
    /// Draws a run.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut script = Self::plain(seed);
        script.extend();
        script
    }

    /// Draws a run without what was added later.
    #[must_use]
    pub fn plain(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let hubs = *random.pick(&[1, 1, 2, 2, 3]);
        let is_durable = random.chance(75);
        let spool_above = *random.pick(&[64, 300, 1024 * 1024]);
        let receive_maximum = *random.pick(&[1, 2, 5, 65_535]);
        let receive_maximum_hub = *random.pick(&[1, 3, 1024]);
        let queue_max_hub = if random.chance(12) { random.between(2, 8) as u32 } else { 100_000 };
        let queue_max_client =
            if random.chance(12) { random.between(2, 8) as u32 } else { 100_000 };
        let has_group = random.chance(15);
        let count = random.between(2, 4) as usize;
        let mut clients: Vec<_> = (0..count).map(|_| Actor::draw(&mut random)).collect();
        if has_group {
            for member in clients.iter_mut().skip(1) {
                member.filters = vec![(SHARED, *random.pick(&LEVELS))];
            }
        }
        let crashes = random.chance(80);
        let mut at = 5_000;
        let mut actions = Vec::new();
        for _ in 0..random.between(10, 120) {
            at += if random.chance(25) { random.between(0, 3) } else { random.between(0, 450) };
            let client = random.between(0, count as u64 - 1) as usize;
            let action = Action::draw(client, &clients[client], is_durable, crashes, &mut random);
            if matches!(action, Action::Crash(_) | Action::CrashBoth(_) | Action::FailSync(_)) {
                // So that some of it meets what was begun just before.
                at += random.between(0, 20);
            }
            actions.push((at, action));
        }
        clients.extend([Actor::auditor(), Actor::auditor()]);
        // Restarts took up no spools when this was first drawn.
        let restarts = |(_, action): &(u64, Action)| {
            matches!(
                action,
                Action::Crash(_) | Action::CrashBoth(_) | Action::Stop(_) | Action::FailSync(_)
            )
        };
        let has_restarts = actions.iter().any(restarts);
        let spool_above = if has_restarts { 1024 * 1024 } else { spool_above };
        Self {
            seed,
            hubs,
            is_durable,
            spool_above,
            receive_maximum,
            receive_maximum_hub,
            queue_max_hub,
            queue_max_client,
            // Drawn last, so that it changes nothing else of a seed.
            queue_resident_bytes_max: *random.pick(&[0, 2_000, 1024 * 1024]),
            retained_resident_bytes_max: *random.pick(&[0, 600, 1024 * 1024]),
            has_stages: false,
            clients,
            actions,
        }
    }
}

impl Actor {
    fn draw(random: &mut Random) -> Self {
        let has_properties = random.chance(50);
        let version = if has_properties { Version::V5 } else { Version::V311 };
        let chosen = *random.pick(&FILTERS);
        let filters = chosen.iter().map(|filter| (*filter, *random.pick(&LEVELS))).collect();
        let is_short = has_properties && random.chance(25);
        let expiry_s = if is_short { random.between(2, 8) as u32 } else { u32::MAX };
        let delay_s = if has_properties { *random.pick(&[0, 0, 2]) } else { 0 };
        let will = random.chance(30).then(|| (*random.pick(&LEVELS), delay_s));
        let has_store = random.chance(70);
        Self {
            version,
            has_properties,
            has_store,
            expiry_s,
            will,
            is_manual: false,
            durability: Durability::Durable,
            keeps: Durability::Durable,
            filters,
            is_auditor: false,
        }
    }

    fn auditor() -> Self {
        Self {
            version: Version::V5,
            has_properties: true,
            has_store: false,
            expiry_s: u32::MAX,
            will: None,
            is_manual: false,
            durability: Durability::Durable,
            keeps: Durability::Durable,
            filters: vec![("#", QoS::ExactlyOnce)],
            is_auditor: true,
        }
    }
}

impl Action {
    fn draw(
        client: usize,
        actor: &Actor,
        is_durable: bool,
        crashes: bool,
        random: &mut Random,
    ) -> Self {
        match random.between(0, 99) {
            0..=5 => Self::Reset(client),
            6..=9 => Self::HalfOpen(client, random.between(1, 3_000)),
            10..=12 => Self::Stall(client, random.between(100, 8_000)),
            13..=17 if !actor.filters.is_empty() => {
                let last = actor.filters.len() as u64 - 1;
                Self::Toggle(client, random.between(0, last) as usize)
            }
            18..=19 => Self::Stranger(client, random.between(10, 2_000)),
            20..=34 if crashes => Self::draw_crash(client, actor, is_durable, random),
            _ => {
                let topic = *random.pick(&TOPICS);
                let qos = *random.pick(&PUBLISHED);
                let has_expiry = actor.has_properties && random.chance(8);
                let expiry_s = has_expiry.then(|| random.between(1, 4) as u32);
                let size = random.between(16, 600) as usize;
                let retain = random.chance(15);
                Self::Publish { client, topic, qos, retain, expiry_s, size }
            }
        }
    }

    /// What goes wrong inside of a machine. A broker without a store forgets all, so it does not crash here.
    fn draw_crash(client: usize, actor: &Actor, is_durable: bool, random: &mut Random) -> Self {
        let has_broker = is_durable && random.chance(45);
        let who = if has_broker { Who::Broker } else { Who::Client(client) };
        match random.between(0, 14) {
            0..=5 => Self::Crash(who),
            6..=7 if is_durable => Self::CrashBoth(client),
            8 => Self::Stop(who),
            9..=10 if actor.has_store || has_broker => Self::FailSync(who),
            11..=12 if actor.has_store || has_broker => {
                Self::FillDisk(who, random.between(500, 5_000))
            }
            _ => Self::SlowDisk(who, random.between(500, 5_000)),
        }
    }
}
