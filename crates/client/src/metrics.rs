//! Gives the counts of a session to the recorder of the `metrics` crate. The names are in [`crate::observing`].

use metrics::{Counter, Gauge, Label, counter, gauge};

use crate::Stats;

/// Handles of one session, made once: afterwards an update is a few atomic stores.
pub(crate) struct Metrics {
    gauges: [(Gauge, Read<f64>); 5],
    counters: [(Counter, Read<u64>); 9],
    dropped: [(Counter, Read<u64>); 12],
    /// What was told last.
    last: Option<Stats>,
}

impl Metrics {
    /// With the recorder that is installed.
    pub(crate) fn new(server: &str, client_id: &str) -> Self {
        let labels = vec![
            Label::new("server", server.to_owned()),
            Label::new("client_id", client_id.to_owned()),
        ];
        let gauges = GAUGES.map(|(name, value)| (gauge!(name, labels.clone()), value));
        let counters = COUNTERS.map(|(name, value)| (counter!(name, labels.clone()), value));
        let dropped = DROPPED.map(|(reason, value)| {
            let mut labels = labels.clone();
            labels.push(Label::new("reason", reason));
            (counter!("postrider_dropped_messages_total", labels), value)
        });
        Self { gauges, counters, dropped, last: None }
    }

    /// Tells what has changed.
    pub(crate) fn set(&mut self, stats: &Stats) {
        if self.last.as_ref() == Some(stats) {
            return;
        }
        self.gauges.iter().for_each(|(gauge, value)| gauge.set(value(stats)));
        for (counter, value) in self.counters.iter().chain(&self.dropped) {
            counter.absolute(value(stats));
        }
        self.last = Some(*stats);
    }
}

type Read<T> = fn(&Stats) -> T;

const GAUGES: [(&str, Read<f64>); 5] = [
    ("postrider_queued_messages", |stats| stats.queued.into()),
    ("postrider_in_flight_messages", |stats| stats.in_flight.into()),
    ("postrider_open_bytes", |stats| stats.bytes as f64),
    ("postrider_unmatched_messages", |stats| stats.unmatched as f64),
    ("postrider_round_trip_seconds", |stats| {
        stats.round_trip.map_or(0.0, |round_trip| round_trip.as_secs_f64())
    }),
];

const COUNTERS: [(&str, Read<u64>); 9] = [
    ("postrider_published_messages_total", |stats| stats.published),
    ("postrider_received_messages_total", |stats| stats.received),
    ("postrider_surplus_messages_total", |stats| stats.surplus),
    ("postrider_resent_messages_total", |stats| stats.resent),
    ("postrider_slow_streams_total", |stats| stats.slow_streams),
    ("postrider_sent_bytes_total", |stats| stats.bytes_sent),
    ("postrider_received_bytes_total", |stats| stats.bytes_received),
    ("postrider_connections_total", |stats| stats.connections),
    ("postrider_disconnections_total", |stats| stats.disconnections),
];

const DROPPED: [(&str, Read<u64>); 12] = [
    ("full", |stats| stats.dropped_full),
    ("offline", |stats| stats.dropped_offline),
    ("expired", |stats| stats.dropped_expired),
    ("too_large", |stats| stats.dropped_too_large),
    ("not_offered", |stats| stats.dropped_not_offered),
    ("unreadable", |stats| stats.dropped_unreadable),
    ("superseded", |stats| stats.dropped_superseded),
    ("parked", |stats| stats.dropped_parked),
    ("refused", |stats| stats.refused),
    ("slow", |stats| stats.dropped_slow),
    ("outdated", |stats| stats.dropped_outdated),
    ("unmatched", |stats| stats.dropped_unmatched),
];
