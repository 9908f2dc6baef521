//! Sessions that outlive their process.
//!
//! A process is a runtime here: when it goes, so does everything of the session but its store.

use std::{fs, future::IntoFuture, path::Path, time::Duration};

use postrider::{
    Builder, ConnectError, Event, Protocol, PublishError, QoS, Session, SessionEnd, StoreError,
    Version, blocking,
};
use postrider_proto::wire::{
    AckKind, ConnAck, Connect, PACKET_SIZE_MAX, Packet, PacketId, Publish, encode,
};
use tempfile::TempDir;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use crate::peer::{Desk, Peer, Success, at_desk, message};

const VERSIONS: [Protocol; 2] = [Protocol::V311, Protocol::V5];

/// Every state in which a process can leave an exchange: message not sent, waiting for PUBACK, PUBREC, PUBCOMP, and for
/// PUBREL. v5 v3.1.1 [MQTT-4.1.0-1, MQTT-4.4.0-1].
#[test]
fn a_new_process_goes_on_in_every_state_of_an_exchange() {
    for version in VERSIONS {
        let folder = TempDir::new().unwrap();
        process().block_on(async {
            let (session, _desk) = background(version, folder.path()).await;
            session.publish("a", "1").qos(QoS::AtLeastOnce).receipt().await.unwrap();
            session.publish("b", "2").qos(QoS::ExactlyOnce).receipt().await.unwrap();
        });
        process().block_on(async {
            let (session, mut desk) = background(version, folder.path()).await;
            let (mut peer, connect) = accept(&mut desk, version, fresh()).await;
            // Nothing of the session was ever at a server.
            assert_eq!(connect.clean_start, version == Protocol::V5);
            assert_eq!(publish(&mut peer).await, ("a".to_owned(), id(1), false));
            assert_eq!(publish(&mut peer).await, ("b".to_owned(), id(2), false));
            for topic in ["c", "d", "e"] {
                session.publish(topic, "x").qos(QoS::ExactlyOnce).receipt().await.unwrap();
                peer.publish().await;
            }
            peer.ack(AckKind::PubRec, id(3)).await;
            assert!(matches!(peer.next().await, Packet::PubRel(ack) if ack.packet_id.get() == 3));
            peer.ack(AckKind::PubRec, id(5)).await;
            assert!(matches!(peer.next().await, Packet::PubRel(ack) if ack.packet_id.get() == 5));
            peer.send(Packet::Publish(arriving(false))).await;
            assert!(matches!(peer.next().await, Packet::PubRec(ack) if ack.packet_id.get() == 7));
        });
        process().block_on(async {
            let (session, mut desk) = background(version, folder.path()).await;
            let (mut peer, connect) = accept(&mut desk, version, fresh().resumed()).await;
            assert!(!connect.clean_start);
            for number in [3, 5] {
                let packet = peer.next().await;
                let is_next =
                    matches!(&packet, Packet::PubRel(ack) if ack.packet_id.get() == number);
                assert!(is_next, "{packet:?}");
            }
            assert_eq!(publish(&mut peer).await, ("a".to_owned(), id(1), true));
            assert_eq!(publish(&mut peer).await, ("b".to_owned(), id(2), true));
            assert_eq!(publish(&mut peer).await, ("d".to_owned(), id(4), true));
            peer.send(Packet::Publish(arriving(true))).await;
            assert!(matches!(peer.next().await, Packet::PubRec(ack) if ack.packet_id.get() == 7));
            peer.ack(AckKind::PubRel, id(7)).await;
            assert!(matches!(peer.next().await, Packet::PubComp(ack) if ack.packet_id.get() == 7));
            assert_eq!(session.stats().received, 0, "delivered by the process before");
            peer.ack(AckKind::PubAck, id(1)).await;
            for number in [2, 4] {
                peer.ack(AckKind::PubRec, id(number)).await;
                assert!(matches!(peer.next().await, Packet::PubRel(_)));
            }
            for number in 2..=5 {
                peer.ack(AckKind::PubComp, id(number)).await;
            }
            let last = session.publish("f", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
            assert!(last.message_number() > 5, "{last:?}");
            let sent = peer.publish().await;
            assert_eq!(sent.packet_id, id(6), "the lowest free id is never taken at once");
            peer.ack(AckKind::PubAck, sent.packet_id).await;
            last.await.unwrap();
            assert_eq!(session.stats().pending(), 0);
        });
        process().block_on(async {
            let (session, mut desk) = background(version, folder.path()).await;
            let (mut peer, _) = accept(&mut desk, version, fresh().resumed()).await;
            session.disconnect().await.unwrap();
            assert!(matches!(peer.next().await, Packet::Disconnect(_)), "nothing is open");
        });
    }
}

/// v5 [MQTT-3.2.2-5]: the server has forgotten the session, because the program was down for too long.
#[test]
fn open_messages_start_again_where_the_server_has_forgotten_the_session() {
    for version in VERSIONS {
        let folder = TempDir::new().unwrap();
        process().block_on(async {
            let (session, mut desk) = background(version, folder.path()).await;
            let (mut peer, _) = accept(&mut desk, version, fresh()).await;
            for topic in ["a", "b", "c"] {
                session.publish(topic, "x").qos(QoS::ExactlyOnce).receipt().await.unwrap();
                peer.publish().await;
            }
            peer.ack(AckKind::PubRec, id(1)).await;
            assert!(matches!(peer.next().await, Packet::PubRel(_)));
            let subscribe = session.subscribe("s/+", QoS::AtLeastOnce).into_future();
            let (_, stream) = tokio::join!(peer.grant(), subscribe);
            // To drop it would unsubscribe.
            stream.unwrap()
        });
        process().block_on(async {
            let (session, mut desk) = background(version, folder.path()).await;
            let mut events = session.events();
            let (mut peer, _) = accept(&mut desk, version, fresh()).await;
            // What the server had taken over at PUBREC is done; the rest may arrive twice.
            assert_eq!(peer.grant().await.filters[0].filter, "s/+");
            for topic in ["b", "c"] {
                let again = peer.publish().await;
                assert_eq!((again.topic.unwrap().as_str(), again.dup), (topic, false));
            }
            let mut doubtful = Vec::new();
            while let Some(event) = events.try_next() {
                if let Event::MayBeDouble { number } = event {
                    doubtful.push(number);
                }
            }
            assert_eq!(doubtful, [2, 3]);
        });
    }
}

/// A large payload lies in a file of its own, from the call until the server has taken it over.
#[test]
fn a_large_payload_outlives_the_process() {
    let folder = TempDir::new().unwrap();
    let spools = || fs::read_dir(folder.path().join("spools")).unwrap().count();
    let payload = "0123456789".repeat(200_000);
    process().block_on(async {
        let (session, _desk) = background(Protocol::V5, folder.path()).await;
        let publish = session.publish("large", &payload).qos(QoS::ExactlyOnce);
        publish.stored().await.unwrap();
        assert_eq!(session.stats().bytes, 5, "the topic");
    });
    assert_eq!(spools(), 1);
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        assert_eq!(session.pending().await.unwrap().len(), 1);
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        let publish = peer.publish().await;
        assert_eq!(publish.payload, payload);
        peer.ack(AckKind::PubRec, publish.packet_id).await;
        assert!(matches!(peer.next().await, Packet::PubRel(_)));
    });
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        let receipt = session.receipt(1).await.unwrap();
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh().resumed()).await;
        let Packet::PubRel(release) = peer.next().await else { panic!("no PUBREL") };
        peer.ack(AckKind::PubComp, Some(release.packet_id)).await;
        receipt.await.unwrap();
        session.disconnect().await.unwrap();
    });
    assert_eq!(spools(), 0);
}

#[test]
fn a_store_belongs_to_one_client_and_one_session_at_a_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("me.state");
    process().block_on(async {
        let (session, _desk) = background(Protocol::V5, &path).await;
        let (builder, _other) = at(Protocol::V5, &path);
        let locked = builder.start().await.unwrap_err();
        assert_eq!(locked, ConnectError::Store(StoreError::Locked(path.clone())));
        assert!(locked.to_string().contains("me.state"), "{locked}");
        assert!(locked.to_string().ends_with("end that session first, or use another path"));
        session.disconnect().await.unwrap();
        let (builder, _desk) = at_desk(Session::builder("mqtt://peer", "you").store(&path));
        let other = builder.start().await.unwrap_err();
        let (stored, wanted) = ("me".to_owned(), "you".to_owned());
        assert_eq!(other, ConnectError::StoreOfOther { path: path.clone(), stored, wanted });
        // Nobody chose one, so it is the one in the store.
        let (builder, mut desk) = at_desk(Session::builder("mqtt://peer", "").store(&path));
        let _session = builder.version(Protocol::V5).start().await.unwrap();
        assert_eq!(desk.next().await.connect().await.client_id.as_str(), "me");
    });
}

#[test]
fn what_is_no_store_of_ours_is_refused_and_not_touched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("me.state");
    process().block_on(async {
        let (session, _desk) = background(Protocol::V5, &path).await;
        session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    });
    let open = || process().block_on(at(Protocol::V5, &path).0.start()).unwrap_err();
    let format = fs::read(path.join("format")).unwrap();
    fs::write(path.join("format"), "postrider store, format 3\n").unwrap();
    let newer = open();
    let same = StoreError::Newer { path: path.clone(), found: 3, known: 2 };
    assert_eq!(newer, ConnectError::Store(same));
    assert!(newer.to_string().ends_with("use the newer program, or another path"), "{newer}");
    fs::write(path.join("format"), format).unwrap();
    let mut rows = fs::read(path.join("records.redb")).unwrap();
    rows[0] ^= 1;
    fs::write(path.join("records.redb"), &rows).unwrap();
    let corrupt = open();
    let is_corrupt = matches!(&corrupt, ConnectError::Store(StoreError::Corrupt { path: at, .. })
        if *at == path);
    assert!(is_corrupt && corrupt.to_string().contains("renaming it"), "{corrupt}");
    assert_eq!(fs::read(path.join("records.redb")).unwrap(), rows);
    rows[0] ^= 1;
    fs::write(path.join("records.redb"), &rows).unwrap();
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, &path).await;
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        assert_eq!(peer.publish().await.topic.unwrap().as_str(), "a");
        drop(session);
    });
}

/// A failed connect leaves the store closed, so that the program can try again.
#[test]
fn a_store_is_closed_when_the_program_hears_of_the_end() {
    let folder = TempDir::new().unwrap();
    process().block_on(async {
        for _ in 0..3 {
            let refusing = Session::builder("mqtt://peer", "me")
                .store(folder.path())
                .connector(|_| async { Err(std::io::Error::other("nobody there")) });
            let error = refusing.connect().await.unwrap_err();
            assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
        }
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        let (_peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        session.disconnect().await.unwrap();
        background(Protocol::V5, folder.path()).await.0.disconnect().await.unwrap();
    });
}

/// Nothing that is not stored is acknowledged, and the session says why it ended.
#[test]
fn a_store_that_fails_ends_the_session() {
    let folder = TempDir::new().unwrap();
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        let open = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        peer.publish().await;
        // A large payload goes to a file of its own, which cannot be made.
        fs::remove_dir(folder.path().join("spools")).unwrap();
        let large = "x".repeat((1 << 20) + 1);
        let mut bytes = Vec::new();
        let packet = Packet::Publish(message("in", &large, QoS::AtLeastOnce, &[]));
        encode(&packet, Version::V5, PACKET_SIZE_MAX, &mut bytes).unwrap();
        // Cut off in the middle.
        peer.write_some(&bytes).await;
        assert_eq!(peer.try_next().await, None, "hung up, without PUBACK");
        let error = open.await.unwrap_err();
        let PublishError::Over(SessionEnd::Store(StoreError::Io { path, .. })) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(path, folder.path());
        assert_eq!(session.ended().unwrap().to_string(), error.to_string());
        assert!(error.to_string().contains("look at the disk"), "{error}");
    });
}

#[test]
fn the_blocking_face_keeps_a_session_too() {
    let folder = TempDir::new().unwrap();
    let builder = || {
        let builder = blocking::Session::builder("mqtt://peer", "me").version(Protocol::V5);
        at_desk(builder.keep_alive(Duration::ZERO).store(folder.path()))
    };
    let (offline, desk) = builder();
    let session = offline.start().unwrap();
    let number =
        session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().unwrap().message_number();
    session.disconnect().unwrap();
    drop(desk);
    let (online, mut desk) = builder();
    let server = std::thread::spawn(move || {
        process().block_on(async {
            let (mut peer, connect) = accept(&mut desk, Protocol::V5, fresh()).await;
            let sent = peer.publish().await;
            peer.ack(AckKind::PubAck, sent.packet_id).await;
            assert!(matches!(peer.next().await, Packet::Disconnect(_)));
            (connect.client_id, sent)
        })
    });
    let session = online.connect().unwrap();
    assert_eq!(number, 1);
    session.disconnect().unwrap();
    let (client_id, sent) = server.join().unwrap();
    assert_eq!((client_id.as_str(), sent.topic.unwrap().as_str()), ("me", "a"));
}

pub(crate) fn process() -> Runtime {
    RuntimeBuilder::new_current_thread().enable_all().build().unwrap()
}

fn at(version: Protocol, path: &Path) -> (Builder, Desk) {
    let builder = Session::builder("mqtt://peer", "me").version(version);
    at_desk(builder.keep_alive(Duration::ZERO).in_flight_max(20).store(path))
}

pub(crate) async fn background(version: Protocol, path: &Path) -> (Session, Desk) {
    let (builder, desk) = at(version, path);
    (builder.start().await.unwrap(), desk)
}

/// Takes the next connection. In 3.1.1 one that only wipes the server's old session goes before the first of a store.
pub(crate) async fn accept(
    desk: &mut Desk,
    version: Protocol,
    connack: ConnAck,
) -> (Peer, Connect) {
    let mut peer = desk.next().await;
    let mut connect = peer.connect().await;
    if version == Protocol::V311 && connect.clean_start {
        peer.send(Packet::ConnAck(fresh())).await;
        assert!(matches!(peer.next().await, Packet::Disconnect(_)));
        drop(peer);
        peer = desk.next().await;
        connect = peer.connect().await;
    }
    peer.send(Packet::ConnAck(connack)).await;
    (peer, connect)
}

pub(crate) fn fresh() -> ConnAck {
    ConnAck::default_success()
}

fn id(number: u16) -> Option<PacketId> {
    PacketId::new(number)
}

fn arriving(dup: bool) -> Publish {
    Publish { dup, packet_id: id(7), ..message("in", "x", QoS::ExactlyOnce, &[]) }
}

/// Topic, id and DUP of the next PUBLISH.
async fn publish(peer: &mut Peer) -> (String, Option<PacketId>, bool) {
    let publish = peer.publish().await;
    (publish.topic.unwrap().as_str().to_owned(), publish.packet_id, publish.dup)
}
