//! What the standard allows to arrive, given what was published. Uses only the packet types of `wire`.

mod doubt;
mod verdict;
mod violation;
mod will;

use postrider_proto::wire::{Filter, QoS, Topic};

pub use self::violation::Violation;
pub(crate) use self::violation::violation;

/// How far a message is for its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It must be finished some day.
    Open,
    /// Finished at this step.
    Acknowledged(u64),
    /// A will that is published some time from now on.
    Due,
    /// Nobody promises anything: QoS 0, a will that need not be published, expired, or lost with a publisher that had not stored it.
    Loose,
}

/// One published message.
#[derive(Clone, Debug)]
struct Publication {
    publisher: usize,
    topic: Topic,
    qos: QoS,
    retain: bool,
    size: usize,
    stage: Stage,
    /// The step at which it was handed over.
    published: u64,
    may_expire: bool,
    is_will: bool,
    /// The server lost the session of its publisher while it was open.
    may_repeat: bool,
    /// The server crashed while it was open. What went out at QoS 0 is not stored, and may go out again.
    was_interrupted: bool,
    /// The step at which the server first ended while it was open. A session that began before may get it like any other,
    /// since it was not acknowledged yet.
    ended: Option<u64>,
}

/// A new message.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Who publishes it.
    pub publisher: usize,
    /// Its topic.
    pub topic: Topic,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Whether it may expire.
    pub may_expire: bool,
    /// Length of its payload.
    pub size: usize,
}

/// One delivery to a subscriber.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    publication: usize,
    qos: QoS,
    is_replay: bool,
    /// Whether the subscription was certainly there when it was published, and is no share.
    is_expected: bool,
    /// The step at which it came.
    step: u64,
    /// The record with which it is kept, in numbers of the process that took it; 0 if nothing can undo it.
    kept_by: u64,
    /// Its place among the messages that the program saw.
    order: u64,
}

/// A subscription, from the first SUBSCRIBE to the last UNSUBACK.
#[derive(Clone, Debug)]
struct Interval {
    filter: Filter,
    qos: QoS,
    asked: u64,
    granted: Option<u64>,
    ending: Option<u64>,
    ended: Option<u64>,
}

/// What one client is subscribed to, in its present session, and what it got.
#[derive(Debug, Default)]
struct Subscriber {
    intervals: Vec<Interval>,
    /// The same of its sessions before.
    former: Vec<Interval>,
    /// SUBSCRIBEs written in this session.
    asked: Vec<(u64, Filter)>,
    receipts: Vec<Receipt>,
    /// The step at which its session began.
    began: u64,
    /// Whether it belongs to the group.
    is_member: bool,
    /// Whether it did not hear that its session is new, so that its ids may stand for other messages: the standard
    /// keeps no promise then.
    is_confused: bool,
    /// Whether its store, or that of the server, lost what it had heard of, as it may in its mode: no promise is kept.
    is_loose: bool,
}

/// A delivery as the subscriber's program sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Topic.
    pub topic: &'a Topic,
    /// QoS.
    pub qos: QoS,
    /// RETAIN bit.
    pub retain: bool,
    /// Number of the message, from its payload.
    pub publication: u64,
    /// Length of its payload.
    pub size: usize,
    /// The record with which its receipt is kept; 0 for none.
    pub kept_by: u64,
    /// If the program is done with it later than it arrived: its place among the messages that the program saw, and the
    /// step at which it arrived.
    pub order: Option<(u64, u64)>,
    /// Whether the program hears of it once it is stored, which may be when the next session has begun.
    pub is_late: bool,
}

/// Everything published and everything delivered.
#[derive(Debug, Default)]
pub struct Model {
    step: u64,
    publications: Vec<Publication>,
    subscribers: Vec<Subscriber>,
}

impl Model {
    /// One more client; `is_member` if it subscribes to the group and nothing else.
    pub fn add_client(&mut self, is_member: bool) {
        self.subscribers.push(Subscriber { is_member, ..Subscriber::default() });
    }

    /// A message was handed to a client. Returns its number.
    pub fn published(&mut self, new: NewMessage) -> usize {
        self.step += 1;
        let NewMessage { publisher, topic, qos, retain, may_expire, size } = new;
        let stage = if qos == QoS::AtMostOnce { Stage::Loose } else { Stage::Open };
        self.publications.push(Publication {
            publisher,
            topic,
            qos,
            retain,
            size,
            stage,
            published: self.step,
            may_expire,
            is_will: false,
            may_repeat: self.subscribers[publisher].is_loose,
            was_interrupted: false,
            ended: None,
        });
        self.publications.len() - 1
    }

    /// The exchange of a message is over for its publisher.
    pub fn acknowledged(&mut self, index: usize) {
        self.step += 1;
        let step = self.step;
        if let Some(publication) = self.publications.get_mut(index)
            && !matches!(publication.stage, Stage::Acknowledged(_))
        {
            let is_loose = self.subscribers[publication.publisher].is_loose;
            publication.stage = if is_loose { Stage::Loose } else { Stage::Acknowledged(step) };
        }
    }

    /// Nobody will finish a message: it was refused, it expired, or its publisher forgot it.
    ///
    /// Returns whether it was open.
    pub fn let_go(&mut self, index: usize) -> bool {
        let open = self.publications.get_mut(index).filter(|p| p.stage == Stage::Open);
        open.map(|publication| publication.stage = Stage::Loose).is_some()
    }

    /// The publisher crashed before it had stored that a message is finished: it will finish it again.
    pub fn reopened(&mut self, index: usize) {
        if let Some(publication) = self.publications.get_mut(index) {
            publication.stage = Stage::Open;
        }
    }

    /// The number of the next message.
    #[must_use]
    pub fn next(&self) -> usize {
        self.publications.len()
    }

    /// Whether a message may expire.
    #[must_use]
    pub fn may_expire(&self, index: usize) -> bool {
        self.publications.get(index).is_some_and(|publication| publication.may_expire)
    }

    /// A message may arrive more than once although its QoS is 2.
    pub fn may_repeat(&mut self, index: usize) {
        if let Some(publication) = self.publications.get_mut(index) {
            publication.may_repeat = true;
        }
    }

    /// The server crashed.
    pub fn server_crashed(&mut self) {
        let is_open = |p: &&mut Publication| p.is_will || p.stage == Stage::Open;
        self.publications.iter_mut().filter(is_open).for_each(|p| p.was_interrupted = true);
        self.server_ended();
    }

    /// The server crashed, or ended in order.
    pub fn server_ended(&mut self) {
        self.step += 1;
        for publication in self.publications.iter_mut().filter(|p| p.stage == Stage::Open) {
            publication.ended.get_or_insert(self.step);
        }
        // Which one interrupted it nobody can say.
        let wills = self.publications.iter_mut().filter(|p| p.is_will);
        wills.for_each(|will| will.ended = Some(self.step));
    }

    /// The publisher was told at once that the last message is not taken.
    pub fn refused(&mut self) {
        self.publications.pop();
    }

    /// Whether its publisher was told that it is finished.
    #[must_use]
    pub fn is_acknowledged(&self, index: usize) -> bool {
        matches!(self.publications.get(index), Some(p) if matches!(p.stage, Stage::Acknowledged(_)))
    }

    /// A SUBSCRIBE was written. Returns the step.
    pub fn subscribe_sent(&mut self, subscriber: usize, filter: &Filter, qos: QoS) -> u64 {
        self.step += 1;
        let step = self.step;
        let subscriber = &mut self.subscribers[subscriber];
        subscriber.asked.push((step, filter.clone()));
        if subscriber.current(filter).is_none() {
            subscriber.intervals.push(Interval {
                filter: filter.clone(),
                qos,
                asked: step,
                granted: None,
                ending: None,
                ended: None,
            });
        }
        step
    }

    /// The SUBACK was taken for what was written at the step `sent`. What was asked for later is not granted by it.
    pub fn subscribed(&mut self, subscriber: usize, filter: &Filter, sent: u64) {
        self.step += 1;
        let step = self.step;
        let interval = self.subscribers[subscriber].current(filter);
        if let Some(interval) = interval.filter(|interval| interval.asked <= sent) {
            interval.granted.get_or_insert(step);
        }
    }

    /// An UNSUBSCRIBE was written. Returns the step.
    pub fn unsubscribe_sent(&mut self, subscriber: usize, filter: &Filter) -> u64 {
        self.step += 1;
        let step = self.step;
        if let Some(interval) = self.subscribers[subscriber].current(filter) {
            interval.ending = Some(step);
        }
        step
    }

    /// The UNSUBACK was taken for what was written at the step `sent`. Another one may have been written since.
    ///
    /// Spec: v5 [MQTT-3.10.4-5], v3.1.1 [MQTT-3.10.4-4]: it has the packet identifier of the UNSUBSCRIBE that it answers.
    pub fn unsubscribed(&mut self, subscriber: usize, filter: &Filter, sent: u64) {
        self.step += 1;
        let step = self.step;
        for interval in &mut self.subscribers[subscriber].intervals {
            let is_ending = interval.ending.is_some_and(|ending| ending <= sent);
            if interval.filter == *filter && is_ending {
                interval.ended.get_or_insert(step);
            }
        }
    }

    /// The client's session at the server is new.
    pub fn session_began(&mut self, subscriber: usize) {
        self.step += 1;
        let step = self.step;
        let subscriber = &mut self.subscribers[subscriber];
        subscriber.former.append(&mut subscriber.intervals);
        subscriber.asked.clear();
        subscriber.began = step;
    }

    /// Whether a subscription was asked for and its end was not.
    #[must_use]
    pub fn is_wanted(&self, subscriber: usize, filter: &Filter) -> bool {
        let found = self.subscribers.get(subscriber).into_iter().flat_map(|s| &s.intervals);
        found.into_iter().any(|interval| interval.filter == *filter && interval.ending.is_none())
    }

    /// Clients whose sessions must have taken over a message of QoS 1 or 2 before it is acknowledged.
    #[must_use]
    pub fn owed(&self, index: usize) -> Vec<usize> {
        let Some(publication) = self.publications.get(index) else { return Vec::new() };
        if publication.may_expire {
            return Vec::new();
        }
        let is_owed = |subscriber: &Subscriber| {
            !subscriber.is_loose
                && subscriber.intervals.iter().any(|interval| {
                    !interval.filter.is_shared() && interval.owes(publication, QoS::AtLeastOnce)
                })
        };
        let all = self.subscribers.iter().enumerate();
        all.filter(|(_, subscriber)| is_owed(subscriber)).map(|(index, _)| index).collect()
    }

    /// Whether a retained message must be kept, or one of its topic that nobody can say is older.
    #[must_use]
    pub fn rivals(&self, index: usize) -> Vec<usize> {
        let Some(own) = self.publications.get(index) else { return Vec::new() };
        let all = self.publications.iter().enumerate();
        all.filter(|(_, other)| other.retain && other.topic == own.topic && !other.is_before(own))
            .map(|(index, _)| index)
            .collect()
    }

    /// Whether a message must be retained.
    #[must_use]
    pub fn is_retained(&self, index: usize) -> bool {
        self.publications.get(index).is_some_and(|publication| publication.retain)
    }

    /// A message arrives at a subscriber. Returns the step. It counts when its program has done with it: [`Model::delivered`].
    ///
    /// # Errors
    /// If nobody published it, the topic or payload is another, or this subscriber must not get it.
    pub fn arrived(&self, subscriber: usize, seen: Seen<'_>) -> Result<u64, Violation> {
        let index = usize::try_from(seen.publication).unwrap_or(usize::MAX);
        let topic = seen.topic;
        let Some(publication) = self.publications.get(index).cloned() else {
            return violation("MQTT-3.3.4-1", format!("{subscriber} got an unknown payload"));
        };
        if publication.topic != *topic || publication.size != seen.size {
            let what = format!("{subscriber} got {index} on {topic} with {} bytes", seen.size);
            return violation("MQTT-3.3.2-3", what);
        }
        let state = &self.subscribers[subscriber];
        let matching = |interval: &&Interval| interval.filter.matches(topic);
        let former = state.former.iter().filter(|_| seen.is_late);
        let mut intervals = state.intervals.iter().chain(former).filter(matching);
        let expected = if seen.retain {
            self.may_replay(subscriber, index, &publication)?;
            intervals.map(|interval| interval.qos).next()
        } else {
            intervals.find(|interval| interval.may_see(&publication)).map(|interval| interval.qos)
        };
        let expected = expected.or_else(|| state.is_loose.then_some(seen.qos));
        let Some(granted) = expected else {
            let what = format!("{subscriber} got {index} on {topic} without a subscription");
            return violation("MQTT-3.3.4-2", what);
        };
        let expected = publication.qos.min(granted);
        if seen.qos != expected && !self.subscribers[subscriber].is_loose {
            let what = format!("{subscriber} got {index} at {:?}, not {expected:?}", seen.qos);
            return violation("MQTT-3.8.4-8", what);
        }
        Ok(self.step)
    }

    /// A program has done with a message, which it may do once.
    ///
    /// # Errors
    /// If it has done so before.
    pub fn delivered(&mut self, subscriber: usize, seen: Seen<'_>) -> Result<(), Violation> {
        let index = usize::try_from(seen.publication).unwrap_or(usize::MAX);
        let Some(publication) = self.publications.get(index).cloned() else {
            return violation("MQTT-3.3.4-1", format!("{subscriber} got an unknown payload"));
        };
        self.not_again(subscriber, index, &publication, seen)?;
        let owes = |i: &Interval| !i.filter.is_shared() && i.owes(&publication, QoS::AtMostOnce);
        let is_expected = self.subscribers[subscriber].intervals.iter().any(owes);
        let order = self.subscribers[subscriber].receipts.len() as u64;
        self.subscribers[subscriber].receipts.push(Receipt {
            publication: index,
            qos: seen.qos,
            is_replay: seen.retain,
            is_expected,
            step: seen.order.map_or(self.step, |(_, step)| step),
            kept_by: seen.kept_by,
            order: seen.order.map_or(order, |(order, _)| order),
        });
        Ok(())
    }

    /// Whether a message was delivered to a subscriber.
    #[must_use]
    pub fn has(&self, subscriber: usize, index: u64) -> bool {
        let receipts = &self.subscribers[subscriber].receipts;
        receipts.iter().any(|receipt| receipt.publication as u64 == index)
    }

    /// A subscriber crashed: what its program did with messages whose records did not survive is undone. Returns how
    /// many these are.
    pub fn roll_back(&mut self, subscriber: usize, stored: u64) -> u64 {
        let receipts = &mut self.subscribers[subscriber].receipts;
        let before = receipts.len();
        receipts.retain(|receipt| receipt.kept_by <= stored);
        for receipt in receipts.iter_mut() {
            receipt.kept_by = 0;
        }
        (before - self.subscribers[subscriber].receipts.len()) as u64
    }

    /// All deliveries.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        self.subscribers.iter().map(|subscriber| subscriber.receipts.len()).sum()
    }

    /// Spec: v5 section 3.3.1.3 [MQTT-3.3.1-9].
    fn may_replay(
        &self,
        subscriber: usize,
        index: usize,
        publication: &Publication,
    ) -> Result<(), Violation> {
        let state = &self.subscribers[subscriber];
        if state.is_loose {
            return Ok(());
        }
        let first = state.asked.iter().find(|(_, filter)| filter.matches(&publication.topic));
        let Some((first, _)) = first.filter(|_| publication.retain) else {
            let what = format!("{subscriber} got {index} as retained, which it is not");
            return violation("MQTT-3.3.1-8", what);
        };
        let is_newer = |other: &&Publication| {
            other.retain
                && other.topic == publication.topic
                && publication.is_before(other)
                && !other.may_expire
                && matches!(other.stage, Stage::Acknowledged(step) if step < *first)
        };
        if let Some(newer) = self.publications.iter().find(is_newer) {
            let what = format!("{subscriber} got {index} as retained, which {newer:?} replaced");
            return violation("MQTT-3.3.1-5", what);
        }
        Ok(())
    }

    /// Spec: v5 [MQTT-4.3.3-10], section 4.8.2.
    fn not_again(
        &self,
        subscriber: usize,
        index: usize,
        publication: &Publication,
        seen: Seen<'_>,
    ) -> Result<(), Violation> {
        // Either half of the way may repeat at QoS 1; a retained message is at one half only.
        // What is retained is sent for each SUBSCRIBE, and a session may end before the program is done with it.
        let began = self.subscribers[subscriber].began;
        if seen.retain && seen.order.is_some_and(|(_, step)| step < began) {
            return Ok(());
        }
        let is_once = seen.qos == QoS::AtMostOnce && seen.retain || seen.qos == QoS::ExactlyOnce;
        if publication.may_repeat
            || self.subscribers[publication.publisher].is_loose
            || self.subscribers[subscriber].is_loose
            || publication.was_interrupted && seen.qos == QoS::AtMostOnce
            || !is_once && [publication.qos, seen.qos].contains(&QoS::AtLeastOnce)
        {
            return Ok(());
        }
        let count = |client: usize| {
            let state = &self.subscribers[client];
            // What is retained comes once for each SUBSCRIBE of the session, a live message once for all time.
            let may_be_both = publication.ended.is_some_and(|end| state.began < end);
            let same = |r: &&Receipt| {
                let is_old = (r.is_replay || may_be_both) && r.step < state.began;
                r.publication == index && r.is_replay == seen.retain && !is_old
            };
            state.receipts.iter().filter(same).count()
        };
        let allowed = if seen.retain {
            let asked = &self.subscribers[subscriber].asked;
            asked.iter().filter(|(_, filter)| filter.matches(&publication.topic)).count()
        } else {
            1
        };
        let is_member = |client: usize| self.subscribers[client].is_member;
        // A member that takes less than QoS 2 may have got it before a crash of the server that knows nothing of it, as may
        // one that relies on less than a sync.
        let is_exact = |client: &usize| {
            let mut receipts = self.subscribers[*client].receipts.iter();
            !self.subscribers[*client].is_loose
                && !receipts.any(|r| r.publication == index && r.qos != QoS::ExactlyOnce)
        };
        let got = if !seen.retain && is_member(subscriber) {
            let members = (0..self.subscribers.len()).filter(|client| is_member(*client));
            members.filter(is_exact).map(count).sum()
        } else {
            count(subscriber)
        };
        if got >= allowed {
            let what = format!("{subscriber} got {index} ({:?}) twice", seen.qos);
            return violation("MQTT-4.3.3-10", what);
        }
        Ok(())
    }
}

impl Publication {
    /// Whether it was certainly taken by the server before the other one was even published.
    fn is_before(&self, other: &Self) -> bool {
        match self.stage {
            Stage::Acknowledged(step) => step < other.published && !self.may_repeat,
            Stage::Open | Stage::Due | Stage::Loose => false,
        }
    }

    /// Whether it must have arrived by the end.
    fn is_promised(&self) -> bool {
        matches!(self.stage, Stage::Acknowledged(_) | Stage::Due) && !self.may_expire
    }
}

impl Interval {
    /// Whether a message must come by this subscription, which still stands, at `least` or better.
    fn owes(&self, publication: &Publication, least: QoS) -> bool {
        self.filter.matches(&publication.topic)
            && self.ending.is_none()
            && self.granted.is_some_and(|granted| granted < publication.published)
            && self.qos.min(publication.qos) >= least
    }

    /// Whether a message may come by this subscription.
    fn may_see(&self, publication: &Publication) -> bool {
        let is_early = match publication.stage {
            Stage::Acknowledged(step) => step < self.asked,
            Stage::Open | Stage::Due | Stage::Loose => false,
        };
        !is_early && self.ended.is_none_or(|ended| ended > publication.published)
    }
}

impl Subscriber {
    /// The subscription by this filter that is not ending.
    fn current(&mut self, filter: &Filter) -> Option<&mut Interval> {
        let is_current = |i: &&mut Interval| i.filter == *filter && i.ending.is_none();
        self.intervals.iter_mut().find(is_current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that publishes, one that is subscribed, and two that look at what is retained.
    fn model() -> (Model, Topic) {
        let mut model = Model::default();
        for _ in 0..4 {
            model.add_client(false);
        }
        let filter = Filter::new("a/+").unwrap();
        let sent = model.subscribe_sent(1, &filter, QoS::ExactlyOnce);
        model.subscribed(1, &filter, sent);
        (model, Topic::new("a/b").unwrap())
    }

    fn publish(model: &mut Model, topic: &Topic, qos: QoS) -> usize {
        let topic = topic.clone();
        let (publisher, retain, may_expire, size) = (0, false, false, 9);
        model.published(NewMessage { publisher, topic, qos, retain, may_expire, size })
    }

    fn deliver(model: &mut Model, topic: &Topic, qos: QoS, index: usize) -> Option<&'static str> {
        let publication = index as u64;
        let seen = Seen {
            topic,
            qos,
            retain: false,
            publication,
            size: 9,
            kept_by: 0,
            order: None,
            is_late: false,
        };
        let seen = model.arrived(1, seen).and_then(|_| model.delivered(1, seen));
        seen.err().map(|violation| violation.statement)
    }

    #[test]
    fn a_loss_a_double_and_a_swap_are_seen() {
        let (mut model, topic) = model();
        let first = publish(&mut model, &topic, QoS::ExactlyOnce);
        let second = publish(&mut model, &topic, QoS::ExactlyOnce);
        let verdict = |model: &Model| model.verdict([2, 3], 0).unwrap_err().statement;
        assert_eq!(verdict(&model), "MQTT-4.4.0-1");
        model.acknowledged(first);
        model.acknowledged(second);
        assert_eq!(verdict(&model), "MQTT-4.5.0-1");
        assert_eq!(deliver(&mut model, &topic, QoS::ExactlyOnce, second), None);
        let again = deliver(&mut model, &topic, QoS::ExactlyOnce, second);
        assert_eq!(again, Some("MQTT-4.3.3-10"));
        assert_eq!(deliver(&mut model, &topic, QoS::ExactlyOnce, first), None);
        assert_eq!(verdict(&model), "MQTT-4.6.0-5");
    }

    #[test]
    fn strangers_and_wrong_levels_are_seen() {
        let (mut model, topic) = model();
        let index = publish(&mut model, &topic, QoS::AtLeastOnce);
        assert!(deliver(&mut model, &topic, QoS::ExactlyOnce, index).is_some(), "wrong QoS");
        assert!(deliver(&mut model, &topic, QoS::AtLeastOnce, 7).is_some(), "unknown");
        let other = Topic::new("b").unwrap();
        assert!(deliver(&mut model, &other, QoS::AtLeastOnce, index).is_some(), "wrong topic");
        assert_eq!(deliver(&mut model, &topic, QoS::AtLeastOnce, index), None);
        assert_eq!(deliver(&mut model, &topic, QoS::AtLeastOnce, index), None);
    }

    #[test]
    fn an_unsuback_ends_what_its_unsubscribe_asked_to_end() {
        let (mut model, topic) = model();
        let filter = Filter::new("a/+").unwrap();
        let first = model.unsubscribe_sent(1, &filter);
        model.subscribe_sent(1, &filter, QoS::ExactlyOnce);
        let second = model.unsubscribe_sent(1, &filter);
        model.unsubscribed(1, &filter, first);
        let index = publish(&mut model, &topic, QoS::ExactlyOnce);
        assert_eq!(deliver(&mut model, &topic, QoS::ExactlyOnce, index), None);
        model.unsubscribed(1, &filter, second);
        let index = publish(&mut model, &topic, QoS::ExactlyOnce);
        let late = deliver(&mut model, &topic, QoS::ExactlyOnce, index);
        assert_eq!(late, Some("MQTT-3.3.4-2"));
    }

    #[test]
    fn a_suback_grants_what_its_subscribe_asked_for() {
        let (mut model, topic) = model();
        let filter = Filter::new("a/+").unwrap();
        let first = model.subscribe_sent(1, &filter, QoS::ExactlyOnce);
        model.unsubscribe_sent(1, &filter);
        let second = model.subscribe_sent(1, &filter, QoS::ExactlyOnce);
        model.subscribed(1, &filter, first);
        let index = publish(&mut model, &topic, QoS::ExactlyOnce);
        assert_eq!(model.owed(index), [0; 0]);
        model.subscribed(1, &filter, second);
        let index = publish(&mut model, &topic, QoS::ExactlyOnce);
        assert_eq!(model.owed(index), [1]);
    }

    #[test]
    fn what_a_crash_undoes_comes_again() {
        let (mut model, topic) = model();
        let index = publish(&mut model, &topic, QoS::ExactlyOnce);
        let publication = index as u64;
        let seen = Seen {
            topic: &topic,
            qos: QoS::ExactlyOnce,
            retain: false,
            publication,
            size: 9,
            kept_by: 5,
            order: None,
            is_late: false,
        };
        assert_eq!(model.delivered(1, seen), Ok(()));
        assert_eq!(model.roll_back(1, 4), 1);
        assert_eq!(model.delivered(1, seen), Ok(()));
        assert_eq!(model.roll_back(1, 5), 0);
        assert!(model.delivered(1, seen).is_err());
    }
}
