//! Queues that are longer than memory: what is kept, what is read back, and in which order.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use postrider_proto::{
    Delivery, Envelope, Fact, Fate, Journal, PageRequest, PageRows, Payload, Record, RecordError,
    Resume, Session, SessionConfig, SpoolId, SpoolOutput, Spools, Time,
    wire::{AckKind, QoS, Version},
};
use proptest::prelude::*;

use crate::{
    bench::{Bench, Q0, Q1, Q2, message},
    disk::Disk,
};

/// A session whose records go to a disk, and what it has asked of that.
struct Paged {
    bench: Bench,
    disk: Disk,
    config: SessionConfig,
    /// Records that are on the disk.
    written: usize,
    asked: Option<PageRequest>,
}

impl Paged {
    fn new(config: SessionConfig) -> Self {
        let config = SessionConfig { is_reporting: true, ..config };
        let mut bench = Bench::offline(Version::V5, config);
        bench.journal = Journal::new(true);
        bench.is_persistent = true;
        bench.session.persist(&mut bench.journal);
        Self { bench, disk: Disk::default(), config, written: 0, asked: None }
    }

    /// With room for so many bytes in memory.
    fn with_budget(queue_resident_bytes_max: u64) -> Self {
        Self::new(SessionConfig { queue_resident_bytes_max, ..SessionConfig::stored() })
    }

    fn publish(&mut self, qos: QoS, topic: &str) {
        self.bench.publish(qos, topic).expect("room");
        self.store();
    }

    /// Publishes `t1` and so on.
    fn fill(&mut self, count: u64) {
        for number in 1..=count {
            self.publish(Q1, &format!("t{number}"));
        }
    }

    fn store(&mut self) {
        let last = self.bench.fetch();
        for record in &self.bench.records[self.written..] {
            self.disk.write(record);
        }
        self.written = self.bench.records.len();
        self.bench.stored(last);
    }

    fn ask(&mut self) {
        self.store();
        if let Some(request) = self.bench.session.poll_page() {
            assert!(self.asked.replace(request).is_none(), "one page at a time");
        }
    }

    fn answer(&mut self) -> Result<(), RecordError> {
        let Some(request) = self.asked.take() else { return Ok(()) };
        self.answer_with(self.disk.page(&request))
    }

    fn answer_with(&mut self, page: PageRows) -> Result<(), RecordError> {
        let bench = &mut self.bench;
        let result = bench.session.handle_page(page, &mut bench.journal, bench.now);
        bench.pump();
        self.store();
        result
    }

    /// The process ends and another one takes up what is on the disk.
    fn crash(&mut self) {
        self.store();
        self.bench.cut();
        self.asked = None;
        self.bench.session = Session::new(7, self.config);
        for record in self.disk.read() {
            self.bench.session.apply(&record.fact);
        }
        self.bench.session.persist(&mut self.bench.journal);
    }

    /// Everything that the peer is sent until nothing is left, each acknowledged at once.
    fn drain(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while !self.bench.session.is_idle() {
            self.ask();
            self.answer().expect("all is there");
            let lines = self.bench.sent();
            assert!(!lines.is_empty() || self.bench.session.is_page_due(), "it stands still");
            for line in lines {
                self.acknowledge(&line);
                sent.push(line);
            }
        }
        sent
    }

    fn acknowledge(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let id = || words[1].parse().expect("an id");
        match (words[0], words[2..].first()) {
            ("PUBLISH", Some(&"q1")) => self.bench.puback(id()),
            ("PUBLISH", Some(&"q2")) => self.bench.pubrec(id()),
            ("PUBREL", _) => self.bench.pubcomp(id()),
            _ => {}
        }
        self.store();
    }

    fn counts(&self) -> (u32, u32) {
        let stats = self.bench.session.stats();
        (stats.queued, stats.paged)
    }
}

/// The topics of PUBLISH lines.
fn topics(lines: &[String]) -> Vec<&str> {
    let publishes = lines.iter().filter(|line| line.starts_with("PUBLISH"));
    publishes.filter_map(|line| line.split(' ').find(|word| word.starts_with('t'))).collect()
}

fn expected(count: u64) -> Vec<String> {
    (1..=count).map(|number| format!("t{number}")).collect()
}

/// The smallest budget that keeps so many of three messages in memory.
fn smallest_budget(kept: u32) -> u64 {
    let is_enough = |budget: &u64| {
        let mut paged = Paged::with_budget(*budget);
        paged.fill(3);
        paged.counts() == (3, 3 - kept)
    };
    (0..10_000).find(is_enough).expect("a message is smaller than that")
}

#[test]
fn memory_is_bounded_at_under_and_over_the_budget() {
    let (two, three) = (smallest_budget(2), smallest_budget(3));
    let each = three - two;
    assert_eq!((two, three), (2 * each, 3 * each));
    assert!(each > message(Q1, "t1", Bytes::from("t1"), None, Time(0)).cost_bytes());
    for (budget, kept) in [(0, 1), (two - 1, 1), (two, 2), (two + 1, 2), (three - 1, 2), (three, 3)]
    {
        let mut paged = Paged::with_budget(budget);
        paged.fill(10);
        assert_eq!(paged.counts(), (10, 10 - kept), "budget {budget}");
        assert_eq!(paged.bench.session.open_numbers().len(), kept as usize);
        paged.crash();
        assert_eq!(paged.counts(), (10, 10 - kept), "recovered, budget {budget}");
        paged.bench.connect(Resume::Present);
        assert_eq!(topics(&paged.drain()), expected(10));
        assert_eq!(paged.disk.read().len(), 1, "only how far numbers are reserved");
    }
}

/// Without a store there is nowhere else to keep it.
#[test]
fn without_a_store_all_is_in_memory() {
    let config = SessionConfig { queue_resident_bytes_max: 0, ..SessionConfig::default() };
    let mut bench = Bench::offline(Version::V5, config);
    for _ in 0..10 {
        bench.publish(Q1, "t").unwrap();
    }
    assert_eq!((bench.session.stats().queued, bench.session.stats().paged), (10, 0));
    bench.connect(Resume::Present);
    assert_eq!(bench.session.stats().flights, 10);
}

#[test]
fn one_page_is_asked_for_at_a_time_and_only_when_it_is_wanted() {
    let mut paged = Paged::with_budget(2_000);
    paged.fill(50);
    assert_eq!(paged.bench.session.poll_page(), None, "nobody to send it to");
    paged.bench.connect(Resume::Present);
    paged.ask();
    let request = paged.asked.clone().expect("the front was sent");
    assert!(request.bytes_max <= 2_000);
    assert_eq!(paged.bench.session.poll_page(), None, "one is on its way");
    paged.bench.cut();
    paged.answer().unwrap();
    assert_eq!(paged.bench.session.poll_page(), None, "the link is gone");
    // An answer that nobody waits for does nothing.
    let before = paged.bench.session.stats();
    let late = paged.disk.page(&request);
    paged.answer_with(late).unwrap();
    assert_eq!(paged.bench.session.stats(), before);
    paged.bench.connect(Resume::Present);
    let sent = paged.drain();
    let first: BTreeSet<_> = topics(&sent).into_iter().collect();
    assert_eq!(first.len(), 50);
}

/// What is published while a page is on its way stands behind it, whether the page has it already or not.
#[test]
fn what_comes_meanwhile_is_neither_lost_nor_doubled() {
    for is_seen in [false, true] {
        let mut paged = Paged::with_budget(1);
        paged.fill(4);
        paged.bench.connect(Resume::Present);
        paged.ask();
        let request = PageRequest { bytes_max: 100_000, ..paged.asked.take().expect("a page") };
        let before = paged.disk.page(&request);
        paged.publish(Q1, "t5");
        paged.publish(Q1, "t6");
        let page = if is_seen { paged.disk.page(&request) } else { before };
        paged.answer_with(page).unwrap();
        let left = if is_seen { 0 } else { 2 };
        assert_eq!(paged.counts().1, left);
        assert_eq!(topics(&paged.drain()), expected(6));
        assert_eq!(paged.bench.session.stats().bytes, 0);
    }
}

#[test]
fn the_bounds_count_what_is_in_the_store() {
    let cost = message(Q1, "t1", Bytes::from("t1"), None, Time(0)).cost_bytes();
    let by_count = SessionConfig { queue_messages_max: 6, ..SessionConfig::stored() };
    let by_bytes = SessionConfig { queue_bytes_max: 6 * cost, ..SessionConfig::stored() };
    for config in [by_count, by_bytes] {
        let mut paged = Paged::new(SessionConfig { queue_resident_bytes_max: 1, ..config });
        paged.fill(6);
        let full = paged.bench.publish(Q1, "t7").unwrap_err();
        assert_eq!((full.messages, full.bytes), (6, 6 * cost));
        paged.crash();
        assert_eq!(paged.bench.publish(Q1, "t7").unwrap_err(), full, "also after recovery");
        paged.bench.connect(Resume::Present);
        let line = paged.bench.sent().remove(0);
        paged.acknowledge(&line);
        paged.publish(Q1, "t7");
        assert_eq!(topics(&paged.drain()), &expected(7)[1..]);
    }
    assert_eq!(SessionConfig::stored().queue_bytes_max, 1 << 30);
}

/// v5 [MQTT-3.3.2-5]: what expired in the store is not sent, and is gone from there too.
#[test]
fn what_expired_in_the_store_is_dropped_when_it_is_read() {
    for has_link in [false, true] {
        let config = SessionConfig { queue_messages_max: 9, ..SessionConfig::stored() };
        let mut paged = Paged::new(SessionConfig { queue_resident_bytes_max: 1, ..config });
        for number in 1..=9 {
            let expiry_s = (number % 3 != 0).then_some(10);
            let topic = format!("t{number}");
            paged.bench.publish_with(Q1, &topic, Bytes::new(), expiry_s).unwrap();
        }
        paged.store();
        paged.bench.now = paged.bench.now.plus_s(10);
        if has_link {
            paged.bench.connect(Resume::Present);
            assert_eq!(topics(&paged.drain()), ["t3", "t6", "t9"]);
            let expired: Vec<_> = [1, 2, 4, 5, 7, 8].map(|number| (number, Fate::Expired)).into();
            assert_eq!(paged.bench.fates(), expired);
            assert_eq!(paged.bench.session.stats().dropped_expired, 6);
            assert_eq!(paged.disk.read().len(), 1, "only how far numbers are reserved");
        } else {
            // Nobody reads the queue, but what is new may need the room.
            paged.publish(Q1, "t10");
            assert_eq!(paged.bench.session.stats().dropped_expired, 1, "it was in memory");
            assert!(paged.bench.publish(Q1, "t11").is_err(), "nothing is in memory");
            paged.ask();
            paged.answer().unwrap();
            paged.publish(Q1, "t11");
            paged.bench.connect(Resume::Present);
            assert_eq!(topics(&paged.drain()), ["t3", "t6", "t9", "t10", "t11"]);
        }
    }
}

#[test]
fn a_row_that_is_no_message_is_reported_and_left() {
    let mut paged = Paged::with_budget(1);
    paged.fill(5);
    let key = paged.disk.0.keys().nth(2).expect("a message").clone();
    paged.disk.0.insert(key.clone(), vec![1, 9, 9]);
    paged.bench.connect(Resume::Present);
    let mut errors = 0;
    let mut sent = Vec::new();
    while !paged.bench.session.is_idle() {
        paged.ask();
        errors += usize::from(paged.answer().is_err());
        for line in paged.bench.sent() {
            paged.acknowledge(&line);
            sent.push(line);
        }
    }
    assert_eq!(topics(&sent), ["t1", "t2", "t4", "t5"]);
    assert_eq!((errors, paged.bench.session.stats().dropped_unreadable), (1, 1));
    assert_eq!(paged.bench.fates(), [(3, Fate::Unreadable)]);
    assert!(paged.disk.0.contains_key(&key));
}

#[test]
fn messages_that_are_missing_are_reported() {
    let mut paged = Paged::with_budget(1);
    paged.fill(5);
    let keys: Vec<_> = paged.disk.0.keys().skip(3).take(2).cloned().collect();
    for key in keys {
        paged.disk.0.remove(&key);
    }
    paged.bench.connect(Resume::Present);
    let mut errors = Vec::new();
    while !paged.bench.session.is_idle() {
        paged.ask();
        errors.extend(paged.answer().err());
        for line in paged.bench.sent() {
            paged.acknowledge(&line);
        }
    }
    assert_eq!(errors, [RecordError { what: "messages are missing" }]);
    assert_eq!(paged.bench.session.stats().dropped_unreadable, 2);
    assert_eq!(paged.bench.session.stats().bytes, 0);
}

/// A session that stays only for this link has a queue in the store from before: what is new waits behind it, and the
/// store goes on knowing all of it, or what is finished would come back after a crash.
#[test]
fn a_session_that_is_not_persistent_any_more_keeps_the_order() {
    let mut paged = Paged::with_budget(1);
    paged.fill(5);
    paged.bench.is_persistent = false;
    paged.bench.peer.receive_maximum = 1;
    paged.bench.connect(Resume::Present);
    paged.publish(Q1, "t6");
    assert_eq!(topics(&paged.drain()), expected(6));
    let before = paged.bench.facts().len();
    paged.publish(Q1, "t7");
    assert!(paged.bench.facts().len() > before, "recorded like all before");
}

/// A session that becomes persistent lets go of what is too much.
#[test]
fn a_queue_from_before_the_store_goes_there() {
    let config = SessionConfig { queue_resident_bytes_max: 1_000, ..SessionConfig::stored() };
    let mut paged = Paged::new(config);
    paged.bench.session = Session::new(7, paged.config);
    paged.fill(20);
    assert_eq!(paged.counts(), (20, 0));
    paged.bench.session.persist(&mut paged.bench.journal);
    let (queued, in_store) = paged.counts();
    assert!(queued == 20 && in_store > 10, "{in_store}");
    paged.bench.connect(Resume::Present);
    assert_eq!(topics(&paged.drain()), expected(20));
}

/// The peer reads and does not answer: what is in flight is bounded too.
#[test]
fn flights_are_bounded_by_the_same_budget() {
    let mut paged = Paged::with_budget(10_000);
    let payload = Bytes::from(vec![0; 3_000]);
    for number in 1..=20 {
        let topic = format!("t{number}");
        paged.bench.publish_with(Q1, &topic, payload.clone(), None).unwrap();
    }
    paged.bench.connect(Resume::Present);
    for _ in 0..10 {
        paged.ask();
        paged.answer().unwrap();
    }
    let stats = paged.bench.session.stats();
    assert_eq!(stats.flights, 4, "the one that reaches the budget is the last");
    let in_memory = paged.bench.session.open_numbers().len();
    assert!(in_memory <= 4 + 4, "{in_memory}");
    // Neither does what is sent straight to the link pass that.
    paged.bench.publish_with(Q1, "t21", payload, None).unwrap();
    assert_eq!(paged.bench.session.stats().flights, 4);
    assert_eq!(topics(&paged.drain()), expected(21));
}

/// The peer lost the session: what was in flight stands in front of what is in the store.
#[test]
fn a_lost_session_begins_again_in_order() {
    let mut paged = Paged::with_budget(2_000);
    paged.fill(20);
    paged.bench.connect(Resume::Present);
    let first = paged.bench.sent();
    assert!(!first.is_empty());
    paged.bench.cut();
    paged.bench.connect(Resume::Lost);
    assert_eq!(topics(&paged.drain()), expected(20));
    paged.crash();
    assert!(paged.bench.session.is_idle());
}

#[test]
fn qos_0_waits_behind_what_was_there_before_it() {
    let mut paged = Paged::new(SessionConfig {
        queue_resident_bytes_max: 1,
        is_qos0_queued_offline: true,
        ..SessionConfig::stored()
    });
    paged.publish(Q0, "t1");
    paged.publish(Q1, "t2");
    paged.publish(Q1, "t3");
    paged.publish(Q0, "t4");
    paged.bench.narrow(1);
    paged.bench.connect(Resume::Present);
    let mut sent = Vec::new();
    while !paged.bench.session.is_idle() {
        paged.ask();
        paged.answer().unwrap();
        for line in paged.bench.sent() {
            paged.acknowledge(&line);
            sent.push(line);
        }
        paged.bench.pump();
    }
    sent.extend(paged.bench.sent());
    assert_eq!(topics(&sent), expected(4));
}

/// A message that is not in memory holds its spool all the same.
#[test]
fn a_spool_lives_as_long_as_its_message_waits() {
    let mut paged = Paged::with_budget(1);
    let mut spools = Spools::new(1_000);
    paged.publish(Q1, "t1");
    let id = spools.begin(5).expect("room");
    let number = id.number();
    spools.append(&id, Bytes::from_static(b"large"));
    let mut large = message(Q1, "t2", Bytes::new(), None, Time(0));
    large.payload = Payload::Spooled { id, len: 5 };
    let delivery = Delivery { qos: Q1, retain: false, subscription_ids: Default::default() };
    let bench = &mut paged.bench;
    let mut envelope = Envelope::new(large);
    bench.session.send(&mut envelope, delivery, None, &mut bench.journal, bench.now).unwrap();
    drop(envelope);
    paged.store();
    paged.bench.records.clear();
    paged.written = 0;
    paged.bench.journal = Journal::new(true);
    assert_eq!(paged.counts(), (2, 1));
    assert!(matches!(spools.poll_output(), Some(SpoolOutput::Append(..))));
    assert_eq!(spools.poll_output(), None, "it is not dropped");
    paged.bench.session.apply(&Fact::Finished { number: 1 });
    let request = paged.bench.session.poll_page().expect("nothing is in memory");
    paged.answer_with(paged.disk.page(&request)).unwrap();
    assert_eq!(spools.poll_output(), None, "it is not dropped by reading it back");
    paged.bench.session.apply(&Fact::Finished { number: 2 });
    assert_eq!(spools.poll_output(), Some(SpoolOutput::Drop(number)));
}

/// A power cut may take the spool of a message; recovery leaves that out, although its row is still there.
#[test]
fn a_row_whose_spool_is_lost_is_not_read_back() {
    let mut paged = Paged::with_budget(1);
    paged.fill(4);
    let mut large = message(Q1, "t5", Bytes::new(), None, Time(0));
    large.payload = Payload::Spooled { id: SpoolId::stored(7), len: 5 };
    let delivery = Delivery { qos: Q1, retain: false, subscription_ids: Default::default() };
    let fact = Fact::Queued { number: 3, message: Arc::new(large), delivery };
    paged.disk.write(&Record { owner: 7, fact });
    paged.bench.cut();
    paged.bench.session = Session::new(7, paged.config);
    for record in paged.disk.read() {
        if !matches!(record.fact, Fact::Queued { number: 3, .. }) {
            paged.bench.session.apply(&record.fact);
        }
    }
    assert_eq!(paged.counts(), (3, 2));
    paged.bench.connect(Resume::Present);
    assert_eq!(topics(&paged.drain()), ["t1", "t2", "t4"]);
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Publish(QoS),
    Connect,
    Cut,
    Ask,
    Answer,
    /// The peer acknowledges what it was sent.
    Acknowledge,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![Just(Q1), Just(Q2)].prop_map(Step::Publish),
        2 => Just(Step::Connect),
        1 => Just(Step::Cut),
        4 => Just(Step::Ask),
        4 => Just(Step::Answer),
        4 => Just(Step::Acknowledge),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    /// v5 [MQTT-4.6.0-1] [MQTT-4.4.0-1]: whatever happens while a long queue is sent, each message comes, a first time
    /// in its order, and at QoS 2 once.
    #[test]
    fn order_holds_across_the_border(
        budget in prop_oneof![Just(0_u64), Just(1_000), Just(3_000)],
        receive_maximum in 1_u16..5,
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut paged = Paged::with_budget(budget);
        paged.bench.peer.receive_maximum = receive_maximum;
        let (mut published, mut received) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Publish(qos) => {
                    published += 1;
                    paged.publish(qos, &format!("t{published}"));
                }
                Step::Connect if paged.bench.link.is_none() => {
                    paged.bench.connect(Resume::Present);
                }
                Step::Cut if paged.bench.link.is_some() => paged.bench.cut(),
                Step::Ask => paged.ask(),
                Step::Answer => paged.answer().unwrap(),
                Step::Acknowledge => {
                    for line in paged.bench.sent() {
                        paged.acknowledge(&line);
                        received.push(line);
                    }
                }
                Step::Crash => paged.crash(),
                Step::Connect | Step::Cut => {}
            }
            let stats = paged.bench.session.stats();
            prop_assert_eq!(stats.dropped_unreadable, 0);
        }
        if paged.bench.link.is_none() {
            paged.bench.connect(Resume::Present);
        }
        received.extend(paged.drain());
        let mut seen = BTreeSet::new();
        let mut firsts = Vec::new();
        for (topic, line) in topics(&received).into_iter().zip(
            received.iter().filter(|line| line.starts_with("PUBLISH")),
        ) {
            let is_new = seen.insert(topic.to_owned());
            if is_new {
                firsts.push(topic.to_owned());
            }
            prop_assert!(is_new || line.contains("q1"), "twice: {}", line);
        }
        prop_assert_eq!(firsts, expected(published));
        prop_assert_eq!(paged.bench.session.stats().bytes, 0);
        let left = paged.disk.read();
        prop_assert!(left.iter().all(|r| matches!(r.fact, Fact::Numbers { .. })), "{:?}", left);
    }
}

/// The answer to PUBREC decides; kept apart from the random walk, which acknowledges all at once.
#[test]
fn a_crash_between_pubrec_and_pubcomp_finds_both_parts() {
    let mut paged = Paged::with_budget(1);
    for number in 1..=6 {
        paged.publish(Q2, &format!("t{number}"));
    }
    paged.bench.peer.receive_maximum = 2;
    paged.bench.connect(Resume::Present);
    paged.ask();
    paged.answer().unwrap();
    assert_eq!(topics(&paged.bench.sent()), ["t1"], "the next is larger than the budget");
    paged.bench.ack(AckKind::PubRec, 1).unwrap();
    paged.store();
    paged.crash();
    assert_eq!(paged.bench.session.stats().flights, 2);
    paged.bench.connect(Resume::Present);
    let sent = paged.drain();
    assert_eq!(sent[..2], ["PUBREL 1", "PUBLISH 2 q2 t2 dup"]);
    assert_eq!(topics(&sent), &expected(6)[1..]);
}
