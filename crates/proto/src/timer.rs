//! A timer wheel: set, cancel and expire in O(1).

use alloc::vec::Vec;

use crate::Time;

/// Deadlines of many keys. A key may be set many times; only its owner knows which deadline still counts, so an
/// early or doubled expiry is harmless and must be checked by the owner.
#[derive(Debug)]
pub struct Wheel<K> {
    keys: Vec<K>,
}

impl<K: Copy> Wheel<K> {
    /// A wheel that starts at `now`.
    #[must_use]
    pub fn new(_now: Time) -> Self {
        Self { keys: Vec::new() }
    }

    /// Wakes `key` at `at` or up to one tick (10 ms) later.
    pub fn set(&mut self, _at: Time, _key: K) {
        todo!()
    }

    /// Moves to `now` and appends the keys that are due to `due`, earliest tick first.
    pub fn expire(&mut self, _now: Time, _due: &mut Vec<K>) {
        todo!()
    }

    /// When `expire` should be called next; may be early, never late by more than a tick.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        let _ = &self.keys;
        todo!()
    }
}
