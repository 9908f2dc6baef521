//! Many clients, large payloads, slow readers.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{
    Broker,
    wire::{Packet, QoS, Version},
};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    peer::{Peer, ack, publish},
    start,
};

#[tokio::test]
async fn two_hundred_clients_at_once_get_what_is_theirs() {
    const CLIENTS: usize = 200;
    const MESSAGES: usize = 20;
    for hubs in [1, 2] {
        let broker = start(Broker::builder().hubs(hubs));
        let place = broker.endpoints()[0].clone();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let place = place.clone();
            clients.spawn(async move {
                let peer = Peer::open(&place, Version::V311).await;
                let mut peer = peer.shake_hands(&format!("c{number}")).await;
                let topic = format!("own/{number}");
                peer.subscribe(&topic, QoS::AtMostOnce).await;
                for message in 0..MESSAGES {
                    peer.publish(&topic, message.to_string(), QoS::AtMostOnce).await;
                }
                for message in 0..MESSAGES {
                    let expected = (topic.clone(), Bytes::from(message.to_string()));
                    assert_eq!(peer.message().await, expected);
                }
            });
        }
        while let Some(result) = clients.join_next().await {
            result.unwrap();
        }
        let stats = broker.stats();
        assert_eq!(stats.publishes_received, (CLIENTS * MESSAGES) as u64);
        assert_eq!(stats.publishes_sent, (CLIENTS * MESSAGES) as u64);
        broker.shut_down();
    }
}

#[tokio::test]
async fn a_payload_of_16_mib_goes_through_the_spool_at_each_qos() {
    let broker = start(Broker::builder());
    let mut sub = Peer::connect(&broker, Version::V5, "sub").await;
    let mut publisher = Peer::connect(&broker, Version::V311, "pub").await;
    sub.subscribe("big", QoS::AtLeastOnce).await;
    let payload: Bytes = (0..16u32 * 1024 * 1024).map(|at| (at ^ (at >> 11)) as u8).collect();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let sending = publisher.publish("big", payload.clone(), qos);
        let (received, ()) = tokio::join!(sub.packet(), sending);
        let Some(Packet::Publish(received)) = received else { panic!("not a PUBLISH") };
        assert!(received.payload == payload, "the payload differs");
        if let Some(id) = received.packet_id {
            sub.send(&Packet::PubAck(ack(id.get()))).await;
            assert!(publisher.next().await.starts_with("PUBACK id=7"));
        }
    }
    broker.shut_down();
}

/// A turn of the hub is shorter than this burst, so the end of the stream is there while bytes are still unread.
#[tokio::test]
async fn a_burst_right_before_the_end_of_a_connection_arrives_whole() {
    const MESSAGES: usize = 5_000;
    for hubs in [1, 2] {
        let broker = start(Broker::builder().hubs(hubs));
        let mut sub = Peer::connect(&broker, Version::V311, "sub").await;
        sub.subscribe("burst", QoS::AtMostOnce).await;
        let mut publisher = Peer::connect(&broker, Version::V311, "pub").await;
        let burst: Vec<_> = (0..MESSAGES)
            .map(|number| publish("burst", number.to_string(), QoS::AtMostOnce))
            .collect();
        publisher.send_burst(&burst).await;
        drop(publisher);
        for number in 0..MESSAGES {
            let expected = ("burst".to_owned(), Bytes::from(number.to_string()));
            assert_eq!(sub.message().await, expected);
        }
        broker.shut_down();
    }
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_up_nobody_else() {
    let broker = start(Broker::builder());
    let mut slow = Peer::connect(&broker, Version::V311, "slow").await;
    slow.subscribe("flood", QoS::AtMostOnce).await;
    let place = broker.endpoints()[0].clone();
    let flood = tokio::spawn(async move {
        let mut peer = Peer::open(&place, Version::V311).await.shake_hands("flood").await;
        loop {
            peer.publish("flood", vec![1; 100_000], QoS::AtMostOnce).await;
        }
    });
    let mut fast = Peer::connect(&broker, Version::V311, "fast").await;
    fast.subscribe("quiet", QoS::AtLeastOnce).await;
    let quiet = async {
        for number in 0..500 {
            fast.publish("quiet", number.to_string(), QoS::AtMostOnce).await;
            let expected = ("quiet".to_owned(), Bytes::from(number.to_string()));
            assert_eq!(fast.message().await, expected);
        }
    };
    timeout(Duration::from_secs(20), quiet).await.unwrap();
    flood.abort();
    drop(slow);
    tokio::task::spawn_blocking(|| broker.shut_down()).await.unwrap();
}
