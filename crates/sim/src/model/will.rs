//! Wills: messages that the server publishes for a client, once, and acknowledges to nobody.

use super::{Model, NewMessage, Stage};

impl Model {
    /// A CONNECT is about to bring a will. Returns its number.
    pub fn will(&mut self, new: NewMessage) -> usize {
        let index = self.published(new);
        self.publications[index].is_will = true;
        self.publications[index].stage = Stage::Loose;
        index
    }

    /// The server had accepted a will, and its connection has ended without a goodbye: it is published, now or when the
    /// server is back.
    ///
    /// Spec: v5 [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8].
    pub fn will_due(&mut self, index: usize) {
        self.step += 1;
        let Some(publication) = self.publications.get_mut(index) else { return };
        publication.published = self.step;
        if !self.subscribers[publication.publisher].is_loose {
            publication.stage = Stage::Due;
        }
    }

    /// A will may be published, and need not.
    pub fn will_withdrawn(&mut self, index: usize) {
        if let Some(publication) = self.publications.get_mut(index) {
            publication.stage = Stage::Loose;
        }
    }
}
