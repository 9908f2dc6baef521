//! What the standard allows to arrive, given what was published. Uses only the packet types of `wire`.

use std::collections::BTreeMap;

use postrider_proto::wire::{Filter, QoS, Topic};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Statement of 5.0 that is broken (3.1.1 says the same elsewhere).
    pub statement: &'static str,
    /// What was seen.
    pub what: String,
}

/// One published message.
#[derive(Clone, Debug)]
struct Publication {
    publisher: usize,
    topic: Topic,
    qos: QoS,
    payload: Vec<u8>,
    is_acknowledged: bool,
}

/// One delivery to a subscriber.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    publication: usize,
    qos: QoS,
}

/// Everything published and everything delivered.
#[derive(Debug, Default)]
pub struct Model {
    publications: Vec<Publication>,
    by_payload: BTreeMap<Vec<u8>, usize>,
    filters: Vec<Vec<(Filter, QoS)>>,
    receipts: Vec<Vec<Receipt>>,
}

impl Model {
    /// A subscriber with its subscriptions, which stay for the whole run and do not overlap.
    pub fn subscriber(&mut self, filters: Vec<(Filter, QoS)>) {
        self.filters.push(filters);
        self.receipts.push(Vec::new());
    }

    /// A message was handed to a client. Payloads are unique. Returns its index.
    pub fn published(
        &mut self,
        publisher: usize,
        topic: Topic,
        qos: QoS,
        payload: Vec<u8>,
    ) -> usize {
        let index = self.publications.len();
        self.by_payload.insert(payload.clone(), index);
        let is_acknowledged = false;
        self.publications.push(Publication { publisher, topic, qos, payload, is_acknowledged });
        index
    }

    /// The exchange of a message is over for its publisher.
    pub fn acknowledged(&mut self, index: usize) {
        if let Some(publication) = self.publications.get_mut(index) {
            publication.is_acknowledged = true;
        }
    }

    /// A message arrived at a subscriber.
    ///
    /// # Errors
    /// If nobody published it, the topic or payload is another, or this subscriber must not get it.
    pub fn delivered(
        &mut self,
        subscriber: usize,
        topic: &Topic,
        qos: QoS,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let violation = |statement, what: String| Err(Violation { statement, what });
        let Some(&index) = self.by_payload.get(payload) else {
            return violation("MQTT-3.3.4-1", format!("{subscriber} got an unknown payload"));
        };
        let publication = &self.publications[index];
        if publication.topic != *topic {
            let what = format!("{subscriber} got {index} on {topic}");
            return violation("MQTT-3.3.2-3", what);
        }
        let Some(granted) = self.granted(subscriber, topic) else {
            let what = format!("{subscriber} got {topic} without a subscription");
            return violation("MQTT-3.3.2-3", what);
        };
        let expected = publication.qos.min(granted);
        if qos != expected {
            let what = format!("{subscriber} got {index} at {qos:?}, not {expected:?}");
            return violation("MQTT-3.8.4-8", what);
        }
        let before = &mut self.receipts[subscriber];
        let is_again = before.iter().any(|receipt| receipt.publication == index);
        // Either half of the way may repeat at QoS 1.
        let may_repeat = [publication.qos, qos].contains(&QoS::AtLeastOnce);
        if is_again && !may_repeat {
            let what = format!("{subscriber} got {index} ({qos:?}) twice");
            return violation("MQTT-4.3.3-10", what);
        }
        before.push(Receipt { publication: index, qos });
        Ok(())
    }

    /// The verdict once everything has drained.
    ///
    /// # Errors
    /// The first violation found.
    pub fn verdict(&self) -> Result<(), Violation> {
        for (index, publication) in self.publications.iter().enumerate() {
            if publication.qos > QoS::AtMostOnce && !publication.is_acknowledged {
                let what = format!("{index} by {} was never finished", publication.publisher);
                return Err(Violation { statement: "MQTT-4.4.0-1", what });
            }
        }
        for subscriber in 0..self.receipts.len() {
            self.nothing_lost(subscriber)?;
            self.in_order(subscriber)?;
        }
        Ok(())
    }

    /// Deliveries of all subscribers at QoS 1 and 2.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        self.receipts.iter().map(Vec::len).sum()
    }

    fn granted(&self, subscriber: usize, topic: &Topic) -> Option<QoS> {
        let filters = self.filters.get(subscriber)?;
        filters.iter().filter(|(filter, _)| filter.matches(topic)).map(|(_, qos)| *qos).max()
    }

    fn nothing_lost(&self, subscriber: usize) -> Result<(), Violation> {
        for (index, publication) in self.publications.iter().enumerate() {
            let Some(granted) = self.granted(subscriber, &publication.topic) else { continue };
            if publication.qos.min(granted) == QoS::AtMostOnce {
                continue;
            }
            let receipts = &self.receipts[subscriber];
            if !receipts.iter().any(|receipt| receipt.publication == index) {
                let size = publication.payload.len();
                let what = format!(
                    "{subscriber} never got {index} ({:?}, {size} bytes) by {} on {}",
                    publication.qos, publication.publisher, publication.topic
                );
                return Err(Violation { statement: "MQTT-4.5.0-1", what });
            }
        }
        Ok(())
    }

    /// First deliveries keep the order of one publisher, topic and QoS.
    fn in_order(&self, subscriber: usize) -> Result<(), Violation> {
        let mut last = BTreeMap::new();
        let mut seen = vec![false; self.publications.len()];
        for receipt in &self.receipts[subscriber] {
            let index = receipt.publication;
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            let publication = &self.publications[index];
            let stream = (publication.publisher, publication.topic.clone(), publication.qos);
            let previous = last.insert(stream, index);
            if previous.is_some_and(|previous| previous > index) {
                let what = format!(
                    "{subscriber} got {index} after {} ({:?})",
                    previous.unwrap_or_default(),
                    receipt.qos
                );
                return Err(Violation { statement: "MQTT-4.6.0-5", what });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> (Model, Topic) {
        let mut model = Model::default();
        model.subscriber(vec![(Filter::new("a/+").unwrap(), QoS::ExactlyOnce)]);
        (model, Topic::new("a/b").unwrap())
    }

    #[test]
    fn a_loss_a_double_and_a_swap_are_seen() {
        let (mut model, topic) = model();
        let first = model.published(1, topic.clone(), QoS::ExactlyOnce, b"1".to_vec());
        let second = model.published(1, topic.clone(), QoS::ExactlyOnce, b"2".to_vec());
        assert!(model.verdict().is_err(), "not acknowledged");
        model.acknowledged(first);
        model.acknowledged(second);
        assert_eq!(model.verdict().unwrap_err().statement, "MQTT-4.5.0-1");
        model.delivered(0, &topic, QoS::ExactlyOnce, b"2").unwrap();
        let double = model.delivered(0, &topic, QoS::ExactlyOnce, b"2");
        assert_eq!(double.unwrap_err().statement, "MQTT-4.3.3-10");
        model.delivered(0, &topic, QoS::ExactlyOnce, b"1").unwrap();
        assert_eq!(model.verdict().unwrap_err().statement, "MQTT-4.6.0-5");
    }

    #[test]
    fn strangers_and_wrong_levels_are_seen() {
        let (mut model, topic) = model();
        model.published(1, topic.clone(), QoS::AtLeastOnce, b"1".to_vec());
        assert!(model.delivered(0, &topic, QoS::ExactlyOnce, b"1").is_err(), "wrong QoS");
        assert!(model.delivered(0, &topic, QoS::AtLeastOnce, b"x").is_err(), "unknown");
        let other = Topic::new("b").unwrap();
        assert!(model.delivered(0, &other, QoS::AtLeastOnce, b"1").is_err(), "wrong topic");
        model.delivered(0, &topic, QoS::AtLeastOnce, b"1").unwrap();
        model.delivered(0, &topic, QoS::AtLeastOnce, b"1").unwrap();
    }
}
