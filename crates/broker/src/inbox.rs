//! What reaches a driver besides bytes: new connections, other hubs' messages, questions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc::SyncSender,
};

use bytes::BytesMut;
use postrider_hub::{HubStats, MovedLink, PeerMessage};
use postrider_net::{Detached, Stream};
use postrider_proto::Durability;
use tokio::sync::mpsc;

use crate::ready::Ready;

/// Something for a driver.
#[derive(Debug)]
pub(crate) enum Input {
    /// A connection was accepted.
    Accept(Source),
    /// A link arrives from another hub.
    Adopt { source: Source, unread: BytesMut, moved: Box<MovedLink> },
    /// The hub with this index says something.
    Peer(u16, PeerMessage),
    /// How are you?
    Stats(SyncSender<HubStats>),
    /// Say goodbye to all, flush, end.
    Stop,
    /// End at once.
    Kill,
}

/// A connection on its way to a driver.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) stream: Carried,
    /// Where it comes from, for the log.
    pub(crate) peer: String,
    /// What its acknowledgements rely on.
    pub(crate) mode: Durability,
}

/// Whether a stream must change event loops.
#[derive(Debug)]
pub(crate) enum Carried {
    /// It belongs to the driver's event loop, or to none.
    Ready(Stream),
    /// It was taken out of another's.
    Detached(Detached),
}

/// A driver as the others see it.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    sender: mpsc::UnboundedSender<Input>,
    load: Arc<Load>,
    ready: Arc<Ready>,
}

/// How much the other hubs have put into an inbox. The channel itself has no bound: a full one would make two hubs wait
/// for each other. Instead a driver that sees a peer's inbox above the high mark reads no more bytes until it is below
/// the low mark, but goes on with its own inbox, so both get on.
#[derive(Debug, Default)]
struct Load {
    messages: AtomicUsize,
    /// Set by a driver that waits for another's inbox.
    is_waiting: AtomicBool,
}

/// The receiving end of a driver's inbox.
pub(crate) struct Inbox {
    pub(crate) receiver: mpsc::UnboundedReceiver<Input>,
    pub(crate) ready: Arc<Ready>,
    load: Arc<Load>,
}

/// Makes an inbox and its address.
pub(crate) fn inbox() -> (Address, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (load, ready) = (Arc::new(Load::default()), Arc::new(Ready::default()));
    let address = Address { sender, load: Arc::clone(&load), ready: Arc::clone(&ready) };
    (address, Inbox { receiver, ready, load })
}

impl Address {
    /// Sends; returns the input if the driver has ended.
    pub(crate) fn send(&self, input: Input) -> Result<(), Input> {
        if matches!(input, Input::Peer(..)) {
            self.load.messages.fetch_add(1, Ordering::SeqCst);
        }
        self.sender.send(input).map_err(|error| error.0)
    }

    /// Resolves when the driver has ended.
    pub(crate) async fn ended(&self) {
        self.sender.closed().await;
    }

    fn is_full(&self) -> bool {
        // An ended driver takes nothing out any more; nobody must wait for it.
        self.load.messages.load(Ordering::SeqCst) > PEER_MESSAGES_HIGH && !self.sender.is_closed()
    }
}

impl Inbox {
    /// Whether one of the others' inboxes is so full that this driver must not read. It is nudged when there is room.
    pub(crate) fn must_wait(&self, others: &[Address]) -> bool {
        if !others.iter().any(Address::is_full) {
            return false;
        }
        self.load.is_waiting.store(true, Ordering::SeqCst);
        // Looked at again: one may have made room before it could see that somebody waits.
        others.iter().any(Address::is_full)
    }

    /// A peer's message was taken out.
    pub(crate) fn took_peer_message(&self, others: &[Address]) {
        let before = self.load.messages.fetch_sub(1, Ordering::SeqCst);
        if before == PEER_MESSAGES_LOW + 1 {
            wake_waiting(others);
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.receiver.close();
    }
}

/// Wakes the drivers that wait for room in somebody's inbox.
pub(crate) fn wake_waiting(others: &[Address]) {
    for other in others {
        if other.load.is_waiting.swap(false, Ordering::SeqCst) {
            other.ready.nudge();
        }
    }
}

/// Messages from peers in one inbox above which they stop reading. One message is at most one turn's work of a hub.
const PEER_MESSAGES_HIGH: usize = 256;
/// Messages in an inbox at which reading goes on.
const PEER_MESSAGES_LOW: usize = 64;

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use postrider_hub::{Hub, HubConfig, Output};
    use postrider_proto::Time;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_driver_stops_reading_while_a_peers_inbox_is_full_and_is_woken_when_it_is_not() {
        let (one, one_inbox) = inbox();
        let (two, mut two_inbox) = inbox();
        let (drivers, message) = ([one, two.clone()], peer_message());
        for _ in 0..PEER_MESSAGES_HIGH {
            two.send(Input::Peer(0, message.clone())).unwrap();
        }
        assert!(!one_inbox.must_wait(&drivers));
        two.send(Input::Peer(0, message.clone())).unwrap();
        assert!(one_inbox.must_wait(&drivers));
        let woken = Arc::new(Woken::default());
        assert!(one_inbox.ready.park(&Waker::from(Arc::clone(&woken))));
        for left in (PEER_MESSAGES_LOW..=PEER_MESSAGES_HIGH).rev() {
            assert!(!woken.0.load(Ordering::SeqCst), "{left} messages left");
            assert!(matches!(two_inbox.receiver.try_recv(), Ok(Input::Peer(0, _))));
            two_inbox.took_peer_message(&drivers);
        }
        assert!(woken.0.load(Ordering::SeqCst));
        assert!(!one_inbox.must_wait(&drivers));
    }

    #[test]
    fn nobody_waits_for_a_driver_that_ended() {
        let (_one, one_inbox) = inbox();
        let (two, two_inbox) = inbox();
        let message = peer_message();
        for _ in 0..=PEER_MESSAGES_HIGH {
            two.send(Input::Peer(0, message.clone())).unwrap();
        }
        assert!(one_inbox.must_wait(std::slice::from_ref(&two)));
        drop(two_inbox);
        assert!(!one_inbox.must_wait(std::slice::from_ref(&two)));
        assert!(matches!(two.send(Input::Stop), Err(Input::Stop)));
    }
    /// What a hub tells another after a SUBSCRIBE.
    fn peer_message() -> PeerMessage {
        let config = HubConfig { hubs: 2, ..HubConfig::default() };
        let mut hub = Hub::new(config, Time(0));
        for client_id in b'a'..=b'z' {
            let link = hub.accept(Time(0));
            let mut bytes = BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01"[..]);
            bytes.extend_from_slice(&[client_id]);
            bytes.extend_from_slice(b"\x82\x06\x00\x01\x00\x01t\x00");
            hub.handle_bytes(link, &mut bytes, Time(0));
            // Half of the client ids live on the other hub; their SUBSCRIBE goes there unread.
            loop {
                let output = hub.poll_output();
                if let Output::Peer(_, message) = output {
                    return message;
                }
                if matches!(output, Output::Wait(_)) {
                    break;
                }
            }
        }
        panic!("the other hub is told nothing");
    }
}
