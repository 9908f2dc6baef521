//! A packet tap: what it writes, what it hides, and its bounds.

use std::{fs::File, path::Path};

use postrider::{
    Property, QoS, ReasonCode, Session, Text, Version, Will,
    tap::{Record, Records, What},
};
use postrider_proto::wire::{AckKind, ConnAck, Packet};
use postrider_testing::TestBroker;
use tempfile::TempDir;

use crate::peer::{Success, builder, connect, until};

fn records(path: &Path) -> Vec<Record> {
    Records::new(File::open(path).unwrap()).map(Result::unwrap).collect()
}

/// Connection, direction and packet type of each record.
fn lines(records: &[Record]) -> Vec<String> {
    let line = |record: &Record| {
        let (sign, taken) = match &record.what {
            What::Opened { server } => return format!("{} opened {server}", record.connection),
            What::Sent(taken) => ('>', taken),
            What::Received(taken) => ('<', taken),
            other @ (What::Closed | _) => return format!("{} {other:?}", record.connection),
        };
        let kind = taken.bytes.first().map_or(0, |first| first >> 4);
        format!("{} {sign} {kind} {}", record.connection, taken.packet_len)
    };
    records.iter().map(line).collect()
}

#[tokio::test]
async fn a_tap_has_every_packet_of_every_connection_both_ways() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.tap");
    let (settings, desk) = builder();
    let (session, mut peer, mut desk) =
        connect(settings.tap(&path), desk, ConnAck::default_success()).await;
    let (published, ()) = tokio::join!(
        async { session.publish("a", vec![b'x'; 9000]).qos(QoS::AtLeastOnce).await },
        async {
            let id = peer.publish().await.packet_id;
            peer.ack(AckKind::PubAck, id).await;
        }
    );
    published.unwrap();
    // A packet that is cut off.
    peer.write(&[0x30, 9, 0, 1, b'a']).await;
    let mut events = session.events();
    drop(peer);
    while !matches!(events.next().await, Some(postrider::Event::Disconnected { .. })) {}
    let peer = desk.accept(ConnAck::default_success()).await;
    until(|| session.connected().is_some()).await;
    // It is there already while the session runs.
    let records = records(&path);
    let expected = [
        "1 opened tcp://peer:1883",
        "1 > 1 27",
        "1 < 2 5",
        "1 > 3 9009",
        "1 < 4 4",
        "1 < 3 11",
        "1 Closed",
        "2 opened tcp://peer:1883",
        "2 > 1 27",
        "2 < 2 5",
    ];
    let lines = lines(&records);
    let shape = |line: &str| line.split(' ').take(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines.iter().map(|line| shape(line)).collect::<Vec<_>>(),
        expected.iter().map(|line| shape(line)).collect::<Vec<_>>(),
        "{lines:#?}"
    );
    let What::Sent(publish) = &records[3].what else { panic!("{:?}", records[3]) };
    assert_eq!((publish.bytes.len(), publish.version), (4096, Some(Version::V5)));
    assert!(publish.packet_len > 9000);
    assert!(records.is_sorted_by_key(|record| record.time));
    drop(peer);
}

#[tokio::test]
async fn secrets_are_blanked() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.tap");
    let (settings, desk) = builder();
    let settings = settings
        .tap(&path)
        .user("ann")
        .password("hush-hush")
        .property(Property::AuthenticationMethod(Text::new("token").unwrap()))
        .property(Property::AuthenticationData("very-secret".into()))
        .will(Will::new("gone", "will"));
    let connack = ConnAck::default_success()
        .with(Property::AuthenticationMethod(Text::new("token").unwrap()))
        .with(Property::AuthenticationData("also-secret".into()));
    let (_session, _peer, _desk) = connect(settings, desk, connack).await;
    let bytes = std::fs::read(&path).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("ann") && has("token") && has("gone") && has("*****"));
    assert!(!has("hush-hush") && !has("very-secret") && !has("also-secret"));
    let What::Sent(connect) = &records(&path)[1].what else { panic!("a CONNECT comes first") };
    assert!(connect.packet_len > u32::try_from(connect.bytes.len()).unwrap(), "as it was sent");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_tap_is_bounded_and_keeps_the_latest() {
    const MAX: u64 = 64 << 10;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.tap");
    let broker = TestBroker::start().unwrap();
    let settings = Session::builder(broker.url(), "me").tap(&path).tap_bytes(0);
    let session = settings.connect().await.unwrap();
    for turn in 0..200 {
        let text = format!("{turn} {}", "x".repeat(1000));
        session.publish("a", text).qos(QoS::AtLeastOnce).await.unwrap();
        let before = std::fs::metadata(folder.path().join("a.tap.before"));
        let len = std::fs::metadata(&path).unwrap().len();
        assert!(len + before.map_or(0, |before| before.len()) <= MAX, "after {turn}");
    }
    session.disconnect().await.unwrap();
    let last = records(&path);
    assert!(lines(&last).last().unwrap().ends_with("Closed"));
    let before = records(&folder.path().join("a.tap.before"));
    assert!(before.len() > 10 && before.last().unwrap().time <= last[0].time);
}

/// A session is worth more than its tap.
#[tokio::test]
async fn a_tap_that_cannot_be_written_does_not_end_the_session() {
    let (settings, desk) = builder();
    let settings = settings.tap("/nowhere/at/all");
    let (session, mut peer, _desk) = connect(settings, desk, ConnAck::default_success()).await;
    session.publish("a", "x").await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap(), "a");
    let (left, packet) = tokio::join!(session.disconnect(), peer.next());
    assert!(matches!(packet, Packet::Disconnect(it) if it.reason == ReasonCode::Success));
    drop(peer);
    left.unwrap();
}
