//! The kills: a round for each victim or group of victims, with stores of its own.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use postrider_sim::Random;

use crate::{
    board::{Aim, Board, Fate, Manner},
    flight::{SIDES, STAGES, Side, Stage},
    process::PATIENCE,
    tally::Round,
    trio::{Cast, Trio, Who},
};

/// How much is killed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kills: u64,
    pub(crate) deadline: Instant,
    pub(crate) seed: u64,
    pub(crate) folder: PathBuf,
}

/// The groups that are killed together.
const GROUPS: [(&str, &[Who]); 7] = [
    ("publisher", &[Who::Publisher]),
    ("broker", &[Who::Broker]),
    ("subscriber", &[Who::Subscriber]),
    ("publisher and broker", &[Who::Publisher, Who::Broker]),
    ("broker and subscriber", &[Who::Broker, Who::Subscriber]),
    ("publisher and subscriber", &[Who::Publisher, Who::Subscriber]),
    ("all three", &[Who::Publisher, Who::Broker, Who::Subscriber]),
];

/// Runs a round for each group, and tells of each when it is over.
pub(crate) fn run(cast: &Cast, plan: &Plan, tell: &mut dyn FnMut(&Round)) -> Result<Vec<Round>> {
    let mut random = Random::new(plan.seed);
    let mut rounds = Vec::new();
    for (at, (victim, victims)) in (0..).zip(GROUPS) {
        let left = GROUPS.len() as u64 - at;
        let done: u64 = rounds.iter().map(Round::kills).sum();
        let kills = plan.kills.saturating_sub(done).div_ceil(left);
        // Each group gets its share of the time too.
        let time = plan.deadline.saturating_duration_since(Instant::now());
        let share = time / u32::try_from(left).unwrap_or(u32::MAX);
        let killing = Killing {
            cast,
            victims,
            kills,
            deadline: Instant::now() + share,
            folder: plan.folder.join(victim.replace(' ', "-")),
        };
        let round = killing.run(victim, &mut random);
        let round = round.with_context(|| format!("while killing the {victim}"))?;
        tell(&round);
        rounds.push(round);
    }
    Ok(rounds)
}

/// One round.
struct Killing<'a> {
    cast: &'a Cast,
    victims: &'a [Who],
    kills: u64,
    deadline: Instant,
    folder: PathBuf,
}

impl Killing<'_> {
    fn run(&self, victim: &str, random: &mut Random) -> Result<Round> {
        let board = Arc::new(Board::default());
        let mut trio = Trio::start(self.cast, &self.folder, &board)?;
        let sides: Vec<Side> = SIDES
            .into_iter()
            .filter(|side| self.victims.iter().any(|it| touches(*it, *side)))
            .collect();
        let mut kills = BTreeMap::new();
        let (mut misses, mut hits) = (0, 0);
        while hits < self.kills && Instant::now() < self.deadline {
            match self.kill_once(&mut trio, &board, &sides, hits + misses, random)? {
                Some(hit) => {
                    hits += 1;
                    *kills.entry(hit).or_default() += 1;
                }
                None => misses += 1,
            }
            ensure!(misses <= MISSES_MAX + hits, "{misses} kills hit nothing that was open");
        }
        let verdicts = trio.drain()?;
        Ok(Round { victim: victim.to_owned(), kills, misses, verdicts })
    }

    /// Aims, kills, and starts the victims again, in any order. Returns where the kill hit.
    fn kill_once(
        &self,
        trio: &mut Trio<'_>,
        board: &Board,
        sides: &[Side],
        number: u64,
        random: &mut Random,
    ) -> Result<Option<(Side, Stage)>> {
        // Every fifth kill comes at a random moment; the others go through all stages in turn.
        if number % 5 == 4 {
            thread::sleep(Duration::from_micros(random.between(0, RANDOM_MOMENT_US_MAX)));
        } else {
            let turn = (number / 5 * 4 + number % 5) as usize;
            // Every fourth comes while the last one is still being recovered from.
            let after = if random.chance(25) { 0 } else { random.between(1, EXCHANGES_MAX) };
            let aim = Aim {
                side: sides[turn % sides.len()],
                stage: STAGES[turn / sides.len() % STAGES.len()],
                manner: *random.pick(&[Manner::Seen, Manner::HeldAtEntry, Manner::HeldAtExit]),
                after,
            };
            ensure!(board.catch(aim, PATIENCE), "no exchange {} came to {}", aim.side, aim.stage);
            // Half of the kills come at once, the others while more happens around what is held.
            if random.chance(50) {
                thread::sleep(Duration::from_micros(random.between(0, DELAY_US_MAX)));
            }
        }
        let mut killed = Ok(());
        let hit = board.strike(sides, random.draw(), || killed = trio.kill(self.victims));
        killed?;
        board.release(if random.chance(50) { Fate::Forward } else { Fate::Cut });
        let mut order = self.victims.to_vec();
        for who in &order {
            trio.bury(*who)?;
        }
        while !order.is_empty() {
            let who = order.swap_remove((random.draw() % order.len() as u64) as usize);
            thread::sleep(Duration::from_micros(random.between(0, DELAY_US_MAX)));
            trio.revive(who)?;
        }
        Ok(hit)
    }
}

/// Whether the exchanges of a side are also this one's.
fn touches(who: Who, side: Side) -> bool {
    match who {
        Who::Publisher => side == Side::Inbound,
        Who::Broker => true,
        Who::Subscriber => side == Side::Outbound,
    }
}

/// Most exchanges that end between two kills, on the side that is aimed at.
const EXCHANGES_MAX: u64 = 60;
/// Longest wait for a random moment, in microseconds: several exchanges take place in that time.
const RANDOM_MOMENT_US_MAX: u64 = 150_000;
/// Longest wait before a kill and before a new start, in microseconds.
const DELAY_US_MAX: u64 = 20_000;
/// Kills that may hit nothing, beyond as many as hit something.
const MISSES_MAX: u64 = 20;
