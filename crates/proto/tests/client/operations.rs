//! SUBSCRIBE, UNSUBSCRIBE, and what is remembered of them.

use postrider_proto::{
    client::{ClientConfig, OperationError},
    wire::{Property, ReasonCode, SubscribeFilter, SubscribeOptions, Version},
};

use crate::desk::{Desk, Q1, VERSIONS, config, one, subscription};

const OK: ReasonCode = ReasonCode::Success;
const DENIED: ReasonCode = ReasonCode::UnspecifiedError;

/// v5 [MQTT-3.8.4-1] [MQTT-3.8.4-6] [MQTT-3.10.4-4], v3.1.1 [MQTT-3.8.4-1] [MQTT-3.8.4-5] [MQTT-3.10.4-4].
#[test]
fn operations_are_answered() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        let both = desk.subscribe(&["a", "b/#"]);
        let leave = desk.unsubscribe(&["a"]);
        assert!(!desk.client.is_idle());
        desk.suback(1, &[ReasonCode::GrantedQoS1, DENIED]);
        assert_eq!(desk.subscriptions(), ["a"]);
        desk.unsuback(2, &[OK]);
        assert_eq!(desk.subscriptions(), [""; 0]);
        let expected = [
            "> SUBSCRIBE 1 a b/#".to_string(),
            "> UNSUBSCRIBE 2 a".into(),
            format!("Subscribed {} [1, 128]", both.0),
            format!("Unsubscribed {}", leave.0),
        ];
        assert_eq!(desk.log(), expected);
        assert!(desk.client.is_idle());
    }
}

/// v5 [MQTT-3.10.4-5]: 0x11 is a success; a refusal keeps the subscription.
#[test]
fn unsuback_codes_decide_what_is_forgotten() {
    let mut desk = Desk::connected(Version::V5);
    desk.subscribe(&["a", "b", "c"]);
    desk.suback(1, &[OK, OK, OK]);
    desk.unsubscribe(&["a", "b", "c"]);
    desk.unsuback(2, &[ReasonCode::NoSubscriptionExisted, ReasonCode::NotAuthorized, OK]);
    assert_eq!(desk.subscriptions(), ["b"]);
}

#[test]
fn operations_wait_for_the_connection_within_bounds() {
    let mut desk = Desk::new(ClientConfig { operations_max: 2, ..config(Version::V5) });
    desk.subscribe(&["a"]);
    desk.unsubscribe(&["b"]);
    let full = desk.client.subscribe(vec![subscription("c")], Default::default(), desk.now);
    assert_eq!(full, Err(OperationError::TooMany(2)));
    let none = desk.client.subscribe(vec![], Default::default(), desk.now);
    assert_eq!(none, Err(OperationError::Empty));
    // Time without a connection does not count.
    desk.wait_ms(1_000_000);
    desk.client.connect(desk.now);
    desk.open();
    desk.log();
    desk.accept(false);
    assert_eq!(desk.log(), ["Connected", "> SUBSCRIBE 1 a", "> UNSUBSCRIBE 2 b"]);
}

/// Only time with a connection counts; the operation is sent again on the next one with a new id.
#[test]
fn timeouts_count_while_connected() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        let id = desk.subscribe(&["a"]).0;
        assert_eq!(desk.deadline, Some(desk.now.plus_ms(5_000)));
        desk.wait_ms(4_000);
        desk.cut();
        desk.wait_ms(100_000);
        desk.open();
        desk.log();
        desk.accept(true);
        assert_eq!(desk.log(), ["Connected present", "> SUBSCRIBE 2 a"]);
        desk.wait_ms(999);
        assert_eq!(desk.log(), [""; 0]);
        desk.wait_ms(1);
        assert_eq!(desk.log(), [format!("Subscribed {id} TimedOut(5000)")]);
        // The id stays busy until the late answer, which nobody waits for.
        desk.subscribe(&["b"]);
        desk.suback(2, &[OK]);
        assert_eq!(desk.log(), ["> SUBSCRIBE 3 b"]);
    }
}

/// v5 [MQTT-3.2.2-5], v3.1.1 [MQTT-3.2.2-3]: no session, no subscriptions, so they are asked for again, in order.
#[test]
fn a_lost_session_is_subscribed_again() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        for (at, filter) in ["c", "a", "b"].into_iter().enumerate() {
            desk.subscribe(&[filter]);
            desk.suback(u16::try_from(at).unwrap() + 1, &[OK]);
        }
        desk.cut_and_open();
        desk.log();
        desk.accept(true);
        assert_eq!(desk.log(), ["Connected present"]);
        desk.cut_and_open();
        desk.log();
        desk.accept(false);
        assert_eq!(desk.log(), ["Connected again=3", "> SUBSCRIBE 4 c a b"]);
        assert!(desk.client.is_idle());
        desk.suback(4, &[OK, DENIED, OK]);
        assert_eq!(desk.log(), ["SubscriptionLost a 80"]);
        assert_eq!(desk.subscriptions(), ["c", "b"]);
    }
}

/// If the link ends before the answer, the next session lacks them still, present or not.
#[test]
fn resubscribing_is_repeated_until_it_is_answered() {
    let mut desk = Desk::connected(Version::V5);
    desk.subscribe(&["a", "b"]);
    desk.suback(1, &[OK, OK]);
    desk.cut_and_open();
    desk.accept(false);
    desk.cut_and_open();
    desk.log();
    desk.accept(true);
    assert_eq!(desk.log(), ["Connected present again=2", "> SUBSCRIBE 3 a b"]);
    desk.suback(3, &[OK, OK]);
    desk.cut_and_open();
    desk.log();
    desk.accept(true);
    assert_eq!(desk.log(), ["Connected present"]);
}

/// Operations that wait deal with their filters themselves.
#[test]
fn pending_operations_are_not_doubled() {
    let mut desk = Desk::connected(Version::V5);
    desk.subscribe(&["a", "b", "c"]);
    desk.suback(1, &[OK, OK, OK]);
    desk.cut();
    desk.subscribe(&["b"]);
    desk.unsubscribe(&["c"]);
    desk.wake();
    desk.open();
    desk.log();
    desk.accept(false);
    let log = desk.log();
    let expected = ["Connected again=3", "> SUBSCRIBE 2 b", "> UNSUBSCRIBE 3 c", "> SUBSCRIBE 4 a"];
    assert_eq!(log, expected);
}

/// One SUBSCRIBE has one identifier and a bounded size; AWS takes 8 filters at most.
#[test]
fn resubscribing_is_grouped() {
    let mut desk = Desk::connected(Version::V5);
    let number = Property::SubscriptionIdentifier;
    desk.subscribe(&["a"]);
    desk.suback(1, &[OK]);
    desk.subscribe_with(&["b", "c"], one(number(7)));
    desk.suback(2, &[OK, OK]);
    desk.subscribe_with(&["d"], one(number(8)));
    desk.suback(3, &[OK]);
    let many: Vec<String> = (0..9).map(|at| format!("m/{at}")).collect();
    desk.subscribe(&many.iter().map(String::as_str).collect::<Vec<_>>());
    desk.suback(4, &[OK; 9]);
    desk.cut_and_open();
    desk.log();
    desk.accept(false);
    let expected = [
        "Connected again=13",
        "> SUBSCRIBE 5 a",
        "> SUBSCRIBE 6 #7 b c",
        "> SUBSCRIBE 7 #8 d",
        "> SUBSCRIBE 8 m/0 m/1 m/2 m/3 m/4 m/5 m/6 m/7",
        "> SUBSCRIBE 9 m/8",
    ];
    assert_eq!(desk.log(), expected);
}

/// v5 [MQTT-3.2.2-15]: within the packet size of the server, and what never fits is given up.
#[test]
fn resubscribing_fits_the_packet_size() {
    let mut desk = Desk::connected(Version::V5);
    let long = "l".repeat(60);
    desk.subscribe(&["a/123456789", "b/123456789", "c/123456789", &long]);
    desk.suback(1, &[OK; 4]);
    desk.cut_and_open();
    desk.log();
    desk.accept_with(false, one(Property::MaximumPacketSize(45)));
    let expected = [
        "Connected again=4".to_string(),
        format!("SubscriptionLost {long} 83"),
        "> SUBSCRIBE 2 a/123456789 b/123456789".into(),
        "> SUBSCRIBE 3 c/123456789".into(),
    ];
    assert_eq!(desk.log(), expected);
    let id = desk.subscribe(&[&long]).0;
    assert_eq!(desk.log(), [format!("Subscribed {id} TooLarge")]);
}

/// v5 sections 3.2.2.3.11 to 3.2.2.3.13: what the server does not offer is refused at once, or when it is known.
#[test]
fn what_the_server_does_not_offer_is_refused() {
    let limits = || {
        [
            Property::WildcardSubscriptionAvailable(false),
            Property::SubscriptionIdentifierAvailable(false),
            Property::SharedSubscriptionAvailable(false),
        ]
    };
    let mut desk = Desk::new(config(Version::V5));
    let early = desk.subscribe(&["$share/g/a"]).0;
    desk.client.connect(desk.now);
    desk.open();
    desk.log();
    desk.accept_with(false, limits().into_iter().collect());
    let expected = [
        "Connected".to_string(),
        format!("Subscribed {early} NotOffered(\"shared subscriptions\")"),
    ];
    assert_eq!(desk.log(), expected);
    let mut refused = |filter: &str, properties| {
        desk.client.subscribe(vec![subscription(filter)], properties, desk.now).unwrap_err()
    };
    let none = OperationError::NotOffered;
    assert_eq!(refused("a/+", Default::default()), none("wildcard subscriptions"));
    assert_eq!(refused("$share/g/a", Default::default()), none("shared subscriptions"));
    let number = one(Property::SubscriptionIdentifier(1));
    assert_eq!(refused("a", number), none("subscription identifiers"));
}

/// 3.1.1 has neither properties nor options besides the QoS.
#[test]
fn what_3_1_1_cannot_say_is_refused() {
    let mut desk = Desk::connected(Version::V311);
    let number = one(Property::SubscriptionIdentifier(1));
    let refused = desk.client.subscribe(vec![subscription("a")], number, desk.now);
    assert_eq!(refused, Err(OperationError::NotOffered("subscription identifiers")));
    let options = SubscribeOptions { qos: Q1, no_local: true, ..SubscribeOptions::default() };
    let line = SubscribeFilter { options, ..subscription("a") };
    let refused = desk.client.subscribe(vec![line], Default::default(), desk.now);
    assert_eq!(refused, Err(OperationError::NotOffered("subscription options")));
}

/// v5 [MQTT-3.8.4-6], v3.1.1 [MQTT-3.8.4-5]: an answer that does not fit its question ends the link; the question is
/// asked again.
#[test]
fn a_wrong_answer_ends_the_link() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        desk.subscribe(&["a", "b"]);
        desk.log();
        desk.suback(1, &[OK]);
        assert!(desk.log()[0].starts_with("Disconnected PeerFault 82"));
        desk.wake();
        desk.open();
        desk.accept(true);
        assert_eq!(desk.log().last().unwrap(), "> SUBSCRIBE 2 a b");
        desk.unsuback(2, &[OK, OK]);
        assert!(desk.log()[0].starts_with("Disconnected PeerFault 82"));
    }
}

/// An answer to nothing is ignored.
#[test]
fn an_unknown_answer_is_ignored() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        desk.suback(9, &[OK]);
        desk.unsuback(9, &[OK]);
        assert_eq!(desk.log(), [""; 0]);
    }
}

/// The same filter again replaces its options and keeps its place.
#[test]
fn a_filter_is_remembered_once() {
    let mut desk = Desk::connected(Version::V5);
    desk.subscribe(&["a", "b"]);
    desk.suback(1, &[OK, OK]);
    desk.subscribe_with(&["a"], one(Property::SubscriptionIdentifier(5)));
    desk.suback(2, &[OK]);
    assert_eq!(desk.subscriptions(), ["a", "b"]);
    desk.cut_and_open();
    desk.log();
    desk.accept(false);
    assert_eq!(desk.log(), ["Connected again=2", "> SUBSCRIBE 3 #5 a", "> SUBSCRIBE 4 b"]);
}
