//! Whose fault it is: what the wire tells against what the program got.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FILTERS,
    handed::{Handed, Handing},
    message::Name,
    sent::Sent,
};

/// What the program says of its messages.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Publications that resolved with success.
    pub(crate) done: BTreeSet<Name>,
    /// Publications that resolved with an error, and which.
    pub(crate) failed: BTreeMap<Name, String>,
    /// The last number of each topic.
    pub(crate) last: BTreeMap<(u8, u8), u32>,
    /// Of each subscriber.
    pub(crate) arrivals: Vec<Arrivals>,
}

/// What came to the program of one subscriber.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) counts: BTreeMap<Name, u32>,
    /// First arrivals of each topic in their order.
    order: BTreeMap<(u8, u8), Vec<u32>>,
}

impl Arrivals {
    pub(crate) fn note(&mut self, name: Name) {
        let count = self.counts.entry(name).or_default();
        *count += 1;
        if *count == 1 {
            self.order.entry((name.publisher, name.qos)).or_default().push(name.number);
        }
    }
}

/// How often something went wrong, and by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blame {
    pub(crate) client: u64,
    pub(crate) broker: u64,
}

/// What came of the messages of one QoS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Publications that resolved with success.
    pub(crate) published: u64,
    /// Messages that came to a program, each counted once for each subscriber.
    pub(crate) arrived: u64,
    /// Published, and missing at a subscriber.
    pub(crate) lost: Blame,
    /// At QoS 2 more than once; at QoS 1 more often than the broker sent it.
    pub(crate) doubled: Blame,
    /// At QoS 1, which may come again.
    pub(crate) again: u64,
    /// First after a later message of its topic.
    pub(crate) reordered: Blame,
    /// Not complete at the end.
    pub(crate) unfinished: Blame,
}

/// What came of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// QoS 1 and QoS 2.
    pub(crate) counts: [Count; 2],
    /// What the client did wrong, in words.
    pub(crate) faults: Vec<String>,
    /// What the broker lost, doubled or reordered: the first ones, in words.
    pub(crate) losses: Vec<String>,
}

impl Verdict {
    /// Compares all; `sent` and `handed` are the accounts of publishers and subscribers in their order.
    pub(crate) fn of(told: &Told, sent: &[&Sent], handed: &[&Handed]) -> Self {
        let mut verdict = Self::default();
        for account in sent {
            verdict.faults.extend_from_slice(&account.faults);
        }
        for (name, why) in &told.failed {
            verdict.faults.push(format!("{name} failed: {why}"));
        }
        // What was published, whether it was sent or not; and what was sent, whether the program came to its last or not.
        let mut published: BTreeSet<Name> = told.done.clone();
        published.extend(sent.iter().flat_map(|account| account.messages.keys()));
        for (&(publisher, qos), &last) in &told.last {
            published.extend((1..=last).map(|number| Name { publisher, qos, number }));
        }
        for &name in &published {
            if let Some(account) = sent.get(usize::from(name.publisher)) {
                verdict.judge_end(told, account, name);
            }
        }
        for (index, (arrivals, handed)) in told.arrivals.iter().zip(handed).enumerate() {
            let receiver = Receiver { index, arrivals, handed };
            if handed.filters < FILTERS {
                let count = handed.filters;
                verdict
                    .faults
                    .push(format!("subscriber {index} subscribed to {count} of {FILTERS}"));
            }
            for name in &told.done {
                let Some(account) = sent.get(usize::from(name.publisher)) else { continue };
                verdict.judge_arrival(&receiver, account, *name);
            }
            verdict.judge_copies(&receiver, &published);
            for (&(publisher, qos), order) in &arrivals.order {
                verdict.judge_order(&receiver, publisher, qos, order);
            }
        }
        verdict
    }

    /// The client did all that it must.
    pub(crate) fn is_client_right(&self) -> bool {
        let is_clear = |it: &Count| {
            [it.lost, it.doubled, it.reordered, it.unfinished].iter().all(|it| it.client == 0)
        };
        self.faults.is_empty() && self.counts.iter().all(is_clear)
    }

    /// And the broker too.
    pub(crate) fn is_perfect(&self) -> bool {
        let is_clear = |it: &Count| {
            [it.lost, it.doubled, it.reordered, it.unfinished].iter().all(|it| it.broker == 0)
        };
        self.is_client_right() && self.counts.iter().all(is_clear)
    }

    fn count(&mut self, qos: u8) -> &mut Count {
        let [one, two] = &mut self.counts;
        if qos == 1 { one } else { two }
    }

    /// Whether a publication was completed, and by right.
    fn judge_end(&mut self, told: &Told, sent: &Sent, name: Name) {
        if told.done.contains(&name) {
            self.count(name.qos).published += 1;
            return;
        }
        if told.failed.contains_key(&name) {
            return;
        }
        let is_unanswered = sent.is_unanswered(name);
        let text = format!("{name} is not complete");
        self.blame(is_unanswered, text, |blame| &mut blame.unfinished, name.qos);
    }

    /// Whether a completed publication is missing at a subscriber.
    fn judge_arrival(&mut self, receiver: &Receiver<'_>, sent: &Sent, name: Name) {
        if receiver.arrivals.counts.contains_key(&name) {
            self.count(name.qos).arrived += 1;
            return;
        }
        let handed = receiver.handed;
        let is_taken = handed.messages.get(&name).is_some_and(|handing| handing.taken.is_some());
        let why = if !sent.messages.get(&name).is_some_and(|it| it.is_acknowledged) {
            Some("its publisher was told of success without an acknowledgement")
        } else if is_taken {
            Some("it was acknowledged and did not come to the program")
        } else if handed.is_unanswered(name) {
            Some("it was not acknowledged")
        } else {
            None
        };
        let text = format!("subscriber {} lacks {name}", receiver.index);
        let text = why.map_or_else(|| text.clone(), |why| format!("{text}: {why}"));
        self.blame(why.is_none(), text, |count| &mut count.lost, name.qos);
    }

    /// Whether the program got a message more often than it was sent.
    fn judge_copies(&mut self, receiver: &Receiver<'_>, published: &BTreeSet<Name>) {
        for (&name, &count) in &receiver.arrivals.counts {
            if !published.contains(&name) {
                self.faults
                    .push(format!("subscriber {} got {name}: nobody sent it", receiver.index));
            }
            let handing = receiver.handed.messages.get(&name).copied().unwrap_or_default();
            let Handing { copies, exchanges, finished, .. } = handing;
            let allowed = if name.qos == 1 { copies } else { exchanges };
            let is_client = count > allowed;
            let text = format!(
                "subscriber {} got {name} {count} times; the broker sent {copies} copies in {exchanges} \
                 exchanges, of which the client finished {finished}",
                receiver.index
            );
            if is_client || (name.qos == 2 && count > 1) {
                self.blame(!is_client, text, |count| &mut count.doubled, name.qos);
            } else if count > 1 {
                self.count(name.qos).again += 1;
            }
        }
    }

    /// Messages that came first after a later one. It is the client's fault if it had acknowledged the earlier one before
    /// the later one was sent at all.
    fn judge_order(&mut self, receiver: &Receiver<'_>, publisher: u8, qos: u8, order: &[u32]) {
        let handing = |number| receiver.handed.messages.get(&Name { publisher, qos, number });
        let mut greatest = 0;
        for (at, &number) in order.iter().enumerate() {
            if number > greatest {
                greatest = number;
                continue;
            }
            let taken = handing(number).and_then(|it| it.taken).unwrap_or(u64::MAX);
            let before = order.get(..at).unwrap_or_default().iter();
            let late = before
                .filter(|before| **before > number)
                .find(|before| handing(**before).is_none_or(|before| before.first > taken));
            let text = format!(
                "subscriber {} got {} after {greatest}",
                receiver.index,
                Name { publisher, qos, number }
            );
            self.blame(late.is_none(), text, |count| &mut count.reordered, qos);
        }
    }

    fn blame(
        &mut self,
        is_broker: bool,
        text: String,
        what: impl FnOnce(&mut Count) -> &mut Blame,
        qos: u8,
    ) {
        let blame = what(self.count(qos));
        if is_broker {
            blame.broker += 1;
            // Some of each kind.
            if blame.broker <= LOSSES_MAX {
                self.losses.push(text);
            }
        } else {
            blame.client += 1;
            self.faults.push(text);
        }
    }
}

/// One subscriber, seen from both sides.
struct Receiver<'a> {
    index: usize,
    arrivals: &'a Arrivals,
    handed: &'a Handed,
}

/// Faults of one kind by the broker that are kept in words.
const LOSSES_MAX: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        faults::script::{connack, play},
        flight::End,
    };

    /// One publisher, one subscriber: what passed between each and the broker, what was done, and what came.
    fn verdict(sent: &str, handed: &str, done: &[(u8, u32)], got: &[(u8, u32)]) -> Verdict {
        let mut publisher = Sent::default();
        publisher.connect();
        publisher.note(End::Broker, &connack(false), true);
        play(sent, |step| match step {
            None => publisher.connect(),
            Some((writer, packet, is_passed)) => publisher.note(writer, &packet, is_passed),
        });
        let mut subscriber = Handed::default();
        play(&format!("c:sub c:sub {handed}"), |step| match step {
            None => subscriber.connect(),
            Some((writer, packet, is_passed)) => subscriber.note(writer, &packet, is_passed),
        });
        let name = |&(qos, number): &(u8, u32)| Name { publisher: 0, qos, number };
        let mut told = Told { arrivals: vec![Arrivals::default()], ..Told::default() };
        for (&(_, number), name) in done.iter().zip(done.iter().map(name)) {
            told.done.insert(name);
            let last = told.last.entry((0, name.qos)).or_default();
            *last = number.max(*last);
        }
        got.iter().for_each(|it| told.arrivals[0].note(name(it)));
        Verdict::of(&told, &[&publisher], &[&subscriber])
    }

    const SENT_1: &str = "c:pub1(1,1) b:ack(1)";
    const SENT_2: &str = "c:pub2(1,1) b:rec(1) c:rel(1) b:comp(1)";
    const BY_CLIENT: Blame = Blame { client: 1, broker: 0 };
    const BY_BROKER: Blame = Blame { client: 0, broker: 1 };

    #[test]
    fn what_arrives_is_no_fault() {
        let one = verdict(SENT_1, "b:pub1(9,1) c:ack(9)", &[(1, 1)], &[(1, 1)]);
        assert!(one.is_perfect(), "{one:?}");
        assert_eq!((one.counts[0].published, one.counts[0].arrived), (1, 1));
        let again = verdict(SENT_1, "b:pub1(9,1) cut b:dup1(9,1)", &[(1, 1)], &[(1, 1), (1, 1)]);
        assert!(again.is_perfect(), "{again:?}");
        assert_eq!(again.counts[0].again, 1);
        let two = verdict(SENT_2, "b:pub2(9,1) c:rec(9) b:rel(9)", &[(2, 1)], &[(2, 1)]);
        assert!(two.is_perfect(), "{two:?}");
    }

    #[test]
    fn a_loss_is_of_whoever_had_the_message() {
        for (sent, handed, lost) in [
            // The publisher's program was told too early.
            ("c:pub1(1,1)", "", BY_CLIENT),
            ("c:pub1(1,1) lost:ack(1)", "", BY_CLIENT),
            // The subscriber took it, or did not answer.
            (SENT_1, "b:pub1(9,1) c:ack(9)", BY_CLIENT),
            (SENT_1, "b:pub1(9,1)", BY_CLIENT),
            // The broker did not send it, or not again.
            (SENT_1, "", BY_BROKER),
            (SENT_1, "lost:pub1(9,1)", BY_BROKER),
            (SENT_1, "b:pub1(9,1) cut", BY_BROKER),
        ] {
            let verdict = verdict(sent, handed, &[(1, 1)], &[]);
            assert_eq!(verdict.counts[0].lost, lost, "{sent} / {handed}");
            assert_eq!(verdict.is_client_right(), lost == BY_BROKER);
            assert!(!verdict.is_perfect());
        }
        // In a session in which nobody has subscribed.
        let forgotten = verdict(SENT_1, "cut b:new", &[(1, 1)], &[]);
        assert_eq!(forgotten.faults, ["subscriber 0 subscribed to 0 of 2"]);
        // Under an identifier that was in use.
        let handed = "b:pub2(9,7) c:rec(9) cut b:pub2(9,1) c:rec(9)";
        assert_eq!(verdict(SENT_2, handed, &[(2, 1)], &[]).counts[1].lost, BY_BROKER);
    }

    #[test]
    fn a_double_is_of_whoever_made_two_of_one() {
        for (handed, doubled) in [
            ("b:pub2(9,1) cut b:dup2(9,1) c:rec(9) b:rel(9)", BY_CLIENT),
            ("b:pub2(9,1) c:rec(9) b:rel(9) c:comp(9) cut b:pub2(9,1)", BY_BROKER),
        ] {
            let verdict = verdict(SENT_2, handed, &[(2, 1)], &[(2, 1), (2, 1)]);
            assert_eq!(verdict.counts[1].doubled, doubled, "{handed}");
        }
        let handed = "b:pub1(9,1) c:ack(9)";
        let verdict = verdict(SENT_1, handed, &[(1, 1)], &[(1, 1), (1, 1)]);
        assert_eq!((verdict.counts[0].doubled, verdict.counts[0].again), (BY_CLIENT, 0));
    }

    #[test]
    fn order_is_that_in_which_messages_were_sent() {
        let sent = "c:pub1(1,1) c:pub1(2,2) b:ack(1) b:ack(2)";
        let done = [(1, 1), (1, 2)];
        for (handed, reordered) in [
            ("b:pub1(8,1) c:ack(8) b:pub1(9,2) c:ack(9)", BY_CLIENT),
            ("b:pub1(9,2) c:ack(9) b:pub1(8,1) c:ack(8)", BY_BROKER),
        ] {
            let verdict = verdict(sent, handed, &done, &[(1, 2), (1, 1)]);
            assert_eq!(verdict.counts[0].reordered, reordered, "{handed}");
        }
    }

    #[test]
    fn what_is_not_complete_is_of_whoever_did_not_answer() {
        for (sent, unfinished) in [
            ("c:pub1(1,1)", BY_BROKER),
            ("c:pub1(1,1) cut", BY_CLIENT),
            ("", BY_CLIENT),
            // Answered, and not resolved.
            (SENT_1, BY_CLIENT),
        ] {
            let mut told = Told::default();
            // A program that hangs does not come to its last.
            if sent.is_empty() {
                told.last.insert((0, 1), 1);
            }
            let mut publisher = Sent::default();
            publisher.connect();
            play(sent, |step| match step {
                None => publisher.connect(),
                Some((writer, packet, is_passed)) => publisher.note(writer, &packet, is_passed),
            });
            let verdict = Verdict::of(&told, &[&publisher], &[]);
            assert_eq!(verdict.counts[0].unfinished, unfinished, "{sent}");
        }
        let told = verdict(SENT_1, "", &[(1, 1)], &[(1, 1), (1, 5)]);
        assert!(told.faults.iter().any(|it| it.ends_with("got 0 1 5: nobody sent it")), "{told:?}");
    }
}
