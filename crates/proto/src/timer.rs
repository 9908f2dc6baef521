//! A timer wheel: set, cancel and expire in O(1).

use alloc::vec::Vec;

use crate::Time;

/// Length of a tick in milliseconds: what a deadline may be late, and finer than any timer of the standard needs.
const TICK_MS: u64 = 10;
/// Bits of a tick number that one level covers: 64 slots, so that one word tells which are occupied.
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// Four levels reach 64^4 ticks, or 46 hours; what is later waits in `far`.
const LEVELS: usize = 4;
const WHEEL_BITS: u32 = LEVEL_BITS * LEVELS as u32;
/// A drained slot keeps room for this many entries; after a burst the rest is given back.
const SLOT_ENTRIES_KEPT: usize = 256;

/// Deadlines of many keys. A key may be set many times; only its owner knows which deadline still counts, so an
/// early or doubled expiry is harmless and must be checked by the owner. That makes cancelling free.
///
/// ```text
/// level 0   64 slots of 1 tick      entries that share all but the lowest  6 bits with `elapsed`
/// level 1   64 slots of 64 ticks    ... all but the lowest 12 bits; moved down when `elapsed` gets there
/// level 2, 3 ...
/// far       everything beyond the top level's present round
/// ```
#[derive(Debug)]
pub struct Wheel<K> {
    /// Tick up to which everything was handed out.
    elapsed: u64,
    levels: [Level<K>; LEVELS],
    /// Entries beyond the present round of the top level.
    far: Vec<(u64, K)>,
    /// Earliest tick in `far`.
    far_first: u64,
    /// Keys that were set for a tick already past.
    overdue: Vec<K>,
}

#[derive(Debug)]
struct Level<K> {
    /// Bit `n` is set exactly if slot `n` has entries.
    occupied: u64,
    slots: Vec<Vec<(u64, K)>>,
}

impl<K: Copy> Wheel<K> {
    /// A wheel that starts at `now`.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let level = || Level { occupied: 0, slots: Vec::new() };
        Self {
            elapsed: now.0 / TICK_MS,
            levels: [level(), level(), level(), level()],
            far: Vec::new(),
            far_first: u64::MAX,
            overdue: Vec::new(),
        }
    }

    /// Wakes `key` at `at` or up to one tick (10 ms) later; at the next [`Wheel::expire`] if `at` is past.
    pub fn set(&mut self, at: Time, key: K) {
        let tick = at.0.div_ceil(TICK_MS);
        if tick <= self.elapsed {
            self.overdue.push(key);
        } else {
            self.insert(tick, key);
        }
    }

    /// Moves to `now` and appends the keys that are due to `due`, earliest tick first and within a tick in the order in
    /// which they were set. The cost grows with the keys handed out, not with the time passed.
    pub fn expire(&mut self, now: Time, due: &mut Vec<K>) {
        due.append(&mut self.overdue);
        let target = now.0 / TICK_MS;
        while let Some((level, start)) = self.next_slot() {
            if start > target {
                break;
            }
            self.elapsed = start;
            self.turn(level, start, due);
        }
        self.elapsed = self.elapsed.max(target);
    }

    /// When `expire` should be called next; may be early, never late by more than a tick.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        if !self.overdue.is_empty() {
            return Some(Time(self.elapsed.saturating_mul(TICK_MS)));
        }
        self.next_slot().map(|(_, start)| Time(start.saturating_mul(TICK_MS)))
    }

    fn insert(&mut self, tick: u64, key: K) {
        debug_assert!(tick >= self.elapsed);
        // The highest bit in which the two differ decides: below it the level has one slot per value.
        let differing = self.elapsed ^ tick;
        let level = (u64::BITS - 1 - (differing | 1).leading_zeros()) / LEVEL_BITS;
        match self.levels.get_mut(level as usize) {
            Some(place) => place.push(slot_of(tick, level), tick, key),
            None => {
                self.far_first = self.far_first.min(tick);
                self.far.push((tick, key));
            }
        }
    }

    /// The level and the first tick of the earliest occupied slot; level `LEVELS` stands for `far`.
    ///
    /// A lower level is always earlier: its entries lie in the round that the level above is at.
    fn next_slot(&self) -> Option<(usize, u64)> {
        for (level, place) in self.levels.iter().enumerate() {
            if place.occupied != 0 {
                let slot = u64::from(place.occupied.trailing_zeros());
                let shift = LEVEL_BITS * level as u32;
                let round = self.elapsed >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS);
                return Some((level, round | slot << shift));
            }
        }
        (!self.far.is_empty()).then_some((LEVELS, self.far_first >> WHEEL_BITS << WHEEL_BITS))
    }

    /// Empties the slot that begins at `start`: level 0 hands out, the others move down.
    fn turn(&mut self, level: usize, start: u64, due: &mut Vec<K>) {
        let Some(place) = self.levels.get_mut(level) else {
            // Entries of later rounds go back to where they were.
            self.far_first = u64::MAX;
            for (tick, key) in core::mem::take(&mut self.far) {
                self.insert(tick, key);
            }
            return;
        };
        let slot = slot_of(start, level as u32);
        let mut entries = place.take(slot);
        if level == 0 {
            due.extend(entries.iter().map(|(_, key)| *key));
        } else {
            for &(tick, key) in &entries {
                self.insert(tick, key);
            }
        }
        entries.clear();
        entries.shrink_to(SLOT_ENTRIES_KEPT);
        if let Some(place) = self.levels.get_mut(level) {
            place.give_back(slot, entries);
        }
    }
}

impl<K> Level<K> {
    fn push(&mut self, slot: usize, tick: u64, key: K) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Vec::new);
        }
        if let Some(entries) = self.slots.get_mut(slot) {
            entries.push((tick, key));
            self.occupied |= 1 << slot;
        }
    }

    fn take(&mut self, slot: usize) -> Vec<(u64, K)> {
        self.occupied &= !(1 << slot);
        self.slots.get_mut(slot).map(core::mem::take).unwrap_or_default()
    }

    /// Keeps the room of an emptied slot, unless the slot has entries again.
    fn give_back(&mut self, slot: usize, room: Vec<(u64, K)>) {
        if let Some(entries) = self.slots.get_mut(slot).filter(|entries| entries.is_empty()) {
            *entries = room;
        }
    }
}

/// The slot of `tick` in `level`.
fn slot_of(tick: u64, level: u32) -> usize {
    (tick >> (LEVEL_BITS * level)) as usize & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::{collections::BTreeMap, vec};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// Sets a key this many milliseconds from the present.
        Set(u64),
        /// Sets a key for a time that is past by this many milliseconds.
        SetPast(u64),
        /// Moves on by this many milliseconds.
        Wait(u64),
        /// Moves on to what `next` says.
        Next,
    }

    fn span() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..30u64,
            0..1000u64,
            0..100_000u64,
            0..10_000_000u64,
            0..1_000_000_000u64,
            0..1_000_000_000_000u64,
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => span().prop_map(Step::Set),
            1 => span().prop_map(Step::SetPast),
            2 => span().prop_map(Step::Wait),
            2 => Just(Step::Next),
        ]
    }

    proptest! {
        /// Against a sorted map: nothing early, nothing later than a tick, in order, and `next` is never late.
        #[test]
        fn behaves_like_a_sorted_map(
            start in 0..2_000_000_000_000u64,
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut now = Time(start);
            let mut wheel = Wheel::new(now);
            let mut model: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            let mut overdue = vec![];
            let mut key = 0;
            for step in steps {
                match step {
                    Step::Set(ms) => {
                        key += 1;
                        wheel.set(now.plus_ms(ms), key);
                        let tick = now.plus_ms(ms).0.div_ceil(TICK_MS);
                        if tick <= now.0 / TICK_MS { overdue.push(key) } else { model.entry(tick).or_default().push(key) }
                    }
                    Step::SetPast(ms) => {
                        key += 1;
                        let at = Time(now.0.saturating_sub(ms));
                        wheel.set(at, key);
                        let tick = at.0.div_ceil(TICK_MS);
                        if tick <= now.0 / TICK_MS { overdue.push(key) } else { model.entry(tick).or_default().push(key) }
                    }
                    Step::Wait(ms) => now = now.plus_ms(ms),
                    Step::Next => {
                        let Some(next) = wheel.next() else {
                            prop_assert!(model.is_empty());
                            prop_assert!(overdue.is_empty());
                            continue;
                        };
                        if let Some((tick, _)) = model.first_key_value() {
                            prop_assert!(next.0 <= tick * TICK_MS);
                        }
                        now = now.max(next);
                    }
                }
                if matches!(step, Step::Wait(_) | Step::Next) {
                    let mut due = vec![];
                    wheel.expire(now, &mut due);
                    let mut wanted = core::mem::take(&mut overdue);
                    while let Some(entry) = model.first_entry().filter(|entry| *entry.key() <= now.0 / TICK_MS) {
                        wanted.extend(entry.remove());
                    }
                    prop_assert_eq!(due, wanted);
                }
            }
            prop_assert_eq!(wheel.next().is_none(), model.is_empty() && overdue.is_empty());
        }
    }

    #[test]
    fn a_key_is_due_at_its_time_or_a_tick_later() {
        for at in [10, 11, 19, 20, 639, 640, 641, 40_960, 2_621_440, 167_772_160, 1 << 40] {
            let mut wheel = Wheel::new(Time(0));
            wheel.set(Time(at), 'k');
            let mut due = vec![];
            wheel.expire(Time(at - 1), &mut due);
            assert_eq!(due, [], "{at}");
            wheel.expire(Time(at + TICK_MS - 1), &mut due);
            assert_eq!(due, ['k'], "{at}");
            assert_eq!(wheel.next(), None);
        }
    }

    #[test]
    fn the_end_of_time_is_far_but_harmless() {
        let mut wheel = Wheel::new(Time(5));
        wheel.set(Time(u64::MAX), 'z');
        wheel.set(Time(100), 'a');
        let mut due = vec![];
        wheel.expire(Time(1 << 60), &mut due);
        assert_eq!(due, ['a']);
        assert!(wheel.next().is_some());
    }

    #[test]
    fn following_next_finds_everything_in_few_steps() {
        let mut wheel = Wheel::new(Time(0));
        for key in 0..1000u64 {
            wheel.set(Time(1 + key * 77_777), key);
        }
        let (mut due, mut steps) = (vec![], 0);
        while let Some(next) = wheel.next() {
            wheel.expire(next, &mut due);
            steps += 1;
            assert!(steps < 5000, "a step per key and level at most");
        }
        assert_eq!(due, Vec::from_iter(0..1000));
    }
}
