//! Clients to whom the standard, or their mode, promises less.

use super::{Model, Stage};

impl Model {
    /// A client's session may be new without its notice: none of its subscriptions is certain.
    pub fn confused(&mut self, client: usize) {
        self.subscribers[client].is_confused = true;
        self.doubted(client);
    }

    /// A client's session may be new, and the client knows that: none of its subscriptions is certain until it is granted
    /// again, and what it is publishing may have been taken by the session before.
    pub fn doubted(&mut self, client: usize) {
        self.step += 1;
        let state = &mut self.subscribers[client];
        state.began = self.step;
        for interval in &mut state.intervals {
            interval.granted = None;
        }
        for publication in self.publications.iter_mut().filter(|p| p.publisher == client) {
            publication.may_repeat |= publication.stage == Stage::Open;
        }
    }

    /// A client's session expired and a crash brought it back: what was published meanwhile had nowhere to wait.
    pub fn lapsed(&mut self, client: usize) {
        self.step += 1;
        for interval in &mut self.subscribers[client].intervals {
            interval.granted = interval.granted.map(|_| self.step);
        }
    }

    /// What a client had heard of is lost, as it may be in its mode. What it publishes may be lost or repeated, also
    /// later, since both ends may have different views of their exchanges.
    pub fn loosen(&mut self, client: usize) {
        self.confused(client);
        self.subscribers[client].is_loose = true;
        for publication in self.publications.iter_mut().filter(|p| p.publisher == client) {
            publication.may_repeat = true;
            if publication.stage != Stage::Open {
                publication.stage = Stage::Loose;
            }
        }
    }

    /// Whether [`Model::loosen`] was called for a client.
    #[must_use]
    pub fn is_loose(&self, client: usize) -> bool {
        self.subscribers[client].is_loose
    }

    /// Whether a client's session may have been new without its notice.
    #[must_use]
    pub fn is_confused(&self, client: usize) -> bool {
        self.subscribers[client].is_confused
    }
}
