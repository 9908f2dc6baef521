//! Sending PUBLISH: one encoding for many receivers, and what differs between them.

use bytes::Bytes;
use postrider_proto::{Delivery, Envelope, LinkConfig, Message, Payload, Role, Time};
use postrider_wire::{PacketId, Property, QoS, Topic, Version};
use proptest::prelude::*;

use crate::end::{
    End, PLAIN, START, connack, connect, connect_with, delivery, id, message, properties, publish,
    text,
};

/// v5 [MQTT-3.3.2-6], [MQTT-3.3.2-5]: Message Expiry Interval goes out less the whole seconds waited.
#[test]
fn expiry_counts_down() {
    let message = message("a", b"", &[Property::MessageExpiryInterval(10)]);
    assert_eq!(message.expires, Some(START.plus_s(10)));
    for (ms, seconds) in [(0, 10), (999, 10), (1000, 9), (9_001, 1), (10_000, 0), (20_000, 0)] {
        let now = START.plus_ms(ms);
        assert_eq!(message.is_expired(now), ms >= 10_000);
        let left = properties(&[Property::MessageExpiryInterval(seconds)]);
        assert_eq!(message.properties_at(now), left, "{ms}");
        let mut end = End::open(Role::Server, Version::V5, PLAIN);
        assert!(end.link.send_message(&message, &delivery(QoS::AtMostOnce), None, false, now));
        assert_eq!(
            end.said(),
            [format!("PUBLISH \"a\" qos=0 0B {{MessageExpiryInterval={seconds}}}")]
        );
    }
}

/// v5 [MQTT-3.3.4-4], [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18],
/// [MQTT-3.3.2-20]: properties pass unchanged and in order; identifiers go along. 3.x has neither.
#[test]
fn properties_pass_and_identifiers_join() {
    let list = [
        Property::PayloadFormatIndicator(1),
        Property::ContentType(text("t")),
        Property::ResponseTopic(text("r")),
        Property::CorrelationData(Bytes::from_static(b"\x01")),
        Property::UserProperty(text("a"), text("1")),
        Property::UserProperty(text("a"), text("1")),
    ];
    let mut packet = publish("a", QoS::AtLeastOnce, 4, "");
    packet.properties = properties(&list);
    packet.properties.push(Property::TopicAlias(3));
    packet.properties.push(Property::SubscriptionIdentifier(3));
    packet.dup = true;
    let message = Message::from_publish(packet, Payload::Bytes(Bytes::from_static(b"x")), START);
    assert_eq!(message.head.properties, properties(&list));
    assert_eq!((message.head.dup, message.head.packet_id), (false, None));
    let delivery = Delivery {
        qos: QoS::ExactlyOnce,
        retain: true,
        subscription_ids: [7, 8].into_iter().collect(),
    };
    let mut envelope = Envelope::new(message);
    for version in [Version::V5, Version::V311] {
        for _ in 0..4 {
            let mut end = End::open(Role::Server, version, PLAIN);
            assert!(end.link.send_publish(&mut envelope, &delivery, Some(id(5)), START));
            let properties = " {PayloadFormatIndicator=1 ContentType=\"t\" ResponseTopic=\"r\" \
                              CorrelationData=1B UserProperty=\"a\":\"1\" UserProperty=\"a\":\"1\" \
                              SubscriptionIdentifier=7 SubscriptionIdentifier=8}";
            let properties = if version == Version::V5 { properties } else { "" };
            assert_eq!(end.said(), [format!("PUBLISH \"a\" qos=2 id=5 retain 1B{properties}")]);
        }
    }
}

/// v5 [MQTT-3.1.2-24], [MQTT-3.1.2-25], [MQTT-3.2.2-15]: at the peer's maximum, and one byte above it.
#[test]
fn a_publish_that_is_too_large_is_dropped() {
    let message = message("abcd", b"0123456789", &[]);
    let mut envelope = Envelope::new(message.clone());
    let qos = delivery(QoS::AtLeastOnce);
    // 2 bytes of fixed header, 6 of topic, 2 of identifier, 1 of properties, 10 of payload.
    for (size, fits) in [(20, false), (21, true), (20, false), (21, true), (20, false), (21, true)]
    {
        let asked = connect_with(&[Property::MaximumPacketSize(size)]);
        let mut end = End::open_with(Role::Server, PLAIN, &asked, connack(&[]));
        assert_eq!(end.link.send_publish(&mut envelope, &qos, Some(id(1)), START), fits);
        assert_eq!(end.link.send_message(&message, &qos, Some(id(1)), false, START), fits);
        assert_eq!(end.written().len(), if fits { 42 } else { 0 });
    }
}

/// v5 [MQTT-3.3.1-1], v3.1.1 [MQTT-3.3.1-1]: a message sent again has DUP.
#[test]
fn a_message_sent_again_has_dup() {
    for version in [Version::V311, Version::V5] {
        let mut end = End::open(Role::Client, version, PLAIN);
        let message = message("a", b"x", &[]);
        assert!(end.link.send_message(
            &message,
            &delivery(QoS::AtLeastOnce),
            Some(id(1)),
            true,
            START
        ));
        assert_eq!(end.said(), ["PUBLISH \"a\" qos=1 id=1 dup 1B"]);
    }
}

/// Above the high mark nothing more is asked for.
#[test]
fn has_room_ends_at_the_high_mark() {
    let config = LinkConfig { outbox_high_bytes: 10_000, ..PLAIN };
    let mut end = End::open(Role::Client, Version::V311, config);
    let message = message("a", &[1; 4990], &[]);
    let qos = delivery(QoS::AtMostOnce);
    let handshake = end.link.outbox().written();
    assert!(end.link.has_room());
    assert!(end.link.send_message(&message, &qos, None, false, START));
    assert!(end.link.has_room());
    assert!(end.link.send_message(&message, &qos, None, false, START));
    assert_eq!(end.link.outbox().len(), 9992);
    assert!(end.link.has_room());
    assert!(end.link.send_message(&message, &qos, None, false, START));
    assert!(!end.link.has_room());
    end.link.outbox_mut().consume(8000);
    assert!(end.link.has_room());
    assert_eq!(end.link.outbox().written() + end.link.outbox().len(), handshake + 3 * 4996);
}

/// What is kept does not hold the read buffer, unless it is most of it.
#[test]
fn a_shared_message_is_detached() {
    let buffer = Bytes::from(vec![b'a'; 100_000]);
    for (len, is_copied) in [(16 * 1024 - 1, true), (16 * 1024, false)] {
        let mut packet = publish("x", QoS::AtMostOnce, 0, "");
        let topic = postrider_wire::Text::from_bytes(buffer.slice(..10)).expect("text");
        packet.topic = Some(Topic::from_text(topic.clone()).expect("a topic"));
        packet.properties = properties(&[
            Property::ContentType(topic.clone()),
            Property::UserProperty(topic.clone(), topic.clone()),
            Property::CorrelationData(buffer.slice(..10)),
        ]);
        let payload = buffer.slice(..len);
        let message = Message::from_publish(packet, Payload::Bytes(payload), START);
        let mut envelope = Envelope::new(message.clone());
        let shared = envelope.shared();
        assert_eq!(*shared, message);
        assert_eq!(*envelope.message(), message);
        assert!(std::sync::Arc::ptr_eq(&shared, &envelope.shared()));
        let within = |bytes: &[u8]| buffer.as_ptr_range().contains(&bytes.as_ptr());
        let Payload::Bytes(bytes) = &shared.payload else { panic!() };
        assert_eq!(within(bytes), !is_copied);
        assert!(!within(shared.head.topic.as_ref().expect("there").as_bytes()));
        let properties = &shared.head.properties;
        assert!(!within(properties.content_type().expect("there").as_bytes()));
        assert!(!within(properties.correlation_data().expect("there")));
        let (name, value) = properties.user_properties().next().expect("there");
        assert!(!within(name.as_bytes()));
        assert!(!within(value.as_bytes()));
        assert!(shared.cost_bytes() >= len as u64 + 10 * 5);
    }
}

/// One receiver: version, aliases allowed, and how it gets the message.
#[derive(Clone, Debug)]
struct Receiver {
    version: Version,
    alias_max: u16,
    qos: QoS,
    retain: bool,
    subscription_ids: Vec<u32>,
    packet_id: u16,
}

fn receiver() -> impl Strategy<Value = Receiver> {
    let version = prop_oneof![Just(Version::V311), Just(Version::V5)];
    let qos = prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let ids = prop_oneof![4 => Just(vec![]), 1 => proptest::collection::vec(1..9u32, 1..3)];
    (version, 0..3u16, qos, any::<bool>(), ids, 1..=u16::MAX).prop_map(
        |(version, alias_max, qos, retain, subscription_ids, packet_id)| Receiver {
            version,
            alias_max,
            qos,
            retain,
            subscription_ids,
            packet_id,
        },
    )
}

fn open_for(receiver: &Receiver) -> End {
    let config = LinkConfig { topic_alias_max_out: 9, ..PLAIN };
    let asked = if receiver.version.has_properties() {
        connect_with(&[Property::TopicAliasMaximum(receiver.alias_max)])
    } else {
        connect(receiver.version)
    };
    End::open_with(Role::Server, config, &asked, connack(&[]))
}

proptest! {
    /// A copy from a kept encoding is the same bytes as one of its own, whoever got the message before.
    #[test]
    fn kept_encodings_change_nothing(
        receivers in proptest::collection::vec((receiver(), 1..4usize), 1..8),
        payload_len in prop_oneof![0..40usize, 4090..4100usize],
        expiry in proptest::option::of(0..5u32),
        content in proptest::option::of("[a-z]{0,5}"),
    ) {
        let mut list: Vec<Property> = vec![];
        list.extend(expiry.map(Property::MessageExpiryInterval));
        list.extend(content.map(|content| Property::ContentType(text(&content))));
        let message = message("some/topic", &vec![3; payload_len], &list);
        let mut envelope = Envelope::new(message.clone());
        for (receiver, copies) in receivers {
            let delivery = Delivery {
                qos: receiver.qos,
                retain: receiver.retain,
                subscription_ids: receiver.subscription_ids.iter().copied().collect(),
            };
            let packet_id = PacketId::new(receiver.packet_id)
                .filter(|_| receiver.qos != QoS::AtMostOnce);
            let (mut kept, mut alone) = (open_for(&receiver), open_for(&receiver));
            for _ in 0..copies {
                let now = Time(START.0 + 10);
                prop_assert!(kept.link.send_publish(&mut envelope, &delivery, packet_id, now));
                prop_assert!(alone.link.send_message(&message, &delivery, packet_id, false, now));
            }
            prop_assert_eq!(kept.link.outbox().len(), alone.link.outbox().len());
            prop_assert_eq!(kept.written(), alone.written());
        }
    }
}
