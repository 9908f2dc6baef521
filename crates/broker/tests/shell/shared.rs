//! What waits for several sessions is stored once.

use std::{fs, path::Path};

use bytes::Bytes;
use postrider_broker::{
    Broker,
    wire::{Packet, QoS, Version},
};

use crate::{
    peer::{Peer, ack, publish},
    start,
    store::{deliver, end, goodbye, resume},
};

const SESSIONS: [&str; 3] = ["one", "two", "three"];
/// Below what counts as large.
const LEN: usize = 600_000;

/// v5 v3.1.1 [MQTT-4.1.0-1]: through a crash each session gets its copy, and with the last one the file goes.
#[tokio::test]
async fn a_payload_is_stored_once_for_all_that_are_away() {
    for (hubs, version) in [(1, Version::V311), (1, Version::V5), (2, Version::V5)] {
        let folder = tempfile::tempdir().unwrap();
        let open = |hubs| start(Broker::builder().store(folder.path()).hubs(hubs));
        let broker = open(1);
        for client_id in SESSIONS {
            let (mut peer, _) = resume(&broker, version, client_id, None).await;
            peer.subscribe("q/#", QoS::ExactlyOnce).await;
            peer.send(&Packet::Disconnect(goodbye())).await;
            assert_eq!(peer.next().await, "the end");
        }
        let mut sender = Peer::connect(&broker, version, "sender").await;
        for (topic, qos) in [("q/1", QoS::AtLeastOnce), ("q/2", QoS::ExactlyOnce)] {
            deliver(&mut sender, publish(topic, vec![7; LEN], qos)).await;
        }
        assert_eq!(spools(folder.path()), 2);
        end(broker, true).await;

        let broker = open(hubs);
        for client_id in SESSIONS {
            assert_eq!(spools(folder.path()), 2, "{client_id} still needs them");
            let (mut peer, is_present) = resume(&broker, version, client_id, None).await;
            assert!(is_present);
            for topic in ["q/1", "q/2"] {
                assert!(peer.message().await == (topic.to_owned(), Bytes::from(vec![7; LEN])));
            }
            peer.send(&Packet::PubAck(ack(1))).await;
            peer.send(&Packet::PubRec(ack(2))).await;
            assert!(peer.next().await.starts_with("PUBREL id=2"));
            peer.send(&Packet::PubComp(ack(2))).await;
            peer.send(&Packet::PingReq).await;
            assert_eq!(peer.next().await, "PINGRESP");
        }
        end(broker, false).await;
        assert_eq!(spools(folder.path()), 0);
    }
}

/// A session with a link, a small payload, or only one session: each has its record.
#[tokio::test]
async fn what_is_not_worth_a_file_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(Broker::builder().store(folder.path()));
    let mut there = Vec::new();
    for client_id in SESSIONS {
        let (mut peer, _) = resume(&broker, Version::V5, client_id, None).await;
        peer.subscribe("all", QoS::AtLeastOnce).await;
        there.push(peer);
    }
    let mut away = there.pop().unwrap();
    away.send(&Packet::Disconnect(goodbye())).await;
    assert_eq!(away.next().await, "the end");
    let mut sender = Peer::connect(&broker, Version::V5, "sender").await;
    deliver(&mut sender, publish("all", vec![7; LEN], QoS::AtLeastOnce)).await;
    for mut peer in there {
        assert_eq!(peer.message().await.1.len(), LEN);
        peer.send(&Packet::Disconnect(goodbye())).await;
        assert_eq!(peer.next().await, "the end");
    }
    deliver(&mut sender, publish("all", vec![7; 4095], QoS::AtLeastOnce)).await;
    assert_eq!(spools(folder.path()), 0);
    broker.shut_down();
}

fn spools(folder: &Path) -> usize {
    fs::read_dir(folder.join("spools")).unwrap().count()
}
