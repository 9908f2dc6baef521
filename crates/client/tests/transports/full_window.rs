//! A socket that says nothing before an eighth of a full window is acknowledged says it after a while all the same.

use std::time::Duration;

use postrider::{Builder, Protocol, QoS, Receipt, Session};
use postrider_proto::wire::PacketType;
use postrider_testing::{Script, ScriptedBroker};
use tokio::time::timeout;

const WINDOW: u16 = 100;
const PATIENCE: Duration = Duration::from_secs(10);

fn builder(broker: &ScriptedBroker) -> Builder {
    Session::builder(broker.url(), "me").version(Protocol::V5).in_flight_max(WINDOW)
}

/// Reads so many messages without an answer.
fn fill(script: Script) -> Script {
    (0..WINDOW).fold(script, |script, _| script.expect(PacketType::Publish))
}

async fn publish(session: &Session) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for _ in 0..WINDOW {
        let publish = session.publish("a", "1").qos(QoS::AtLeastOnce);
        receipts.push(publish.receipt().await.unwrap());
    }
    receipts
}

#[tokio::test]
async fn one_acknowledgement_is_heard() {
    let script = fill(Script::new().accept()).send_bytes(&b"\x40\x02\x00\x01"[..]);
    let broker = ScriptedBroker::start([script]).unwrap();
    let session = builder(&broker).connect().await.unwrap();
    let mut receipts = publish(&session).await;
    let first = timeout(PATIENCE, receipts.remove(0)).await.expect("in time");
    assert_eq!(first.unwrap().number, 1);
}

#[tokio::test]
async fn a_message_is_heard() {
    let script = fill(Script::new().accept().grant()).send_bytes(&b"\x30\x05\x00\x01n\x00x"[..]);
    let broker = ScriptedBroker::start([script]).unwrap();
    let session = builder(&broker).connect().await.unwrap();
    let mut messages = session.subscribe("n", QoS::AtMostOnce).await.unwrap();
    let receipts = publish(&session).await;
    let message = timeout(PATIENCE, messages.next()).await.expect("in time");
    assert_eq!(message.unwrap().text().unwrap(), "x");
    drop(receipts);
}

#[tokio::test]
async fn the_end_is_heard() {
    let first = fill(Script::new().accept()).close();
    let second = Script::new().accept().expect(PacketType::Publish);
    let broker = ScriptedBroker::start([first, second]).unwrap();
    let session = builder(&broker).connect().await.unwrap();
    let receipts = publish(&session).await;
    broker.finish().await.unwrap();
    drop(receipts);
}
