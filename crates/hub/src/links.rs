//! The hub's table of links.

use std::sync::Arc;

use postrider_proto::{
    Durability, Gate, Link, Message, Progress, Time,
    wire::{Connect, PacketId},
};
use slab::Slab;

use crate::LinkId;

/// One link, with what the hub knows of it.
#[derive(Debug)]
pub(crate) struct LinkSlot {
    pub(crate) id: LinkId,
    pub(crate) link: Link,
    pub(crate) stage: Stage,
    /// In which sense records must be stored before it hears of them.
    pub(crate) durability: Durability,
    /// Whether there are too many links already, so that its CONNECT is refused.
    pub(crate) is_surplus: bool,
    /// Whether it waits for a slow subscriber of what it publishes.
    pub(crate) is_stalled: bool,
    /// Whether it published a large message, of which the driver has not said yet whether there was room.
    pub(crate) is_unconfirmed: bool,
    /// What it published, while that waits for the retained message of its topic.
    pub(crate) parked: Option<(Option<PacketId>, Arc<Message>)>,
    /// Whether it takes nothing until its peer or the store has moved on.
    pub(crate) is_held: bool,
    /// Whether it used up its turn and waits for the next.
    pub(crate) is_turn_over: bool,
    /// Whether the driver was told to stop reading it.
    pub(crate) is_paused: bool,
    /// Whether it stands in the list of links with output.
    is_dirty: bool,
    /// What its output may wait for; `None` if nothing.
    waits: Option<Gate>,
    /// When the timer wheel wakes it.
    pub(crate) armed: Option<Time>,
}

/// How far the store and the peers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) progress: Progress,
    pub(crate) fence: u64,
}

impl Opened {
    /// The gate that is open for a link that relies on this.
    pub(crate) fn gate(self, durability: Durability) -> Gate {
        Gate { stored: self.progress.stored(durability), fence: self.fence }
    }

    /// Whether nothing need be waited for.
    pub(crate) fn is_open(self, gate: Gate, durability: Durability) -> bool {
        gate.stored <= self.progress.stored(durability) && gate.fence <= self.fence
    }
}

/// What the hub does with a link.
///
/// ```text
/// AwaitConnect --CONNECT--> Asking --answer--> Open(session) --> Over
///                  |`---------------------------^      (from each state)
///                  `--> Moving --> gone
/// ```
#[derive(Debug)]
pub(crate) enum Stage {
    /// Nothing was said yet.
    AwaitConnect,
    /// The shell decides about this CONNECT.
    Asking(Box<Connect>),
    /// It goes to the hub with this index with the next drain.
    Moving(u16, Box<Connect>),
    /// It serves the session in this slot.
    Open(usize),
    /// Its output is flushed; its slot stays taken until the driver has closed the stream.
    Over,
}

/// All links of a hub.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Slab<LinkSlot>,
    generation: u32,
    /// Links that may have output.
    dirty: Vec<usize>,
    /// Links whose output may wait for the store or for peers.
    gated: Vec<usize>,
}

impl LinkSlot {
    /// Whether it takes what its peer sends.
    pub(crate) fn is_reading(&self) -> bool {
        let is_ready = match self.stage {
            Stage::AwaitConnect | Stage::Open(_) => true,
            Stage::Asking(_) | Stage::Moving(..) | Stage::Over => false,
        };
        let is_waiting = self.is_stalled
            || self.is_unconfirmed
            || self.parked.is_some()
            || self.is_held
            || self.is_turn_over;
        is_ready && !is_waiting
    }
}

impl Links {
    /// Adds a link.
    pub(crate) fn add(&mut self, link: Link, durability: Durability) -> LinkId {
        let entry = self.slots.vacant_entry();
        self.generation = self.generation.wrapping_add(1);
        let id = LinkId { slot: entry.key() as u32, generation: self.generation };
        entry.insert(LinkSlot {
            id,
            link,
            stage: Stage::AwaitConnect,
            durability,
            is_surplus: false,
            is_stalled: false,
            is_unconfirmed: false,
            parked: None,
            is_held: false,
            is_turn_over: false,
            is_paused: false,
            is_dirty: false,
            waits: None,
            armed: None,
        });
        id
    }

    /// The slot of a link, if it is still there.
    pub(crate) fn find(&self, id: LinkId) -> Option<usize> {
        let at = id.slot as usize;
        self.slots.get(at).filter(|slot| slot.id == id).map(|_| at)
    }

    pub(crate) fn get(&self, at: usize) -> Option<&LinkSlot> {
        self.slots.get(at)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut LinkSlot> {
        self.slots.get_mut(at)
    }

    /// Frees the slot of a link.
    pub(crate) fn remove(&mut self, at: usize) {
        self.slots.try_remove(at);
    }

    /// Takes out a link that goes to another hub.
    pub(crate) fn take_moving(&mut self, at: usize) -> Option<LinkSlot> {
        let is_moving = matches!(self.slots.get(at)?.stage, Stage::Moving(..));
        if is_moving { self.slots.try_remove(at) } else { None }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The ids of all links, in the order of their slots.
    pub(crate) fn ids(&self) -> Vec<LinkId> {
        self.slots.iter().map(|(_, slot)| slot.id).collect()
    }

    /// Lends a link for writing, and notes that it may have output then.
    #[inline]
    pub(crate) fn write(&mut self, at: usize) -> Option<&mut Link> {
        let slot = self.slots.get_mut(at)?;
        if !slot.is_dirty {
            slot.is_dirty = true;
            self.dirty.push(at);
        }
        Some(&mut slot.link)
    }

    /// Takes the list of links that may have output.
    pub(crate) fn take_dirty(&mut self) -> Vec<usize> {
        let dirty = core::mem::take(&mut self.dirty);
        for &at in &dirty {
            if let Some(slot) = self.slots.get_mut(at) {
                slot.is_dirty = false;
            }
        }
        dirty
    }

    /// Gives the list back, so that its memory is used again.
    pub(crate) fn reuse_dirty(&mut self, mut dirty: Vec<usize>) {
        if self.dirty.is_empty() {
            dirty.clear();
            self.dirty = dirty;
        }
    }

    /// Whether a link may have output.
    pub(crate) fn is_any_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Notes that output of a link may wait for `gate`.
    pub(crate) fn wait(&mut self, at: usize, gate: Gate) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.waits.replace(gate).is_none() {
            self.gated.push(at);
        }
    }

    /// Takes the list of links whose output may wait; those that still wait at `opened` stay in it.
    pub(crate) fn take_gated(&mut self, opened: Opened) -> Vec<usize> {
        let gated = core::mem::take(&mut self.gated);
        for &at in &gated {
            let Some(slot) = self.slots.get_mut(at) else { continue };
            let Some(waits) = slot.waits else { continue };
            if opened.is_open(waits, slot.durability) {
                slot.waits = None;
            } else {
                self.gated.push(at);
            }
        }
        gated
    }
}
