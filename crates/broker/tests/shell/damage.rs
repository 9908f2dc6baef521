//! Large payloads that are damaged on the disk.

use std::{collections::BTreeSet, fs, path::Path};

use postrider_broker::{
    Broker,
    wire::{Packet, Publish, QoS, Version},
};

use crate::{
    peer::{Peer, ack, publish},
    start,
    store::{deliver, end, goodbye, resume},
};

/// v5 [MQTT-4.4.0-1] v3.1.1 [MQTT-4.4.0-1] let a session go on; one damaged message must not be what it stops at. The
/// identifier of one at QoS 2 is released, since the subscriber may know it.
#[tokio::test]
async fn a_damaged_message_is_given_up_and_the_others_go_on() {
    for version in [Version::V311, Version::V5] {
        let folder = tempfile::tempdir().unwrap();
        let broker = open(folder.path());
        let (mut away, _) = resume(&broker, version, "away", None).await;
        away.subscribe("q/#", QoS::ExactlyOnce).await;
        away.send(&Packet::Disconnect(goodbye())).await;
        assert_eq!(away.next().await, "the end");
        let (mut sender, _) = resume(&broker, version, "sender", None).await;
        for (topic, len, qos) in MESSAGES {
            deliver(&mut sender, publish(topic, vec![7; len], qos)).await;
        }
        let Packet::Publish(kept) = publish("kept", vec![7; LARGE], QoS::AtLeastOnce) else {
            panic!()
        };
        deliver(&mut sender, Packet::Publish(Publish { retain: true, ..kept })).await;
        assert_eq!(damage(folder.path()), 3);

        let (mut found, mut released, mut links) = (BTreeSet::new(), 0, 0);
        while released == 0 || !found.contains("q/5") {
            let (mut away, is_present) = resume(&broker, version, "away", None).await;
            assert!(is_present);
            links += 1;
            assert!(links <= 3, "each damaged message costs one link: {found:?}");
            while let Some(packet) = away.packet().await {
                if let Packet::Publish(message) = packet {
                    assert_eq!(message.payload, vec![7; 10]);
                    found.insert(message.topic.unwrap().as_str().to_owned());
                } else {
                    let Packet::PubRel(release) = packet else { panic!("{packet}") };
                    assert_eq!(release.packet_id.get(), 4);
                    away.send(&Packet::PubComp(ack(4))).await;
                    released += 1;
                }
                if released > 0 && found.contains("q/5") {
                    break;
                }
            }
        }
        assert_eq!(found, BTreeSet::from(["q/1", "q/3", "q/5"].map(str::to_owned)));
        assert_eq!(broker.stats().dropped, 2);

        let mut reader = Peer::connect(&broker, version, "first").await;
        reader.subscribe("kept", QoS::AtMostOnce).await;
        assert_eq!(reader.next().await, "the end");
        nothing_is_retained(&broker, version).await;
        end(broker, false).await;
        let broker = open(folder.path());
        nothing_is_retained(&broker, version).await;
        broker.shut_down();
    }
}

async fn nothing_is_retained(broker: &Broker, version: Version) {
    let mut reader = Peer::connect(broker, version, "reader").await;
    reader.subscribe("kept", QoS::AtMostOnce).await;
    reader.send(&Packet::PingReq).await;
    assert_eq!(reader.next().await, "PINGRESP");
}

fn open(folder: &Path) -> Broker {
    start(Broker::builder().store(folder).spool_above(1_000))
}

/// Flips a byte in the middle of each large payload. Returns how many there are.
fn damage(folder: &Path) -> usize {
    let files: Vec<_> = fs::read_dir(folder.join("spools")).unwrap().map(Result::unwrap).collect();
    for file in &files {
        let mut bytes = fs::read(file.path()).unwrap();
        bytes[LARGE / 2] ^= 1;
        fs::write(file.path(), bytes).unwrap();
    }
    files.len()
}

const LARGE: usize = 50_000;
const MESSAGES: [(&str, usize, QoS); 5] = [
    ("q/1", 10, QoS::AtLeastOnce),
    ("q/2", LARGE, QoS::AtLeastOnce),
    ("q/3", 10, QoS::ExactlyOnce),
    ("q/4", LARGE, QoS::ExactlyOnce),
    ("q/5", 10, QoS::AtLeastOnce),
];
