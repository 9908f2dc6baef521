//! Packet identifiers: which are in use by our own exchanges, and which of the peer's are open.

use alloc::boxed::Box;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use postrider_wire::PacketId;

use crate::mutation::{Mutation, planted};

/// The identifiers of our own exchanges, each with a slot number of its owner.
///
/// Identifiers count up from 1, skip busy ones and wrap; the lowest free one is not taken again at once, so that a late
/// acknowledgement meets no new exchange. Spec: v5 section 2.2.1 [MQTT-2.2.1-3].
#[derive(Debug)]
pub(super) struct Ids {
    /// Pages with at least one busy identifier, by identifier divided by [`PER_PAGE`].
    pages: HashMap<u16, Box<Page>, FixedState>,
    /// The page that was emptied last; spares an allocation when few exchanges are open.
    spare: Option<Box<Page>>,
    /// Where the search for a free identifier begins; not 0.
    next: u16,
    busy: u32,
}

/// Neighbouring identifiers, so that finding a free one among many busy ones stays cheap.
#[derive(Debug)]
struct Page {
    bits: u64,
    slots: [u32; PER_PAGE as usize],
}

/// A set of the peer's identifiers: received at QoS 2 and not yet released.
#[derive(Debug)]
pub(super) struct IdSet {
    words: HashMap<u16, u64, FixedState>,
    len: u32,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            pages: HashMap::with_hasher(FixedState::with_seed(0)),
            spare: None,
            next: 1,
            busy: 0,
        }
    }

    /// The next free identifier, which stays free; `None` if all 65,535 are in use.
    pub(super) fn next_free(&self) -> Option<PacketId> {
        if self.busy >= u32::from(u16::MAX) {
            return None;
        }
        if planted(Mutation::BusyIdReused) {
            return PacketId::new(1);
        }
        let (first, bit) = (self.next / PER_PAGE, self.next % PER_PAGE);
        let above = u64::MAX << bit;
        self.free_in(first, above)
            .or_else(|| (first + 1..PAGES).find_map(|page| self.free_in(page, u64::MAX)))
            .or_else(|| (0..=first).find_map(|page| self.free_in(page, u64::MAX)))
    }

    /// The next search begins behind this identifier.
    pub(super) fn go_on_behind(&mut self, id: PacketId) {
        self.next = id.get().checked_add(1).unwrap_or(1);
    }

    /// Marks an identifier as busy.
    pub(super) fn occupy(&mut self, id: PacketId, slot: u32) {
        let (number, bit) = split(id);
        let spare = &mut self.spare;
        let page = self.pages.entry(number).or_insert_with(|| {
            spare
                .take()
                .unwrap_or_else(|| Box::new(Page { bits: 0, slots: [0; PER_PAGE as usize] }))
        });
        if page.bits & (1 << bit) == 0 {
            page.bits |= 1 << bit;
            self.busy += 1;
        }
        if let Some(place) = page.slots.get_mut(usize::from(bit)) {
            *place = slot;
        }
    }

    /// Marks an identifier as free.
    pub(super) fn free(&mut self, id: PacketId) {
        let (number, bit) = split(id);
        let Some(page) = self.pages.get_mut(&number) else { return };
        if page.bits & (1 << bit) == 0 {
            return;
        }
        page.bits &= !(1 << bit);
        self.busy -= 1;
        if page.bits == 0 {
            self.spare = self.pages.remove(&number);
        }
    }

    /// The slot of a busy identifier.
    pub(super) fn slot(&self, id: PacketId) -> Option<u32> {
        let (number, bit) = split(id);
        let page = self.pages.get(&number)?;
        if page.bits & (1 << bit) == 0 {
            return None;
        }
        page.slots.get(usize::from(bit)).copied()
    }

    /// The first identifier of the page whose bit is set in `among` and that is free. Identifier 0 never is.
    fn free_in(&self, page: u16, among: u64) -> Option<PacketId> {
        let busy = self.pages.get(&page).map_or(0, |page| page.bits);
        let zero = u64::from(page == 0);
        let free = !busy & among & !zero;
        if free == 0 {
            return None;
        }
        let bit = u16::try_from(free.trailing_zeros()).ok()?;
        PacketId::new(page * PER_PAGE + bit)
    }
}

impl IdSet {
    pub(super) fn new() -> Self {
        Self { words: HashMap::with_hasher(FixedState::with_seed(0)), len: 0 }
    }

    pub(super) fn insert(&mut self, id: PacketId) {
        let (number, bit) = split(id);
        let word = self.words.entry(number).or_insert(0);
        if *word & (1 << bit) == 0 {
            *word |= 1 << bit;
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, id: PacketId) {
        let (number, bit) = split(id);
        let Some(word) = self.words.get_mut(&number) else { return };
        if *word & (1 << bit) != 0 {
            *word &= !(1 << bit);
            self.len -= 1;
            if *word == 0 {
                self.words.remove(&number);
            }
        }
    }

    pub(super) fn contains(&self, id: PacketId) -> bool {
        let (number, bit) = split(id);
        self.len > 0 && self.words.get(&number).is_some_and(|word| word & (1 << bit) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All identifiers, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = PacketId> + '_ {
        let pages = if self.len == 0 { 0 } else { PAGES };
        (0..pages).flat_map(move |page| {
            let word = self.words.get(&page).copied().unwrap_or(0);
            (0..PER_PAGE)
                .filter(move |bit| word & (1 << bit) != 0)
                .filter_map(move |bit| PacketId::new(page * PER_PAGE + bit))
        })
    }
}

const fn split(id: PacketId) -> (u16, u16) {
    (id.get() / PER_PAGE, id.get() % PER_PAGE)
}

/// Identifiers in one page.
const PER_PAGE: u16 = 64;
/// Pages that all identifiers need.
const PAGES: u16 = 1024;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    fn take(ids: &mut Ids) -> u16 {
        let free = ids.next_free().unwrap();
        assert_eq!(ids.slot(free), None);
        ids.occupy(free, u32::from(free.get()) + 7);
        ids.go_on_behind(free);
        free.get()
    }

    /// v5 [MQTT-2.2.1-3], v3.1.1 [MQTT-2.3.1-2]: never 0, never a busy one, and not the one just freed.
    #[test]
    fn ids_count_up_skip_busy_ones_and_wrap() {
        let mut ids = Ids::new();
        assert_eq!([take(&mut ids), take(&mut ids), take(&mut ids)], [1, 2, 3]);
        ids.free(id(2));
        assert_eq!(ids.slot(id(2)), None);
        assert_eq!(ids.slot(id(3)), Some(10));
        assert_eq!(take(&mut ids), 4);
        for expected in 5..=u16::MAX {
            assert_eq!(take(&mut ids), expected);
        }
        assert_eq!(take(&mut ids), 2);
        assert_eq!(ids.next_free(), None);
        ids.free(id(65_535));
        ids.free(id(65_535));
        assert_eq!(take(&mut ids), 65_535);
        assert_eq!(ids.next_free(), None);
        ids.free(id(1));
        ids.free(id(64));
        assert_eq!([take(&mut ids), take(&mut ids)], [1, 64]);
    }

    #[test]
    fn the_search_goes_on_behind_the_last_one_taken() {
        let mut ids = Ids::new();
        for expected in 1..=1000 {
            assert_eq!(take(&mut ids), expected);
            ids.free(id(expected));
        }
        assert!(ids.pages.is_empty());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = IdSet::new();
        for number in [1, 63, 64, 65_535, 64] {
            set.insert(id(number));
        }
        assert_eq!(set.iter().map(PacketId::get).collect::<Vec<_>>(), [1, 63, 64, 65_535]);
        set.remove(id(64));
        set.remove(id(65));
        assert!(!set.contains(id(64)));
        assert!(set.contains(id(65_535)));
        assert_eq!(set.len, 3);
    }
}
