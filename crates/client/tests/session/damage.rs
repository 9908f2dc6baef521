//! Large payloads that are damaged on the disk.

use std::{fs, io::Read, path::Path};

use postrider::{
    Event, NotText, PayloadError, Protocol, PublishError, QoS, Session, Stage, StoreError,
};
use postrider_proto::wire::{AckKind, Packet};
use tempfile::TempDir;

use crate::{
    large::{arriving, deliver, noise, subscribed},
    peer::Success,
    storing::{accept, background, fresh, process},
};

const LEN: usize = 3_000_000;

/// v5 [MQTT-4.4.0-1] v3.1.1 [MQTT-4.4.0-1]: a message that cannot be sent (again) fails, with its identifier released;
/// the others go on.
#[test]
fn what_cannot_be_sent_fails_and_the_rest_goes_on() {
    for version in [Protocol::V311, Protocol::V5] {
        let folder = TempDir::new().unwrap();
        process().block_on(async {
            let (session, mut desk) = background(version, folder.path()).await;
            let mut broken = Vec::new();
            for (topic, qos) in [("b", QoS::AtLeastOnce), ("c", QoS::ExactlyOnce)] {
                let stored = session.publish(topic, noise(LEN)).qos(qos).stored().await;
                broken.push(stored.unwrap());
            }
            let small = session.publish("d", "x").qos(QoS::AtLeastOnce).stored().await.unwrap();
            assert_eq!(damage(folder.path()), 2);
            for _ in 0..2 {
                let resumed = if broken.len() == 2 { fresh() } else { fresh().resumed() };
                let (mut peer, _) = accept(&mut desk, version, resumed).await;
                let whole = peer.try_next().await;
                assert!(whole.is_none(), "nothing whole goes out: {whole:?}");
                assert_eq!(broken.remove(0).await.unwrap_err(), PublishError::Unreadable);
            }
            let (mut peer, _) = accept(&mut desk, version, fresh().resumed()).await;
            let mut said = Vec::new();
            for _ in 0..2 {
                // PUBREL may have to wait for its record.
                let packet = peer.next().await;
                if let Packet::PubRel(release) = packet {
                    said.push("PUBREL".to_owned());
                    peer.ack(AckKind::PubComp, Some(release.packet_id)).await;
                } else {
                    let Packet::Publish(publish) = packet else { panic!("{packet}") };
                    said.push(String::from_utf8(publish.payload.to_vec()).unwrap());
                    peer.ack(AckKind::PubAck, publish.packet_id).await;
                }
            }
            said.sort();
            assert_eq!(said, ["PUBREL", "x"]);
            small.await.unwrap();
            while !session.pending().await.unwrap().is_empty() {}
            assert_eq!(session.stats().dropped_unreadable, 2);
        });
    }
}

/// Its identifier is not free before PUBCOMP. Until then, and also in the next process, it is a message that has failed.
#[test]
fn a_failure_is_told_again_to_whoever_asks_for_the_receipt() {
    for version in [Protocol::V311, Protocol::V5] {
        let folder = TempDir::new().unwrap();
        let number = process().block_on(async {
            let (session, mut desk) = background(version, folder.path()).await;
            let request = session.publish("c", noise(LEN)).qos(QoS::ExactlyOnce);
            let broken = request.stored().await.unwrap();
            assert_eq!(damage(folder.path()), 1);
            let (mut peer, _) = accept(&mut desk, version, fresh()).await;
            assert!(peer.try_next().await.is_none(), "nothing whole goes out");
            let number = broken.message_number();
            assert_eq!(broken.await.unwrap_err(), PublishError::Unreadable);
            has_failed(&session, number).await;
            // It is stored before PUBREL leaves.
            let (mut peer, _) = accept(&mut desk, version, fresh().resumed()).await;
            assert!(matches!(peer.next().await, Packet::PubRel(_)));
            number
        });
        for resumed in [true, false] {
            // The second server has lost the session.
            let copy = TempDir::new().unwrap();
            copy_store(folder.path(), copy.path());
            process().block_on(async {
                let (session, mut desk) = background(version, copy.path()).await;
                has_failed(&session, number).await;
                let mut events = session.events();
                let connack = if resumed { fresh().resumed() } else { fresh() };
                let (mut peer, _) = accept(&mut desk, version, connack).await;
                if resumed {
                    let Packet::PubRel(release) = peer.next().await else { panic!("no PUBREL") };
                    peer.ack(AckKind::PubComp, Some(release.packet_id)).await;
                }
                let told = Event::PublishFailed { number, error: PublishError::Unreadable };
                while events.next().await != Some(told.clone()) {}
                let asked = session.receipt(number).await;
                assert_eq!(asked.unwrap_err(), PublishError::NotOpen(number));
                assert_eq!(session.stats().dropped_unreadable, 1);
            });
        }
    }
}

/// Of a message that was given up and whose exchange is not complete.
async fn has_failed(session: &Session, number: u64) {
    let asked = session.receipt(number).await;
    assert_eq!(asked.unwrap_err(), PublishError::Unreadable);
    let stages: Vec<_> = session.pending().await.unwrap().iter().map(|it| it.stage).collect();
    assert_eq!(stages, [Stage::Failed]);
}

#[test]
fn what_cannot_be_read_is_an_error_and_the_session_goes_on() {
    let folder = TempDir::new().unwrap();
    process().block_on(async {
        let (session, mut desk) = background(Protocol::V5, folder.path()).await;
        let (mut peer, _) = accept(&mut desk, Protocol::V5, fresh()).await;
        let mut stream = subscribed(&session, &mut peer).await;
        for _ in 0..2 {
            deliver(&mut peer).await;
        }
        let (broken, whole) = (stream.next().await.unwrap(), stream.next().await.unwrap());
        let expected = whole.payload().unwrap();
        assert_eq!(damage(folder.path()), 2);
        let PayloadError(error) = broken.payload().unwrap_err();
        let StoreError::Corrupt { path, what } = &error else { panic!("{error}") };
        assert_eq!(path, folder.path());
        assert!(what.starts_with("spool 00000000"), "{what}");
        assert_eq!(broken.text(), Err(NotText::Payload(PayloadError(error.clone()))));
        assert_eq!(broken.text_lossy(), Err(PayloadError(error.clone())));
        let (mut reader, mut half) = (broken.reader(), vec![0; DAMAGED_AT - 100_000]);
        reader.read_exact(&mut half).unwrap();
        assert!(noise(LEN).starts_with(&half), "before the damage all is right");
        let told = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(told.kind(), std::io::ErrorKind::InvalidData);
        let inner = told.into_inner().unwrap();
        assert_eq!(inner.downcast_ref(), Some(&PayloadError(error)));
        assert!(whole.payload().unwrap() == expected, "what is in memory stays");

        peer.send(Packet::Publish(arriving())).await;
        assert!(matches!(peer.next().await, Packet::PubRec(_)));
        assert!(stream.next().await.unwrap().payload().unwrap() == noise(LEN));
    });
}

/// Where a byte is flipped in the file of a payload.
const DAMAGED_AT: usize = 2_000_000;

/// Flips a byte of each large payload. Returns how many there are.
fn damage(store: &Path) -> usize {
    let files: Vec<_> = fs::read_dir(store.join("spools")).unwrap().map(Result::unwrap).collect();
    for file in &files {
        let mut bytes = fs::read(file.path()).unwrap();
        bytes[DAMAGED_AT] ^= 1;
        fs::write(file.path(), bytes).unwrap();
    }
    files.len()
}

/// Copies a store that is closed.
fn copy_store(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_store(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
