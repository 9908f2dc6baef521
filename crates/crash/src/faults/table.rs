//! What came of a round, in tables.

use std::fmt::Write as _;

use super::{
    judge::{Blame, Count},
    round::Round,
};
use crate::flight::{SIDES, STAGES};

/// Faults by kind and stage; messages; memory.
pub(crate) fn tables(round: &Round) -> String {
    let mut text = format!("{}, {} s\n\n", round.sky, round.seconds);
    text.push_str("| fault | faults | connections |");
    for side in SIDES {
        for stage in STAGES {
            _ = write!(text, " {side}, {stage} |");
        }
    }
    text.push_str(" nothing open |\n| --- |");
    text.push_str(&" ---: |".repeat(SIDES.len() * STAGES.len() + 3));
    text.push('\n');
    let places = SIDES.into_iter().flat_map(|side| STAGES.map(|stage| Some((side, stage))));
    let places: Vec<_> = places.chain([None]).collect();
    let mut sums = vec![0; places.len() + 2];
    for kind in round.sky.kinds() {
        let hits: Vec<u64> = places.iter().map(|open| round.tally.hits(*kind, *open)).collect();
        let mut row = vec![round.tally.faults(*kind), hits.iter().sum()];
        row.extend(hits);
        row_of(&mut text, &kind.to_string(), &row);
        sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
    }
    row_of(&mut text, "**all**", &sums);
    text.push_str("\n| QoS | published | arrived | lost | doubled | came again | reordered | not complete |\n");
    text.push_str("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (qos, count) in (1..).zip(&round.verdict.counts) {
        let Count { published, arrived, lost, doubled, again, reordered, unfinished } = count;
        let [lost, doubled, reordered, unfinished] =
            [lost, doubled, reordered, unfinished].map(blame);
        _ = writeln!(
            text,
            "| {qos} | {published} | {arrived} | {lost} | {doubled} | {again} | {reordered} | {unfinished} |"
        );
    }
    text.push_str("\nclient / broker, where there are two numbers\n");
    _ = writeln!(
        text,
        "\n{} connections made, {} messages sent again, {} sessions lost by the broker",
        round.connections, round.resent, round.sessions_lost
    );
    text.push_str(
        "\n| why connections and attempts ended, as the client saw it | |\n| --- | ---: |\n",
    );
    for (why, count) in &round.ends {
        row_of(&mut text, why, &[*count]);
    }
    text.push_str("\n| memory of all sessions, KiB | start | after a while | peak | end |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    let memory = round.memory;
    let course = [memory.start, memory.warm, memory.peak, memory.end];
    row_of(&mut text, "resident", &course.map(|it| it.resident));
    row_of(&mut text, "of it no file's", &course.map(|it| it.anonymous));
    text
}

fn row_of(text: &mut String, name: &str, counts: &[u64]) {
    _ = write!(text, "| {name} |");
    for count in counts {
        _ = write!(text, " {count} |");
    }
    text.push('\n');
}

fn blame(blame: &Blame) -> String {
    format!("{} / {}", blame.client, blame.broker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        faults::{
            judge::Verdict,
            memory::{Course, Memory},
            weather::{Kind, Sky, Tally},
        },
        flight::{Side, Stage},
    };

    #[test]
    fn the_tables_add_up() {
        let mut tally = Tally::default();
        for kind in [Kind::Close, Kind::Stall, Kind::Stall] {
            tally.fault(kind);
            tally.hit(kind, Some((Side::Inbound, Stage::Ack)));
            tally.hit(kind, None);
        }
        let lost = Blame { client: 1, broker: 2 };
        let count = Count { published: 7, arrived: 25, lost, ..Count::default() };
        let verdict = Verdict { counts: [count, Count::default()], ..Verdict::default() };
        let end = Memory { resident: 9000, anonymous: 4000 };
        let round = Round {
            sky: Sky::Network,
            seconds: 5,
            tally,
            verdict,
            memory: Course { end, ..Course::default() },
            ends: [("Lost".to_owned(), 13)].into(),
            has_recovered: true,
            connections: 11,
            resent: 12,
            sessions_lost: 0,
        };
        let text = tables(&round);
        for line in [
            "| stalled | 2 | 4 | 2 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 2 |",
            "| **all** | 3 | 6 | 3 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 3 |",
            "| 1 | 7 | 25 | 1 / 2 | 0 / 0 | 0 | 0 / 0 | 0 / 0 |",
            "| of it no file's | 0 | 0 | 0 | 4000 |",
            "| Lost | 13 |",
            "11 connections made, 12 messages sent again, 0 sessions lost by the broker",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
    }
}
