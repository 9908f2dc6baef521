//! What a store brings through the end of a broker.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postrider_broker::{
    Broker, Builder, Mode, StartError,
    wire::{
        Connect, Disconnect, Packet, Properties, Property, Publish, QoS, ReasonCode, Topic,
        Version, Will,
    },
};

use crate::{
    peer::{Peer, ack, connect, id, publish},
    start,
};

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];
/// Hubs before and after.
const HUBS: [(u16, u16); 4] = [(1, 1), (1, 2), (2, 1), (3, 2)];

/// v5 [MQTT-4.1.0-1], [MQTT-4.4.0-1]; v3.1.1 [MQTT-4.1.0-1], [MQTT-4.4.0-1]: sessions hold on both sides.
#[tokio::test]
async fn sessions_and_messages_survive_a_stop_and_a_crash_with_any_number_of_hubs() {
    for version in VERSIONS {
        for (before, after) in HUBS {
            for is_crash in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let broker = open(folder.path(), before);
                let clients = leave_traces(&broker, version).await;
                end(broker, is_crash).await;
                drop(clients);
                let broker = open(folder.path(), after);
                find_traces(&broker, version).await;
                broker.shut_down();
            }
        }
    }
}

/// A queue of three times the bytes that stay in memory comes in order, with and without a stop in between.
#[tokio::test]
async fn a_queue_that_is_longer_than_memory_comes_in_order() {
    const BATCHES: u16 = 6;
    const BATCH: u16 = 500;
    for is_stopped in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut broker = open(folder.path(), 2);
        let (mut away, _) = resume(&broker, Version::V5, "away", None).await;
        away.subscribe("q", QoS::AtLeastOnce).await;
        away.send(&Packet::Disconnect(goodbye())).await;
        assert_eq!(away.next().await, "the end");

        let mut sender = Peer::connect(&broker, Version::V5, "sender").await;
        for batch in 0..BATCHES {
            for place in 1..=BATCH {
                let payload = format!("{:01000}", batch * BATCH + place);
                let Packet::Publish(one) = publish("q", payload, QoS::AtLeastOnce) else {
                    panic!("a PUBLISH");
                };
                sender.send(&Packet::Publish(Publish { packet_id: Some(id(place)), ..one })).await;
            }
            for _ in 1..=BATCH {
                assert!(sender.next().await.starts_with("PUBACK"));
            }
        }
        if is_stopped {
            end(broker, false).await;
            broker = open(folder.path(), 1);
        }
        let (mut away, is_present) = resume(&broker, Version::V5, "away", None).await;
        assert!(is_present);
        for number in 1..=BATCHES * BATCH {
            let Some(Packet::Publish(message)) = away.packet().await else { panic!("a message") };
            assert_eq!(message.payload, format!("{number:01000}"));
            away.send(&Packet::PubAck(ack(message.packet_id.unwrap().get()))).await;
        }
        broker.shut_down();
    }
}

/// v5 section 3.3.1.3; v3.1.1 [MQTT-3.3.1-6]: retained messages that are in the store only come in the order of topics,
/// as they were last, whatever hub a subscriber is on.
#[tokio::test]
async fn retained_messages_that_are_not_in_memory_come() {
    const COUNT: u16 = 500;
    for (version, budget) in [(VERSIONS[0], 0), (VERSIONS[1], 0), (VERSIONS[1], 200_000)] {
        let folder = tempfile::tempdir().unwrap();
        let begin =
            |hubs| start(stored(folder.path()).hubs(hubs).retained_resident_bytes_max(budget));
        let mut broker = begin(2);
        let mut sender = Peer::connect(&broker, version, "sender").await;
        for (round, last) in [("first", COUNT), ("second", COUNT / 2)] {
            for place in 1..=last {
                let payload = format!("{round:0>1000}{place}");
                let Packet::Publish(one) =
                    publish(&format!("kept/{place:04}"), payload, QoS::AtLeastOnce)
                else {
                    panic!("a PUBLISH");
                };
                let packet_id = Some(id(place));
                sender.send(&Packet::Publish(Publish { packet_id, retain: true, ..one })).await;
                assert!(sender.next().await.starts_with("PUBACK"));
            }
        }
        for hubs in [1, 2] {
            for client_id in ["one", "two", "three"] {
                let mut peer = Peer::connect(&broker, version, client_id).await;
                peer.subscribe("kept/+", QoS::AtMostOnce).await;
                for place in 1..=COUNT {
                    let round = if place <= COUNT / 2 { "second" } else { "first" };
                    let expected = (format!("kept/{place:04}"), format!("{round:0>1000}{place}"));
                    let (topic, payload) = peer.message().await;
                    assert_eq!((topic, payload), (expected.0, Bytes::from(expected.1)));
                }
            }
            end(broker, true).await;
            broker = begin(hubs);
        }
        broker.shut_down();
    }
}

/// Brings the broker into each state that a store must hold. The connections stay open.
async fn leave_traces(broker: &Broker, version: Version) -> Vec<Peer> {
    let (mut away, _) = resume(broker, version, "away", None).await;
    away.subscribe("q/#", QoS::ExactlyOnce).await;
    away.send(&Packet::Disconnect(goodbye())).await;
    assert_eq!(away.next().await, "the end");

    let (mut fly, _) = resume(broker, version, "fly", None).await;
    fly.subscribe("fly", QoS::ExactlyOnce).await;
    let (mut release, _) = resume(broker, version, "release", None).await;
    release.subscribe("release", QoS::ExactlyOnce).await;
    let (will, _) = resume(broker, version, "will", Some("q/will")).await;

    let (mut sender, _) = resume(broker, version, "sender", None).await;
    for (topic, payload) in [("q/1", "one"), ("q/2", "two"), ("fly", "f"), ("release", "r")] {
        deliver(&mut sender, publish(topic, payload, QoS::ExactlyOnce)).await;
    }
    let Packet::Publish(retained) = publish("kept", "k", QoS::AtLeastOnce) else { panic!() };
    deliver(&mut sender, Packet::Publish(Publish { retain: true, ..retained })).await;
    // Its PUBREL does not come before the end.
    sender.send(&publish("q/3", "three", QoS::ExactlyOnce)).await;
    assert!(sender.next().await.starts_with("PUBREC id=7"));

    assert!(fly.next().await.starts_with("PUBLISH \"fly\" qos=2 id=1"));
    assert!(release.next().await.starts_with("PUBLISH \"release\" qos=2 id=1"));
    release.send(&Packet::PubRec(ack(1))).await;
    let line = release.next().await;
    assert!(line.starts_with("PUBREL id=1"), "{line}");
    vec![fly, release, will, sender]
}

async fn find_traces(broker: &Broker, version: Version) {
    // The message with this id was delivered: it comes again, and is not.
    let (mut sender, is_present) = resume(broker, version, "sender", None).await;
    assert!(is_present);
    let Packet::Publish(again) = publish("q/3", "three", QoS::ExactlyOnce) else { panic!() };
    sender.send(&Packet::Publish(Publish { dup: true, ..again })).await;
    assert!(sender.next().await.starts_with("PUBREC id=7"));
    sender.send(&Packet::PubRel(ack(7))).await;
    let answer = sender.next().await;
    assert!(answer.starts_with("PUBCOMP id=7") && !answer.contains("NotFound"), "{answer}");

    let (mut away, is_present) = resume(broker, version, "away", None).await;
    assert!(is_present);
    let (mut found, mut finished) = (Vec::new(), 0);
    while finished < 4 {
        match away.packet().await {
            Some(Packet::Publish(message)) => {
                found.push(message.topic.unwrap().as_str().to_owned());
                let id = message.packet_id.unwrap().get();
                away.send(&Packet::PubRec(ack(id))).await;
            }
            Some(Packet::PubRel(release)) => {
                finished += 1;
                away.send(&Packet::PubComp(ack(release.packet_id.get()))).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found, ["q/1", "q/2", "q/3", "q/will"]);
    // The subscription is there, and nothing came twice.
    deliver(&mut sender, publish("q/4", "four", QoS::AtLeastOnce)).await;
    let line = away.next().await;
    assert!(line.starts_with("PUBLISH \"q/4\" qos=1"), "{line}");

    let (mut fly, is_present) = resume(broker, version, "fly", None).await;
    assert!(is_present);
    let line = fly.next().await;
    assert!(line.starts_with("PUBLISH \"fly\" qos=2 id=1 dup"), "{line}");
    let (mut release, is_present) = resume(broker, version, "release", None).await;
    assert!(is_present);
    let line = release.next().await;
    assert!(line.starts_with("PUBREL id=1"), "{line}");
    release.send(&Packet::PubComp(ack(1))).await;

    let mut fresh = Peer::connect(broker, version, "fresh").await;
    fresh.subscribe("kept", QoS::AtMostOnce).await;
    let line = fresh.next().await;
    assert!(line.starts_with("PUBLISH \"kept\" qos=0 retain") && line.ends_with("\"k\""), "{line}");
}

/// v5 [MQTT-3.1.2-23]: a session that ended, and a retained message that was cleared, do not come back.
#[tokio::test]
async fn what_ended_before_the_end_stays_away() {
    for is_crash in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let broker = open(folder.path(), 1);
        let (mut peer, _) = resume(&broker, Version::V5, "c", None).await;
        peer.subscribe("t", QoS::AtLeastOnce).await;
        for payload in ["k", ""] {
            let Packet::Publish(retained) = publish("kept", payload, QoS::AtLeastOnce) else {
                panic!()
            };
            deliver(&mut peer, Packet::Publish(Publish { retain: true, ..retained })).await;
        }
        let mut peer = Peer::connect(&broker, Version::V311, "c").await;
        peer.subscribe("other", QoS::AtLeastOnce).await;
        end(broker, is_crash).await;
        let broker = open(folder.path(), 2);
        assert_eq!(broker.stats().retained, 0);
        let (_, is_present) = resume(&broker, Version::V5, "c", None).await;
        assert!(!is_present);
    }
}

/// A large message waits in one file for sessions of several hubs, and the file goes with the last.
#[tokio::test]
async fn a_large_payload_survives_in_its_file_until_its_last_receiver_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path().join("spools")).unwrap().count();
    let names = ["a", "b", "c", "d", "e", "f"];
    let payload: Bytes = (0..3_000_000u32).map(|at| (at ^ (at >> 11)) as u8).collect();
    let broker = open(folder.path(), 2);
    for name in names {
        let (mut peer, _) = resume(&broker, Version::V5, name, None).await;
        peer.subscribe("big", QoS::AtLeastOnce).await;
    }
    let mut sender = Peer::connect(&broker, Version::V5, "sender").await;
    deliver(&mut sender, publish("big", payload.clone(), QoS::AtLeastOnce)).await;
    end(broker, true).await;
    assert_eq!(files(), 1);
    // What a crash left of a message that never was one.
    std::fs::write(folder.path().join("spools").join(format!("{:016x}", 77)), "x").unwrap();
    for (at, name) in names.into_iter().enumerate() {
        let broker = open(folder.path(), 1 + (at as u16) % 3);
        assert_eq!(files(), 1, "{name}");
        let (mut peer, is_present) = resume(&broker, Version::V5, name, None).await;
        assert!(is_present);
        let Some(Packet::Publish(message)) = peer.packet().await else { panic!("no PUBLISH") };
        assert!(message.payload == payload, "{name}");
        peer.send(&Packet::PubAck(ack(message.packet_id.unwrap().get()))).await;
        peer.send(&Packet::PingReq).await;
        assert_eq!(peer.next().await, "PINGRESP");
        end(broker, false).await;
    }
    assert_eq!(files(), 0);
}

/// The hub that received the messages ends last, since a client of it does not read; those of the other one are stored.
#[tokio::test]
async fn large_messages_outlive_the_hub_that_ends_first() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    let payload = Bytes::from(vec![7; 1_100_000]);
    let broker = start(stored(folder.path()).hubs(2).flush_max(Duration::from_millis(100)));
    for name in names {
        let (mut peer, _) = resume(&broker, Version::V5, name, None).await;
        peer.subscribe(name, QoS::AtLeastOnce).await;
    }
    let sender = Peer::new(broker.connect(), Version::V5);
    let mut sender = sender.shake_hands("sender").await;
    for name in names {
        deliver(&mut sender, publish(name, payload.clone(), QoS::AtLeastOnce)).await;
    }
    sender.subscribe("own", QoS::AtMostOnce).await;
    sender.publish("own", payload.clone(), QoS::AtMostOnce).await;
    while broker.stats().publishes_sent == 0 {
        tokio::task::yield_now().await;
    }
    end(broker, false).await;
    let broker = open(folder.path(), 2);
    for name in names {
        let (mut peer, _) = resume(&broker, Version::V5, name, None).await;
        assert!(peer.message().await.1 == payload, "{name}");
    }
    end(broker, false).await;
}

/// Nothing is left of a large message that nobody stores.
#[tokio::test]
async fn a_large_message_to_online_clients_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path(), 1);
    let mut peer = Peer::connect(&broker, Version::V311, "c").await;
    peer.subscribe("big", QoS::AtMostOnce).await;
    let payload = Bytes::from(vec![7; 2_000_000]);
    peer.publish("big", payload.clone(), QoS::AtMostOnce).await;
    assert!(peer.message().await.1 == payload);
    end(broker, false).await;
    assert_eq!(std::fs::read_dir(folder.path().join("spools")).unwrap().count(), 0);
}

#[test]
fn a_store_that_cannot_be_opened_is_named_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let broker = open(&path, 1);
    refused(&path, "is open already", "choose another folder");
    broker.shut_down();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    refused(folder.path(), "is not a store", "choose an empty folder");
    std::fs::write(path.join("format"), "postrider store, format 99\n").unwrap();
    refused(&path, "has format 99", "use a newer Postrider");
    std::fs::write(path.join("format"), "?").unwrap();
    refused(&path, "is corrupt", "--quarantine");
    let broker = Broker::builder().store(&path).quarantine(true).start().unwrap();
    broker.shut_down();
    assert!(folder.path().join("store.corrupt-1").join("format").exists());
    open(&path, 1).shut_down();
}

fn refused(path: &Path, what: &str, way_out: &str) {
    let error = Broker::builder().store(path).start().unwrap_err();
    assert!(matches!(error, StartError::Store(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(what) && text.contains(way_out), "{text}");
}

pub(crate) fn open(folder: &Path, hubs: u16) -> Broker {
    start(stored(folder).hubs(hubs))
}

fn stored(folder: &Path) -> Builder {
    Broker::builder().store(folder)
}

pub(crate) async fn end(broker: Broker, is_crash: bool) {
    let end = move || if is_crash { broker.kill() } else { broker.shut_down() };
    tokio::task::spawn_blocking(end).await.unwrap();
}

/// Connects without a clean start to a session that lives an hour; also whether it was there.
pub(crate) async fn resume(
    broker: &Broker,
    version: Version,
    client_id: &str,
    will: Option<&str>,
) -> (Peer, bool) {
    resume_at(broker, 0, version, client_id, will).await
}

async fn resume_at(
    broker: &Broker,
    listener: usize,
    version: Version,
    client_id: &str,
    will: Option<&str>,
) -> (Peer, bool) {
    let Packet::Connect(first) = connect(version, client_id, None) else { panic!() };
    let mut properties = Properties::new();
    if version == Version::V5 {
        properties.push(Property::SessionExpiryInterval(3600));
    }
    let will = will.map(|topic| Will {
        topic: Topic::new(topic).unwrap(),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: Properties::new(),
    });
    let mut peer = Peer::open(&broker.endpoints()[listener], version).await;
    let packet = Connect { clean_start: false, properties, will, ..*first };
    peer.send(&Packet::Connect(Box::new(packet))).await;
    match peer.packet().await {
        Some(Packet::ConnAck(answer)) if answer.reason == ReasonCode::Success => {
            (peer, answer.session_present)
        }
        other => panic!("{other:?}"),
    }
}

/// Publishes and goes through the exchange.
pub(crate) async fn deliver(peer: &mut Peer, packet: Packet) {
    peer.send(&packet).await;
    let answer = peer.next().await;
    if answer.starts_with("PUBREC") {
        peer.send(&Packet::PubRel(ack(id(7).get()))).await;
        assert!(peer.next().await.starts_with("PUBCOMP"));
    } else {
        assert!(answer.starts_with("PUBACK"), "{answer}");
    }
}

pub(crate) fn goodbye() -> Disconnect {
    Disconnect { reason: ReasonCode::Success, properties: Properties::new() }
}

/// Sessions of a listener in mode memory are not stored, but when they come by another one they are, with all they have.
#[tokio::test]
async fn the_mode_of_the_listener_decides_what_is_stored() {
    for hubs in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let broker = mixed(folder.path(), hubs);
        for name in ["stays", "moves"] {
            let (mut peer, _) = resume_at(&broker, 2, Version::V5, name, None).await;
            peer.subscribe("q", QoS::ExactlyOnce).await;
            let Packet::Publish(kept) = publish(name, "k", QoS::AtLeastOnce) else { panic!() };
            deliver(&mut peer, Packet::Publish(Publish { retain: true, ..kept })).await;
            peer.send(&Packet::Disconnect(goodbye())).await;
            assert_eq!(peer.next().await, "the end");
        }
        let (mut sender, _) = resume_at(&broker, 1, Version::V5, "sender", None).await;
        deliver(&mut sender, publish("q", "one", QoS::ExactlyOnce)).await;
        let (mut moves, is_present) = resume_at(&broker, 0, Version::V5, "moves", None).await;
        assert!(is_present);
        assert!(moves.next().await.starts_with("PUBLISH \"q\" qos=2"));
        end(broker, true).await;

        let broker = mixed(folder.path(), hubs);
        assert_eq!(broker.stats().retained, 2 * u64::from(hubs));
        for (name, expected) in [("stays", false), ("sender", true), ("moves", true)] {
            let (peer, is_present) = resume_at(&broker, 2, Version::V5, name, None).await;
            assert_eq!(is_present, expected, "{name}");
            if name == "moves" {
                moves = peer;
            }
        }
        let line = moves.next().await;
        assert!(line.starts_with("PUBLISH \"q\" qos=2 id=1 dup"), "{line}");
        // A stored session goes on being stored, whoever listens.
        moves.send(&Packet::PubRec(ack(1))).await;
        assert!(moves.next().await.starts_with("PUBREL id=1"));
        let (mut sender, _) = resume_at(&broker, 0, Version::V5, "sender", None).await;
        deliver(&mut sender, publish("q", "two", QoS::AtLeastOnce)).await;
        end(broker, true).await;
        let broker = mixed(folder.path(), hubs);
        let (mut moves, is_present) = resume_at(&broker, 0, Version::V5, "moves", None).await;
        assert!(is_present);
        assert!(moves.next().await.starts_with("PUBREL id=1"));
        let line = moves.next().await;
        assert!(line.starts_with("PUBLISH \"q\" qos=1 id=2"), "{line}");
    }
}

/// Beside listeners that need no sync, one that does gets it at once and not with the next of the store's own.
#[tokio::test]
async fn a_durable_acknowledgement_is_not_delayed_by_weaker_listeners() {
    const MESSAGES: u32 = 20;
    for hubs in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let broker = mixed(folder.path(), hubs);
        for name in ["a", "b", "c"] {
            let (mut away, _) = resume_at(&broker, 1, Version::V5, name, None).await;
            away.subscribe("q", QoS::AtLeastOnce).await;
            away.send(&Packet::Disconnect(goodbye())).await;
            assert_eq!(away.next().await, "the end");
        }
        let (mut sender, _) = resume_at(&broker, 0, Version::V5, "sender", None).await;
        let begin = Instant::now();
        for _ in 0..MESSAGES {
            deliver(&mut sender, publish("q", "x", QoS::AtLeastOnce)).await;
        }
        // The store syncs by itself every five seconds.
        assert!(begin.elapsed().as_secs() < u64::from(MESSAGES), "{:?}", begin.elapsed());
    }
}

/// Listeners in mode durable, process and memory.
fn mixed(folder: &Path, hubs: u16) -> Broker {
    let builder = stored(folder).hubs(hubs).listen_with("tcp://127.0.0.1:0", Mode::Durable);
    start(
        builder
            .listen("tcp://127.0.0.1:0?mode=process")
            .listen_with("tcp://127.0.0.1:0", Mode::Memory),
    )
}
