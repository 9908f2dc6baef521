//! Topic aliases, both directions.

use bytes::BytesMut;
use postrider_proto::{Envelope, LinkConfig, Received, Role};
use postrider_wire::{Packet, Property, Publish, QoS, ReasonCode, Version};

use crate::end::{
    End, PLAIN, ROLES, START, connack, connect, connect_with, delivery, id, message, properties,
    publish,
};

fn aliased(topic: &str, alias: u16) -> Publish {
    let mut packet = publish(topic, QoS::AtMostOnce, 0, "x");
    packet.properties = properties(&[Property::TopicAlias(alias)]);
    packet
}

/// The topic of the one PUBLISH received; its alias must be gone.
#[track_caller]
fn topic_of(received: &[Received]) -> String {
    let [Received::Publish(arrived)] = received else { panic!("{received:?}") };
    assert_eq!(arrived.publish.properties.topic_alias(), None);
    arrived.publish.topic.as_ref().expect("always there").to_string()
}

/// v5 [MQTT-3.3.2-10], [MQTT-3.3.2-12]: every alias up to the maximum can be set, used and set again.
#[test]
fn received_aliases_become_topics() {
    for role in ROLES {
        let config = LinkConfig { topic_alias_max: 3, ..PLAIN };
        let mut end = End::open(role, Version::V5, config);
        let script = [
            ("one", 1, "one"),
            ("three", 3, "three"),
            ("", 1, "one"),
            ("", 3, "three"),
            ("other", 1, "other"),
            ("", 1, "other"),
            ("other", 1, "other"),
        ];
        for (topic, alias, resolved) in script {
            let received = end.takes(&Packet::Publish(aliased(topic, alias)));
            assert_eq!(topic_of(&received), resolved, "{topic:?} {alias}");
        }
        // Other properties stay.
        let mut packet = aliased("", 3);
        packet.properties.push(Property::MessageExpiryInterval(9));
        let received = end.takes(&Packet::Publish(packet));
        let [Received::Publish(arrived)] = &received[..] else { panic!("{received:?}") };
        assert_eq!(arrived.publish.properties, properties(&[Property::MessageExpiryInterval(9)]));
    }
}

/// v5 [MQTT-3.3.2-8], [MQTT-3.3.2-9], [MQTT-3.3.2-11], [MQTT-3.2.2-18], [MQTT-3.1.2-27], [MQTT-3.3.2-7]: aliases out of
/// range are 0x94; one that no topic was given to is 0x82.
#[test]
fn wrong_aliases_end_the_link() {
    let table = [
        (Role::Server, 3, aliased("a", 0), "MQTT-3.3.2-8"),
        (Role::Client, 3, aliased("a", 0), "MQTT-3.3.2-8"),
        (Role::Server, 3, aliased("a", 4), "MQTT-3.3.2-9"),
        (Role::Client, 3, aliased("a", 4), "MQTT-3.3.2-11"),
        (Role::Server, 0, aliased("a", 1), "MQTT-3.2.2-18"),
        (Role::Client, 0, aliased("a", 1), "MQTT-3.1.2-27"),
        (Role::Server, 3, aliased("", 2), "MQTT-3.3.2-7"),
        (Role::Client, 3, aliased("", 2), "MQTT-3.3.2-7"),
    ];
    for (role, topic_alias_max, packet, statement) in table {
        let mut end = End::open(role, Version::V5, LinkConfig { topic_alias_max, ..PLAIN });
        let reason = match statement {
            "MQTT-3.3.2-7" => ReasonCode::ProtocolError,
            _ => ReasonCode::TopicAliasInvalid,
        };
        // Alias 0 cannot be written by an encoder that keeps the rules.
        let fault = if packet.properties.topic_alias() == Some(&0) {
            end.faults_on("30 07 00 01 61 03 23 00 00")
        } else {
            end.faults(&Packet::Publish(packet))
        };
        assert_eq!(fault, (reason, statement, vec![format!("DISCONNECT {reason:?}")]), "{role:?}");
    }
}

/// An open link whose peer allows `alias_max` aliases.
fn open_allowing(role: Role, alias_max: u16, size_max: u32) -> End {
    let config = LinkConfig { topic_alias_max_out: 5, ..PLAIN };
    let said = [Property::TopicAliasMaximum(alias_max), Property::MaximumPacketSize(size_max)];
    match role {
        Role::Client => End::open_with(role, config, &connect(Version::V5), connack(&said)),
        Role::Server => End::open_with(role, config, &connect_with(&said), connack(&[])),
    }
}

/// v5 [MQTT-3.1.2-26], [MQTT-3.2.2-17]: from a topic's first PUBLISH on it has an alias, until all are given away.
#[test]
fn sent_topics_get_aliases() {
    for role in ROLES {
        let mut end = open_allowing(role, 2, 1000);
        for topic in ["one", "two", "three", "one", "two", "three"] {
            let message = message(topic, b"x", &[]);
            let mut envelope = Envelope::new(message);
            assert!(end.link.send_publish(&mut envelope, &delivery(QoS::AtMostOnce), None, START));
        }
        assert_eq!(
            end.said(),
            [
                "PUBLISH \"one\" qos=0 1B {TopicAlias=1}",
                "PUBLISH \"two\" qos=0 1B {TopicAlias=2}",
                "PUBLISH \"three\" qos=0 1B",
                "PUBLISH - qos=0 1B {TopicAlias=1}",
                "PUBLISH - qos=0 1B {TopicAlias=2}",
                "PUBLISH \"three\" qos=0 1B",
            ]
        );
    }
}

/// v5 [MQTT-3.1.2-27], [MQTT-3.2.2-18]: no alias where none is allowed, or in 3.x.
#[test]
fn no_aliases_unasked() {
    for role in ROLES {
        let config = LinkConfig { topic_alias_max_out: 5, ..PLAIN };
        for version in [Version::V311, Version::V5] {
            let mut end = End::open(role, version, config);
            for _ in 0..3 {
                let message = message("one", b"x", &[]);
                let qos = delivery(QoS::AtMostOnce);
                assert!(end.link.send_message(&message, &qos, None, false, START));
            }
            assert_eq!(end.said(), ["PUBLISH \"one\" qos=0 1B"; 3]);
        }
    }
}

/// v5 [MQTT-3.1.2-25]: a PUBLISH that is too large does not give its topic an alias.
#[test]
fn a_dropped_publish_sets_no_alias() {
    let mut end = open_allowing(Role::Server, 5, 30);
    let qos = delivery(QoS::AtLeastOnce);
    let large = message("a/topic", &[0; 30], &[]);
    assert!(!end.link.send_message(&large, &qos, Some(id(1)), false, START));
    assert!(!end.link.send_publish(&mut Envelope::new(large), &qos, Some(id(1)), START));
    let small = message("a/topic", b"x", &[]);
    assert!(end.link.send_message(&small, &qos, Some(id(2)), false, START));
    assert!(end.link.send_message(&small, &qos, Some(id(3)), false, START));
    assert_eq!(
        end.said(),
        [
            "PUBLISH \"a/topic\" qos=1 id=2 1B {TopicAlias=1}",
            "PUBLISH - qos=1 id=3 1B {TopicAlias=1}",
        ]
    );
}

/// v5 [MQTT-3.1.2-24]: a message of the largest size leaves no room for an alias; it goes without.
#[test]
fn the_largest_publish_goes_without_an_alias() {
    let qos = delivery(QoS::AtMostOnce);
    // 12 bytes of head and 18 of payload are the limit; a new alias would take 3 more.
    let mut end = open_allowing(Role::Server, 5, 30);
    let largest = message("a/topic", &[0; 18], &[]);
    assert!(end.link.send_message(&largest, &qos, None, false, START));
    assert!(end.link.send_publish(&mut Envelope::new(largest), &qos, None, START));
    let larger = message("a/topic", &[0; 19], &[]);
    assert!(!end.link.send_message(&larger, &qos, None, false, START));
    assert!(!end.link.send_publish(&mut Envelope::new(larger), &qos, None, START));
    assert_eq!(end.said(), ["PUBLISH \"a/topic\" qos=0 18B"; 2]);

    // A known alias takes 2 bytes more than a topic of one character.
    let mut end = open_allowing(Role::Server, 5, 30);
    assert!(end.link.send_message(&message("a", b"", &[]), &qos, None, false, START));
    let mut envelope = Envelope::new(message("a", &[0; 24], &[]));
    assert!(end.link.send_publish(&mut envelope, &qos, None, START));
    assert!(end.link.send_publish(&mut envelope, &qos, None, START), "from the encoding kept");
    assert_eq!(
        end.said(),
        [
            "PUBLISH \"a\" qos=0 0B {TopicAlias=1}",
            "PUBLISH \"a\" qos=0 24B",
            "PUBLISH \"a\" qos=0 24B",
        ]
    );
}

/// The topic of an alias does not hold the buffer it was read into.
#[test]
fn a_mapping_owns_its_topic() {
    let config = LinkConfig { topic_alias_max: 1, ..PLAIN };
    let mut end = End::open(Role::Server, Version::V5, config);
    end.input = BytesMut::with_capacity(1 << 16);
    let received = end.takes(&Packet::Publish(aliased("topic", 1)));
    assert_eq!(topic_of(&received), "topic");
    drop(received);
    assert!(end.input.try_reclaim(1 << 16), "nothing else refers to the buffer");
}
