//! What happens to the connection, for a thread that waits for it.

use std::{sync::Arc, time::Duration};

use super::{wait_timeout, wait_unless_ready};
use crate::{Event, shared::Shared};

/// Events in their order, beginning with the state at the time of the call. See [`crate::Events`] for its bounds; as a
/// [`super::Subscription`] it keeps the session alive.
#[derive(Debug)]
pub struct Events {
    events: crate::Events,
    shared: Arc<Shared>,
}

impl Events {
    pub(super) fn new(events: crate::Events, shared: &Arc<Shared>) -> Self {
        Self { events, shared: Arc::clone(shared) }
    }

    /// The next event if one comes within `timeout`. `None` also after [`Event::Over`].
    pub fn next_within(&mut self, timeout: Duration) -> Option<Event> {
        wait_timeout(&self.shared, self.events.next(), timeout).flatten()
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_next()
    }
}

/// Waits for each event; ends after [`Event::Over`].
impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        wait_unless_ready(&self.shared, self.events.next())
    }
}
