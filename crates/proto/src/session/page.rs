//! A long queue is in the store; its front is read back in pages.
//!
//! ```text
//! send --> front in memory --full--> tail: record written, message not kept
//!             ^                        |
//!             `--- a page of rows -----'   asked for when the front is half empty and there is somebody to send it to
//! ```

use alloc::{sync::Arc, vec::Vec};
use core::ops::ControlFlow;

use bytes::Bytes;

use crate::{
    Fact, Fate, Journal, Payload, Record, RecordError, Session, Time, record::messages_key,
};

/// Rows that a machine wants to have back from its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Keys begin with this.
    pub prefix: Vec<u8>,
    /// Keys are greater than this; empty is before all.
    pub after: Vec<u8>,
    /// Bytes of keys and values with which the page ends. It has at least one row if there is one.
    pub bytes_max: u32,
}

/// A page: rows in the order of keys, as the records handed out before left them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRows {
    rows: Vec<(Vec<u8>, Bytes)>,
    bytes_left: usize,
    /// Whether no row follows.
    is_end: bool,
}

impl PageRows {
    /// The page that is asked for, still without a row.
    #[must_use]
    pub fn new(request: &PageRequest) -> Self {
        let bytes_left = usize::try_from(request.bytes_max).unwrap_or(usize::MAX).max(1);
        Self { rows: Vec::new(), bytes_left, is_end: true }
    }

    /// Takes the next row that the store finds; breaks when the page was full without it.
    pub fn push(&mut self, key: &[u8], value: Bytes) -> ControlFlow<()> {
        if self.bytes_left == 0 {
            self.is_end = false;
            return ControlFlow::Break(());
        }
        self.bytes_left = self.bytes_left.saturating_sub(key.len() + value.len());
        self.rows.push((key.to_vec(), value));
        ControlFlow::Continue(())
    }

    /// Its rows: keys and values.
    pub fn into_rows(self) -> impl Iterator<Item = (Vec<u8>, Bytes)> {
        self.rows.into_iter()
    }
}

impl Session {
    /// The rows that the session wants to have back now, if any. Every record must have been handed to the store
    /// before. Answer with [`Session::handle_page`]; until then it asks for nothing more.
    pub fn poll_page(&mut self) -> Option<PageRequest> {
        if !self.is_page_due() {
            return None;
        }
        self.queue.tail_mut().ask();
        let number = self.queue.tail().after();
        let room = self.config.queue_resident_bytes_max.saturating_sub(self.queue.resident_bytes());
        Some(PageRequest {
            prefix: messages_key(self.owner),
            // The key of a flight is the last that begins with the key of its message.
            after: Record { owner: self.owner, fact: Fact::Requeued { number } }.key(),
            bytes_max: u32::try_from(room).unwrap_or(u32::MAX).min(PAGE_BYTES_MAX),
        })
    }

    /// Whether [`Session::poll_page`] would ask. Without a link only a queue of which nothing is in memory does, so
    /// that what expired there can make room.
    #[must_use]
    pub fn is_page_due(&self) -> bool {
        let tail = self.queue.tail();
        if tail.is_empty() || tail.is_asked() {
            return false;
        }
        let is_low = self.queue.resident_bytes() <= self.config.queue_resident_bytes_max / 2;
        self.queue.first().is_none() || (is_low && self.link.is_some())
    }

    /// Answers [`Session::poll_page`]. Call [`Session::pump`] next.
    ///
    /// # Errors
    /// [`RecordError`] of the first row that is no message, or if messages are missing. They are counted
    /// ([`crate::SessionStats::dropped_unreadable`]) and left where they are; all others were taken.
    pub fn handle_page(
        &mut self,
        page: PageRows,
        journal: &mut Journal,
        now: Time,
    ) -> Result<(), RecordError> {
        let Some(asked) = self.queue.tail_mut().answer() else { return Ok(()) };
        let mut result = Ok(());
        let mut expired = Vec::new();
        for (key, value) in page.rows {
            let number = self.number_in(&key);
            match Record::decode(&key, &value) {
                Ok(Record { fact: Fact::Queued { number, message, delivery }, .. }) => {
                    if self.is_paged(number, &message.payload) {
                        if message.is_expired(now) {
                            expired.push(number);
                        }
                        self.queue.put_back(number, Arc::unwrap_or_clone(message), delivery);
                    }
                }
                // The flight of a message that was read before it.
                Ok(_) => {}
                Err(error) => {
                    if let Some(number) = number.filter(|number| self.queue.tail().has(*number)) {
                        self.queue.tail_mut().leave(number, 0);
                        self.give_up(number, Fate::Unreadable);
                    }
                    result = result.and(Err(error));
                }
            }
            if let Some(number) = number {
                self.queue.tail_mut().pass(number);
            }
        }
        if page.is_end {
            let missing = self.queue.tail_mut().end(asked);
            if missing > 0 {
                self.stats.dropped_unreadable += u64::from(missing);
                result = result.and(Err(RecordError { what: "messages are missing" }));
            }
        }
        for number in expired {
            self.drop_expired(number, journal);
        }
        result
    }

    /// Whether a message that the store holds is one of the tail. Recovery leaves out what has lost its spool.
    fn is_paged(&self, number: u64, payload: &Payload) -> bool {
        let has_spool = || self.queue.tail().has_spool(number);
        // Flights are older than what waits; to look through them for each row would take long.
        let is_flight = self.flights.number_max() >= number && self.flights.find(number).is_some();
        self.queue.tail().has(number)
            && !is_flight
            && (matches!(payload, Payload::Bytes(_)) || has_spool())
    }

    /// The number of the message whose key this is.
    fn number_in(&self, key: &[u8]) -> Option<u64> {
        let number = key.strip_prefix(&*messages_key(self.owner))?;
        number.try_into().map(u64::from_be_bytes).ok()
    }
}

/// Most bytes of one page: few calls, and a short look at the disk for whoever reads it on the machine's thread.
const PAGE_BYTES_MAX: u32 = 256 * 1024;
