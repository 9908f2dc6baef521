//! A full disk, as Linux offers one: a file that never has room.

use std::os::unix::fs::symlink;

use bytes::Bytes;
use postrider_broker::{
    Broker, Failure, Mode, StoreError,
    wire::{Packet, QoS, Version},
};
use tokio::time::timeout;

use crate::{
    peer::{Peer, WAIT_MAX, publish},
    start,
    store::{deliver, open, resume},
};

/// v5 [MQTT-4.13.1-1]: a message for which there is no room ends its link, and nobody else's.
#[tokio::test]
async fn a_large_message_is_refused_while_there_is_no_room_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path(), 1);
    let (mut away, _) = resume(&broker, Version::V5, "away", None).await;
    away.subscribe("#", QoS::AtLeastOnce).await;
    drop(away);
    // The first spool is refused while it arrives, the second with its last byte.
    for (number, len) in [(1, 20_000_000), (2, 1_100_000)] {
        let spool = folder.path().join("spools").join(format!("{number:016x}.spool"));
        symlink("/dev/full", &spool).unwrap();
        let mut greedy = Peer::connect(&broker, Version::V5, "greedy").await;
        let mut other = Peer::connect(&broker, Version::V311, "other").await;
        let bytes = Bytes::from(vec![7; len]);
        let sending = tokio::spawn(async move {
            greedy.try_send(&publish("big", bytes, QoS::AtLeastOnce)).await;
            greedy.next().await
        });
        let answer = sending.await.unwrap();
        assert!(answer.starts_with("DISCONNECT QuotaExceeded"), "{answer}");
        deliver(&mut other, publish("small", "s", QoS::AtLeastOnce)).await;
    }
    // Now there is room.
    let mut again = Peer::connect(&broker, Version::V5, "greedy").await;
    let bytes = Bytes::from(vec![8; 1_100_000]);
    deliver(&mut again, publish("big", bytes.clone(), QoS::AtLeastOnce)).await;
    broker.shut_down();
    let broker = open(folder.path(), 2);
    let (mut away, _) = resume(&broker, Version::V5, "away", None).await;
    for _ in 0..2 {
        assert_eq!(away.message().await, ("small".to_owned(), Bytes::from("s")));
    }
    assert!(away.message().await == ("big".to_owned(), bytes));
}

/// Nothing is acknowledged that is not stored, and the broker ends.
#[tokio::test]
async fn a_store_that_fails_ends_the_broker_without_an_acknowledgement() {
    for hubs in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        symlink("/dev/full", folder.path().join("log-0")).unwrap();
        let builder = Broker::builder().store(folder.path()).mode(Mode::Process).hubs(hubs);
        let broker = start(builder);
        let mut silent = Peer::connect(&broker, Version::V5, "silent").await;
        let mut peer = Peer::connect(&broker, Version::V5, "c").await;
        let mut kept = publish("t", "x", QoS::AtLeastOnce);
        if let Packet::Publish(publish) = &mut kept {
            publish.retain = true;
        }
        peer.send(&kept).await;
        for peer in [&mut peer, &mut silent] {
            let mut answer = peer.next().await;
            if answer.starts_with("DISCONNECT") {
                answer = peer.next().await;
            }
            assert_eq!(answer, "the end");
        }
        let failure = timeout(WAIT_MAX, broker.ended()).await.unwrap();
        let Failure::Store(StoreError::Full { path, .. }) = &failure else { panic!("{failure}") };
        assert_eq!(path, folder.path());
    }
}
