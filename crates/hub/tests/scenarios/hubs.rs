//! Several hubs: one broker.

use postrider_hub::{Hub, HubConfig};
use postrider_proto::wire::{Packet, Publish, ReasonCode};

use crate::world::{Setup, World, ack, each, id, publish_packet, set_expiry};

/// A world of two hubs (5.0, no store) with client ids that live on the first and on the second.
fn two() -> (World, Vec<String>, Vec<String>) {
    let setup = Setup { version: postrider_proto::wire::Version::V5, hubs: 2, is_durable: false };
    let mut world = World::new(setup, &|_| {});
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for n in 0..40 {
        let name = format!("c{n}");
        world.connect(&name);
        let list = if world.hub_of(&name) == 0 { &mut first } else { &mut second };
        list.push(name);
    }
    assert!(first.len() > 5 && second.len() > 5, "client ids spread");
    (world, first, second)
}

#[test]
fn hubs_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Hub>();
    is_send::<postrider_hub::Output>();
    is_send::<HubConfig>();
}

/// v5 [MQTT-3.1.3-2], v3.1.1 [MQTT-3.1.3-2]: a client id has one home, wherever it connects.
#[test]
fn a_client_id_has_one_home() {
    each(|world| {
        world.resume("a");
        let home = world.hub_of("a");
        for _ in 0..4 {
            assert!(world.resume("a"));
            assert_eq!(world.hub_of("a"), home);
        }
        if world.setup.hubs == 2 {
            assert!(world.moves >= 2);
        }
    });
}

/// Every pair of clients hears each other, once.
#[test]
fn messages_cross_once() {
    let (mut world, first, second) = two();
    for name in first.iter().chain(&second).take(30) {
        world.subscribe(name, &[("t", 1), ("t/#", 0)]);
    }
    for name in [&first[0], &second[0]] {
        assert_eq!(world.publish(name, "t", "x", 1), ReasonCode::Success);
    }
    for name in first.iter().chain(&second).take(30) {
        assert_eq!(world.messages(name), ["t=x q1", "t=x q1"], "{name}");
    }
}

/// SUBACK leaves after every peer knows the filter.
#[test]
fn suback_waits_for_the_peers() {
    let (mut world, first, second) = two();
    world.are_peers_slow = true;
    let subscribe = postrider_proto::wire::Subscribe {
        packet_id: id(1),
        properties: Default::default(),
        filters: vec![postrider_proto::wire::SubscribeFilter {
            filter: postrider_proto::wire::Filter::new("t").expect("a filter"),
            options: crate::world::options(1),
        }],
    };
    world.send(&first[0], &Packet::Subscribe(subscribe.clone()));
    world.send(&first[1], &Packet::Subscribe(subscribe));
    assert!(world.received(&first[0]).is_empty());
    assert!(world.received(&first[1]).is_empty(), "nor that of who asked later");
    world.carry();
    world.settle();
    assert!(world.received(&first[0]).is_empty(), "there, not back");
    world.publish(&second[0], "t", "x", 0);
    world.carry();
    world.settle();
    assert_eq!(world.received(&first[0])[0], "SUBACK id=1 [GrantedQoS1]");
    world.are_peers_slow = false;
    world.settle();
}

/// Fences and records are numbered by each hub: a link brings no open gate along when it moves.
#[test]
fn answers_on_a_link_that_moved_wait_too() {
    let (mut world, first, _) = two();
    // The first hub is far ahead of the second.
    for n in 0..100 {
        world.subscribe(&first[0], &[(&format!("ahead/{n}"), 1)]);
    }
    let name = moved_to_second(&mut world);
    world.are_peers_slow = true;
    world.send_bytes(&name, b"\x82\x07\x00\x01\x00\x00\x01t\x01");
    assert!(world.received(&name).is_empty(), "the peer does not know the filter");
    world.are_peers_slow = false;
    world.settle();
    assert_eq!(world.received(&name), ["SUBACK id=1 [GrantedQoS1]"]);
}

/// As above, for the store.
#[test]
fn answers_on_a_link_that_moved_wait_for_the_store() {
    let setup = Setup { version: postrider_proto::wire::Version::V5, hubs: 2, is_durable: true };
    let mut world = World::new(setup, &|_| {});
    let ahead = (0..).map(|n| format!("a{n}")).find(|name| {
        world.resume(name);
        world.hub_of(name) == 0
    });
    let ahead = ahead.expect("a client of the first hub");
    for n in 0..100 {
        world.subscribe(&ahead, &[(&format!("ahead/{n}"), 1)]);
    }
    let name = moved_to_second(&mut world);
    world.is_store_slow = true;
    world.send_bytes(&name, b"\x82\x07\x00\x01\x00\x00\x01t\x01");
    assert!(world.received(&name).is_empty(), "the subscription is not stored");
    world.is_store_slow = false;
    world.store();
    world.settle();
    assert_eq!(world.received(&name), ["SUBACK id=1 [GrantedQoS1]"]);
}

/// A client with a lasting session on the second hub whose stream was accepted by the first.
fn moved_to_second(world: &mut World) -> String {
    let name = (0..).map(|n| format!("m{n}")).find(|name| {
        let before = world.moves;
        world.resume(name);
        world.moves > before && world.hub_of(name) == 1
    });
    name.expect("client ids spread")
}

/// PUBACK leaves after every peer that was asked has answered; a publish that concerns this hub only does not wait.
#[test]
fn puback_waits_for_the_peers() {
    let (mut world, first, second) = two();
    world.subscribe(&second[0], &[("far", 1)]);
    world.subscribe(&first[0], &[("near", 1)]);
    world.are_peers_slow = true;
    world.send(&first[1], &publish_packet("near", "x", 1, 1));
    assert_eq!(world.received(&first[1]), ["PUBACK id=1 Success"]);
    world.send(&first[1], &publish_packet("far", "x", 1, 2));
    assert!(world.received(&first[1]).is_empty());
    world.carry();
    world.settle();
    assert_eq!(world.messages(&second[0]), ["far=x q1"]);
    assert!(world.received(&first[1]).is_empty());
    world.carry();
    world.settle();
    assert_eq!(world.received(&first[1]), ["PUBACK id=2 Success"]);
}

/// The last subscriber of a filter takes it off the peers.
#[test]
fn peers_forget_filters() {
    let (mut world, first, second) = two();
    for name in &second[..3] {
        world.subscribe(name, &[("t", 1)]);
    }
    for name in &second[..2] {
        world.unsubscribe(name, &["t"]);
    }
    assert_eq!(world.publish(&first[0], "t", "x", 1), ReasonCode::Success);
    world.cut(&second[2]);
    let reason = world.publish(&first[0], "t", "x", 1);
    assert_eq!(reason, ReasonCode::NoMatchingSubscribers);
}

/// Retained messages are known on every hub; the last writer wins, however late the word of it comes.
#[test]
fn retained_messages_agree() {
    let (mut world, first, second) = two();
    world.are_peers_slow = true;
    for round in 0..10 {
        let writers = [&first[round % 3], &second[round % 3]];
        for (n, writer) in writers.iter().enumerate() {
            let Packet::Publish(mut publish) = publish_packet("t", &format!("{round}.{n}"), 0, 0)
            else {
                panic!("a PUBLISH");
            };
            publish.retain = true;
            if round % 4 == 3 && n == 1 {
                publish.payload = Default::default();
            }
            world.send(writer, &Packet::Publish(publish));
        }
        if round % 2 == 0 {
            world.carry();
        }
        world.now = world.now.plus_ms(1);
    }
    world.are_peers_slow = false;
    world.settle();
    let mut seen = Vec::new();
    for name in [&first[5], &second[5]] {
        world.subscribe(name, &[("t", 0)]);
        seen.push(world.messages(name));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].len(), 1);
}

/// Who subscribes and gets the newest retained message does not get an older one after it.
#[test]
fn late_copies_do_not_overtake() {
    let (mut world, first, second) = two();
    world.subscribe(&second[9], &[("t", 0)]);
    world.are_peers_slow = true;
    let retain = |world: &mut World, name: &str, payload: &str| {
        let Packet::Publish(mut publish) = publish_packet("t", payload, 0, 0) else {
            panic!("a PUBLISH");
        };
        publish.retain = true;
        world.send(name, &Packet::Publish(publish));
    };
    retain(&mut world, &first[0], "older");
    world.pass_ms(5);
    retain(&mut world, &second[0], "newer");
    let subscribe = postrider_proto::wire::Subscribe {
        packet_id: id(1),
        properties: Default::default(),
        filters: vec![postrider_proto::wire::SubscribeFilter {
            filter: postrider_proto::wire::Filter::new("t").expect("a filter"),
            options: crate::world::options(0),
        }],
    };
    world.send(&second[1], &Packet::Subscribe(subscribe));
    world.are_peers_slow = false;
    world.settle();
    assert_eq!(world.messages(&second[1]), ["t=newer q0 retain"]);
    let live = world.messages(&second[9]);
    assert_eq!(live.len(), 2, "who was there before gets both: {live:?}");
}

/// A group has one home; its members may live anywhere, and one that is gone does not swallow messages.
#[test]
fn groups_span_hubs() {
    let (mut world, first, second) = two();
    for filter in ["$share/g/t", "$share/h/t"] {
        for name in [&first[0], &first[1], &second[0], &second[1]] {
            world.subscribe(name, &[(filter, 1)]);
        }
    }
    for n in 0..8 {
        world.publish(&first[2 + n % 2], "t", &n.to_string(), 1);
        world.publish(&second[2 + n % 2], "t", &n.to_string(), 1);
    }
    for name in [&first[0], &first[1], &second[0], &second[1]] {
        assert_eq!(world.messages(name).len(), 8, "{name}");
    }
    world.are_peers_slow = true;
    world.cut(&second[1]);
    world.cut(&first[1]);
    for n in 0..4 {
        world.send(&first[2], &publish_packet("t", "late", 1, 100 + n));
    }
    world.are_peers_slow = false;
    world.settle();
    let count = world.messages(&first[0]).len() + world.messages(&second[0]).len();
    assert_eq!(count, 8, "both groups lost no message");
    assert_eq!(world.received(&first[2]).len(), 4, "all were acknowledged");
}

/// Hubs that tell each other much at once do not wait for each other in a circle.
#[test]
fn answers_do_not_wait_in_a_circle() {
    let (mut world, first, second) = two();
    for n in 0..10 {
        for name in [&first[0], &second[0]] {
            world.subscribe(name, &[(&format!("$share/g{n}/t/{n}"), 1)]);
        }
    }
    world.are_peers_slow = true;
    for n in 0..200_u16 {
        let topic = format!("t/{}", n % 10);
        world.send(&first[1], &publish_packet(&topic, "x", 1, n + 1));
        world.send(&second[1], &publish_packet(&topic, "x", 1, n + 1));
        if n % 3 == 0 {
            world.carry();
        }
    }
    world.are_peers_slow = false;
    world.settle();
    assert_eq!(world.received(&first[1]).len(), 200);
    assert_eq!(world.received(&second[1]).len(), 200);
    let count = world.messages(&first[0]).len() + world.messages(&second[0]).len();
    assert_eq!(count, 400);
}

/// A slow subscriber of another hub pauses the publisher too.
#[test]
fn publishers_wait_for_slow_subscribers_of_other_hubs() {
    let setup = Setup { version: postrider_proto::wire::Version::V311, hubs: 2, is_durable: false };
    let mut world = World::new(setup, &|config| config.link.outbox_high_bytes = 1_000);
    let mut names = (0..40).map(|n| format!("c{n}"));
    world.connect("slow");
    let publisher = names
        .find(|name| {
            world.connect(name);
            world.hub_of(name) != world.hub_of("slow")
        })
        .expect("a client of the other hub");
    world.subscribe("slow", &[("t", 1)]);
    world.set_reading("slow", false);
    for n in 0..1_500 {
        world.send(&publisher, &publish_packet("t", "x", 1, n + 1));
    }
    assert!(world.is_paused(&publisher));
    let before = world.received(&publisher).len();
    assert!(before < 1_500);
    world.set_reading("slow", true);
    assert!(!world.is_paused(&publisher));
    assert_eq!(world.received(&publisher).len() + before, 1_500);
    assert_eq!(world.messages("slow").len(), 1_500);
}

/// What a client sends behind its CONNECT goes with it to the hub where it lives, however it is cut.
#[test]
fn bytes_move_with_their_link() {
    let (mut world, first, second) = two();
    let name = &second[0];
    world.disconnect(name);
    let mut connect = Vec::new();
    let packet = postrider_proto::wire::Connect {
        version: postrider_proto::wire::Version::V5,
        clean_start: true,
        keep_alive: 0,
        client_id: postrider_proto::wire::ClientId::new(name).expect("a client id"),
        user_name: None,
        password: None,
        will: None,
        properties: Default::default(),
    };
    let encode = postrider_proto::wire::encode;
    let version = packet.version;
    encode(&Packet::Connect(Box::new(packet)), version, u32::MAX, &mut connect).expect("a packet");
    let mut ping = Vec::new();
    encode(&Packet::PingReq, version, u32::MAX, &mut ping).expect("a packet");
    world.dial(name);
    while world.hub_of(name) != world.hub_of(&first[0]) {
        world.dial(name);
    }
    for piece in [&connect[..], &ping, &ping] {
        world.put_bytes(name, piece);
    }
    world.settle();
    assert_eq!(world.take_connack(name), "CONNACK Success");
    assert_eq!(world.received(name), ["PINGRESP", "PINGRESP"]);
}

/// Clients of a durable world of two hubs: those that live on the first and those that live on the second.
pub fn two_stored() -> (World, Vec<String>, Vec<String>) {
    let setup = Setup { version: postrider_proto::wire::Version::V5, hubs: 2, is_durable: true };
    let mut world = World::new(setup, &|_| {});
    let names = (0..12).map(|n| format!("c{n}"));
    let (first, second): (Vec<_>, Vec<_>) = names.partition(|name| {
        world.resume(name);
        world.hub_of(name) == 0
    });
    assert!(first.len() > 2 && second.len() > 2, "client ids spread");
    (world, first, second)
}

/// v5 [MQTT-4.3.3-10] [MQTT-4.5.0-1], v3.1.1 [MQTT-4.3.3-2] [MQTT-4.5.0-1]: the process ends when some hubs have stored a
/// QoS 2 message and others have not. The repeat goes to all who lack it, and to nobody twice, however many hubs
/// there are then; also to a group, and as retained.
#[test]
fn a_crash_between_hubs_neither_loses_nor_doubles() {
    for (has_crossed, hubs) in [(false, 1), (false, 2), (false, 3), (true, 1), (true, 2), (true, 3)]
    {
        let (mut world, first, second) = two_stored();
        let near = |n: u16| format!("$share/near{n}/t");
        let all = [&first[1], &second[0]];
        for name in all {
            world.subscribe(name, &[("t", 2)]);
        }
        let members = [&first[2], &second[1]];
        for (n, name) in (0..).zip(members) {
            world.subscribe(name, &[(&near(n), 2)]);
        }
        let everybody = || all.into_iter().chain(members);
        let publisher = &first[0];
        let Packet::Publish(publish) = publish_packet("t", "x", 2, 9) else { unreachable!() };
        let packet = Packet::Publish(Publish { retain: true, ..publish });
        world.set_answering(publisher, false);
        world.are_peers_slow = !has_crossed;
        world.send(publisher, &packet);
        let count = |world: &mut World| -> Vec<usize> {
            everybody().map(|name| world.messages(name).len()).collect()
        };
        let before = count(&mut world);
        assert_eq!(before[0], 1, "the hub of the publisher has stored it");
        assert_eq!(before == [1; 4], has_crossed, "{before:?}");
        world.are_peers_slow = false;

        // Twice, so that what the repeat leaves behind is seen too.
        let missing: Vec<_> = before.iter().map(|had| 1 - had).collect();
        for expected in [missing, vec![0; 4]] {
            world.restart(hubs);
            for name in everybody().chain([publisher]) {
                world.resume(name);
            }
            world.set_answering(publisher, false);
            world.send(publisher, &packet);
            assert_eq!(world.received(publisher), ["PUBREC id=9 Success"], "{hubs} hubs");
            assert_eq!(count(&mut world), expected, "{hubs} hubs");
            world.connect("late");
            world.subscribe("late", &[("t", 0)]);
            assert_eq!(world.messages("late"), ["t=x q0 retain"]);
        }
        world.send(publisher, &Packet::PubRel(ack(id(9))));
        let is_received = |key: &&Vec<u8>| key.get(8) == Some(&b'I');
        assert_eq!(world.stored.keys().find(is_received), None, "PUBREL forgets all of it");
    }
}

/// v5 [MQTT-4.5.0-1], v3.1.1 [MQTT-4.5.0-1]: after a restart a hub takes nothing before the homes of its groups know
/// their members.
#[test]
fn work_begins_when_the_homes_of_groups_know_the_members() {
    let (mut world, first, _) = two_stored();
    let is_far = |filter: &String| {
        HubConfig { hubs: 2, index: 1, seed: 42, ..HubConfig::default() }.is_home(filter.as_bytes())
    };
    let filter = (0..).map(|n| format!("$share/g{n}/t")).find(is_far).expect("a group");
    world.subscribe(&first[0], &[(&filter, 1)]);
    world.are_peers_slow = true;
    world.restart(2);
    let publisher = &first[1];
    world.dial(publisher);
    while world.hub_of(publisher) != 0 {
        world.dial(publisher);
    }
    world.send_connect(publisher, |connect| {
        connect.clean_start = false;
        set_expiry(connect, u32::MAX);
    });
    world.send(publisher, &publish_packet("t", "x", 1, 5));
    while world.carry() {
        world.settle();
    }
    assert!(world.take_connack(publisher).contains("Success"));
    assert_eq!(world.received(publisher), ["PUBACK id=5 Success"]);
    world.are_peers_slow = false;
    world.resume(&first[0]);
    assert_eq!(world.messages(&first[0]), ["t=x q1"]);
}

/// v5 [MQTT-4.3.2-4]: a message of a group comes back from a hub where the member has gone; its publisher hears of it
/// when the next member has it stored.
#[test]
fn an_acknowledgement_waits_for_the_second_member_too() {
    let (mut world, first, second) = two_stored();
    let is_near = |filter: &String| {
        HubConfig { hubs: 2, seed: 42, ..HubConfig::default() }.is_home(filter.as_bytes())
    };
    let filter = (0..).map(|n| format!("$share/g{n}/t")).find(is_near).expect("a group");
    world.connect(&second[0]);
    for name in [&second[0], &first[1]] {
        world.subscribe(name, &[(&filter, 1)]);
    }
    world.cut(&first[1]);
    world.are_peers_slow = true;
    world.is_store_slow = true;
    world.cut(&second[0]);
    world.send(&first[0], &publish_packet("t", "x", 1, 5));
    while world.carry() {
        world.settle();
    }
    assert!(world.received(&first[0]).is_empty(), "the second member has not stored it");
    world.is_store_slow = false;
    world.are_peers_slow = false;
    world.store();
    assert_eq!(world.received(&first[0]), ["PUBACK id=5 Success"]);
    world.resume(&first[1]);
    assert_eq!(world.messages(&first[1]), ["t=x q1"]);
}
