//! Payloads as JSON, with the feature `json`. Issue 5, section 4.

use std::collections::BTreeMap;

use postrider::{JsonError, Payload, QoS};

use crate::peer::{connected, message};

#[tokio::test]
async fn values_travel_as_json() {
    let (session, mut peer, _desk) = connected().await;
    let reading = BTreeMap::from([("temp", 21.5), ("humidity", 40.0)]);
    let payload = Payload::json(&reading).unwrap();
    session.publish("a", payload).content_type("application/json").await.unwrap();
    let sent = peer.publish().await;
    assert_eq!(sent.payload, r#"{"humidity":40.0,"temp":21.5}"#);
    let mut unmatched = session.unmatched();
    for payload in [std::str::from_utf8(&sent.payload).unwrap(), "{"] {
        peer.send(postrider_proto::wire::Packet::Publish(message(
            "a",
            payload,
            QoS::AtMostOnce,
            &[],
        )))
        .await;
    }
    // Keys are borrowed from the message.
    let arrived = unmatched.next().await.unwrap();
    assert_eq!(arrived.json::<BTreeMap<&str, f64>>().unwrap(), reading);
    assert!(arrived.json::<Vec<f64>>().is_err());
    let broken = unmatched.next().await.unwrap();
    let JsonError { what } = broken.json::<f64>().unwrap_err();
    assert!(what.contains("line 1"), "{what}");
}
