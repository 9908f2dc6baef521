//! Waits for connections.

use std::io;

use crate::{Endpoint, Stream};

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
}

impl Listener {
    /// Binds; for a Unix socket a stale file is replaced.
    ///
    /// # Errors
    /// What the system said, with the endpoint in the message.
    pub async fn bind(_endpoint: &Endpoint) -> io::Result<Self> {
        todo!()
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection; also says who it is from, for the log.
    ///
    /// # Errors
    /// What the system said; after an error of one connection the listener still works.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        todo!()
    }
}
