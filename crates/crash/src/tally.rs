//! What was published against what arrived, number by number.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use crate::{
    flight::{SIDES, STAGES, Side, Stage},
    journal::Begun,
};

/// What the subscriber's own records say of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// How often its effect took place.
    pub(crate) count: u64,
    /// When it did first: its place among all effects of this QoS.
    pub(crate) place: u64,
}

/// What is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Fully,
    WithoutOrder,
}

/// What came of the messages of one QoS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) accepted: u64,
    pub(crate) arrived: u64,
    /// Accepted, and never arrived.
    pub(crate) lost: Vec<u64>,
    /// More than one effect.
    pub(crate) doubled: Vec<u64>,
    /// Arrived first after a greater number had.
    pub(crate) reordered: Vec<u64>,
    /// Arrived and never published.
    pub(crate) invented: Vec<u64>,
}

impl Verdict {
    pub(crate) fn of(begun: &Begun, arrived: &BTreeMap<u64, Arrived>) -> Self {
        let mut verdict = Self {
            accepted: begun.accepted.len() as u64,
            arrived: arrived.len() as u64,
            ..Self::default()
        };
        let is_missing = |number: &&u64| !arrived.contains_key(number);
        verdict.lost = begun.accepted.iter().filter(is_missing).copied().collect();
        let mut latest = 0;
        for (number, found) in arrived {
            if found.count > 1 {
                verdict.doubled.push(*number);
            }
            if *number > begun.last {
                verdict.invented.push(*number);
            }
            if found.place < latest {
                verdict.reordered.push(*number);
            }
            latest = latest.max(found.place);
        }
        verdict
    }

    /// Whether the promise of this QoS was kept.
    pub(crate) fn is_kept(&self, qos: u8, judged: Judged) -> bool {
        let is_once = qos < 2 || self.doubled.is_empty();
        let is_ordered = judged == Judged::WithoutOrder || self.reordered.is_empty();
        is_once && is_ordered && self.lost.is_empty() && self.invented.is_empty()
    }

    /// What is wrong, with the first numbers.
    pub(crate) fn faults(&self, qos: u8) -> String {
        let mut text = String::new();
        for (what, numbers) in [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("reordered", &self.reordered),
            ("invented", &self.invented),
        ] {
            if qos == 1 && what == "doubled" {
                _ = write!(text, ", {} came again", numbers.len());
            } else if !numbers.is_empty() {
                let first = numbers.get(..SHOWN_MAX).unwrap_or(numbers);
                _ = write!(text, ", {} {what} {first:?}", numbers.len());
            }
        }
        text
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.arrived += other.arrived;
        for (sum, more) in [
            (&mut self.lost, &other.lost),
            (&mut self.doubled, &other.doubled),
            (&mut self.reordered, &other.reordered),
            (&mut self.invented, &other.invented),
        ] {
            sum.extend_from_slice(more);
        }
    }
}

/// What came of killing one victim, or one group of them.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) victim: String,
    pub(crate) kills: BTreeMap<(Side, Stage), u64>,
    /// Kills that hit nothing open; they do not count.
    pub(crate) misses: u64,
    /// QoS 1 and QoS 2.
    pub(crate) verdicts: [Verdict; 2],
}

impl Round {
    pub(crate) fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    pub(crate) fn is_kept(&self, judged: Judged) -> bool {
        (1..).zip(&self.verdicts).all(|(qos, verdict)| verdict.is_kept(qos, judged))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} kills ({} more hit nothing)", self.victim, self.kills(), self.misses)?;
        for (qos, verdict) in (1..).zip(&self.verdicts) {
            write!(f, "; QoS {qos}: {} accepted{}", verdict.accepted, verdict.faults(qos))?;
        }
        Ok(())
    }
}

/// The least number of kills that hit one stage on one side.
pub(crate) fn least(rounds: &[Round]) -> u64 {
    let sum = |side, stage| {
        rounds.iter().filter_map(|round| round.kills.get(&(side, stage))).sum::<u64>()
    };
    let all = SIDES.into_iter().flat_map(|side| STAGES.map(|stage| sum(side, stage)));
    all.min().unwrap_or(0)
}

/// Both tables, as they stand in `docs/durability.md`.
pub(crate) fn tables(rounds: &[Round]) -> String {
    let mut text = String::from("| where the kill hit |");
    for round in rounds {
        _ = write!(text, " {} |", round.victim);
    }
    text.push_str(" all |\n| --- |");
    text.push_str(&" ---: |".repeat(rounds.len() + 1));
    text.push('\n');
    for side in SIDES {
        for stage in STAGES {
            let counts = rounds.iter().map(|it| it.kills.get(&(side, stage)).copied().unwrap_or(0));
            row(&mut text, &format!("{side}, {stage}"), counts);
        }
    }
    row(&mut text, "**kills**", rounds.iter().map(Round::kills));
    text.push_str("\n| victim | QoS | accepted | arrived | lost | doubled | reordered |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    let mut sums = [Verdict::default(), Verdict::default()];
    for round in rounds {
        for (qos, (verdict, sum)) in (1..).zip(round.verdicts.iter().zip(&mut sums)) {
            sum.add(verdict);
            verdict_row(&mut text, &round.victim, qos, verdict);
        }
    }
    for (qos, sum) in (1..).zip(&sums) {
        verdict_row(&mut text, "**all**", qos, sum);
    }
    text
}

fn row(text: &mut String, name: &str, counts: impl Iterator<Item = u64>) {
    let mut sum = 0;
    _ = write!(text, "| {name} |");
    for count in counts {
        sum += count;
        _ = write!(text, " {count} |");
    }
    _ = writeln!(text, " {sum} |");
}

/// At QoS 1 a message may come again; how many did is told, and no fault.
fn verdict_row(text: &mut String, victim: &str, qos: u8, verdict: &Verdict) {
    let Verdict { accepted, arrived, lost, doubled, reordered, .. } = verdict;
    let (lost, again, reordered) = (lost.len(), doubled.len(), reordered.len());
    let again = if qos == 1 { format!("({again})") } else { again.to_string() };
    _ = writeln!(
        text,
        "| {victim} | {qos} | {accepted} | {arrived} | {lost} | {again} | {reordered} |"
    );
}

/// Numbers of one fault that are shown.
const SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(last: u64, accepted: &[u64]) -> Begun {
        Begun { last, accepted: accepted.iter().copied().collect() }
    }

    fn arrived(of: &[(u64, u64, u64)]) -> BTreeMap<u64, Arrived> {
        of.iter()
            .map(|(number, count, place)| (*number, Arrived { count: *count, place: *place }))
            .collect()
    }

    #[test]
    fn numbers_are_compared_one_by_one() {
        // 2 is lost, 3 doubled, 4 was begun only and may arrive, 5 came before it, 9 was never published.
        let begun = begun(6, &[1, 2, 3, 5]);
        let arrived = arrived(&[(1, 1, 1), (3, 2, 2), (4, 1, 4), (5, 1, 3), (9, 1, 5)]);
        let verdict = Verdict::of(&begun, &arrived);
        assert_eq!((verdict.accepted, verdict.arrived), (4, 5));
        assert_eq!(verdict.lost, [2]);
        assert_eq!(verdict.doubled, [3]);
        assert_eq!(verdict.reordered, [5]);
        assert_eq!(verdict.invented, [9]);
        assert!(!verdict.is_kept(1, Judged::Fully));
    }

    #[test]
    fn twice_is_a_fault_at_qos_2_only() {
        let verdict = Verdict::of(&begun(2, &[1, 2]), &arrived(&[(1, 1, 1), (2, 3, 2)]));
        assert!(verdict.is_kept(1, Judged::Fully));
        assert!(!verdict.is_kept(2, Judged::Fully));
        assert!(Verdict::of(&begun(2, &[2]), &arrived(&[(2, 1, 1)])).is_kept(2, Judged::Fully));
    }

    #[test]
    fn the_tables_add_up() {
        let hit = |count| BTreeMap::from([((Side::Inbound, Stage::Ack), count)]);
        let verdicts =
            [Verdict::of(&begun(2, &[1, 2]), &arrived(&[(1, 2, 1)])), Verdict::default()];
        let round = |victim: &str, count| Round {
            victim: victim.to_owned(),
            kills: hit(count),
            misses: 0,
            verdicts: verdicts.clone(),
        };
        let rounds = [round("broker", 3), round("all three", 4)];
        let text = tables(&rounds);
        assert!(
            text.contains("| publisher to broker, QoS 1, before PUBACK | 3 | 4 | 7 |"),
            "{text}"
        );
        assert!(text.contains("| **kills** | 3 | 4 | 7 |"), "{text}");
        assert!(text.contains("| broker | 1 | 2 | 1 | 1 | (1) | 0 |"), "{text}");
        assert!(text.contains("| **all** | 1 | 4 | 2 | 2 | (2) | 0 |"), "{text}");
        assert_eq!(least(&rounds), 0);
    }
}
