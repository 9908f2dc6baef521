//! Accepts connections and deals them out to the drivers in turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postrider_net::{Listener, Stream};
use postrider_proto::Durability;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::inbox::{Address, Carried, Input, Source};

/// Whose turn it is to get a connection.
#[derive(Clone)]
pub(crate) struct Dealer {
    drivers: Arc<[Address]>,
    next: Arc<AtomicUsize>,
    /// For streams within the process.
    mode: Durability,
}

impl Dealer {
    pub(crate) fn new(drivers: Arc<[Address]>, mode: Durability) -> Self {
        Self { drivers, next: Arc::default(), mode }
    }

    /// Gives a stream of the first driver's event loop to the next driver. False if that has ended.
    fn deal_socket(&self, stream: Stream, peer: String, mode: Durability) -> bool {
        let index = self.turn();
        let stream = match index {
            0 => Carried::Ready(stream),
            _ => match stream.detach() {
                Ok(detached) => Carried::Detached(detached),
                Err(error) => {
                    warn!(peer, %error, "cannot hand over a connection");
                    return true;
                }
            },
        };
        self.give(index, Source { stream, peer, mode })
    }

    /// Gives a stream that needs no event loop to the next driver. If that has ended the stream is dropped, which its
    /// other end sees.
    pub(crate) fn deal_local(&self, stream: Stream) {
        let (stream, peer) = (Carried::Ready(stream), "this process".to_owned());
        let source = Source { stream, peer, mode: self.mode };
        self.give(self.turn(), source);
    }

    fn turn(&self) -> usize {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(self.drivers.len()).unwrap_or_default()
    }

    fn give(&self, index: usize, source: Source) -> bool {
        self.drivers.get(index).is_some_and(|driver| driver.send(Input::Accept(source)).is_ok())
    }
}

/// Accepts until the broker ends. Runs in the event loop of the first driver.
pub(crate) async fn accept(listener: Listener, mode: Durability, dealer: Dealer) {
    let mut failures = 0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failures = 0;
                if !dealer.deal_socket(stream, peer, mode) {
                    return;
                }
            }
            // One failure may be that connection's; more in a row are ours, mostly a lack of descriptors, and go on
            // until something is closed.
            Err(error) if failures == 0 => {
                failures = 1;
                debug!(endpoint = %listener.endpoint(), %error, "cannot accept a connection");
            }
            Err(error) => {
                warn!(endpoint = %listener.endpoint(), %error, "cannot accept connections");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Pause after the second failure in a row.
const PAUSE: Duration = Duration::from_millis(200);
