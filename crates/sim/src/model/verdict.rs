//! What must have arrived once everything has drained.

use std::collections::{BTreeMap, BTreeSet};

use postrider_proto::wire::QoS;

use super::{Interval, Model, Publication, Receipt, Stage, Subscriber, Violation, violation};

impl Model {
    /// The verdict once everything has drained. `dropped_max` deliveries were dropped from full queues, and counted.
    ///
    /// # Errors
    /// The first violation found.
    pub fn verdict(&self, auditors: [usize; 2], dropped_max: u64) -> Result<(), Violation> {
        for (index, publication) in self.publications.iter().enumerate() {
            if publication.stage == Stage::Open {
                let what = format!("{index} by {} was never finished", publication.publisher);
                return violation("MQTT-4.4.0-1", what);
            }
        }
        let mut dropped = 0;
        for subscriber in 0..self.subscribers.len() {
            self.nothing_lost(subscriber, dropped_max, &mut dropped)?;
            // If the first copy was dropped from a full queue, the next one comes behind younger messages.
            if dropped_max == 0 {
                self.in_order(subscriber)?;
            }
        }
        self.group_served(dropped_max, &mut dropped)?;
        for auditor in auditors {
            self.retained_kept(auditor, dropped_max, &mut dropped)?;
        }
        if dropped_max == 0 { self.retained_agreed(auditors) } else { Ok(()) }
    }

    fn nothing_lost(
        &self,
        subscriber: usize,
        dropped_max: u64,
        dropped: &mut u64,
    ) -> Result<(), Violation> {
        let state = &self.subscribers[subscriber];
        if state.is_confused {
            return Ok(());
        }
        for (index, publication) in self.publications.iter().enumerate() {
            let is_owed = |interval: &Interval| {
                !interval.filter.is_shared() && interval.owes(publication, QoS::AtLeastOnce)
            };
            if !publication.is_promised() || !state.intervals.iter().any(is_owed) {
                continue;
            }
            let is_it = |receipt: &Receipt| receipt.publication == index && !receipt.is_replay;
            if !state.receipts.iter().any(is_it) {
                *dropped += 1;
                if *dropped > dropped_max {
                    let Publication { qos, size, publisher, topic, .. } = publication;
                    let what = format!(
                        "{subscriber} never got {index} ({qos:?}, {size} bytes) by {publisher} on {topic}"
                    );
                    return violation("MQTT-4.5.0-1", what);
                }
            }
        }
        Ok(())
    }

    /// First deliveries keep the order of one publisher, topic and QoS.
    fn in_order(&self, subscriber: usize) -> Result<(), Violation> {
        let mut last = BTreeMap::new();
        let mut seen = vec![false; self.publications.len()];
        if self.subscribers[subscriber].is_loose {
            return Ok(());
        }
        let mut receipts: Vec<_> = self.subscribers[subscriber].receipts.iter().collect();
        receipts.sort_by_key(|receipt| receipt.order);
        for receipt in receipts {
            let index = receipt.publication;
            let publication = &self.publications[index];
            // Who subscribed meanwhile may get it with a repetition only, as may all if the first copy expired, or
            // was lost at QoS 0 while they had no link.
            let is_lossy = receipt.qos == QoS::AtMostOnce && publication.qos != QoS::AtMostOnce;
            if receipt.is_replay
                || is_lossy
                || publication.may_expire
                || publication.is_will
                || !receipt.is_expected
                || publication.may_repeat
                || publication.was_interrupted
                || std::mem::replace(&mut seen[index], true)
            {
                continue;
            }
            let stream = (publication.publisher, publication.topic.clone(), publication.qos);
            let previous = last.insert(stream, index);
            if let Some(previous) = previous.filter(|previous| *previous > index) {
                let what = format!("{subscriber} got {index} after {previous} ({:?})", receipt.qos);
                return violation("MQTT-4.6.0-5", what);
            }
        }
        Ok(())
    }

    /// A group that was there all the time got every message.
    fn group_served(&self, dropped_max: u64, dropped: &mut u64) -> Result<(), Violation> {
        let is_shared = |interval: &&Interval| interval.filter.is_shared();
        let group: Vec<_> =
            self.subscribers.iter().filter(|s| s.intervals.iter().any(|i| is_shared(&i))).collect();
        for (index, publication) in self.publications.iter().enumerate() {
            let owes = |subscriber: &&Subscriber| {
                let mut shared = subscriber.intervals.iter().filter(is_shared);
                shared.all(|interval| interval.owes(publication, QoS::AtLeastOnce))
            };
            if !publication.is_promised() || group.is_empty() || !group.iter().all(owes) {
                continue;
            }
            // A member whose session ended took its messages along.
            let is_late = |s: &Subscriber| s.began > publication.published || s.is_confused;
            if self.subscribers.iter().any(|s| s.is_member && is_late(s)) {
                continue;
            }
            let has = |s: &&Subscriber| s.receipts.iter().any(|r| r.publication == index);
            if !group.iter().any(has) {
                *dropped += 1;
                if *dropped > dropped_max {
                    return violation("MQTT-4.8.2-3", format!("the group never got {index}"));
                }
            }
        }
        Ok(())
    }

    /// Whoever asks gets the same retained messages.
    fn retained_agreed(&self, auditors: [usize; 2]) -> Result<(), Violation> {
        let seen = auditors.map(|auditor| {
            let receipts = self.subscribers[auditor].receipts.iter();
            receipts.filter(|r| r.is_replay).map(|r| r.publication).collect::<BTreeSet<_>>()
        });
        let apart = |index: &&usize| !self.publications[**index].may_expire;
        if let Some(index) = seen[0].symmetric_difference(&seen[1]).find(apart) {
            let what = format!("{index} is retained for one who asks, and not for another");
            return violation("MQTT-3.3.1-5", what);
        }
        Ok(())
    }

    /// Who subscribes last gets the latest retained message of each topic.
    fn retained_kept(
        &self,
        auditor: usize,
        dropped_max: u64,
        dropped: &mut u64,
    ) -> Result<(), Violation> {
        let receipts = &self.subscribers[auditor].receipts;
        let mut missing = BTreeSet::new();
        for (index, publication) in self.publications.iter().enumerate() {
            let is_kept = publication.retain
                && !publication.may_expire
                && matches!(publication.stage, Stage::Acknowledged(_));
            if !is_kept {
                continue;
            }
            let rivals = self.rivals(index);
            let may_be_gone = rivals.iter().any(|rival| self.publications[*rival].may_expire);
            let has_any = receipts.iter().any(|r| r.is_replay && rivals.contains(&r.publication));
            if !may_be_gone && !has_any && missing.insert(&publication.topic) {
                *dropped += 1;
                if *dropped > dropped_max {
                    let what = format!("{index} on {} is not retained", publication.topic);
                    return violation("MQTT-3.3.1-5", what);
                }
            }
        }
        Ok(())
    }
}
