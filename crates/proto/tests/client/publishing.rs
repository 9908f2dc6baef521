//! Publishing: flows, refusals, and what happens without a connection.

use bytes::Bytes;
use postrider_proto::{
    Chunk, Payload, SessionConfig,
    client::{ClientConfig, Output, PublishError},
    wire::{AckKind, Property, Publish, ReasonCode, Text, Version},
};

use crate::desk::{Desk, Q0, Q1, Q2, VERSIONS, config, one, publish};

const OK: ReasonCode = ReasonCode::Success;

/// v5 [MQTT-4.3.2-1] [MQTT-4.3.3-1], v3.1.1 [MQTT-4.3.2-1] [MQTT-4.3.3-1].
#[test]
fn each_qos_runs_to_its_end() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        assert_eq!(desk.publish(Q0, "a"), Ok(0));
        assert_eq!(desk.publish(Q1, "b"), Ok(1));
        assert_eq!(desk.publish(Q2, "c"), Ok(2));
        assert!(!desk.client.is_idle());
        desk.ack(AckKind::PubAck, 1, OK);
        desk.ack(AckKind::PubRec, 2, OK);
        desk.ack(AckKind::PubComp, 2, OK);
        let expected = [
            "> PUBLISH q0 a",
            "> PUBLISH 1 q1 b",
            "> PUBLISH 2 q2 c",
            "Published 1",
            "> PUBREL 2",
            "Published 2",
        ];
        assert_eq!(desk.log(), expected);
        assert!(desk.client.is_idle());
    }
}

/// A driver that is told that a write made no room need not ask what there is to do.
#[test]
fn a_write_says_whether_there_may_be_more_to_do() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        desk.is_writable = false;
        desk.publish(Q0, "a").unwrap();
        assert!(!consume_all(&mut desk), "nothing waits");
        assert!(matches!(desk.client.poll_output(), Output::Wait(_)));
        while desk.client.stats().queued == 0 {
            desk.publish_with(publish(Q0, "a"), Bytes::from_static(&[0; 4000])).unwrap();
        }
        assert!(consume_all(&mut desk), "the first of the queue has room");
        assert_eq!(desk.client.stats().queued, 0);
    }
}

/// Says that all was written; returns what the client says to that.
fn consume_all(desk: &mut Desk) -> bool {
    let len = |chunk| match chunk {
        Chunk::Bytes(bytes) => bytes.len() as u64,
        Chunk::Spool { .. } => panic!("no spools here"),
    };
    let bytes = desk.client.chunks().map(len).sum();
    assert!(bytes > 0);
    desk.client.consume(bytes, desk.now)
}

/// v5 [MQTT-4.4.0-2]: a refusal is a result; a success code other than 0 is a success.
#[test]
fn reason_codes_reach_the_program() {
    let mut desk = Desk::connected(Version::V5);
    for topic in ["a", "b"] {
        desk.publish(Q1, topic).unwrap();
    }
    desk.publish(Q2, "c").unwrap();
    desk.log();
    desk.ack(AckKind::PubAck, 1, ReasonCode::NoMatchingSubscribers);
    desk.ack(AckKind::PubAck, 2, ReasonCode::QuotaExceeded);
    desk.ack(AckKind::PubRec, 3, ReasonCode::NotAuthorized);
    let log = desk.log();
    assert_eq!(log[0], "Published 1 10");
    assert!(log[1].starts_with("Published 2 Refused(QuotaExceeded"), "{log:?}");
    assert!(log[2].starts_with("Published 3 Refused(NotAuthorized"), "{log:?}");
    assert_eq!(log.len(), 3);
}

#[test]
fn puback_for_qos_2_is_reported() {
    let mut desk = Desk::connected(Version::V311);
    desk.publish(Q2, "a").unwrap();
    desk.log();
    desk.ack(AckKind::PubAck, 1, OK);
    assert_eq!(desk.log(), ["Published 1 downgraded"]);
}

/// v5 [MQTT-4.3.3-11]: a PUBREL that is sent again may meet a server that finished the exchange; the message did arrive.
#[test]
fn pubcomp_for_a_forgotten_id_is_a_success() {
    let mut desk = Desk::connected(Version::V5);
    desk.publish(Q2, "a").unwrap();
    desk.ack(AckKind::PubRec, 1, OK);
    desk.cut_and_open();
    desk.accept(true);
    desk.log();
    desk.ack(AckKind::PubComp, 1, ReasonCode::PacketIdentifierNotFound);
    assert_eq!(desk.log(), ["Published 1 92"]);
    assert!(desk.client.is_idle());
}

/// An acknowledgement that does not fit ends the link with 0x82, and the message is not lost.
#[test]
fn a_wrong_acknowledgement_ends_the_link() {
    let mut desk = Desk::connected(Version::V5);
    desk.publish(Q1, "a").unwrap();
    desk.log();
    desk.ack(AckKind::PubComp, 1, OK);
    let log = desk.log();
    assert_eq!(log, ["Disconnected PeerFault 82 MQTT-4.3.2-4, retry", "> DISCONNECT 82", "Hangup"]);
    desk.wake();
    desk.open();
    desk.accept(true);
    assert_eq!(desk.log().last().unwrap(), "> PUBLISH 1 q1 a dup");
}

/// Without a connection QoS 1 and 2 wait within bounds; QoS 0 is dropped unless it shall wait too.
#[test]
fn publishing_offline() {
    for (is_qos0_queued_offline, expected) in [
        (false, &["Connected", "> PUBLISH 1 q1 b", "> PUBLISH 2 q2 c"][..]),
        (true, &["Connected", "> PUBLISH q0 a", "> PUBLISH 1 q1 b", "> PUBLISH 2 q2 c"]),
    ] {
        let session = SessionConfig {
            is_qos0_queued_offline,
            queue_messages_max: 3,
            ..SessionConfig::default()
        };
        let mut desk = Desk::new(ClientConfig { session, ..config(Version::V5) });
        assert_eq!(desk.publish(Q0, "a"), Ok(0));
        assert_eq!(desk.publish(Q1, "b"), Ok(1));
        assert_eq!(desk.publish(Q2, "c"), Ok(2));
        desk.client.connect(desk.now);
        desk.open();
        desk.log();
        desk.accept(false);
        assert_eq!(desk.log(), expected);
    }
}

#[test]
fn a_full_queue_refuses_the_newest() {
    let session = SessionConfig { queue_messages_max: 2, ..SessionConfig::default() };
    let mut desk = Desk::new(ClientConfig { session, ..config(Version::V311) });
    desk.publish(Q1, "a").unwrap();
    desk.publish(Q1, "b").unwrap();
    let full = desk.publish(Q1, "c");
    assert!(matches!(full, Err(PublishError::QueueFull(full)) if full.messages == 2), "{full:?}");
}

/// v5 [MQTT-3.3.2-5]: what expires while it waits is reported.
#[test]
fn expiry_while_waiting_is_reported() {
    let mut desk = Desk::new(config(Version::V5));
    let properties = one(Property::MessageExpiryInterval(10));
    let short = Publish { properties, ..publish(Q1, "short") };
    assert_eq!(desk.publish_with(short, Bytes::new()), Ok(1));
    desk.publish(Q1, "long").unwrap();
    desk.now = desk.now.plus_s(10);
    desk.client.connect(desk.now);
    desk.open();
    desk.log();
    desk.accept(false);
    assert_eq!(desk.log(), ["Connected", "Published 1 Expired", "> PUBLISH 1 q1 long"]);
}

/// v5 [MQTT-3.2.2-15]: refused with the exact size that would fit, for every length of the length.
#[test]
fn too_large_names_what_fits() {
    for limit in [100, 127, 128, 129, 130, 131, 200, 16_386, 16_387, 16_388, 16_389, 20_000] {
        for properties in [vec![], vec![Property::ContentType(Text::new("text").unwrap())]] {
            let mut desk = Desk::new(config(Version::V5));
            desk.client.connect(desk.now);
            desk.open();
            desk.accept_with(false, one(Property::MaximumPacketSize(limit)));
            let message =
                Publish { properties: properties.into_iter().collect(), ..publish(Q1, "t/1") };
            let payload = Bytes::from(vec![7; limit as usize]);
            let error = desk.publish_with(message.clone(), payload.clone());
            let Err(PublishError::TooLarge { payload: asked, payload_max, .. }) = error else {
                panic!("{error:?}");
            };
            assert_eq!(asked, u64::from(limit));
            let fits = payload_max as usize;
            let over = desk.publish_with(message.clone(), payload.slice(..=fits));
            assert!(matches!(over, Err(PublishError::TooLarge { .. })), "{limit}: {over:?}");
            desk.log();
            assert_eq!(desk.publish_with(message, payload.slice(..fits)), Ok(1));
            assert_eq!(desk.log(), ["> PUBLISH 1 q1 t/1"]);
        }
    }
}

/// Offline only the standard's own limit is known; the server's shows when it has to be sent.
#[test]
fn too_large_may_show_late() {
    let mut desk = Desk::new(config(Version::V5));
    desk.publish_with(publish(Q2, "big"), Bytes::from(vec![0; 200])).unwrap();
    desk.publish(Q1, "small").unwrap();
    desk.client.connect(desk.now);
    desk.open();
    desk.log();
    desk.accept_with(false, one(Property::MaximumPacketSize(100)));
    assert_eq!(desk.log(), ["Connected", "Published 1 TooLarge", "> PUBLISH 2 q1 small"]);
}

/// v5 [MQTT-3.2.2-11] [MQTT-3.2.2-14]: what the server does not offer is refused, at once or when it is known.
#[test]
fn what_the_server_does_not_offer_is_refused() {
    let mut desk = Desk::new(config(Version::V5));
    desk.publish(Q2, "two").unwrap();
    let retained = Publish { retain: true, ..publish(Q1, "kept") };
    desk.publish_with(retained.clone(), Bytes::new()).unwrap();
    desk.publish(Q1, "one").unwrap();
    desk.client.connect(desk.now);
    desk.open();
    desk.log();
    let limits = [Property::MaximumQoS(1), Property::RetainAvailable(false)];
    desk.accept_with(false, limits.into_iter().collect());
    let expected = [
        "Connected",
        "Published 1 NotOffered(\"QoS 2\")",
        "Published 2 NotOffered(\"retain\")",
        "> PUBLISH 1 q1 one",
    ];
    assert_eq!(desk.log(), expected);
    assert_eq!(desk.publish(Q2, "two"), Err(PublishError::NotOffered("QoS 2")));
    let refused = desk.publish_with(retained, Bytes::new());
    assert_eq!(refused, Err(PublishError::NotOffered("retain")));
}

/// v5 [MQTT-3.3.4-6]: what a client may not send, and what 3.1.1 cannot carry.
#[test]
fn properties_are_checked() {
    let with = |property| Publish { properties: one(property), ..publish(Q1, "a") };
    let mut desk = Desk::connected(Version::V5);
    for property in [
        Property::SubscriptionIdentifier(1),
        Property::TopicAlias(1),
        Property::ServerKeepAlive(1),
        Property::PayloadFormatIndicator(2),
    ] {
        let error = desk.publish_with(with(property), Bytes::new());
        assert!(matches!(error, Err(PublishError::Property(_))), "{error:?}");
    }
    let format = with(Property::PayloadFormatIndicator(1));
    assert_eq!(desk.publish_with(format.clone(), Bytes::new()), Ok(1));
    for mut old in [Desk::connected(Version::V311), Desk::new(config(Version::V311))] {
        let error = old.publish_with(format.clone(), Bytes::new());
        assert_eq!(error, Err(PublishError::Property("PayloadFormatIndicator")));
    }
    let no_topic = Publish { topic: None, ..publish(Q1, "a") };
    assert_eq!(desk.publish_with(no_topic, Bytes::new()), Err(PublishError::Property("no topic")));
}

/// v5 [MQTT-3.2.2-5]: the server lost the session; what was open is sent as new, and the program is told.
#[test]
fn a_lost_session_is_reported() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        desk.publish(Q2, "a").unwrap();
        desk.publish(Q2, "b").unwrap();
        desk.publish(Q1, "c").unwrap();
        desk.ack(AckKind::PubRec, 1, OK);
        desk.cut_and_open();
        desk.log();
        desk.accept(false);
        let expected =
            ["Connected", "Published 1", "MayBeDouble 2", "> PUBLISH 4 q2 b", "> PUBLISH 5 q1 c"];
        assert_eq!(desk.log(), expected);
    }
}

/// v5 [MQTT-3.3.4-7]: the window of the server holds; a slow stream holds the rest back.
#[test]
fn a_slow_stream_fills_no_memory() {
    let mut slow = config(Version::V5);
    slow.link.outbox_high_bytes = 10_000;
    let mut desk = Desk::new(slow);
    desk.client.connect(desk.now);
    desk.open();
    desk.accept_with(false, one(Property::ReceiveMaximum(60)));
    desk.log();
    desk.is_writable = false;
    for _ in 0..100 {
        desk.publish_with(publish(Q1, "t"), Bytes::from(vec![0; 1000])).unwrap();
    }
    let waiting: usize = desk
        .client
        .chunks()
        .map(|chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::Spool { .. } => 0,
        })
        .sum();
    assert!(waiting < 12_000, "{waiting}");
    desk.is_writable = true;
    desk.write();
    desk.drain();
    for _ in 0..20 {
        desk.write();
    }
    assert_eq!(desk.log().len(), 60);
    assert_eq!(desk.client.stats().queued, 40);
}

/// A payload in a spool is named, never held: its bytes go from the driver's spool to the stream.
#[test]
fn a_spooled_payload_is_named() {
    let mut desk = Desk::connected(Version::V5);
    let id = desk.client.begin_spool(5).unwrap();
    let payload = Payload::Spooled { id: id.clone(), len: 5 };
    desk.client.publish(publish(Q1, "big"), payload, desk.now).unwrap();
    assert!(matches!(desk.client.poll_output(), Output::Transmit));
    let spooled: Vec<_> =
        desk.client.chunks().filter(|chunk| matches!(chunk, Chunk::Spool { .. })).collect();
    assert_eq!(spooled, [Chunk::Spool { id: id.clone(), offset: 0, len: 5 }]);
    drop(spooled);
    let len = desk.client.chunks().map(|chunk| match chunk {
        Chunk::Bytes(bytes) => bytes.len() as u64,
        Chunk::Spool { len, .. } => u64::from(len),
    });
    let len = len.sum();
    desk.client.consume(len, desk.now);
    let number = id.number();
    drop(id);
    desk.ack(AckKind::PubAck, 1, OK);
    // The last reference is gone with the exchange.
    assert_eq!(desk.log(), [&format!("Drop {number}"), "Published 1"]);
    assert_eq!(desk.client.begin_spool(u32::MAX), None);
}
