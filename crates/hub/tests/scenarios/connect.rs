//! CONNECT and CONNACK.

use postrider_hub::{Authentication, Event};
use postrider_proto::wire::{Packet, Property, ReasonCode, Version};

use crate::world::{
    each, each_v3, each_v5, each_v5_with, each_with, publish_packet, set_expiry, text,
};

/// v5 [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.2-1] [MQTT-3.2.2-2], v3.1.1 [MQTT-3.1.4-4] [MQTT-3.2.0-1]
/// [MQTT-3.2.2-1]: CONNACK comes first, with Session Present 0 for a clean start.
#[test]
fn clean_start_is_accepted_without_a_session() {
    each(|world| {
        world.connect("a");
        world.disconnect("a");
        world.connect("a");
        assert!(world.received("a").is_empty());
    });
}

/// v5 [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.2.2-3], v3.1.1 [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.2.2-3]: Session
/// Present tells the truth.
#[test]
fn session_present_tells_the_truth() {
    each(|world| {
        assert!(!world.resume("a"), "nothing was there");
        world.disconnect("a");
        assert!(world.resume("a"), "it was kept");
        world.cut("a");
        assert!(world.resume("a"), "it outlives a lost link");
    });
}

/// v5 [MQTT-3.1.2-4] [MQTT-3.1.4-4], v3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.4-3]: a clean start throws the old state away.
#[test]
fn clean_start_begins_with_nothing() {
    each(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 1)]);
        world.disconnect("a");
        world.connect("b");
        world.publish("b", "t", "queued", 1);
        world.connect("a");
        world.publish("b", "t", "live", 1);
        assert!(world.messages("a").is_empty(), "neither queue nor subscription is left");
        world.disconnect("a");
        assert!(!world.resume("a"), "the clean session ended with its link");
    });
}

/// v5 [MQTT-3.1.3-5], v3.1.1 [MQTT-3.1.3-5]: ids of letters and digits are accepted, and so are all others.
#[test]
fn any_client_id_is_accepted() {
    each(|world| {
        let long = "x".repeat(65_535);
        for name in
            ["a", "0123456789abcdefABCDEFx", "with spaces / and # + signs", "\u{1F600}", &long]
        {
            world.connect(name);
        }
    });
}

/// v5 [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]: an empty id is replaced by one that is told and can be used again.
#[test]
fn empty_client_id_is_assigned() {
    each_v5(|world| {
        let mut ids = Vec::new();
        for name in ["one", "two", "three"] {
            let connack = world.connect_as(name, |connect| {
                connect.client_id = Default::default();
                set_expiry(connect, 100);
            });
            let (_, id) = connack.split_once("AssignedClientIdentifier=\"").expect("an id");
            ids.push(id.trim_end_matches(['"', '}']).to_owned());
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        let moves = world.moves;
        assert_eq!(moves, 0, "an invented id is at home where it was invented");
        world.disconnect("one");
        let connack = world.connect_as(&ids[0], |connect| connect.clean_start = false);
        assert!(connack.starts_with("CONNACK session_present Success"), "{connack}");
    });
}

/// v3.1.1 [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.1.3-8] [MQTT-3.2.2-4] [MQTT-3.2.2-5]: an empty id needs a clean session.
#[test]
fn empty_client_id_needs_a_clean_session() {
    each_v3(|world| {
        for name in ["one", "two"] {
            let connack = world.connect_as(name, |connect| connect.client_id = Default::default());
            assert_eq!(connack, "CONNACK Success");
        }
        world.subscribe("one", &[("t", 0)]);
        world.publish("two", "t", "x", 0);
        assert_eq!(world.messages("one"), ["t=x q0"], "the hidden ids differ");
        let connack = world.connect_as("three", |connect| {
            connect.client_id = Default::default();
            connect.clean_start = false;
        });
        assert_eq!(connack, "CONNACK ClientIdentifierNotValid");
        assert!(world.is_closed("three"));
    });
}

/// v5 [MQTT-3.1.0-2], v3.1.1 [MQTT-3.1.0-2]: a second CONNECT ends the link.
#[test]
fn second_connect_ends_the_link() {
    each(|world| {
        world.connect("a");
        world.send_connect("a", |_| {});
        assert!(world.is_closed("a"));
        let told: &[&str] = if world.is_v5() { &["DISCONNECT ProtocolError"] } else { &[] };
        assert_eq!(world.received("a"), told);
    });
}

/// v5 [MQTT-3.1.0-1], v3.1.1 [MQTT-3.1.0-1]: anything else first ends the link, and nothing is said.
#[test]
fn first_packet_must_be_connect() {
    each(|world| {
        world.connect("b");
        world.subscribe("b", &[("#", 0)]);
        world.dial("a");
        world.send("a", &publish_packet("t", "x", 0, 0));
        assert!(world.is_closed("a"));
        assert!(world.received("a").is_empty());
        assert!(world.messages("b").is_empty());
    });
}

/// v5 [MQTT-3.1.2-2], v3.1.1 [MQTT-3.1.2-2]: an unknown level is answered with code 0x01 or 0x84 and a close.
#[test]
fn unknown_protocol_level_is_refused() {
    each(|world| {
        world.dial("a");
        world.listen_in("a", Version::V311);
        world.send_bytes("a", b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x00\x00\x01a");
        assert!(world.is_closed("a"));
        assert_eq!(world.take_connack("a"), "CONNACK UnsupportedProtocolVersion");
    });
}

/// v5 [MQTT-3.1.2-1], v3.1.1 [MQTT-3.1.2-1]: another protocol name is not MQTT.
#[test]
fn unknown_protocol_name_ends_the_link() {
    each(|world| {
        world.dial("a");
        world.listen_in("a", Version::V311);
        world.send_bytes("a", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(world.is_closed("a"));
        world.dial("b");
        world.listen_in("b", Version::V311);
        world.send_bytes("b", b"\x10\x0d\x00\x04MQTX\x04\x02\x00\x00\x00\x01a");
        assert!(world.is_closed("b"));
    });
}

/// v5 [MQTT-3.1.2-3], v3.1.1 [MQTT-3.1.2-3] [MQTT-3.1.4-1]: the reserved connect flag must be 0.
#[test]
fn reserved_connect_flag_ends_the_link() {
    each(|world| {
        world.dial("a");
        let level = world.setup.version.level();
        let mut bytes = b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01a".to_vec();
        bytes[8] = level;
        world.send_bytes("a", &bytes);
        assert!(world.is_closed("a"));
        let refused = world.take_connack("a");
        assert_ne!(refused, "CONNACK Success");
    });
}

/// The three versions meet on one port and understand each other.
#[test]
fn versions_meet_on_one_port() {
    each(|world| {
        for (name, version) in [("old", Version::V31), ("mid", Version::V311), ("new", Version::V5)]
        {
            world.connect_as(name, |connect| connect.version = version);
            assert_eq!(world.subscribe(name, &[("t", 1)]), [ReasonCode::GrantedQoS1]);
        }
        for name in ["old", "mid", "new"] {
            world.publish(name, "t", name, 1);
        }
        for name in ["old", "mid", "new"] {
            assert_eq!(world.messages(name), ["t=old q1", "t=mid q1", "t=new q1"]);
        }
    });
}

/// v5 [MQTT-3.1.4-2] [MQTT-3.1.4-6] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8], v3.1.1 [MQTT-3.1.4-5]
/// [MQTT-3.2.2-4] [MQTT-3.2.2-5]: who may not come in is told so, and what was sent behind CONNECT has no effect.
#[test]
fn refused_client_has_no_effect() {
    for reason in [ReasonCode::BadUserNameOrPassword, ReasonCode::NotAuthorized] {
        each_with(
            |config| config.authentication = Authentication::Ask,
            |world| {
                for name in ["watcher", "a"] {
                    world.dial(name);
                    world.send_connect(name, |connect| {
                        connect.user_name = Some(text("user"));
                        connect.password = Some(b"word"[..].to_vec().into());
                    });
                    if name == "watcher" {
                        world.answer(ReasonCode::Success);
                        assert_eq!(world.take_connack(name), "CONNACK Success");
                        world.subscribe(name, &[("#", 0)]);
                    }
                }
                world.send("a", &publish_packet("t", "x", 0, 0));
                assert!(world.received("a").is_empty(), "nothing is said before the decision");
                assert!(world.unread("a") > 0, "what is behind CONNECT stays unread");
                let (_, ask) = world.questions[0].clone();
                assert_eq!(ask.client_id.as_str(), "a");
                assert_eq!(ask.user_name.as_ref().map(|name| name.as_str()), Some("user"));
                assert_eq!(ask.password.as_deref(), Some(&b"word"[..]));
                world.answer(reason);
                assert_eq!(world.take_connack("a"), format!("CONNACK {reason:?}"));
                assert!(world.is_closed("a"));
                assert!(world.messages("watcher").is_empty());
            },
        );
    }
}

/// v5 [MQTT-3.1.4-5], v3.1.1 [MQTT-3.1.4-4]: after the answer the packets behind CONNECT are read.
#[test]
fn packets_behind_connect_wait_for_the_answer() {
    each_with(
        |config| config.authentication = Authentication::Ask,
        |world| {
            world.dial("a");
            world.send_connect("a", |_| {});
            world.send_all("a", &[publish_packet("t", "x", 1, 9), Packet::PingReq]);
            world.answer(ReasonCode::Success);
            assert_eq!(world.take_connack("a"), "CONNACK Success");
            let puback = if world.is_v5() {
                "PUBACK id=9 NoMatchingSubscribers"
            } else {
                "PUBACK id=9 Success"
            };
            let mut received = world.received("a");
            received.sort_unstable();
            assert_eq!(received, ["PINGRESP", puback]);
            world.cut("a");
            world.dial("b");
            world.send_connect("b", |_| {});
            let (_, ask) = world.questions[0].clone();
            world.cut("b");
            world.questions.clear();
            for hub in &mut world.hubs {
                hub.handle_answer(ask.link, ReasonCode::Success, world.now);
            }
            world.settle();
        },
    );
}

/// v5 [MQTT-4.12.0-1] [MQTT-4.12.0-4] [MQTT-4.12.0-6]: no authentication method is known yet.
#[test]
fn authentication_method_is_refused() {
    each_v5(|world| {
        let connack = world.connect_as("a", |connect| {
            connect.properties.push(Property::AuthenticationMethod(text("SCRAM-SHA-1")));
        });
        assert_eq!(connack, "CONNACK BadAuthenticationMethod");
        assert!(world.is_closed("a"));
    });
}

/// v5 [MQTT-4.12.0-7]: AUTH without a method in CONNECT is a protocol error.
#[test]
fn auth_out_of_the_blue_ends_the_link() {
    each_v5(|world| {
        world.connect("a");
        world.send_bytes("a", b"\xf0\x02\x19\x00");
        assert!(world.is_closed("a"));
        assert_eq!(world.received("a"), ["DISCONNECT ProtocolError"]);
    });
}

/// v5 [MQTT-3.2.2-7], v3.1.1 [MQTT-3.2.2-5]: one link too many is told that the server is busy.
#[test]
fn too_many_links_are_refused() {
    each_with(
        |config| config.links_max = 2,
        |world| {
            if world.setup.hubs > 1 {
                return;
            }
            world.connect("a");
            world.connect("b");
            let connack = world.connect_as("c", |_| {});
            let busy = if world.is_v5() { "ServerBusy" } else { "ServerUnavailable" };
            assert_eq!(connack, format!("CONNACK {busy}"));
            assert!(world.is_closed("c"));
            world.disconnect("a");
            world.connect("d");
        },
    );
}

/// v5 [MQTT-3.1.2-21] [MQTT-3.1.2-22] [MQTT-3.2.2-22], v3.1.1 [MQTT-3.1.2-24]: silence for one and a half times the
/// keep alive ends the link; any packet starts the time again; 0 turns it off.
#[test]
fn keep_alive_is_enforced() {
    each(|world| {
        world.connect("off");
        world.connect_as("a", |connect| connect.keep_alive = 10);
        world.pass_ms(14_000);
        assert!(!world.is_closed("a"));
        world.send("a", &Packet::PingReq);
        assert_eq!(world.received("a"), ["PINGRESP"]);
        world.pass_ms(14_900);
        assert!(!world.is_closed("a"));
        world.pass_ms(200);
        assert!(world.is_closed("a"));
        let told: &[&str] = if world.is_v5() { &["DISCONNECT KeepAliveTimeout"] } else { &[] };
        assert_eq!(world.received("a"), told);
        world.pass_s(100_000);
        assert!(!world.is_closed("off"));
    });
}

/// v5 [MQTT-3.2.2-21] [MQTT-3.2.2-22]: a longer keep alive than allowed is replaced, and announced in 5.0.
#[test]
fn keep_alive_is_bounded() {
    each_with(
        |config| config.keep_alive_s_max = Some(30),
        |world| {
            for (name, asked) in [("none", 0), ("long", 31), ("short", 30)] {
                let connack = world.connect_as(name, |connect| connect.keep_alive = asked);
                let is_told = world.is_v5() && asked != 30;
                assert_eq!(connack.contains("ServerKeepAlive=30"), is_told, "{connack}");
            }
            world.pass_ms(44_000);
            assert!(!world.is_closed("none"));
            world.pass_ms(1_100);
            for name in ["none", "long", "short"] {
                assert!(world.is_closed(name), "{name}");
            }
        },
    );
}

/// A stream without a CONNECT is closed after the handshake time.
#[test]
fn silence_before_connect_ends_the_link() {
    each(|world| {
        world.dial("a");
        world.pass_ms(9_000);
        assert!(!world.is_closed("a"));
        world.pass_ms(1_100);
        assert!(world.is_closed("a"));
    });
}

/// v5 section 3.1.2.11.2: a session expiry above the limit is lowered and announced.
#[test]
fn session_expiry_is_bounded() {
    each_v5_with(
        |config| config.session_expiry_s_max = 100,
        |world| {
            for (asked, told) in [(101, " {SessionExpiryInterval=100}"), (100, ""), (0, "")] {
                let connack = world.connect_as("a", |connect| set_expiry(connect, asked));
                assert_eq!(connack, format!("CONNACK Success{told}"));
                world.disconnect("a");
            }
        },
    );
}

/// v5 [MQTT-3.12.4-1], v3.1.1 [MQTT-3.12.4-1].
#[test]
fn each_ping_is_answered() {
    each(|world| {
        world.connect("a");
        world.send_all("a", &[Packet::PingReq, Packet::PingReq]);
        assert_eq!(world.received("a"), ["PINGRESP", "PINGRESP"]);
    });
}

#[test]
fn events_tell_who_came_and_went() {
    each(|world| {
        world.resume("a");
        world.disconnect("a");
        world.resume("a");
        let told: Vec<_> = world
            .events
            .iter()
            .map(|event| match event {
                Event::Connected { client_id, session_present, .. } => {
                    format!("{client_id} came, {session_present}")
                }
                Event::Disconnected { client_id, .. } => {
                    format!("{} went", client_id.clone().unwrap_or_default())
                }
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(told, ["a came, false", "a went", "a came, true"]);
    });
}

/// v5 [MQTT-3.1.2-24]: a client that accepts not even CONNACK is let go.
#[test]
fn connack_too_large_ends_the_link() {
    each_v5(|world| {
        world.dial("a");
        world.send_connect("a", |connect| {
            connect.properties.push(Property::MaximumPacketSize(2));
        });
        assert!(world.is_closed("a"));
        assert!(world.received("a").is_empty());
        let links: u64 = world.hubs.iter().map(|hub| hub.stats().links).sum();
        let sessions: u64 = world.hubs.iter().map(|hub| hub.stats().sessions).sum();
        assert_eq!((links, sessions), (0, 0));
    });
}

/// v5 [MQTT-3.1.2-28] [MQTT-3.2.0-2]: one CONNACK, without Response Information, asked for or not.
#[test]
fn no_response_information() {
    each_v5(|world| {
        for is_wanted in [false, true] {
            let connack = world.connect_as("a", |connect| {
                connect.properties.push(Property::RequestResponseInformation(is_wanted));
            });
            assert_eq!(connack, "CONNACK Success");
            world.send("a", &Packet::PingReq);
            assert_eq!(world.received("a"), ["PINGRESP"]);
        }
    });
}
