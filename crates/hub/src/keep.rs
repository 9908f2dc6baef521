//! Retained messages: the newest of each topic, the same on all hubs of a broker.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use postrider_proto::{
    Message, Payload, Stamp, Time,
    mutation::{Mutation, planted},
    wire::Topic,
};

use crate::retained::Retained;

/// What a retained publish did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is the topic's message.
    Stored,
    /// The topic's message is gone.
    Cleared,
    /// There was nothing to clear, or a later writer was faster.
    Unchanged,
    /// There is no room for it; the topic has no message.
    Full,
}

/// Bounds of what is retained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepLimits {
    pub(crate) messages_max: u32,
    pub(crate) bytes_max: u64,
    /// Bytes that are kept in memory; what goes beyond is in the store only.
    pub(crate) resident_bytes_max: u64,
}

/// The retained messages that one hub knows: all of the broker's.
///
/// Every topic has its place here. A message for which there is no memory left is in the store only; the place says
/// under which stamp, and whoever wants it reads it back.
#[derive(Debug)]
pub(crate) struct Keeper {
    index: Retained<Place>,
    limits: KeepLimits,
    messages: u64,
    bytes: u64,
    /// Of `bytes`, those in memory.
    resident_bytes: u64,
    /// Counts changes of the index; tells what a subscription found there.
    order: u64,
    hub: u16,
    /// Latest time of a stamp given or seen: a writer who has seen a stamp writes a greater one.
    time: u64,
    counter: u64,
    /// Messages that expire, by time and by the order number of their place.
    expiring: BTreeMap<(Time, u64), Topic>,
    /// Topics whose message was cleared or has expired: stamps that keep an older write from another hub from bringing it back.
    graves: VecDeque<(Time, Topic, Stamp)>,
    /// Whether other hubs write too.
    has_peers: bool,
}

/// What is known of one topic.
#[derive(Debug)]
struct Place {
    what: What,
    stamp: Stamp,
    order: u64,
}

#[derive(Debug)]
enum What {
    /// A clear or an expiry, remembered for a while.
    Grave,
    /// The message is in memory.
    Resident(Arc<Message>),
    /// The message is in the store only, or on its way there. It counts for `bytes`, which are fewer than 4 GiB since a
    /// packet has no more; [`NEVER`] is no expiry.
    Stored { bytes: u32, expires: Time },
}

/// Where the retained message of a topic is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// In memory.
    Resident(&'a Arc<Message>),
    /// In the store, with this stamp; in memory it would count for so many bytes.
    Stored(Stamp, u64),
}

impl Keeper {
    /// How long a clear or an expiry is remembered: far longer than a message between hubs can be on its way.
    const GRAVE_MS: u64 = 60_000;

    /// Nothing retained. `hub` is the index of this hub.
    pub(crate) fn new(seed: u64, hub: u16, has_peers: bool, limits: KeepLimits) -> Self {
        Self {
            index: Retained::new(seed),
            limits,
            messages: 0,
            bytes: 0,
            resident_bytes: 0,
            order: 0,
            hub,
            time: 0,
            counter: 0,
            expiring: BTreeMap::new(),
            graves: VecDeque::new(),
            has_peers,
        }
    }

    /// A stamp greater than all given and seen here.
    pub(crate) fn stamp(&mut self, now: Time) -> Stamp {
        self.time = self.time.max(now.0);
        self.counter += 1;
        (self.time, self.hub, self.counter)
    }

    /// How many changes the index has seen.
    pub(crate) fn order(&self) -> u64 {
        self.order
    }

    /// If the topic has a later writer than `stamp`: the order number of what that one wrote.
    pub(crate) fn overtaken(&self, topic: &Topic, stamp: Stamp) -> Option<u64> {
        let place = self.index.get(topic.as_bytes())?;
        (place.stamp > stamp).then_some(place.order)
    }

    /// Makes the next stamp given here greater than this one, which another hub gave, or a hub of an earlier process.
    pub(crate) fn see(&mut self, stamp: Stamp) {
        self.time = self.time.max(stamp.0.saturating_add(1));
    }

    /// Takes a publish with RETAIN=1. Spec: v5 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7],
    /// v3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-10] [MQTT-3.3.1-11].
    pub(crate) fn take(&mut self, message: &Arc<Message>, stamp: Stamp, now: Time) -> Kept {
        // The next stamp given here must be greater, whatever the clock says.
        if stamp.1 != self.hub {
            self.see(stamp);
        }
        let Some(topic) = &message.head.topic else { return Kept::Unchanged };
        if self.overtaken(topic, stamp).is_some() && !planted(Mutation::RetainedOldWins) {
            return Kept::Unchanged;
        }
        let had = self.remove(topic).is_some();
        self.order += 1;
        if message.payload.is_empty() {
            self.bury(topic, stamp, self.order, now);
            return if had { Kept::Cleared } else { Kept::Unchanged };
        }
        let cost = cost(message);
        let bytes = self.bytes.saturating_add(cost);
        if self.messages >= u64::from(self.limits.messages_max) || bytes > self.limits.bytes_max {
            self.bury(topic, stamp, self.order, now);
            return Kept::Full;
        }
        self.messages += 1;
        self.bytes = bytes;
        if let Some(expires) = message.expires {
            // It may live longer than the message, whose head it is a part of.
            self.expiring.insert((expires, self.order), topic.detached());
        }
        let what = self.remember(message, cost);
        self.index.insert(topic.as_bytes(), Place { what, stamp, order: self.order });
        Kept::Stored
    }

    /// Keeps a message in memory if there is room. One with a large payload stays, since it holds the spool; its
    /// payload is in no memory.
    fn remember(&mut self, message: &Arc<Message>, bytes: u64) -> What {
        let resident = self.resident_bytes.saturating_add(bytes);
        let is_spooled = matches!(message.payload, Payload::Spooled { .. });
        if resident > self.limits.resident_bytes_max && !is_spooled {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            return What::Stored { bytes, expires: message.expires.unwrap_or(NEVER) };
        }
        self.resident_bytes = resident;
        What::Resident(Arc::clone(message))
    }

    /// The retained message of a topic, unless it has expired.
    pub(crate) fn get(&self, topic: &[u8], now: Time) -> Option<Found<'_>> {
        self.index.get(topic)?.found(now)
    }

    /// The next messages behind the topic `after` that match a filter, in the byte order of topics, until `each`
    /// returns false.
    pub(crate) fn for_matches_after(
        &self,
        path: &[u8],
        after: Option<&[u8]>,
        now: Time,
        mut each: impl FnMut(&[u8], Found<'_>) -> bool,
    ) {
        self.index.for_matches_after(path, after, |topic, place| {
            place.found(now).is_none_or(|found| each(topic, found))
        });
    }

    /// Forgets what has expired until `now`; appends the topics to `gone`.
    pub(crate) fn expire(&mut self, now: Time, gone: &mut Vec<Topic>) {
        while let Some(entry) = self.expiring.first_entry().filter(|entry| entry.key().0 <= now) {
            let topic = entry.remove();
            if let Some(Place { stamp, order, .. }) = self.remove(&topic) {
                self.bury(&topic, stamp, order, now);
                gone.push(topic);
            }
        }
        while let Some((_, topic, stamp)) = self.graves.pop_front_if(|(until, _, _)| *until <= now)
        {
            let is_grave = self
                .index
                .get(topic.as_bytes())
                .is_some_and(|place| matches!(place.what, What::Grave) && place.stamp == stamp);
            if is_grave {
                self.index.remove(topic.as_bytes());
            }
        }
    }

    /// Forgets the messages whose payload is in this spool. Returns their topics.
    pub(crate) fn forget_spool(&mut self, spool: u64) -> Vec<Topic> {
        let has_it = |place: &Place| {
            matches!(&place.what, What::Resident(message)
                if matches!(&message.payload, Payload::Spooled { id, .. } if id.number() == spool))
        };
        let found = self.index.iter().filter(|(_, place)| has_it(place));
        let topics: Vec<_> = found
            .filter_map(|(_, place)| match &place.what {
                What::Resident(message) => message.head.topic.clone(),
                What::Grave | What::Stored { .. } => None,
            })
            .collect();
        for topic in &topics {
            self.remove(topic);
            self.order += 1;
        }
        topics
    }

    /// When [`Keeper::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let message = self.expiring.first_key_value().map(|(&(expires, _), _)| expires);
        let grave = self.graves.front().map(|(until, _, _)| *until);
        message.into_iter().chain(grave).min()
    }

    /// How many messages are retained.
    pub(crate) fn len(&self) -> u64 {
        self.messages
    }

    /// Takes a topic out of the index. Returns the place of its message, if it has one.
    fn remove(&mut self, topic: &Topic) -> Option<Place> {
        let place = self.index.remove(topic.as_bytes())?;
        let (bytes, expires) = match &place.what {
            What::Grave => return None,
            What::Resident(message) => {
                self.resident_bytes -= cost(message);
                (cost(message), message.expires.unwrap_or(NEVER))
            }
            What::Stored { bytes, expires } => (u64::from(*bytes), *expires),
        };
        self.messages -= 1;
        self.bytes -= bytes;
        self.expiring.remove(&(expires, place.order));
        Some(place)
    }

    fn bury(&mut self, topic: &Topic, stamp: Stamp, order: u64, now: Time) {
        if self.has_peers {
            let place = Place { what: What::Grave, stamp, order };
            self.index.insert(topic.as_bytes(), place);
            self.graves.push_back((now.plus_ms(Self::GRAVE_MS), topic.clone(), stamp));
        }
    }
}

impl Place {
    /// The message, unless it was cleared or has expired.
    fn found(&self, now: Time) -> Option<Found<'_>> {
        match &self.what {
            What::Grave => None,
            What::Resident(message) => {
                (!message.is_expired(now)).then_some(Found::Resident(message))
            }
            What::Stored { bytes, expires } => {
                (*expires > now).then_some(Found::Stored(self.stamp, u64::from(*bytes)))
            }
        }
    }
}

/// The expiry of what does not expire.
const NEVER: Time = Time(u64::MAX);

fn cost(message: &Message) -> u64 {
    message.cost_bytes() + size_of::<Message>() as u64
}

#[cfg(test)]
mod tests {
    use postrider_proto::{
        Payload,
        wire::{Bytes, Properties, Property, Publish, QoS},
    };

    use super::*;

    const LIMITS: KeepLimits =
        KeepLimits { messages_max: 2, bytes_max: 1_000_000, resident_bytes_max: u64::MAX };

    fn message(topic: &str, payload: &str, expiry_s: Option<u32>) -> Arc<Message> {
        let mut properties = Properties::new();
        if let Some(seconds) = expiry_s {
            properties.push(Property::MessageExpiryInterval(seconds));
        }
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: true,
            topic: Some(Topic::new(topic).expect("a topic")),
            packet_id: None,
            properties,
            payload: Bytes::new(),
        };
        let payload = Payload::Bytes(Bytes::copy_from_slice(payload.as_bytes()));
        Arc::new(Message::from_publish(publish, payload, Time(0)))
    }

    fn payloads(keeper: &Keeper, path: &str, now: Time) -> Vec<String> {
        let mut found = Vec::new();
        keeper.for_matches_after(path.as_bytes(), None, now, |_, place| {
            match place {
                Found::Resident(message) => {
                    let Payload::Bytes(bytes) = &message.payload else { panic!("a spool") };
                    found.push(String::from_utf8_lossy(bytes).into_owned());
                }
                Found::Stored(stamp, _) => found.push(format!("stored {}", stamp.2)),
            }
            true
        });
        found
    }

    /// v5 [MQTT-3.3.1-5], v3.1.1 [MQTT-3.3.1-5].
    #[test]
    fn what_has_expired_keeps_an_older_write_from_another_hub_away() {
        let mut keeper = Keeper::new(1, 0, true, LIMITS);
        let (topic, old) = (Topic::new("a").expect("a topic"), message("a", "old", None));
        let short = message("a", "short", Some(0));
        assert_eq!(keeper.take(&short, (5, 0, 1), Time(5)), Kept::Stored);
        let order = keeper.overtaken(&topic, (4, 1, 9));
        assert!(order.is_some());
        let mut gone = Vec::new();
        keeper.expire(Time(5), &mut gone);
        assert_eq!((gone.len(), keeper.len()), (1, 0));
        assert_eq!(keeper.overtaken(&topic, (4, 1, 9)), order);
        assert_eq!(keeper.take(&old, (4, 1, 9), Time(6)), Kept::Unchanged);
        assert_eq!(keeper.take(&message("a", "new", None), (6, 1, 10), Time(6)), Kept::Stored);
        assert_eq!(payloads(&keeper, "#", Time(6)), ["new"]);
        keeper.expire(Time(6 + Keeper::GRAVE_MS), &mut gone);
        assert_eq!((gone.len(), payloads(&keeper, "#", Time(6))), (1, vec!["new".to_owned()]));
    }

    /// v5 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7], v3.1.1 [MQTT-3.3.1-10] [MQTT-3.3.1-11].
    #[test]
    fn the_last_writer_wins_in_any_order_of_arrival() {
        for has_peers in [false, true] {
            let mut keeper = Keeper::new(1, 0, has_peers, LIMITS);
            assert_eq!(keeper.take(&message("a", "new", None), (5, 0, 1), Time(5)), Kept::Stored);
            assert_eq!(
                keeper.take(&message("a", "old", None), (4, 1, 9), Time(6)),
                Kept::Unchanged
            );
            assert_eq!(payloads(&keeper, "#", Time(6)), ["new"]);
            assert_eq!(keeper.take(&message("a", "", None), (7, 1, 10), Time(7)), Kept::Cleared);
            assert_eq!(keeper.len(), 0);
        }
        let mut keeper = Keeper::new(1, 0, true, LIMITS);
        assert_eq!(keeper.take(&message("a", "", None), (7, 1, 10), Time(7)), Kept::Unchanged);
        let late = keeper.take(&message("a", "late", None), (6, 0, 1), Time(8));
        assert_eq!(late, Kept::Unchanged, "a clear is not undone by an older write");
        let mut gone = Vec::new();
        keeper.expire(Time(7 + Keeper::GRAVE_MS), &mut gone);
        assert!(gone.is_empty());
        assert_eq!(keeper.index.len(), 0, "the clear is forgotten at last");
        assert_eq!(keeper.deadline(), None);
    }

    #[test]
    fn who_saw_a_stamp_writes_a_greater_one() {
        let mut keeper = Keeper::new(1, 0, true, LIMITS);
        keeper.take(&message("a", "x", None), (1_000, 1, 1), Time(10));
        assert!(keeper.stamp(Time(10)) > (1_000, 1, 1));
    }

    /// A clock that was set back over a restart does not make new messages older than those of the store.
    #[test]
    fn stamps_of_an_earlier_process_are_overtaken() {
        let mut keeper = Keeper::new(1, 0, true, LIMITS);
        let recovered = (1_000, 0, 7);
        keeper.take(&message("a", "x", None), recovered, Time(10));
        keeper.see(recovered);
        let stamp = keeper.stamp(Time(10));
        assert_eq!(keeper.take(&message("a", "y", None), stamp, Time(10)), Kept::Stored);
        assert_eq!(payloads(&keeper, "a", Time(10)), ["y"]);
    }

    /// v5 [MQTT-3.3.2-5]: an expired message is gone.
    #[test]
    fn messages_expire() {
        let mut keeper = Keeper::new(1, 0, false, LIMITS);
        keeper.take(&message("a", "x", Some(2)), (1, 0, 1), Time(1));
        keeper.take(&message("b", "y", None), (1, 0, 2), Time(1));
        assert_eq!(keeper.deadline(), Some(Time(2_000)));
        assert_eq!(payloads(&keeper, "#", Time(1_999)), ["x", "y"]);
        assert_eq!(payloads(&keeper, "#", Time(2_000)), ["y"]);
        let mut gone = Vec::new();
        keeper.expire(Time(2_000), &mut gone);
        assert_eq!(gone, [Topic::new("a").expect("a topic")]);
        assert_eq!((keeper.len(), keeper.deadline()), (1, None));
    }

    #[test]
    fn bounds_hold_at_under_and_over() {
        let mut keeper = Keeper::new(1, 0, false, LIMITS);
        let mut take = |topic, payload| {
            let stamp = keeper.stamp(Time(1));
            keeper.take(&message(topic, payload, None), stamp, Time(1))
        };
        assert_eq!(take("a", "1"), Kept::Stored);
        assert_eq!(take("b", "2"), Kept::Stored);
        assert_eq!(take("c", "3"), Kept::Full);
        assert_eq!(take("b", "4"), Kept::Stored, "replacing needs no place");
        assert_eq!(take("b", ""), Kept::Cleared);
        assert_eq!(take("c", "5"), Kept::Stored);
        assert_eq!(payloads(&keeper, "+", Time(1)), ["1", "5"]);
    }

    /// At, under and over the budget of memory; what is overwritten, cleared or expired makes room again.
    #[test]
    fn what_is_over_the_budget_is_in_the_store_only() {
        let one = cost(&message("a", "1", None));
        for (resident_bytes_max, expected) in [
            (2 * one, ["1", "2", "stored 3"]),
            (2 * one + 1, ["1", "2", "stored 3"]),
            (2 * one - 1, ["1", "stored 2", "stored 3"]),
            (0, ["stored 1", "stored 2", "stored 3"]),
        ] {
            let limits = KeepLimits { messages_max: 9, resident_bytes_max, ..LIMITS };
            let mut keeper = Keeper::new(1, 0, true, limits);
            for (topic, payload, expiry_s) in
                [("a", "1", None), ("b", "2", None), ("c", "3", Some(9))]
            {
                let stamp = keeper.stamp(Time(1));
                keeper.take(&message(topic, payload, expiry_s), stamp, Time(1));
            }
            assert_eq!(payloads(&keeper, "#", Time(1)), expected);
            assert!(keeper.resident_bytes <= resident_bytes_max);
            for (topic, payload) in [("a", ""), ("b", "4")] {
                let stamp = keeper.stamp(Time(2));
                keeper.take(&message(topic, payload, None), stamp, Time(2));
            }
            let now = if resident_bytes_max < one { "stored 5" } else { "4" };
            assert_eq!(payloads(&keeper, "#", Time(9_000)), [now]);
            let mut gone = Vec::new();
            keeper.expire(Time(9_000), &mut gone);
            assert_eq!((gone.len(), keeper.len()), (1, 1));
            let stamp = keeper.stamp(Time(9_000));
            keeper.take(&message("b", "", None), stamp, Time(9_000));
            assert_eq!((keeper.bytes, keeper.resident_bytes, keeper.len()), (0, 0, 0));
        }
    }
}
