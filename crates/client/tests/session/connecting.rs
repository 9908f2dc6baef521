//! First attempts, and what they say when they fail.

use std::{
    io,
    task::{Context, Poll, Waker},
    time::Duration,
};

use postrider::{
    ConnectError, Properties, Property, Protocol, QoS, ReasonCode, ServerPolicy, Session, Text,
    Version, Will,
};
use postrider_proto::wire::{ConnAck, Connect, Packet};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::peer::{Desk, PATIENCE, Success, at_desk, builder, connect};

fn refusal(reason: ReasonCode) -> ConnAck {
    ConnAck { session_present: false, reason, properties: Properties::new() }
}

/// Connects, with a peer that answers CONNECT with these bytes and closes.
async fn answered(bytes: &[u8]) -> ConnectError {
    let (builder, mut desk) = builder();
    let (result, ()) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        peer.connect().await;
        peer.write(bytes).await;
        drop(peer);
    });
    result.unwrap_err()
}

/// The CONNECT of a builder.
async fn connect_of(builder: postrider::Builder, mut desk: Desk) -> Connect {
    let (result, connect) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let connect = peer.connect().await;
        peer.send(Packet::ConnAck(refusal(ReasonCode::Banned))).await;
        connect
    });
    assert!(result.is_err());
    connect
}

#[tokio::test]
async fn what_is_not_mqtt_is_told_apart() {
    for (bytes, what) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"220 mail ESMTP\r\n", "220 mail"),
    ] {
        let error = answered(bytes).await;
        assert!(matches!(error, ConnectError::NotMqtt { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let error = answered(b"").await;
    assert!(matches!(error, ConnectError::Closed { .. }), "{error:?}");
    assert!(error.to_string().contains("tcp://peer:1883"), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn refused_credentials_name_the_user_and_no_password() {
    let session = Session::builder("mqtt://ann:hush@peer", "me").version(Protocol::V5);
    let (builder, mut desk) = at_desk(session);
    let (result, connect) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let connect = peer.connect().await;
        peer.send(Packet::ConnAck(refusal(ReasonCode::BadUserNameOrPassword))).await;
        connect
    });
    assert_eq!(connect.user_name.unwrap(), "ann");
    assert_eq!(connect.password.unwrap(), "hush");
    let error = result.unwrap_err();
    assert!(matches!(error, ConnectError::Credentials { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("user 'ann'") && text.contains("tcp://peer:1883"), "{text}");
    assert!(!text.contains("hush"), "{text}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_servers_explanation_is_passed_on() {
    let (builder, mut desk) = builder();
    let why = Property::ReasonString(Text::new("come back at noon").unwrap());
    let (result, _peer) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        peer.connect().await;
        peer.send(Packet::ConnAck(refusal(ReasonCode::ServerBusy).with(why))).await;
        peer
    });
    let error = result.unwrap_err();
    assert!(error.to_string().contains("come back at noon"), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let (builder, mut desk) = builder();
    let builder = builder.connect_timeout(Duration::from_millis(50));
    let (result, peer) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        peer.connect().await;
        peer
    });
    let error = result.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("accepted the connection"), "{error}");
    drop(peer);
}

/// Nor does its silence say that it speaks no 5.0: it is not asked a second time.
#[tokio::test]
async fn a_server_that_does_not_answer_leaves_time_for_the_next() {
    let (builder, mut desk) = builder();
    let builder = builder
        .version(Protocol::Auto)
        .servers(["mqtt://second"], ServerPolicy::InOrder)
        .connect_timeout(Duration::from_secs(2));
    let (session, peers) = tokio::join!(builder.connect(), async {
        let mut silent = desk.next().await;
        silent.connect().await;
        let mut second = desk.next().await;
        assert_eq!(second.connect().await.version, Version::V5);
        second.send(Packet::ConnAck(ConnAck::default_success())).await;
        (silent, second)
    });
    assert_eq!(session.unwrap().connected().unwrap().server, "tcp://second:1883");
    drop(peers);
}

#[tokio::test]
async fn a_stream_that_never_opens_is_given_up_in_time() {
    let builder = Session::builder("mqtt://peer", "me")
        .connect_timeout(Duration::from_millis(50))
        .connector(|_| std::future::pending());
    let error = builder.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("firewall"), "{error}");
}

/// What opens when its time is over is nobody's.
#[tokio::test]
async fn an_attempt_is_dropped_when_its_time_is_over() {
    let (begin, mut attempts) = mpsc::unbounded_channel();
    let never = Duration::from_secs(3600);
    let builder = Session::builder("mqtt://peer", "me")
        .connect_timeout(Duration::from_millis(50))
        .backoff(never, never)
        .connector(move |_| {
            let (held, dropped) = oneshot::channel::<()>();
            begin.send(dropped).unwrap();
            async move {
                let _held = held;
                std::future::pending().await
            }
        });
    let session = builder.start().await.unwrap();
    let dropped = attempts.recv().await.unwrap();
    timeout(PATIENCE, dropped).await.expect("in time").unwrap_err();
    drop(session);
}

#[tokio::test]
async fn a_port_without_a_listener_is_named() {
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let error = Session::builder(format!("mqtt://127.0.0.1:{port}"), "").connect().await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

/// v5 [MQTT-3.1.2-2]: 5.0 first, then 3.1.1, within one attempt of the program.
#[tokio::test]
async fn auto_falls_back_to_v311() {
    let (builder, mut desk) =
        at_desk(Session::builder("mqtt://peer", "me").session_expiry(Duration::ZERO));
    let (session, _peer) = tokio::join!(builder.connect(), async {
        let mut first = desk.next().await;
        assert_eq!(first.connect().await.version, Version::V5);
        first.write(b"\x20\x02\x00\x01").await;
        drop(first);
        let mut second = desk.next().await;
        assert_eq!(second.connect().await.version, Version::V311);
        second.send(Packet::ConnAck(ConnAck::default_success())).await;
        second
    });
    assert_eq!(session.unwrap().connected().unwrap().version, Version::V311);
}

/// Servers that know 5.0 refuse it in its form, the others in the form of 3.1.1.
#[tokio::test]
async fn a_fixed_version_does_not_fall_back() {
    for answer in [&b"\x20\x03\x00\x84\x00"[..], b"\x20\x02\x00\x01"] {
        let (builder, mut desk) = builder();
        let (result, _peer) = tokio::join!(builder.connect(), async {
            let mut peer = desk.next().await;
            peer.connect().await;
            peer.write(answer).await;
            peer
        });
        let error = result.unwrap_err();
        let reason = ReasonCode::UnsupportedProtocolVersion;
        assert!(
            matches!(&error, ConnectError::Refused { reason: told, .. } if *told == reason),
            "{error:?}"
        );
        assert!(error.to_string().contains("Protocol::Auto"), "{error}");
    }
}

#[tokio::test]
async fn options_reach_the_server() {
    let (builder, desk) = builder();
    let will = Will::new("last/words", "bye")
        .qos(QoS::AtLeastOnce)
        .retain(true)
        .delay(Duration::from_secs(3))
        .user_property("k", "v");
    let builder = builder
        .user("ann")
        .password("hush")
        .keep_alive(Duration::from_secs(7))
        .session_expiry(Duration::from_secs(11))
        .receive_maximum(5)
        .packet_size_max(1000)
        .property(Property::RequestProblemInformation(true))
        .will(will);
    let connect = connect_of(builder, desk).await;
    assert_eq!(connect.keep_alive, 7);
    assert!(connect.clean_start);
    assert_eq!(connect.properties.session_expiry_interval(), Some(&11));
    assert_eq!(connect.properties.receive_maximum(), Some(&5));
    assert_eq!(connect.properties.maximum_packet_size(), Some(&1000));
    assert_eq!(connect.properties.request_problem_information(), Some(&true));
    let will = connect.will.unwrap();
    assert_eq!(
        (will.topic, will.payload),
        (postrider::Topic::new("last/words").unwrap(), "bye".into())
    );
    assert_eq!((will.qos, will.retain), (QoS::AtLeastOnce, true));
    assert_eq!(will.properties.will_delay_interval(), Some(&3));
    assert_eq!(will.properties.user_properties().count(), 1);
}

#[tokio::test]
async fn a_property_sets_the_limit_that_it_tells() {
    let (builder, desk) = builder();
    let mut builder = builder.receive_maximum(9);
    for property in [
        Property::SessionExpiryInterval(11),
        Property::ReceiveMaximum(5),
        Property::MaximumPacketSize(1000),
        Property::TopicAliasMaximum(3),
    ] {
        builder = builder.property(property);
    }
    let properties = connect_of(builder, desk).await.properties;
    assert_eq!(properties.session_expiry_interval(), Some(&11));
    assert_eq!(properties.receive_maximum(), Some(&5));
    assert_eq!(properties.maximum_packet_size(), Some(&1000));
    assert_eq!(properties.topic_alias_maximum(), Some(&3));
}

/// v3.1.1 [MQTT-3.1.3-5]: 1 to 23 letters and digits, which every server takes.
#[tokio::test]
async fn an_empty_client_id_is_replaced() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (builder, desk) = at_desk(Session::builder("mqtt://peer", "").version(Protocol::V5));
        let id = connect_of(builder, desk).await.client_id;
        assert_eq!(id.as_str().len(), 23);
        assert!(id.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn options_that_cannot_be_sent_are_named() {
    let start = || Session::builder("mqtt://peer", "me");
    for (builder, named) in [
        (Session::builder("quic://peer", "me"), "quic"),
        (Session::builder("mqtt://peer", "m\0e"), "the client id"),
        (start().user("a\0"), "the user name"),
        (start().password(vec![0; 65_536]), "the password"),
        (start().will(Will::new("a/#", "")), "'a/#'"),
        (start().will(Will::new("a", vec![0; 65_536])), "the will's payload"),
        (start().will(Will::new("a", "").user_property("\0", "")), "a user property"),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn without_a_runtime_connect_says_so() {
    let (builder, _desk) = builder();
    let mut future = Box::pin(builder.connect());
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = polled else { panic!("at once") };
    assert_eq!(error, ConnectError::NoRuntime);
}

#[tokio::test]
async fn giving_up_a_connect_leaves_nothing_behind() {
    let (builder, mut desk) = builder();
    let mut future = Box::pin(builder.connect());
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut peer = desk.next().await;
    peer.connect().await;
    drop(future);
    assert!(matches!(peer.try_next().await, None | Some(Packet::Disconnect(_))));
    assert_eq!(peer.try_next().await, None);
}

#[tokio::test]
async fn a_connector_says_why_it_failed() {
    let builder = Session::builder("mqtt://peer", "me").connector(|attempt| async move {
        Err(io::Error::other(format!("no {}", attempt.server)))
    });
    let error = builder.connect().await.unwrap_err();
    assert!(error.to_string().contains("no mqtt://peer"), "{error}");
}

#[tokio::test]
async fn limits_are_known_while_connected() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success().with(Property::ReceiveMaximum(9));
    let (session, _peer, _desk) = connect(builder, desk, connack).await;
    assert_eq!(session.limits().unwrap().receive_maximum, 9);
    assert_eq!(session.ended(), None);
}

#[test]
fn handles_go_everywhere_and_show_no_password() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    fn is_sent<T: Send>(value: T) -> T {
        value
    }
    is_shared::<Session>();
    is_shared::<postrider::blocking::Session>();
    is_shared::<postrider::Message>();
    let builder = Session::builder("mqtt://ann:hush@peer", "me").password("quiet");
    let shown = format!("{builder:?}");
    assert!(!shown.contains("hush") && !shown.contains("quiet"), "{shown}");
    drop(is_sent(builder.connect()));
}

/// In 3.1.1 a connection that only ends an old session comes first. If the one that follows fails, that is tried again, but
/// not for longer than the connect timeout.
#[tokio::test]
async fn a_server_that_takes_only_the_connection_before_the_first_is_given_up() {
    for has_store in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (builder, mut desk) = builder();
        let builder = builder.version(Protocol::V311).connect_timeout(Duration::from_secs(5));
        let builder = if has_store { builder.store(folder.path().join("state")) } else { builder };
        let (result, ()) = tokio::join!(timeout(PATIENCE, builder.connect()), async {
            let before = desk.accept(ConnAck::default_success()).await;
            // It is left alone for 5 s, which is too long.
            desk.accept(refusal(ReasonCode::ServerUnavailable)).await;
            drop(before);
        });
        let error = result.expect("an end in time").unwrap_err();
        let reason = ReasonCode::ServerUnavailable;
        assert!(
            matches!(error, ConnectError::Refused { reason: it, .. } if it == reason),
            "{error:?}"
        );
        assert!(desk.try_next().await.is_none(), "no further attempt");
    }
}
