//! Which faults come: everything is drawn from the seed.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use postrider_sim::Random;

use super::line::{Blow, Outage};
use crate::flight::{SIDES, STAGES, Side, Stage};

/// What may happen in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sky {
    /// Faults of the network.
    Network,
    /// And kills of the broker.
    NetworkAndBroker,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Closed by FIN.
    Close,
    /// Closed by RST.
    Reset,
    /// Closed in the middle of a packet.
    Tear,
    /// Dead, and nobody is told.
    HalfOpen,
    /// Nothing arrives for a while.
    Stall,
    /// Closed, and new connections are refused for a while.
    Refuse,
    /// Dead, and new connections are too for a while.
    Swallow,
    /// SIGKILL for the broker, which is started again.
    Kill,
}

pub(crate) const KINDS: [Kind; 8] = [
    Kind::Close,
    Kind::Reset,
    Kind::Tear,
    Kind::HalfOpen,
    Kind::Stall,
    Kind::Refuse,
    Kind::Swallow,
    Kind::Kill,
];

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The lines that it strikes, by index; the exchange is caught on the first one.
    pub(crate) lines: Vec<usize>,
    /// The stage to catch; none for a random moment.
    pub(crate) stage: Option<Stage>,
    /// The packet that was caught does not arrive.
    pub(crate) is_lost: bool,
    /// How long it lasts, where it lasts.
    pub(crate) duration: Duration,
    /// For what is left open.
    pick: u64,
}

/// Draws one fault after the other.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    sky: Sky,
    sides: Vec<Side>,
    random: Random,
    // Decks: each is drawn to its end before it begins again, so that none waits for long.
    kinds: Vec<Kind>,
    aims: Vec<(Side, Stage)>,
}

impl Weather {
    /// `sides` are those of the lines.
    pub(crate) fn new(sky: Sky, sides: Vec<Side>, seed: u64) -> Self {
        Self { sky, sides, random: Random::new(seed), kinds: Vec::new(), aims: Vec::new() }
    }

    /// How long until the next fault.
    pub(crate) fn pause(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.between(longest / 3, longest))
    }

    pub(crate) fn fault(&mut self) -> Fault {
        let random = &mut self.random;
        // Kills come more often than others, where there are any.
        let kind = if self.sky == Sky::NetworkAndBroker && random.chance(20) {
            Kind::Kill
        } else {
            draw(&mut self.kinds, self.sky.kinds(), random)
        };
        let aims: Vec<_> = SIDES.iter().flat_map(|side| STAGES.map(|it| (*side, it))).collect();
        let aim = (!random.chance(20)).then(|| draw(&mut self.aims, &aims, random));
        let mut left: Vec<usize> = (0..self.sides.len()).collect();
        // One session in most cases, else some, sometimes all.
        let lines = left.len() as u64;
        let count = match random.between(0, 9) {
            0..6 => 1,
            6..9 => random.between(2, lines),
            _ => lines,
        };
        // The first one is where the exchange is caught.
        let is_fit =
            |line: &usize| aim.is_none_or(|(side, _)| self.sides.get(*line) == Some(&side));
        let fit: Vec<usize> = left.iter().copied().filter(is_fit).collect();
        let mut struck = vec![*random.pick(&fit)];
        left.retain(|line| !struck.contains(line));
        while (struck.len() as u64) < count {
            struck.push(left.swap_remove((random.draw() % left.len() as u64) as usize));
        }
        let longest = match kind {
            Kind::Stall | Kind::Swallow => STALL_MS_MAX,
            Kind::Close | Kind::Reset | Kind::Tear | Kind::HalfOpen | Kind::Refuse | Kind::Kill => {
                OUTAGE_MS_MAX
            }
        };
        Fault {
            kind,
            lines: struck,
            stage: aim.map(|(_, stage)| stage),
            is_lost: random.chance(50),
            duration: Duration::from_millis(random.between(0, longest)),
            pick: random.draw(),
        }
    }
}

/// Takes one of a deck, which begins again with `all`.
fn draw<T: Copy>(deck: &mut Vec<T>, all: &[T], random: &mut Random) -> T {
    if deck.is_empty() {
        deck.extend_from_slice(all);
    }
    let at = random.draw() % deck.len() as u64;
    deck.swap_remove(at as usize)
}

impl Fault {
    /// What the lines are struck with, and what becomes of new connections.
    pub(crate) fn blow(&self) -> (Blow, Option<Outage>) {
        let until = Instant::now() + self.duration;
        let is_broker_told = self.pick.is_multiple_of(2);
        match self.kind {
            Kind::Close => (Blow::Close, None),
            Kind::Reset => (Blow::Reset, None),
            Kind::Tear => (Blow::Tear((self.pick % 1000) as u16), None),
            Kind::HalfOpen => (Blow::Mute { is_broker_told }, None),
            Kind::Stall => (Blow::Stall(until), None),
            Kind::Refuse => (Blow::Reset, Some(Outage::Refuse(until))),
            Kind::Swallow => (Blow::Mute { is_broker_told }, Some(Outage::Swallow(until))),
            // The broker's end hears of it by itself; what was held may have reached it or not.
            Kind::Kill if self.is_lost => (Blow::Reset, None),
            Kind::Kill => (Blow::None, None),
        }
    }

    pub(crate) fn pick(&self) -> u64 {
        self.pick
    }
}

impl Sky {
    pub(crate) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Network => KINDS.split_last().map_or(&KINDS, |(_, others)| others),
            Self::NetworkAndBroker => &KINDS,
        }
    }
}

/// What was hit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    faults: BTreeMap<Kind, u64>,
    /// Connections by what was open on them.
    hits: BTreeMap<(Kind, Option<(Side, Stage)>), u64>,
}

impl Tally {
    pub(crate) fn fault(&mut self, kind: Kind) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(crate) fn hit(&mut self, kind: Kind, open: Option<(Side, Stage)>) {
        *self.hits.entry((kind, open)).or_default() += 1;
    }

    pub(crate) fn faults(&self, kind: Kind) -> u64 {
        self.faults.get(&kind).copied().unwrap_or(0)
    }

    /// Connections that were struck while such an exchange was open, or none was.
    pub(crate) fn hits(&self, kind: Kind, open: Option<(Side, Stage)>) -> u64 {
        self.hits.get(&(kind, open)).copied().unwrap_or(0)
    }

    /// How often the rarest kind came, or the stage that was hit most rarely was hit.
    pub(crate) fn fewest(&self, sky: Sky) -> u64 {
        let kinds = sky.kinds().iter();
        let of_kinds = kinds.clone().map(|kind| self.faults(*kind)).min().unwrap_or(0);
        let stages = SIDES.into_iter().flat_map(|side| STAGES.map(|stage| Some((side, stage))));
        let of_stages = stages.map(|open| kinds.clone().map(|kind| self.hits(*kind, open)).sum());
        of_stages.min().unwrap_or(0).min(of_kinds)
    }
}

impl fmt::Display for Sky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "faults of the network",
            Self::NetworkAndBroker => "faults of the network, and kills of the broker",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close => "closed (FIN)",
            Self::Reset => "reset (RST)",
            Self::Tear => "reset in the middle of a packet",
            Self::HalfOpen => "half-open",
            Self::Stall => "stalled",
            Self::Refuse => "refused for a while",
            Self::Swallow => "silent for a while",
            Self::Kill => "broker killed",
        })
    }
}

/// Longest time that new connections are refused or the broker is away, in milliseconds.
const OUTAGE_MS_MAX: u64 = 1500;
/// Longest silence, in milliseconds: some are longer than the client waits (3 s), and most are not.
const STALL_MS_MAX: u64 = 5000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_faults_and_all_kinds_come() {
        let sides: Vec<Side> = (0..8).map(|line| SIDES[line / 4]).collect();
        let draw = |sky| {
            let mut weather = Weather::new(sky, sides.clone(), 7);
            let mut faults = Vec::new();
            for _ in 0..300 {
                faults.push(weather.fault());
            }
            faults
        };
        for sky in [Sky::Network, Sky::NetworkAndBroker] {
            let faults = draw(sky);
            assert_eq!(format!("{faults:?}"), format!("{:?}", draw(sky)));
            for kind in KINDS {
                let count = faults.iter().filter(|fault| fault.kind == kind).count();
                assert_eq!(count > 0, sky.kinds().contains(&kind), "{kind} in {sky}");
            }
            for fault in &faults {
                let mut lines = fault.lines.clone();
                lines.sort_unstable();
                lines.dedup();
                assert_eq!(lines.len(), fault.lines.len());
                assert!(lines.iter().all(|line| *line < 8));
            }
        }
    }

    #[test]
    fn the_fewest_are_those_of_the_rarest_kind_or_stage() {
        let mut tally = Tally::default();
        for kind in Sky::Network.kinds() {
            tally.fault(*kind);
            tally.fault(*kind);
        }
        assert_eq!(tally.fewest(Sky::Network), 0);
        for side in SIDES {
            for stage in STAGES {
                tally.hit(Kind::Close, Some((side, stage)));
            }
        }
        tally.hit(Kind::Stall, None);
        assert_eq!((tally.fewest(Sky::Network), tally.fewest(Sky::NetworkAndBroker)), (1, 0));
    }
}
