//! The receipt of a message, for a thread that waits for its end.

use std::sync::Arc;

use super::{wait, wait_unless_ready};
use crate::{PublishError, Published, shared::Shared};

/// A message that the session has taken. It is sent, resent and completed whether or not this is kept.
#[derive(Debug)]
pub struct Receipt {
    receipt: crate::Receipt,
    shared: Arc<Shared>,
}

impl Receipt {
    pub(super) fn new(receipt: crate::Receipt, shared: &Arc<Shared>) -> Self {
        Self { receipt, shared: Arc::clone(shared) }
    }

    /// Message number, counted up from 1 per session and never used again; 0 at QoS 0.
    #[must_use]
    pub fn message_number(&self) -> u64 {
        self.receipt.message_number()
    }

    /// Waits until the exchange is complete.
    ///
    /// # Errors
    /// [`PublishError`] if the server refused the message or the session ended first.
    pub fn wait(self) -> Result<Published, PublishError> {
        wait_unless_ready(&self.shared, self.receipt.completed())
    }

    /// Waits until the session's store has the message, or its exchange is complete. A receipt has one who waits.
    ///
    /// # Errors
    /// [`PublishError::NotStored`] without a store and at QoS 0; others if the message failed.
    pub fn stored(&mut self) -> Result<(), PublishError> {
        wait(&self.shared, self.receipt.stored())
    }
}
