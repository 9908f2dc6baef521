//! Broken and hostile input ends its own link, with the right word, and touches nobody else.

use postrider_proto::wire::{Packet, Property, Version};

use crate::world::{World, ack, each, each_v5, each_with, id, publish_packet};

/// Sends bytes on a fresh link and checks what is said; a bystander must not notice.
fn offends(world: &mut World, bytes: &[u8], word: &str) {
    world.connect("bystander");
    world.subscribe("bystander", &[("#", 0)]);
    world.connect("a");
    world.send_bytes("a", bytes);
    assert!(world.is_closed("a"), "{bytes:02x?}");
    let told = world.received("a");
    if world.is_v5() {
        assert_eq!(told, [format!("DISCONNECT {word}")], "{bytes:02x?}");
    } else {
        assert!(told.is_empty(), "{told:?}");
    }
    assert!(!world.is_closed("bystander"));
    assert!(world.messages("bystander").is_empty());
    world.publish("bystander", "alive", "x", 1);
    assert_eq!(world.messages("bystander"), ["alive=x q0"]);
}

/// v5 [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-2.1.3-1] [MQTT-3.14.0-1] [MQTT-3.14.2-1] [MQTT-3.14.4-1] [MQTT-3.14.4-2]
/// [MQTT-3.3.1-4] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1], v3.1.1 [MQTT-4.8.0-1] [MQTT-2.2.2-2] [MQTT-3.3.1-4]
/// [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]: wrong flags, reserved types, QoS 3, packets only a server sends.
#[test]
fn malformed_packets_end_the_link() {
    let cases: [(&[u8], &str); 7] = [
        (&[0x00, 0x00], "MalformedPacket"),
        (&[0xc1, 0x00], "MalformedPacket"),
        (&[0x36, 0x05, 0x00, 0x01, b't', 0x00, 0x01], "MalformedPacket"),
        (&[0x60, 0x02, 0x00, 0x01], "MalformedPacket"),
        (&[0x80, 0x02, 0x00, 0x01], "MalformedPacket"),
        (&[0xa0, 0x02, 0x00, 0x01], "MalformedPacket"),
        (&[0xd0, 0x00], "ProtocolError"),
    ];
    each(|world| {
        for (bytes, word) in cases {
            offends(world, bytes, word);
        }
    });
}

/// v5 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.3.2-2] [MQTT-4.7.3-2], v3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2]
/// [MQTT-3.3.2-2] [MQTT-4.7.3-2]: topics that are not.
#[test]
fn bad_topics_end_the_link() {
    each(|world| {
        for topic in [&b"\xff"[..], b"a\0", b"a/+", b"#"] {
            let mut bytes = vec![0x30, 0, 0, topic.len() as u8];
            bytes.extend_from_slice(topic);
            if world.is_v5() {
                bytes.push(0);
            }
            bytes[1] = (bytes.len() - 2) as u8;
            world.connect("bystander");
            world.subscribe("bystander", &[("#", 0)]);
            world.connect("a");
            world.send_bytes("a", &bytes);
            assert!(world.is_closed("a"));
            assert!(world.messages("bystander").is_empty());
        }
    });
}

/// v5 [MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT-3.8.3-5] [MQTT-3.8.3-4], v3.1.1 [MQTT-3.8.3-3] [MQTT-3.10.3-2]
/// [MQTT-3.8.3-4]: subscriptions that are not.
#[test]
fn bad_subscriptions_end_the_link() {
    each(|world| {
        let is_v5 = world.is_v5();
        let packet = |first: u8, body: &[u8]| {
            let mut bytes = vec![first, 0, 0, 1];
            if is_v5 {
                bytes.push(0);
            }
            bytes.extend_from_slice(body);
            bytes[1] = (bytes.len() - 2) as u8;
            bytes
        };
        let cases = [
            packet(0x82, b""),
            packet(0xa2, b""),
            packet(0x82, b"\x00\x01t\x03"),
            packet(0x82, b"\x00\x01t\xc0"),
            packet(0x82, b"\x00\x02t#\x00"),
            packet(0x82, b"\x00\x0a$share/g/t\x04"),
        ];
        for bytes in cases {
            world.connect("a");
            world.send_bytes("a", &bytes);
            assert!(world.is_closed("a"), "{bytes:02x?}");
        }
    });
}

/// v5 [MQTT-3.3.4-6]: a subscription identifier from a client.
#[test]
fn identifier_from_a_client_ends_the_link() {
    each_v5(|world| {
        offends(world, &[0x30, 0x06, 0x00, 0x01, b't', 0x02, 0x0b, 0x01], "ProtocolError");
    });
}

/// v5 [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.2.2-17]: alias 0, above the maximum, or unknown.
#[test]
fn bad_aliases_end_the_link() {
    each_v5(|world| {
        let publish = |alias: u16| {
            let [high, low] = alias.to_be_bytes();
            [0x30, 0x07, 0x00, 0x01, b't', 0x03, 0x23, high, low]
        };
        offends(world, &publish(0), "TopicAliasInvalid");
        offends(world, &publish(11), "TopicAliasInvalid");
        offends(world, &[0x30, 0x06, 0x00, 0x00, 0x03, 0x23, 0x00, 0x05], "ProtocolError");
    });
}

/// v5 [MQTT-3.2.2-15], v3.1.1 [MQTT-4.8.0-2]: a packet larger than allowed, seen from its head.
#[test]
fn too_large_packet_ends_the_link() {
    each_with(
        |config| config.link.packet_size_max = 100,
        |world| offends(world, &[0x30, 0xff, 0xff, 0x03], "PacketTooLarge"),
    );
}

/// v5 [MQTT-3.3.4-7]: more open messages than the server's Receive Maximum.
#[test]
fn too_many_open_messages_end_the_link() {
    crate::world::each_v5_with(
        |config| config.link.receive_maximum = 2,
        |world| {
            world.connect("a");
            world.set_answering("a", false);
            for n in 1..=2 {
                world.send("a", &publish_packet("t", "x", 2, n));
            }
            assert!(!world.is_closed("a"));
            world.send("a", &publish_packet("t", "x", 2, 3));
            assert!(world.is_closed("a"));
            assert!(world.received("a").contains(&"DISCONNECT ReceiveMaximumExceeded".into()));
        },
    );
}

/// v3.1.1 section 4.9 has no Receive Maximum: a client that sends too many is not read on until it was answered.
#[test]
fn too_many_open_messages_wait_in_3() {
    each_with(
        |config| config.link.receive_maximum_unannounced = Some(2),
        |world| {
            if world.is_v5() || !world.setup.is_durable {
                return;
            }
            world.resume("away");
            world.subscribe("away", &[("t", 1)]);
            world.connect("a");
            world.is_store_slow = true;
            let packets: Vec<_> = (1..=6).map(|n| publish_packet("t", "x", 1, n)).collect();
            world.send_all("a", &packets);
            assert!(world.unread("a") > 0);
            assert!(world.is_paused("a"));
            assert!(world.received("a").is_empty());
            world.is_store_slow = false;
            world.store();
            assert_eq!(world.received("a").len(), 6);
            assert!(!world.is_paused("a"));
            assert_eq!(world.unread("a"), 0);
        },
    );
}

/// An acknowledgement of the wrong kind ends the link; an unknown one does not.
#[test]
fn wrong_acknowledgements() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 1)]);
        world.set_answering("a", false);
        world.connect("b");
        world.publish("b", "t", "x", 1);
        world.messages("a");
        for packet in [Packet::PubAck(ack(id(9))), Packet::PubComp(ack(id(9)))] {
            world.send("a", &packet);
            assert!(!world.is_closed("a"));
            assert!(world.received("a").is_empty());
        }
        world.send("a", &Packet::PubComp(ack(id(1))));
        assert!(world.is_closed("a"));
    });
}

/// v5 [MQTT-3.14.1-1], v3.1.1 [MQTT-3.14.1-1]: DISCONNECT with reserved bits is a fault, not a goodbye.
#[test]
fn disconnect_with_reserved_bits() {
    each(|world| offends(world, &[0xe1, 0x00], "MalformedPacket"));
}

/// Whatever bytes come, the hub goes on, and all split points give the same result.
#[test]
fn any_bytes_are_survived() {
    each(|world| {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        for round in 0..60 {
            world.connect("a");
            let bytes: Vec<u8> = (0..40).map(|_| random()).collect();
            for piece in bytes.chunks(1 + round % 7) {
                world.send_bytes("a", piece);
            }
            world.received("a");
            world.cut("a");
            world.dial("b");
            world.listen_in("b", Version::V311);
            world.cut("b");
        }
        world.connect("c");
        world.subscribe("c", &[("alive", 1)]);
        world.publish("c", "alive", "x", 1);
        assert_eq!(world.messages("c"), ["alive=x q1"]);
    });
}

/// A subscription answer that is larger than the client takes ends its link.
#[test]
fn answer_too_large_ends_the_link() {
    each_v5(|world| {
        world.connect_as("a", |connect| {
            connect.properties.push(Property::MaximumPacketSize(40));
        });
        let lines: Vec<_> = (0..60).map(|n| format!("t/{n}")).collect();
        let filters = lines
            .iter()
            .map(|line| postrider_proto::wire::SubscribeFilter {
                filter: postrider_proto::wire::Filter::new(line).expect("a filter"),
                options: crate::world::options(0),
            })
            .collect();
        let subscribe = postrider_proto::wire::Subscribe {
            packet_id: id(1),
            properties: Default::default(),
            filters,
        };
        world.send("a", &Packet::Subscribe(subscribe));
        assert!(world.is_closed("a"));
        assert_eq!(world.received("a"), ["DISCONNECT PacketTooLarge"]);
    });
}

/// v5 [MQTT-3.15.1-1]: AUTH with flags.
#[test]
fn auth_with_flags_ends_the_link() {
    each_v5(|world| offends(world, &[0xf1, 0x00], "MalformedPacket"));
}

/// v5 [MQTT-1.5.5-1]: a length in five bytes.
#[test]
fn length_in_five_bytes_ends_the_link() {
    each(|world| offends(world, &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01], "MalformedPacket"));
}

/// v5 [MQTT-3.3.2-14] [MQTT-2.2.1-3], v3.1.1 [MQTT-2.3.1-1]: an id of 0, and a response topic with a wildcard.
#[test]
fn id_zero_ends_the_link() {
    each(|world| {
        let end: &[u8] = if world.is_v5() { &[0x00] } else { &[] };
        let mut bytes = vec![0x32, 0x05 + end.len() as u8, 0x00, 0x01, b't', 0x00, 0x00];
        bytes.extend_from_slice(end);
        world.connect("a");
        world.send_bytes("a", &bytes);
        assert!(world.is_closed("a"));
        if world.is_v5() {
            let bytes = [0x30, 0x08, 0x00, 0x01, b't', 0x04, 0x08, 0x00, 0x01, b'#'];
            offends(world, &bytes, "ProtocolError");
        }
    });
}
