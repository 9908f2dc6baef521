//! What is told once after each connection, and signs of life on demand.

use postrider_proto::wire::{Filter, ReasonCode, Version};

use crate::desk::{Desk, config};

/// Issue 5, section 3: after each connection one event tells the truth, per filter.
#[test]
fn answers_to_resubscribing_are_told_together() {
    let mut desk = Desk::connected(Version::V5);
    assert_eq!(desk.settled, [vec![]]);
    for (id, filter) in [(1, "a"), (2, "b")] {
        desk.subscribe(&[filter]);
        desk.suback(id, &[ReasonCode::GrantedQoS1]);
    }
    desk.cut_and_open();
    desk.accept(true);
    assert_eq!(desk.settled, [vec![], vec![]]);
    // Lost: asked again, and told when both are answered.
    desk.cut_and_open();
    desk.accept(false);
    assert_eq!(desk.settled.len(), 2);
    desk.suback(3, &[ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized]);
    let filter = |name| Filter::new(name).unwrap();
    let expected =
        vec![(filter("a"), ReasonCode::GrantedQoS1), (filter("b"), ReasonCode::NotAuthorized)];
    assert_eq!(desk.settled[2], expected);
    assert!(desk.log().contains(&"SubscriptionLost b 87".to_owned()));
    // Lost again before the answer: nothing is told for that connection.
    desk.cut_and_open();
    desk.accept(false);
    desk.cut_and_open();
    desk.accept(false);
    desk.suback(5, &[ReasonCode::GrantedQoS1]);
    assert_eq!(desk.settled.len(), 4);
    assert_eq!(desk.settled[3], vec![(filter("a"), ReasonCode::GrantedQoS1)]);
}

/// Issue 5, section 3: sleep and resume of the machine leads to a PINGREQ at once.
#[test]
fn a_sign_of_life_is_asked_for_at_once() {
    let mut config = config(Version::V5);
    config.keep_alive_s = 60;
    let mut desk = Desk::new(config);
    desk.client.check_alive(desk.now);
    desk.client.connect(desk.now);
    desk.open();
    desk.client.check_alive(desk.now);
    desk.log();
    desk.accept(false);
    desk.log();
    desk.client.check_alive(desk.now);
    assert_eq!(desk.log(), ["> PINGREQ"]);
}
