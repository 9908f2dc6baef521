//! PUBLISH: who gets it, how, and what the publisher hears.

use postrider_proto::wire::{Packet, Property, ReasonCode};

use crate::world::{ack, each, each_v5, id, publish_packet, text};

/// v5 [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-3.4.2-1] [MQTT-3.5.2-1]
/// [MQTT-3.7.2-1], v3.1.1 [MQTT-3.3.4-1] [MQTT-2.3.1-6] [MQTT-4.3.2-2] [MQTT-4.3.3-2]: none, PUBACK, or PUBREC and
/// PUBCOMP, with the id of the PUBLISH.
#[test]
fn publish_is_acknowledged_by_qos() {
    each(|world| {
        world.connect("b");
        world.subscribe("b", &[("t", 2)]);
        world.connect("a");
        world.set_answering("a", false);
        world.send("a", &publish_packet("t", "0", 0, 0));
        assert!(world.received("a").is_empty());
        world.send("a", &publish_packet("t", "1", 1, 11));
        assert_eq!(world.received("a"), ["PUBACK id=11 Success"]);
        world.send("a", &publish_packet("t", "2", 2, 12));
        assert_eq!(world.received("a"), ["PUBREC id=12 Success"]);
        world.send("a", &Packet::PubRel(ack(id(12))));
        assert_eq!(world.received("a"), ["PUBCOMP id=12 Success"]);
        assert_eq!(world.messages("b"), ["t=0 q0", "t=1 q1", "t=2 q2"]);
    });
}

/// v5 [MQTT-3.8.4-8], v3.1.1 [MQTT-3.8.4-6]: QoS is the lower of publish and subscription.
#[test]
fn delivery_qos_is_the_lower_one() {
    each(|world| {
        world.connect("p");
        for granted in 0..3 {
            let name = format!("s{granted}");
            world.connect(&name);
            world.subscribe(&name, &[("t", granted)]);
        }
        for qos in 0..3 {
            world.publish("p", "t", "x", qos);
        }
        for granted in 0..3 {
            let expected: Vec<_> = (0..3).map(|qos| format!("t=x q{}", granted.min(qos))).collect();
            assert_eq!(world.messages(&format!("s{granted}")), expected);
        }
    });
}

/// v5 [MQTT-3.3.1-3] [MQTT-3.3.1-2] [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.2-5], v3.1.1 [MQTT-3.3.1-2] [MQTT-3.3.1-3]
/// [MQTT-4.3.1-1] [MQTT-4.3.2-1]: DUP of the publisher is not passed on, and a QoS 1 repeat is a new message.
#[test]
fn dup_is_not_passed_on() {
    each(|world| {
        world.connect("b");
        world.subscribe("b", &[("t", 2)]);
        world.connect("a");
        for qos in [1, 2] {
            world.publish_as("a", "t", "x", qos, |publish| publish.dup = true);
        }
        assert_eq!(world.messages("b"), ["t=x q1", "t=x q2"]);
        for _ in 0..2 {
            world.send("a", &publish_packet("t", "again", 1, 77));
        }
        assert_eq!(world.messages("b"), ["t=again q1", "t=again q1"]);
    });
}

/// v5 [MQTT-4.6.0-5] [MQTT-4.6.0-6], v3.1.1 [MQTT-4.6.0-5] [MQTT-4.6.0-6]: a topic keeps the order of its publisher.
#[test]
fn topics_are_ordered() {
    each(|world| {
        world.connect("b");
        world.subscribe("b", &[("t", 2)]);
        world.connect("a");
        for qos in 0..3 {
            let packets: Vec<_> =
                (1..=50).map(|n| publish_packet("t", &n.to_string(), qos, n)).collect();
            world.send_all("a", &packets);
            let expected: Vec<_> = (1..=50).map(|n| format!("t={n} q{qos}")).collect();
            assert_eq!(world.messages("b"), expected);
        }
    });
}

/// v5 [MQTT-4.6.0-2] [MQTT-4.6.0-3]: acknowledgements keep the order of what they acknowledge, though the server is not
/// bound to it.
#[test]
fn acknowledgements_keep_their_order() {
    each(|world| {
        world.connect("a");
        world.set_answering("a", false);
        let packets: Vec<_> =
            (1..=20).map(|n| publish_packet("t", "x", 1 + (n % 2) as u8, n)).collect();
        world.send_all("a", &packets);
        let ids: Vec<_> = world
            .received("a")
            .iter()
            .map(|line| line.split(['=', ' ']).nth(2).expect("an id").to_owned())
            .collect();
        let expected: Vec<_> = (1..=20).map(|n| n.to_string()).collect();
        assert_eq!(ids, expected);
    });
}

/// v5 [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4], v3.1.1 [MQTT-3.3.5-1]: overlapping filters give one copy, at the
/// highest QoS.
#[test]
fn overlapping_filters_give_one_copy() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t/#", 0), ("t/+", 2), ("t/x", 1)]);
        world.connect("b");
        for qos in 0..3 {
            world.publish("b", "t/x", "m", qos);
        }
        assert_eq!(world.messages("a"), ["t/x=m q0", "t/x=m q1", "t/x=m q2"]);
        world.publish("b", "t", "parent", 2);
        assert_eq!(world.messages("a"), ["t=parent q0"]);
    });
}

/// v5 [MQTT-3.3.4-3] [MQTT-3.3.4-4]: one copy lists the identifiers of all matching subscriptions.
#[test]
fn identifiers_of_all_matches_go_along() {
    each_v5(|world| {
        use crate::world::options;
        world.connect("a");
        world.subscribe_as("a", &[("t/#", options(1))], Some(10));
        world.subscribe_as("a", &[("t/+", options(2)), ("other", options(0))], Some(268_435_455));
        world.subscribe_as("a", &[("t/x", options(0))], None);
        world.connect("b");
        world.publish("b", "t/x", "m", 2);
        let publish = world.publishes("a").remove(0);
        let mut ids: Vec<_> = publish.properties.subscription_identifiers().collect();
        ids.sort_unstable();
        assert_eq!(ids, [10, 268_435_455]);
        world.publish("b", "other", "m", 2);
        assert_eq!(world.messages("a"), ["other=m q0 ids=268435455"]);
        world.subscribe_as("a", &[("other", options(0))], None);
        world.publish("b", "other", "m", 2);
        assert_eq!(world.messages("a"), ["other=m q0"], "subscribing again replaces it");
    });
}

/// v5 [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]: properties go
/// through unchanged, user properties in their order.
#[test]
fn properties_go_through() {
    each_v5(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 0)]);
        world.connect("b");
        let properties = [
            Property::PayloadFormatIndicator(1),
            Property::ContentType(text("application/json")),
            Property::ResponseTopic(text("answers/b")),
            Property::CorrelationData(vec![0, 255].into()),
            Property::UserProperty(text("z"), text("1")),
            Property::UserProperty(text("a"), text("2")),
            Property::UserProperty(text("z"), text("1")),
        ];
        world.publish_as("b", "t", "{}", 0, |publish| {
            publish.properties = properties.iter().cloned().collect();
            publish.properties.push(Property::TopicAlias(3));
        });
        let publish = world.publishes("a").remove(0);
        assert_eq!(publish.properties.iter().cloned().collect::<Vec<_>>(), properties);
    });
}

/// v5 section 3.4.2.1, 0x10: the publisher hears that nobody listens.
#[test]
fn nobody_listens() {
    each(|world| {
        world.connect("a");
        let nobody =
            if world.is_v5() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        assert_eq!(world.publish("a", "t", "x", 1), nobody);
        assert_eq!(world.publish("a", "t", "x", 2), nobody);
        world.connect("b");
        world.subscribe("b", &[("t", 0)]);
        assert_eq!(world.publish("a", "t", "x", 1), ReasonCode::Success);
        world.unsubscribe("b", &["t"]);
        assert_eq!(world.publish("a", "t", "x", 2), nobody);
    });
}

/// v5 [MQTT-4.3.3-4] [MQTT-4.3.3-2] [MQTT-3.6.2-1], v3.1.1 [MQTT-4.3.3-1]: the server's own QoS 2 messages follow the exchange; a repeated PUBREC gets
/// PUBREL again, an unknown one too.
#[test]
fn server_sends_qos_2() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 2)]);
        world.set_answering("a", false);
        world.connect("b");
        world.publish("b", "t", "x", 2);
        assert_eq!(world.received("a"), ["PUBLISH \"t\" qos=2 id=1 1B \"x\""]);
        for _ in 0..2 {
            world.send("a", &Packet::PubRec(ack(id(1))));
            assert_eq!(world.received("a"), ["PUBREL id=1 Success"]);
        }
        world.send("a", &Packet::PubComp(ack(id(1))));
        world.send("a", &Packet::PubRec(ack(id(50))));
        let unknown = if world.is_v5() { "PacketIdentifierNotFound" } else { "Success" };
        assert_eq!(world.received("a"), [format!("PUBREL id=50 {unknown}")]);
        assert!(!world.is_closed("a"));
    });
}

/// v5 [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.2-3] [MQTT-4.3.3-1] [MQTT-4.3.3-3], v3.1.1 [MQTT-2.3.1-4]: ids of open exchanges are not used again.
#[test]
fn ids_in_use_are_not_taken() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 1)]);
        world.set_answering("a", false);
        world.connect("b");
        for _ in 0..3 {
            world.publish("b", "t", "x", 1);
        }
        world.send("a", &Packet::PubAck(ack(id(2))));
        for _ in 0..2 {
            world.publish("b", "t", "x", 1);
        }
        let mut ids: Vec<_> =
            world.publishes("a").iter().filter_map(|p| p.packet_id).map(|id| id.get()).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!((count, ids.len()), (5, 5));
    });
}

/// v5 [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3]: the client's Receive Maximum holds
/// back QoS 1 and 2 and nothing else.
#[test]
fn receive_maximum_of_the_client_is_kept() {
    each_v5(|world| {
        world.connect_as("a", |connect| {
            connect.properties.push(Property::ReceiveMaximum(2));
        });
        world.subscribe("a", &[("t", 2)]);
        world.set_answering("a", false);
        world.connect("b");
        for n in 1..=4 {
            world.publish("b", "t", &n.to_string(), 1);
        }
        world.publish("b", "t", "free", 0);
        world.send("a", &Packet::PingReq);
        let received = world.messages("a");
        assert_eq!(received[..2], ["t=1 q1", "t=2 q1"]);
        assert!(received[2..].iter().all(|line| line.ends_with("q0")), "{received:?}");
        assert_eq!(world.received("a"), ["PINGRESP"]);
        world.send("a", &Packet::PubAck(ack(id(1))));
        assert!(world.messages("a").contains(&"t=3 q1".to_owned()));
        world.send("a", &Packet::PubAck(ack(id(2))));
        assert!(world.messages("a").contains(&"t=4 q1".to_owned()));
    });
}

/// v5 [MQTT-3.1.2-24] [MQTT-3.1.2-25]: what is too large for a client is dropped for it alone, as if delivered.
#[test]
fn too_large_for_one_client() {
    each_v5(|world| {
        world.connect_as("small", |connect| {
            connect.properties.push(Property::MaximumPacketSize(50));
        });
        world.connect("any");
        for name in ["small", "any"] {
            world.subscribe(name, &[("t", 1)]);
        }
        world.connect("b");
        let long = "x".repeat(100);
        assert_eq!(world.publish("b", "t", &long, 1), ReasonCode::Success);
        world.publish("b", "t", "short", 1);
        assert_eq!(world.messages("small"), ["t=short q1"]);
        assert_eq!(world.messages("any").len(), 2);
        let dropped: u64 = world.hubs.iter().map(|hub| hub.stats().dropped).sum();
        assert_eq!(dropped, 1);
    });
}

/// v5 [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]: aliases go only to clients that allow them, within their maximum.
#[test]
fn aliases_within_the_clients_maximum() {
    each_v5(|world| {
        world.connect("none");
        world.connect_as("two", |connect| {
            connect.properties.push(Property::TopicAliasMaximum(2));
        });
        for name in ["none", "two"] {
            world.subscribe(name, &[("#", 0)]);
        }
        world.connect("b");
        for _ in 0..3 {
            for topic in ["x", "y", "z"] {
                world.publish("b", topic, "m", 0);
            }
        }
        assert!(world.publishes("none").iter().all(|p| p.properties.topic_alias().is_none()));
        let publishes = world.publishes("two");
        let aliases: Vec<_> = publishes.iter().filter_map(|p| p.properties.topic_alias()).collect();
        assert!(!aliases.is_empty() && aliases.iter().all(|alias| (1..=2).contains(*alias)));
        assert!(
            publishes.iter().any(|publish| publish.topic.is_none()),
            "an alias saves the topic"
        );
    });
}

/// v5 [MQTT-3.3.2-12]: aliases of a client work, and are its own.
#[test]
fn aliases_of_clients_are_resolved() {
    each_v5(|world| {
        world.connect("a");
        world.subscribe("a", &[("#", 0)]);
        world.connect("b");
        for (topic, payload) in
            [(Some("long/topic"), "1"), (None, "2"), (Some("new"), "3"), (None, "4")]
        {
            world.publish_as("b", topic.unwrap_or("x"), payload, 0, |publish| {
                if topic.is_none() {
                    publish.topic = None;
                }
                publish.properties.push(Property::TopicAlias(1));
            });
        }
        let expected = ["long/topic=1 q0", "long/topic=2 q0", "new=3 q0", "new=4 q0"];
        assert_eq!(world.messages("a"), expected);
    });
}

/// A payload of any size arrives unchanged, also by way of a spool, and the spool goes when nobody needs it.
#[test]
fn large_payloads_go_through_spools() {
    crate::world::each_with(
        |config| config.link.spool_above = 1_000,
        |world| {
            world.connect("a");
            world.subscribe("a", &[("t", 0)]);
            world.resume("away");
            world.subscribe("away", &[("t", 1)]);
            world.cut("away");
            world.connect("b");
            let payload: String = (0..20_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
            world.publish("b", "t", &payload, 1);
            assert_eq!(world.messages("a"), [format!("t={payload} q0")]);
            assert_eq!(world.spools.len(), 1, "a session still needs it");
            world.resume("away");
            assert_eq!(world.messages("away"), [format!("t={payload} q1")]);
            world.settle();
            world.pass_s(1);
            assert!(world.spools.is_empty());
        },
    );
}

/// v5 [MQTT-4.3.3-13]: an exchange is completed even if its message expired meanwhile.
#[test]
fn expired_exchange_is_completed() {
    each_v5(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 2)]);
        world.set_answering("a", false);
        world.connect("b");
        world.set_answering("b", false);
        let Packet::Publish(mut publish) = publish_packet("t", "x", 2, 3) else {
            panic!("a PUBLISH");
        };
        publish.properties.push(Property::MessageExpiryInterval(1));
        world.send("b", &Packet::Publish(publish));
        assert_eq!(world.received("b"), ["PUBREC id=3 Success"]);
        world.pass_s(10);
        world.send("a", &Packet::PubRec(ack(id(1))));
        world.send("a", &Packet::PubComp(ack(id(1))));
        world.send("b", &Packet::PubRel(ack(id(3))));
        assert_eq!(world.received("b"), ["PUBCOMP id=3 Success"]);
        assert_eq!(world.messages("a").len(), 1);
        assert!(!world.is_closed("a"));
    });
}

/// v5 [MQTT-1.5.4-3] [MQTT-4.7.3-3], v3.1.1 [MQTT-1.5.3-3] [MQTT-4.7.3-3]: U+FEFF stays where it is, and topics may have
/// 65,535 bytes.
#[test]
fn unusual_topics_arrive_unchanged() {
    each(|world| {
        let long = "x".repeat(65_535);
        let levels = "/".repeat(2_000);
        world.connect("a");
        world.connect("b");
        for topic in ["\u{feff}bom", "a\u{feff}", &long, &levels] {
            world.subscribe("a", &[(topic, 0)]);
            world.publish("b", topic, "m", 0);
            assert_eq!(world.messages("a"), [format!("{topic}=m q0")]);
        }
        world.subscribe("a", &[("bom", 0)]);
        world.publish("b", "\u{feff}bom", "m", 0);
        assert_eq!(world.messages("a").len(), 1);
    });
}

/// The driver can ask whether a link is read on, so that it does not lose what came before the end of a stream.
#[test]
fn unread_links_say_so() {
    crate::world::each_with(
        |config| config.turn_deliveries = 1,
        |world| {
            if world.setup.hubs > 1 {
                return;
            }
            world.connect("a");
            world.subscribe("a", &[("t", 0)]);
            let link = world.hubs[0].accept(world.now);
            assert!(world.hubs[0].is_reading(link));
            let name = if world.is_v5() { 5 } else { 4 };
            let mut bytes = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01b".to_vec();
            bytes[8] = name;
            if world.is_v5() {
                bytes[1] += 1;
                bytes.insert(12, 0);
            }
            let end: &[u8] = if world.is_v5() { &[0, b'x'] } else { b"x" };
            for _ in 0..5 {
                bytes.extend_from_slice(&[0x30, 3 + end.len() as u8, 0, 1, b't']);
                bytes.extend_from_slice(end);
            }
            let mut input = bytes::BytesMut::from(&bytes[..]);
            let now = world.now;
            let mut rounds = 0;
            loop {
                world.hubs[0].handle_bytes(link, &mut input, now);
                if world.hubs[0].is_reading(link) {
                    break;
                }
                assert!(!input.is_empty());
                while !world.hubs[0].is_reading(link) {
                    world.hubs[0].handle_time(now);
                }
                rounds += 1;
            }
            assert!(rounds > 1);
            world.hubs[0].handle_closed(link, now);
            assert!(!world.hubs[0].is_reading(link));
        },
    );
}
