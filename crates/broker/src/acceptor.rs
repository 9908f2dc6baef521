//! Accepts connections and deals them out to the drivers in turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postrider_net::{Layers, Listener, Stream};
use postrider_proto::Durability;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
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
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) if let Some(layers) = listener.layers() => {
                failures = 0;
                // With too many under way the next ones wait in the system's queue.
                let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
                let (layers, dealer) = (layers.clone(), dealer.clone());
                tokio::spawn(open(layers, stream, peer, mode, dealer, permit));
            }
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

/// Does the handshakes of a connection, then deals it out.
async fn open(
    layers: Layers,
    stream: Stream,
    peer: String,
    mode: Durability,
    dealer: Dealer,
    permit: OwnedSemaphorePermit,
) {
    match timeout(HANDSHAKE_MAX, layers.open(stream)).await {
        Ok(Ok(stream)) => {
            // If the driver has ended, so has the broker.
            dealer.deal_socket(stream, peer, mode);
        }
        Ok(Err(error)) => debug!(peer, %error, "connection given up before its first packet"),
        Err(_) => debug!(peer, "no handshake in time"),
    }
    drop(permit);
}

/// How long a client has for TLS and WebSocket.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes under way at a time; each has a few kilobytes.
const HANDSHAKES_MAX: usize = 1024;
/// Pause after the second failure in a row.
const PAUSE: Duration = Duration::from_millis(200);
