//! Start and end of a broker.

use std::time::{Duration, Instant};

use postrider_broker::{
    Broker, StartError,
    wire::{QoS, Version},
};
use tokio::io::AsyncReadExt;

use crate::{
    peer::{Peer, WAIT_MAX, endpoint},
    start,
};

/// v5 [MQTT-4.13.1-1]: a server may say why it closes a connection.
#[tokio::test]
async fn a_stop_says_goodbye_and_frees_the_port() {
    for hubs in [1, 2] {
        let broker = start(Broker::builder().hubs(hubs));
        let place = broker.endpoints()[0].clone();
        let mut new = Peer::connect(&broker, Version::V5, "new").await;
        let mut old = Peer::connect(&broker, Version::V311, "old").await;
        let silent = Peer::open(&place, Version::V5).await;
        tokio::task::spawn_blocking(|| broker.shut_down()).await.unwrap();
        let goodbye = new.next().await;
        assert!(goodbye.starts_with("DISCONNECT ServerShuttingDown"), "{goodbye}");
        assert_eq!(new.next().await, "the end");
        assert_eq!(old.next().await, "the end");
        drop(silent);
        let again = Broker::builder().listen(place.to_string()).start().unwrap();
        assert_eq!(again.endpoints(), [place]);
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_peer_that_does_not_read() {
    let broker = start(Broker::builder().flush_max(Duration::from_millis(200)));
    // Unlike a socket, a connection within the process holds 256 KiB and no more.
    let mut slow = Peer::new(broker.connect(), Version::V5).shake_hands("slow").await;
    slow.subscribe("t", QoS::AtMostOnce).await;
    let mut fast = Peer::connect(&broker, Version::V5, "fast").await;
    for _ in 0..3 {
        fast.publish("t", vec![0; 250_000], QoS::AtMostOnce).await;
    }
    fast.publish("t", "", QoS::AtLeastOnce).await;
    let answer = fast.next().await;
    assert!(answer.starts_with("PUBACK id=7"), "{answer}");
    let begin = Instant::now();
    tokio::task::spawn_blocking(|| broker.shut_down()).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
    assert!(begin.elapsed() < WAIT_MAX, "{:?}", begin.elapsed());
    let mut rest = Vec::new();
    slow.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() < 750_000, "{}", rest.len());
}

#[tokio::test]
async fn a_killed_broker_says_nothing() {
    let broker = start(Broker::builder());
    let mut peer = Peer::connect(&broker, Version::V5, "c").await;
    broker.kill();
    assert_eq!(peer.next().await, "the end");
}

#[test]
fn an_address_in_use_is_named_with_a_way_out() {
    let broker = start(Broker::builder());
    let place = broker.endpoints()[0].to_string();
    let error = Broker::builder().listen("tcp://127.0.0.1:0").listen(&place).start().unwrap_err();
    assert!(
        matches!(&error, StartError::AddressInUse { endpoint } if endpoint.to_string() == place)
    );
    let text = error.to_string();
    assert!(text.contains(&place), "{text}");
    assert!(text.contains("choose another port"), "{text}");
}

#[test]
fn a_place_that_does_not_exist_is_named() {
    let error = Broker::builder().listen("tcp://192.0.2.1:1883").start().unwrap_err();
    assert!(error.to_string().contains("tcp://192.0.2.1:1883"), "{error}");
    let error = Broker::builder().listen("unix:/no/such/folder/a.sock").start().unwrap_err();
    assert!(error.to_string().contains("unix:/no/such/folder/a.sock"), "{error}");
}

#[test]
fn many_brokers_live_in_one_process() {
    let brokers: Vec<_> = (0..8).map(|_| start(Broker::builder())).collect();
    let mut places: Vec<_> = brokers.iter().map(|broker| broker.endpoints()[0].clone()).collect();
    places.dedup();
    assert_eq!(places.len(), 8);
    assert!(!places.contains(&endpoint("tcp://127.0.0.1:0")));
}
