//! What becomes of the connection, told while something else is waited for.

use std::pin::pin;

use postrider::{Event, Events, Session};

use crate::{number, out};

/// Says on standard error what happens to the connection.
pub(crate) struct Teller {
    events: Events,
    is_connected: bool,
}

impl Teller {
    /// For a session that is connected.
    pub(crate) fn new(session: &Session) -> Self {
        Self { events: session.events(), is_connected: true }
    }

    /// Tells until something else is done.
    pub(crate) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                done = &mut other => return done,
                () = self.tell() => {}
            }
        }
    }

    /// Waits for one event.
    pub(crate) async fn tell(&mut self) {
        match self.events.next().await {
            Some(Event::Connected(connected)) if !self.is_connected => {
                self.is_connected = true;
                out::complain(match connected.session_present {
                    true => "connected again",
                    false => "connected again; the broker has kept no messages",
                });
            }
            Some(Event::Disconnected { reason, retry_in: Some(wait) }) => {
                self.is_connected = false;
                let wait = number::time(wait);
                out::complain(&format!("disconnected: {reason}; trying again in {wait}"));
            }
            Some(Event::SubscriptionLost { filter, why }) => {
                out::complain(&format!("the subscription to '{filter}' is lost: {why}"));
            }
            Some(_) => {}
            // Whoever waits for something is told that too, and why.
            None => std::future::pending().await,
        }
    }
}
