//! Large payloads: published from files and readers, read from files.

use std::{
    fs,
    future::IntoFuture,
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use postrider::{
    Protocol, PublishError, QoS, Session, Source, SourceError, Subscription, blocking,
};
use postrider_proto::wire::{AckKind, PACKET_SIZE_MAX, Packet, Publish, encode};
use tempfile::TempDir;

use crate::{
    peer::{Peer, Success, at_desk, connected, message},
    storing::{accept, background, fresh, process},
};

const LEN: usize = 3_000_000;

/// v5 [MQTT-4.3.3-1], v3.1.1 [MQTT-4.3.3-1].
#[test]
fn what_is_read_is_published_and_leaves_no_file_behind() {
    for version in [Protocol::V311, Protocol::V5] {
        let folder = TempDir::new().unwrap();
        let picture = folder.path().join("picture");
        fs::write(&picture, noise(LEN)).unwrap();
        let state = folder.path().join("state");
        process().block_on(async {
            let (session, mut desk) = background(version, &state).await;
            let (mut peer, _) = accept(&mut desk, version, fresh()).await;
            for (source, len) in [
                (Source::file(&picture), LEN),
                (reader(LEN + 1), LEN + 1),
                (reader(1), 1),
                (reader(0), 0),
            ] {
                let request = session.publish_from("t", source).qos(QoS::ExactlyOnce);
                let receipt = request.stored().await.unwrap();
                complete(&mut peer, len).await;
                receipt.await.unwrap();
            }
            gone(&session, &state).await;
            session.disconnect().await.unwrap();
        });
    }
}

#[tokio::test]
async fn without_a_store_it_is_published_too() {
    let (session, mut peer, _desk) = connected().await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let receipt =
            session.publish_from("t", reader(LEN)).qos(qos).retain(true).receipt().await.unwrap();
        let publish = peer.publish().await;
        assert!(publish.retain && publish.payload == noise(LEN));
        if qos == QoS::AtLeastOnce {
            peer.ack(AckKind::PubAck, publish.packet_id).await;
        }
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn the_blocking_face_has_it_too() {
    let builder = blocking::Session::builder("mqtt://peer", "me").version(Protocol::V5);
    let (builder, mut desk) = at_desk(builder);
    let publishing = std::thread::spawn(move || {
        let session = builder.connect().unwrap();
        session.publish_from("t", reader(LEN)).qos(QoS::ExactlyOnce).wait().unwrap();
        session.disconnect().unwrap();
    });
    let mut peer = desk.accept(fresh()).await;
    complete(&mut peer, LEN).await;
    assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    drop(peer);
    publishing.join().unwrap();
}

/// A reader with fewer or more bytes than was said, or one that fails: nothing is published, nothing is left.
#[test]
fn a_reader_that_does_not_keep_its_word_publishes_nothing() {
    let folder = TempDir::new().unwrap();
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        let said = LEN as u64;
        let broken = || io::Error::other("the disk of the camera");
        let failing = io::Cursor::new(noise(2_000_000)).chain(Failing(broken));
        let missing = folder.path().join("missing");
        for (source, what) in [
            (Source::reader(io::Cursor::new(noise(LEN - 1)), said), "ended after 2999999 bytes"),
            (Source::reader(io::Cursor::new(noise(LEN + 1)), said), "goes on after the 3000000"),
            (Source::reader(failing, said), "the disk of the camera"),
            (Source::file(&missing), "missing: "),
        ] {
            let error = session.publish_from("t", source).qos(QoS::AtLeastOnce).await.unwrap_err();
            assert!(matches!(error, PublishError::Source(_)), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
        gone(&session, folder.path()).await;
        assert_eq!(session.pending().await, Ok(Vec::new()));
        session.publish("t", "next").receipt().await.unwrap();
        assert_eq!(peer.publish().await.payload, "next");
    });
}

/// v5 [MQTT-3.2.2-15], v5 v3.1.1 section 2: no more bytes are read than could be sent.
#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let (session, _peer, _desk) = connected().await;
    let is_read = Arc::new(AtomicBool::new(false));
    for len in [268_435_455, u64::from(u32::MAX), u64::MAX] {
        let touched = Touched(Arc::clone(&is_read));
        let request = session.publish_from("t", Source::reader(touched, len));
        let error = request.qos(QoS::ExactlyOnce).await.unwrap_err();
        let PublishError::TooLarge { payload, payload_max, .. } = error else {
            panic!("{error}");
        };
        // Topic, packet identifier and the length of no properties take the rest.
        assert_eq!((payload, payload_max), (len, 268_435_455 - 3 - 2 - 1));
        assert!(!is_read.load(Ordering::Relaxed));
    }
    assert_eq!(
        session.publish_from("t/#", reader(1)).await.unwrap_err(),
        session.publish("t/#", "x").await.unwrap_err()
    );
    let room = Source::reader(io::empty(), 268_435_449);
    let short = SourceError::Short { said: 268_435_449, had: 0 };
    let error = session.publish_from("t", room).qos(QoS::ExactlyOnce).await.unwrap_err();
    assert_eq!(error, PublishError::Source(short));
}

/// The file of a message is there as long as the message, whatever becomes of session and store.
#[test]
fn a_message_is_read_from_its_file_as_long_as_it_is_there() {
    let folder = TempDir::new().unwrap();
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        let mut stream = subscribed(&session, &mut peer).await;
        for _ in 0..2 {
            deliver(&mut peer).await;
        }
        let (first, second) = (stream.next().await.unwrap(), stream.next().await.unwrap());
        assert_eq!(spools(folder.path()), 2);
        let (mut half, mut rest) = (vec![0; LEN / 2], Vec::new());
        let mut reader = first.reader();
        reader.read_exact(&mut half).unwrap();
        drop(first.clone());
        drop(first);
        reader.read_to_end(&mut rest).unwrap();
        half.append(&mut rest);
        assert!(half == noise(LEN), "what is read is what was sent");
        assert_eq!(spools(folder.path()), 2);
        drop(reader);
        while spools(folder.path()) > 1 {
            session.pending().await.unwrap();
        }
        session.disconnect().await.unwrap();
        let copy = second.clone();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            copy.reader().read_to_end(&mut all).unwrap();
            all
        });
        assert!(reading.join().unwrap() == noise(LEN), "after the end of the session too");
        assert!(second.payload().unwrap() == noise(LEN), "and in memory");
        // What the program still held is no business of the next session.
        let (session, _desk) = background(Protocol::V5, folder.path()).await;
        assert_eq!(spools(folder.path()), 0);
        assert!(second.clone().payload().unwrap() == noise(LEN), "nor the other way round");
        drop(session);
    });
}

/// A payload that had not arrived whole when the process died is an orphan, and comes again.
#[test]
fn half_a_payload_is_gone_with_the_next_start() {
    let folder = TempDir::new().unwrap();
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        let _stream = subscribed(&session, &mut peer).await;
        let mut bytes = Vec::new();
        let version = postrider::Version::V5;
        encode(&Packet::Publish(arriving()), version, PACKET_SIZE_MAX, &mut bytes).unwrap();
        peer.write(&bytes[..LEN / 2]).await;
        while spools(folder.path()) == 0 {
            session.pending().await.unwrap();
        }
    });
    assert_eq!(spools(folder.path()), 1);
    process().block_on(async {
        let (_session, mut desk) = background(Protocol::V5, folder.path()).await;
        assert_eq!(spools(folder.path()), 0);
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh().resumed()).await;
        peer.send(Packet::Publish(arriving())).await;
        assert!(matches!(peer.next().await, Packet::PubRec(_)));
    });
}

pub(crate) fn arriving() -> Publish {
    Publish { payload: noise(LEN).into(), ..message("in", "", QoS::ExactlyOnce, &[]) }
}

pub(crate) async fn subscribed(session: &Session, peer: &mut Peer) -> Subscription {
    let subscribing = session.subscribe("in", QoS::ExactlyOnce).into_future();
    let (stream, _) = tokio::join!(subscribing, peer.grant());
    stream.unwrap()
}

/// Plays the server that sends a large message, to its end.
pub(crate) async fn deliver(peer: &mut Peer) {
    peer.send(Packet::Publish(arriving())).await;
    let Packet::PubRec(ack) = peer.next().await else { panic!("no PUBREC") };
    peer.ack(AckKind::PubRel, Some(ack.packet_id)).await;
    assert!(matches!(peer.next().await, Packet::PubComp(_)));
}

/// Plays the server of an exchange at QoS 2.
async fn complete(peer: &mut Peer, len: usize) {
    let publish = peer.publish().await;
    assert!(publish.payload == noise(len), "{len} bytes come as they were");
    peer.ack(AckKind::PubRec, publish.packet_id).await;
    assert!(matches!(peer.next().await, Packet::PubRel(_)));
    peer.ack(AckKind::PubComp, publish.packet_id).await;
}

/// Waits until the session has done what is left to do with its files.
async fn gone(session: &Session, store: &Path) {
    while spools(store) > 0 {
        session.pending().await.unwrap();
    }
}

fn spools(store: &Path) -> usize {
    fs::read_dir(store.join("spools")).unwrap().count()
}

fn reader(len: usize) -> Source {
    Source::reader(io::Cursor::new(noise(len)), len as u64)
}

/// Bytes without a period that a lost or doubled piece could hide behind.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 7) ^ (at >> 15)) as u8).collect()
}

/// A reader that says whether it was read.
struct Touched(Arc<AtomicBool>);

impl Read for Touched {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.store(true, Ordering::Relaxed);
        Ok(0)
    }
}

struct Failing<F>(F);

impl<F: Fn() -> io::Error> Read for Failing<F> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err((self.0)())
    }
}
