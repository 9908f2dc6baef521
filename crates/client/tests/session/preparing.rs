//! Staying connected: what comes before an attempt, and what follows an end. Issue 5, section 3.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use postrider::{
    Again, Event, LinkReason, Protocol, PublishError, QoS, ReasonCode, Session, SessionEnd, Stream,
    blocking,
};
use postrider_proto::wire::{AckKind, ConnAck, Disconnect, Packet, Properties};
use postrider_testing::TestBroker;
use tokio::time::timeout;

use crate::peer::{Desk, PATIENCE, Peer, Success, builder, connect};

/// A hook that may change credentials, host and options before each attempt (tokens).
#[tokio::test]
async fn hook_changes_credentials_and_options_before_each_attempt() {
    let (builder, mut desk) = builder();
    let tokens = Arc::new(AtomicU32::new(0));
    let builder = builder.user("press").before_connect(move |mut upcoming| {
        let token = tokens.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            // As a request for a token would.
            tokio::task::yield_now().await;
            assert_eq!(upcoming.last.is_some(), token > 1);
            upcoming.password = Some(format!("token {token}").into());
            upcoming.keep_alive = Duration::from_secs(100);
            Ok::<_, std::io::Error>(upcoming)
        }
    });
    let (session, mut peer) = tokio::join!(builder.connect(), accept(&mut desk, "token 1"));
    let session = session.unwrap();
    for token in ["token 2", "token 3"] {
        drop(peer);
        peer = accept(&mut desk, token).await;
    }
    drop(session);
}

async fn accept(desk: &mut Desk, password: &str) -> Peer {
    let mut peer = desk.next().await;
    let connect = peer.connect().await;
    assert_eq!(connect.user_name.unwrap().as_str(), "press");
    assert_eq!(connect.password.unwrap(), password);
    assert_eq!(connect.keep_alive, 100);
    peer.send(Packet::ConnAck(ConnAck::default_success())).await;
    peer
}

/// The host too, at real sockets; and without async, where the hook may block.
#[test]
fn blocking_hook_changes_the_server() {
    let broker = TestBroker::start().unwrap();
    let url = broker.url().to_owned();
    let seen = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&seen);
    let session = blocking::Session::builder("mqtt://nowhere.invalid", "me")
        .before_connect(move |upcoming| {
            *noted.lock().unwrap() = Some((upcoming.server.clone(), upcoming.number));
            upcoming.server.clone_from(&url);
            Ok::<_, std::io::Error>(())
        })
        .connect()
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(("mqtt://nowhere.invalid".to_owned(), 1)));
    session.disconnect().unwrap();
}

/// A hook that fails is as good as a server that does not answer; one that never ends is bounded by the connect timeout.
#[tokio::test]
async fn a_hook_that_fails_fails_the_attempt() {
    let (builder, _desk) = builder();
    let failing = builder
        .clone()
        .before_connect(|_| async { Err::<postrider::Upcoming, _>("no token today") });
    let error = failing.connect().await.unwrap_err();
    assert!(error.to_string().contains("no token today"), "{error}");
    let endless = builder
        .connect_timeout(Duration::from_millis(10))
        .before_connect(|_| std::future::pending::<Result<postrider::Upcoming, std::io::Error>>());
    let error = endless.connect().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

/// Bad credentials: not again unless asked.
#[tokio::test]
async fn refused_credentials_are_tried_again_only_if_asked() {
    let refusal = |reason| ConnAck { reason, ..ConnAck::default_success() };
    let (builder, mut desk) = builder();
    let patient = builder
        .clone()
        .after(ReasonCode::BadUserNameOrPassword, Again::Soon)
        .after(ReasonCode::NotAuthorized, Again::Never);
    let session = patient.start().await.unwrap();
    for _ in 0..3 {
        let mut peer = desk.next().await;
        peer.connect().await;
        peer.send(Packet::ConnAck(refusal(ReasonCode::BadUserNameOrPassword))).await;
    }
    let mut peer = desk.accept(ConnAck::default_success()).await;
    let (reason, properties) = (ReasonCode::NotAuthorized, Properties::new());
    peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
    let end = over(&session).await;
    assert!(matches!(end, SessionEnd::Link(LinkReason::Disconnected { .. })), "{end:?}");
    let session = builder.start().await.unwrap();
    let mut peer = desk.next().await;
    peer.connect().await;
    peer.send(Packet::ConnAck(refusal(ReasonCode::BadUserNameOrPassword))).await;
    let end = over(&session).await;
    assert!(matches!(end, SessionEnd::Link(LinkReason::Refused { .. })), "{end:?}");
}

/// Server busy is respected: the next attempt is not made at once, though the shortest wait is.
#[tokio::test]
async fn a_busy_server_is_given_time() {
    for reason in [ReasonCode::ServerBusy, ReasonCode::QuotaExceeded, ReasonCode::UseAnotherServer]
    {
        let (builder, desk) = builder();
        let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
        let mut events = session.events();
        peer.send(Packet::Disconnect(Disconnect { reason, properties: Properties::new() })).await;
        let retry_in = loop {
            let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
            if let Event::Disconnected { retry_in, .. } = event {
                break retry_in.unwrap();
            }
        };
        assert!(retry_in >= Duration::from_millis(5_000), "{reason} {retry_in:?}");
    }
}

/// A message that gets the connection closed again and again is parked and reported after N times; those behind it go on.
#[tokio::test]
async fn a_message_that_closes_the_connection_is_parked() {
    for version in [Protocol::V311, Protocol::V5] {
        let (builder, desk) = builder();
        let builder = builder.version(version).park_after(3).clean_start(false);
        let (session, mut peer, mut desk) =
            connect(builder, desk, ConnAck::default_success()).await;
        let mut events = session.events();
        let bad = session.publish("bad", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        let good = session.publish("good", "y").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        let number = bad.message_number();
        let mut closes = 0;
        let published = loop {
            let publish = peer.publish().await;
            if publish.topic.as_ref().unwrap().as_str() == "good" {
                break publish;
            }
            closes += 1;
            assert!(closes < 10);
            drop(peer);
            peer = desk.accept(ConnAck::default_success().resumed()).await;
        };
        // Twice both were on their way, so nobody could tell which one it was.
        assert_eq!(closes, 5);
        peer.ack(AckKind::PubAck, published.packet_id).await;
        assert_eq!(good.await.unwrap().reason, ReasonCode::Success);
        assert_eq!(bad.await.unwrap_err(), PublishError::Parked { closes: 3 });
        let parked = loop {
            let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
            if matches!(event, Event::Parked { .. }) {
                break event;
            }
        };
        let (topic, payload) = ("bad".to_owned(), Some("x".into()));
        assert_eq!(parked, Event::Parked { number, closes: 3, topic, payload });
        assert_eq!(session.stats().dropped_parked, 1);
    }
}

/// What is answered in the end was not to blame, however often the connection was closed before.
#[tokio::test]
async fn a_message_that_is_answered_is_not_parked() {
    let (builder, desk) = builder();
    let builder = builder.park_after(3);
    let (session, mut peer, mut desk) = connect(builder, desk, ConnAck::default_success()).await;
    for _ in 0..3 {
        let receipt = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        for _ in 0..2 {
            peer.publish().await;
            drop(peer);
            peer = desk.accept(ConnAck::default_success().resumed()).await;
        }
        let publish = peer.publish().await;
        peer.ack(AckKind::PubAck, publish.packet_id).await;
        receipt.await.unwrap();
    }
}

async fn over(session: &Session) -> SessionEnd {
    let mut events = session.events();
    loop {
        if let Event::Over(end) = timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            return end;
        }
    }
}

/// A connector gets what the hook says.
#[tokio::test]
async fn a_connector_gets_the_server_of_the_hook() {
    let (sender, mut servers) = tokio::sync::mpsc::unbounded_channel();
    let builder = Session::builder("mqtt://one", "me")
        .before_connect(|mut upcoming| async {
            upcoming.server = "mqtt://two".to_owned();
            Ok::<_, std::io::Error>(upcoming)
        })
        .connector(move |attempt| {
            sender.send(attempt.server).unwrap();
            async { Err::<Stream, _>(std::io::Error::other("closed")) }
        });
    builder.connect().await.unwrap_err();
    assert_eq!(servers.recv().await.unwrap(), "mqtt://two");
}
