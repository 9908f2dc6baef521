//! What is said with the second half of QoS 2 exchanges. Spec: v5 sections 3.5 to 3.7.

use postrider_proto::{
    AckReason, Payload,
    client::{ClientConfig, PublishError},
    wire::{Ack, AckKind, Properties, Property, ReasonCode, Text, Version},
};

use crate::desk::{Desk, Q1, Q2, config, delivery, one, pid, publish};

const OK: ReasonCode = ReasonCode::Success;
/// A property costs its bytes and its own size.
const ROOM: usize = 1024 * 1024 - size_of::<Property>();

fn because(text: &str) -> Properties {
    one(Property::ReasonString(Text::new(text).unwrap()))
}

fn send(desk: &mut Desk, topic: &str, release: Properties) -> Result<u64, PublishError> {
    let (publish, payload) = (publish(Q2, topic), Payload::Bytes(Default::default()));
    let sent = desk.client.publish_with(publish, payload, release, None, desk.now);
    desk.drain();
    sent.map(|sent| sent.number)
}

fn ack(desk: &mut Desk, kind: AckKind, id: u16, text: &str) {
    let properties = because(text);
    desk.reply(&kind.packet(Ack { packet_id: pid(id), reason: OK, properties }));
}

/// It is said again for a PUBREC that comes again, and not on the next link; of two PUBRECs the last one is told.
#[test]
fn a_release_and_a_receipt_are_told() {
    let mut desk = Desk::connected(Version::V5);
    send(&mut desk, "a", because("sold")).unwrap();
    send(&mut desk, "b", Properties::new()).unwrap();
    desk.log();
    ack(&mut desk, AckKind::PubRec, 1, "first");
    ack(&mut desk, AckKind::PubRec, 1, "kept");
    assert_eq!(desk.log(), ["> PUBREL 1 sold", "> PUBREL 1 sold"]);
    desk.cut_and_open();
    desk.log();
    desk.accept(true);
    assert_eq!(desk.log(), ["Connected present", "> PUBREL 1", "> PUBLISH 2 q2 b dup"]);
    desk.ack(AckKind::PubComp, 1, OK);
    desk.ack(AckKind::PubRec, 2, OK);
    desk.ack(AckKind::PubComp, 2, OK);
    assert_eq!(desk.log(), ["Published 1 kept", "> PUBREL 2", "Published 2"]);
}

/// A message that begins anew in a new session says it there.
#[test]
fn a_release_outlives_the_session_of_the_server() {
    let mut desk = Desk::connected(Version::V5);
    send(&mut desk, "a", because("sold")).unwrap();
    desk.cut_and_open();
    desk.log();
    desk.accept(false);
    assert_eq!(desk.log(), ["Connected", "MayBeDouble 1", "> PUBLISH 2 q2 a"]);
    ack(&mut desk, AckKind::PubRec, 2, "kept");
    desk.ack(AckKind::PubComp, 2, OK);
    assert_eq!(desk.log(), ["> PUBREL 2 sold", "Published 1 kept"]);
}

fn manual() -> Desk {
    let mut desk = Desk::new(ClientConfig { is_manual: true, ..config(Version::V5) });
    desk.client.connect(desk.now);
    desk.open();
    desk.accept(false);
    desk
}

/// The program is done with the message, and says so with the PUBCOMP.
fn complete(desk: &mut Desk, number: u64) {
    let reason = AckReason { completion: because("eaten"), ..AckReason::default() };
    desk.client.acknowledge_with(number, Vec::new(), reason).unwrap();
    desk.drain();
    desk.log();
}

/// The number is that of the program, until the exchange is over; a session that acknowledges by itself has none.
#[test]
fn a_release_of_the_server_names_its_message() {
    let mut desk = manual();
    for id in [8, 9] {
        desk.reply(&delivery(Q2, id, "a", false));
    }
    complete(&mut desk, 1);
    complete(&mut desk, 2);
    ack(&mut desk, AckKind::PubRel, 9, "gone");
    ack(&mut desk, AckKind::PubRel, 9, "again");
    ack(&mut desk, AckKind::PubRel, 8, "gone");
    let released: Vec<_> =
        desk.log().into_iter().filter(|line| line.starts_with("Released")).collect();
    assert_eq!(
        released,
        ["Released 9 number 2 gone", "Released 9 again", "Released 8 number 1 gone"]
    );
    let mut desk = Desk::connected(Version::V5);
    desk.reply(&delivery(Q2, 8, "a", false));
    desk.log();
    ack(&mut desk, AckKind::PubRel, 8, "gone");
    assert_eq!(desk.log(), ["Released 8 gone", "> PUBCOMP 8"]);
}

/// What is said of a message at QoS 1, which has no PUBCOMP, is not said of the next one under its identifier.
#[test]
fn nothing_is_kept_for_a_release_that_never_comes() {
    let mut desk = manual();
    desk.reply(&delivery(Q1, 7, "a", false));
    complete(&mut desk, 1);
    desk.reply(&delivery(Q2, 7, "b", false));
    desk.client.acknowledge(2, Vec::new()).unwrap();
    desk.drain();
    desk.log();
    ack(&mut desk, AckKind::PubRel, 7, "gone");
    assert_eq!(desk.log(), ["Released 7 number 2 gone", "> PUBCOMP 7"]);
}

#[test]
fn a_completion_is_said_once_and_not_to_another_session() {
    let mut desk = manual();
    desk.reply(&delivery(Q2, 1, "a", false));
    complete(&mut desk, 1);
    ack(&mut desk, AckKind::PubRel, 1, "gone");
    assert_eq!(desk.log(), ["Released 1 number 1 gone", "> PUBCOMP 1 eaten"]);
    desk.ack(AckKind::PubRel, 1, OK);
    assert_eq!(desk.log(), ["> PUBCOMP 1 92"]);
    desk.reply(&delivery(Q2, 1, "b", false));
    complete(&mut desk, 2);
    desk.cut_and_open();
    desk.accept(false);
    desk.log();
    desk.ack(AckKind::PubRel, 1, OK);
    assert_eq!(desk.log(), ["> PUBCOMP 1 92"]);
}

/// At, under and over 1 MiB for all of them together; room comes back with the end of an exchange.
#[test]
fn remarks_are_bounded() {
    let mut desk = Desk::connected(Version::V5);
    let name = "n".repeat(60_000);
    let pair = |len: usize| {
        let text = |text: &str| Text::new(text).unwrap();
        Property::UserProperty(text(&name), text(&"v".repeat(len)))
    };
    let many = |last| -> Properties {
        let full = (0..8).map(|_| pair(60_000 - size_of::<Property>()));
        full.chain([pair(last)]).collect()
    };
    let last = ROOM - 8 * 120_000 - 60_000;
    let full = send(&mut desk, "a", many(last + 1));
    assert_eq!(
        full,
        Err(PublishError::QueueFull(postrider_proto::QueueFull { messages: 0, bytes: 0 }))
    );
    assert_eq!(send(&mut desk, "a", many(last)), Ok(1));
    assert!(matches!(send(&mut desk, "b", because("x")), Err(PublishError::QueueFull(_))));
    assert_eq!(send(&mut desk, "b", Properties::new()), Ok(2));
    desk.log();
    // Nor is what the server says kept.
    ack(&mut desk, AckKind::PubRec, 2, "lost");
    desk.ack(AckKind::PubComp, 2, OK);
    assert_eq!(desk.log(), ["> PUBREL 2", "Published 2"]);
    desk.ack(AckKind::PubRec, 1, ReasonCode::QuotaExceeded);
    assert_eq!(send(&mut desk, "c", because("x")), Ok(3));
}

#[test]
fn only_what_pubrel_may_have_is_taken() {
    let mut desk = Desk::connected(Version::V311);
    assert_eq!(send(&mut desk, "a", because("x")), Err(PublishError::Property("ReasonString")));
    let mut desk = Desk::connected(Version::V5);
    let wrong = send(&mut desk, "a", one(Property::MessageExpiryInterval(1)));
    assert_eq!(wrong, Err(PublishError::Property("MessageExpiryInterval")));
    // At QoS 1 there is no PUBREL, and nothing is kept for it.
    let release = because("x");
    let sent = desk.client.publish_with(
        publish(Q1, "a"),
        Payload::Bytes(Default::default()),
        release,
        None,
        desk.now,
    );
    assert_eq!(sent.unwrap().number, 1);
}
