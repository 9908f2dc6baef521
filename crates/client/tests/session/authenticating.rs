//! Enhanced authentication. Spec: v5 section 4.12.

use std::{
    future::IntoFuture,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use postrider::{
    AuthenticationError, AuthenticationExchange, Authenticator, Builder, Bytes, ConnectError,
    Event, LinkReason, Properties, Property, Protocol, QoS, ReasonCode, ReauthenticateError,
    Session, SessionEnd, Subscription, Text, blocking,
};
use postrider_proto::wire::{Auth, ConnAck, Disconnect, Packet, PacketType};
use postrider_testing::{Script, ScriptedBroker, TestBroker};
use tokio::time::timeout;

use crate::peer::{Desk, PATIENCE, Peer, Success, builder, until};

/// Says `hello`, answers each challenge with itself, and believes a server that says `yes`.
struct Echo;

impl Authenticator for Echo {
    fn method(&self) -> &str {
        "ECHO"
    }

    fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError> {
        Ok(Box::new(Self))
    }
}

impl AuthenticationExchange for Echo {
    fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        Ok(Some("hello".into()))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Option<Bytes>, AuthenticationError> {
        match challenge {
            b"evil" => Err(AuthenticationError::Other("evil".to_owned())),
            challenge => Ok(Some(Bytes::copy_from_slice(challenge))),
        }
    }

    fn finish(&mut self, data: &[u8]) -> Result<(), AuthenticationError> {
        if data == b"yes" { Ok(()) } else { Err(AuthenticationError::Signature) }
    }
}

/// Issue 5, section 4: enhanced authentication, a trait for others. v5 [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]
/// [MQTT-3.1.2-30]: CONNECT, AUTH as often as the server wants, CONNACK; nothing else before that.
#[tokio::test]
async fn any_method_authenticates_a_connection() {
    let (builder, mut desk) = builder();
    let connecting = builder.version(Protocol::Auto).authenticator(Echo).connect();
    let (session, mut peer) = tokio::join!(connecting, async {
        let mut peer = desk.next().await;
        let connect = peer.connect().await;
        assert_eq!(method(&connect.properties), Some("ECHO"));
        assert_eq!(data(&connect.properties), "hello");
        for challenge in ["1", "2", ""] {
            peer.send(auth(ReasonCode::ContinueAuthentication, challenge)).await;
            let answer = peer.auth().await;
            assert_eq!(answer.reason, ReasonCode::ContinueAuthentication);
            assert_eq!(method(&answer.properties), Some("ECHO"));
            assert_eq!(data(&answer.properties), challenge);
        }
        peer.send(success("yes")).await;
        peer
    });
    let session = session.unwrap();
    session.publish("a", "x").await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap().as_str(), "a");
}

/// A server that is not believed hears nothing more, not even what was queued for it.
#[tokio::test]
async fn a_server_that_does_not_prove_itself_is_left() {
    for challenge in [Some("evil"), None] {
        let (builder, mut desk) = builder();
        let connecting = builder.authenticator(Echo).connect();
        let (result, ()) = tokio::join!(connecting, async {
            let mut peer = desk.next().await;
            peer.connect().await;
            match challenge {
                Some(challenge) => {
                    peer.send(auth(ReasonCode::ContinueAuthentication, challenge)).await
                }
                None => peer.send(success("no")).await,
            }
            let packet = peer.next().await;
            assert!(matches!(packet, Packet::Disconnect(_)), "{packet:?}");
            assert_eq!(peer.try_next().await, None);
        });
        let Err(ConnectError::Authentication { error, .. }) = result else { panic!("{result:?}") };
        let expected = match challenge {
            Some(_) => AuthenticationError::Other("evil".to_owned()),
            None => AuthenticationError::Signature,
        };
        assert_eq!(error, expected);
    }
}

/// It has answered, and what it said was MQTT.
#[tokio::test]
async fn a_server_that_leaves_after_its_challenge_is_told() {
    let (builder, mut desk) = builder();
    let (result, ()) = tokio::join!(builder.authenticator(Echo).connect(), async {
        let mut peer = desk.next().await;
        peer.connect().await;
        peer.send(auth(ReasonCode::ContinueAuthentication, "1")).await;
        peer.auth().await;
    });
    let Err(ConnectError::Authentication { error, .. }) = result else { panic!("{result:?}") };
    assert_eq!(error, AuthenticationError::Closed);
}

/// v5 [MQTT-4.12.0-1] [MQTT-4.12.0-4]: a server that knows no methods says so, and it is not asked again.
#[tokio::test]
async fn a_broker_without_the_method_refuses() {
    let broker = TestBroker::start().unwrap();
    let builder = Session::builder(broker.url(), "me").authenticator(Echo);
    let result = builder.connect().await;
    let Err(ConnectError::Credentials { reason, .. }) = result else { panic!("{result:?}") };
    assert_eq!(reason, ReasonCode::BadAuthenticationMethod);
}

/// 3.1.1 has no such thing, and a server must not bring us to it.
#[tokio::test]
async fn an_authenticator_needs_v5() {
    let (builder, mut desk) = builder();
    let older = builder.clone().version(Protocol::V311).authenticator(Echo);
    assert_eq!(older.connect().await.unwrap_err(), ConnectError::AuthenticatorVersion);
    let any = builder.version(Protocol::Auto).authenticator(Echo);
    let (result, ()) = tokio::join!(any.connect(), async {
        let mut peer = desk.next().await;
        peer.connect().await;
        // The answer of a server of 3.1.1.
        peer.write(&[0x20, 2, 0, 1]).await;
    });
    assert!(result.is_err());
    assert!(desk.try_next().await.is_none());
    let (older, _desk) = self::builder();
    let older = older.version(Protocol::V311).before_connect(|mut upcoming| async {
        upcoming.authenticator = Some(Arc::new(Echo));
        Ok::<_, std::io::Error>(upcoming)
    });
    let Err(ConnectError::Authentication { error, .. }) = older.connect().await else { panic!() };
    assert_eq!(error, AuthenticationError::Version);
}

/// Issue 5, section 4: re-authentication without reconnecting, by the client. v5 [MQTT-4.12.1-1]: AUTH 0x19, and messages
/// go on meanwhile.
#[tokio::test]
async fn reauthentication_keeps_the_connection() {
    let (session, mut peer, _desk) = authenticated().await;
    for _ in 0..2 {
        let (result, ()) = tokio::join!(session.reauthenticate(), async {
            let first = peer.auth().await;
            assert_eq!(first.reason, ReasonCode::ReAuthenticate);
            assert_eq!(method(&first.properties), Some("ECHO"));
            assert_eq!(data(&first.properties), "hello");
            assert_eq!(session.reauthenticate().await, Err(ReauthenticateError::Busy));
            session.publish("a", "x").await.unwrap();
            peer.publish().await;
            peer.send(auth(ReasonCode::ContinueAuthentication, "more")).await;
            assert_eq!(data(&peer.auth().await.properties), "more");
            peer.send(auth(ReasonCode::Success, "yes")).await;
        });
        assert_eq!(result, Ok(()));
    }
    assert_eq!(session.stats().connections, 1);
}

/// An answer that takes its time, as one that hashes a password a million times, delays neither messages nor pings.
#[tokio::test]
async fn an_answer_that_takes_its_time_delays_nothing() {
    let (builder, desk) = builder();
    let builder = builder.keep_alive(Duration::from_secs(1));
    let (session, mut peer, mut desk, release) = slow(builder, desk).await;
    let (result, ()) = tokio::join!(session.reauthenticate(), async {
        next_auth(&mut peer).await;
        peer.send(auth(ReasonCode::ContinueAuthentication, "1")).await;
        session.publish("a", "x").await.unwrap();
        // Three PINGREQs are more than one and a half intervals, in which nothing was read.
        let (mut pings, mut has_published) = (0, false);
        while pings < 3 || !has_published {
            let packet = peer.next().await;
            let is_published = matches!(packet, Packet::Publish(_));
            assert!(is_published || packet == Packet::PingReq, "{packet}");
            pings += u32::from(!is_published);
            has_published |= is_published;
        }
        release.send(()).unwrap();
        assert_eq!(next_auth(&mut peer).await, "1");
        peer.send(auth(ReasonCode::Success, "yes")).await;
    });
    assert_eq!(result, Ok(()));
    // A connection that ends meanwhile is not waited for, and the exchange of the next one is its own.
    let (result, mut peer) = tokio::join!(session.reauthenticate(), async {
        next_auth(&mut peer).await;
        peer.send(auth(ReasonCode::ContinueAuthentication, "2")).await;
        drop(peer);
        accept(&mut desk).await
    });
    assert!(matches!(result, Err(ReauthenticateError::Disconnected(_))), "{result:?}");
    release.send(()).unwrap();
    release.send(()).unwrap();
    until(|| session.connected().is_some()).await;
    let (result, ()) = tokio::join!(session.reauthenticate(), async {
        next_auth(&mut peer).await;
        peer.send(auth(ReasonCode::ContinueAuthentication, "3")).await;
        assert_eq!(next_auth(&mut peer).await, "3");
        peer.send(auth(ReasonCode::Success, "yes")).await;
    });
    assert_eq!(result, Ok(()));
}

/// Nobody waits for an answer that nobody will hear, and a refusal that came before the end is told.
#[tokio::test]
async fn an_end_is_noticed_while_a_challenge_is_answered() {
    let (release, released) = channel();
    let slow = Slow(Arc::new(Mutex::new(released)));
    for last in [None, Some(ReasonCode::NotAuthorized)] {
        let (builder, mut desk) = builder();
        let (result, ()) = tokio::join!(builder.authenticator(slow.clone()).connect(), async {
            let mut peer = desk.next().await;
            peer.connect().await;
            peer.send(auth(ReasonCode::ContinueAuthentication, "1")).await;
            if let Some(reason) = last {
                peer.send(Packet::ConnAck(ConnAck { reason, ..ConnAck::default_success() })).await;
            }
        });
        let error = result.unwrap_err();
        let is_told = match last {
            None => matches!(error, ConnectError::Authentication { .. }),
            Some(_) => matches!(error, ConnectError::Credentials { .. }),
        };
        assert!(is_told, "{error:?}");
    }
    (0..2).for_each(|_| release.send(()).unwrap());
    let (builder, desk) = builder();
    let (session, mut peer, _desk, release) = self::slow(builder, desk).await;
    let (result, ()) = tokio::join!(session.reauthenticate(), async {
        next_auth(&mut peer).await;
        peer.send(auth(ReasonCode::ContinueAuthentication, "1")).await;
        drop(peer);
    });
    assert!(matches!(result, Err(ReauthenticateError::Disconnected(_))), "{result:?}");
    release.send(()).unwrap();
}

/// What a server sends meanwhile waits, some of it here and the rest with the server.
#[tokio::test]
async fn what_comes_while_a_challenge_is_answered_is_bounded() {
    const MESSAGES: usize = 100;
    let (builder, desk) = builder();
    let (session, mut peer, _desk, release) = slow(builder, desk).await;
    let (stream, _) =
        tokio::join!(session.subscribe("a", QoS::AtMostOnce).into_future(), peer.grant());
    let mut stream = stream.unwrap();
    let (again, sent) = (session.reauthenticate(), AtomicU32::new(0));
    let payload = "x".repeat(10_000);
    let (result, _, ()) = tokio::join!(again, read(&mut stream, MESSAGES), async {
        next_auth(&mut peer).await;
        peer.send(auth(ReasonCode::ContinueAuthentication, "1")).await;
        let sending = async {
            for _ in 0..MESSAGES {
                peer.deliver("a", &payload, QoS::AtMostOnce, &[]).await;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        };
        let watching = async {
            until(|| sent.load(Ordering::Relaxed) >= 6).await;
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
            let sent = sent.load(Ordering::Relaxed);
            assert!(sent < 15, "{sent}");
            release.send(()).unwrap();
        };
        tokio::join!(sending, watching);
        assert_eq!(next_auth(&mut peer).await, "1");
        peer.send(auth(ReasonCode::Success, "yes")).await;
    });
    assert_eq!(result, Ok(()));
}

async fn read(stream: &mut Subscription, messages: usize) {
    for _ in 0..messages {
        timeout(PATIENCE, stream.next()).await.expect("a message in time").unwrap();
    }
}

/// The data of the next AUTH; pings before it are answered.
async fn next_auth(peer: &mut Peer) -> String {
    let answering = async {
        loop {
            let packet = peer.next().await;
            if let Packet::Auth(auth) = packet {
                break data(&auth.properties).to_owned();
            }
            assert_eq!(packet, Packet::PingReq);
            peer.send(Packet::PingResp).await;
        }
    };
    timeout(PATIENCE, answering).await.expect("an AUTH in time")
}

/// A method that breaks ends its connection, and no more.
#[tokio::test]
async fn a_method_that_panics_ends_the_connection() {
    let (release, released) = channel::<()>();
    drop(release);
    let (builder, mut desk) = builder();
    let slow = Slow(Arc::new(Mutex::new(released)));
    let (result, ()) = tokio::join!(builder.authenticator(slow).connect(), async {
        let mut peer = desk.next().await;
        peer.connect().await;
        peer.send(auth(ReasonCode::ContinueAuthentication, "1")).await;
        assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    });
    let error = result.unwrap_err();
    assert!(error.to_string().contains("the authentication method panicked"), "{error}");
}

/// As [`Echo`], but each answer waits for the test.
#[derive(Clone)]
struct Slow(Arc<Mutex<Receiver<()>>>);

/// A connected session that answers when it is told to.
async fn slow(builder: Builder, mut desk: Desk) -> (Session, Peer, Desk, Sender<()>) {
    let (release, released) = channel();
    let slow = Slow(Arc::new(Mutex::new(released)));
    let (session, peer) = tokio::join!(builder.authenticator(slow).connect(), accept(&mut desk));
    (session.unwrap(), peer, desk, release)
}

impl Authenticator for Slow {
    fn method(&self) -> &str {
        "ECHO"
    }

    fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl AuthenticationExchange for Slow {
    fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        Echo.first()
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Option<Bytes>, AuthenticationError> {
        self.0.lock().unwrap().recv().unwrap();
        Echo.respond(challenge)
    }

    fn finish(&mut self, data: &[u8]) -> Result<(), AuthenticationError> {
        Echo.finish(data)
    }
}

/// v5 [MQTT-4.12.1-2]: if it fails the connection ends, whoever is not satisfied.
#[tokio::test]
async fn a_failed_reauthentication_ends_the_connection() {
    let (session, mut peer, _desk) = authenticated().await;
    let (result, ()) = tokio::join!(session.reauthenticate(), async {
        peer.auth().await;
        peer.send(auth(ReasonCode::Success, "no")).await;
        assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    });
    assert_eq!(result, Err(ReauthenticateError::Failed(AuthenticationError::Signature)));
    drop(session);
    let (session, mut peer, _desk) = authenticated().await;
    let (result, ()) = tokio::join!(session.reauthenticate(), async {
        peer.auth().await;
        let (reason, properties) = (ReasonCode::NotAuthorized, Properties::new());
        peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
    });
    let Err(ReauthenticateError::Disconnected(reason)) = result else { panic!("{result:?}") };
    assert!(matches!(reason, LinkReason::Disconnected { reason: ReasonCode::NotAuthorized, .. }));
    // Not tried again unless asked.
    let over = session.reauthenticate().await;
    assert!(matches!(over, Err(ReauthenticateError::Over(SessionEnd::Link(_)))), "{over:?}");
}

/// A server that says nothing to it is not waited for.
#[tokio::test]
async fn an_unanswered_reauthentication_ends_the_connection() {
    let short = Duration::from_millis(10);
    let (builder, mut desk) = builder();
    let builder = builder.authenticator(Echo).operation_timeout(short);
    let (session, mut peer) = tokio::join!(builder.connect(), accept(&mut desk));
    let session = session.unwrap();
    let (result, ()) = tokio::join!(session.reauthenticate(), async {
        peer.auth().await;
        assert_eq!(peer.try_next().await, None);
    });
    assert_eq!(result, Err(ReauthenticateError::TimedOut(short)));
    accept(&mut desk).await;
}

/// Issue 5, section 4: re-authentication by either side. A server that begins it goes beyond the standard, so it must be
/// allowed to.
#[tokio::test]
async fn a_server_may_begin_reauthentication_if_allowed() {
    let (builder, mut desk) = builder();
    let allowing = builder.clone().authenticator(Echo).allow_server_reauthentication();
    let (session, mut peer) = tokio::join!(allowing.connect(), accept(&mut desk));
    let session = session.unwrap();
    for _ in 0..2 {
        peer.send(auth(ReasonCode::ReAuthenticate, "now")).await;
        let first = peer.auth().await;
        assert_eq!(first.reason, ReasonCode::ContinueAuthentication);
        assert_eq!(data(&first.properties), "hello");
        assert_eq!(session.reauthenticate().await, Err(ReauthenticateError::Busy));
        peer.send(auth(ReasonCode::Success, "yes")).await;
        session.publish("a", "x").await.unwrap();
        peer.publish().await;
    }
    let (session, mut peer) =
        tokio::join!(builder.authenticator(Echo).connect(), accept(&mut desk));
    peer.send(auth(ReasonCode::ReAuthenticate, "now")).await;
    let packet = peer.next().await;
    assert!(matches!(packet, Packet::Disconnect(ref it) if it.reason == ReasonCode::ProtocolError));
    drop(session);
}

/// One exchange at a time, whoever has begun it.
#[tokio::test]
async fn a_server_may_not_begin_reauthentication_within_another() {
    let (builder, mut desk) = builder();
    let allowing = builder.authenticator(Echo).allow_server_reauthentication();
    let (session, mut peer) = tokio::join!(allowing.connect(), accept(&mut desk));
    let session = session.unwrap();
    let (result, packet) = tokio::join!(session.reauthenticate(), async {
        peer.auth().await;
        peer.send(auth(ReasonCode::ReAuthenticate, "now")).await;
        peer.next().await
    });
    assert!(matches!(packet, Packet::Disconnect(ref it) if it.reason == ReasonCode::ProtocolError));
    assert!(matches!(result, Err(ReauthenticateError::Disconnected(_))), "{result:?}");
}

/// v5 section 4.12.1: only the client may begin. What a server demands, it demands by ending the connection; the next one
/// authenticates anew.
#[tokio::test]
async fn a_server_demands_reauthentication_by_disconnecting() {
    let begun = Arc::new(AtomicU32::new(0));
    struct Counted(Arc<AtomicU32>);
    impl Authenticator for Counted {
        fn method(&self) -> &str {
            "ECHO"
        }

        fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Echo))
        }
    }
    let (builder, mut desk) = builder();
    let builder = builder.authenticator(Counted(Arc::clone(&begun)));
    let (session, mut peer) = tokio::join!(builder.connect(), accept(&mut desk));
    let session = session.unwrap();
    let (reason, properties) = (ReasonCode::MaximumConnectTime, Properties::new());
    peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
    let mut peer = accept(&mut desk).await;
    assert_eq!(begun.load(Ordering::Relaxed), 2);
    // AUTH out of the blue breaks the protocol.
    peer.send(auth(ReasonCode::ContinueAuthentication, "now")).await;
    let packet = peer.next().await;
    assert!(matches!(packet, Packet::Disconnect(ref it) if it.reason == ReasonCode::ProtocolError));
    drop(session);
}

#[tokio::test]
async fn there_is_no_reauthentication_without_authenticator_or_connection() {
    let (session, _peer, _desk) = crate::peer::connected().await;
    assert_eq!(session.reauthenticate().await, Err(ReauthenticateError::NoAuthenticator));
    let (builder, _desk) = builder();
    let session = builder.authenticator(Echo).start().await.unwrap();
    assert_eq!(session.reauthenticate().await, Err(ReauthenticateError::NotConnected));
}

/// The blocking face, against a script.
#[test]
fn blocking_session_authenticates() {
    let script = Script::new()
        .expect(PacketType::Connect)
        .send(auth(ReasonCode::ContinueAuthentication, "1"))
        .expect(PacketType::Auth)
        .send(success("yes"))
        .expect(PacketType::Auth)
        .send(auth(ReasonCode::Success, "yes"))
        .expect(PacketType::Disconnect);
    let broker = ScriptedBroker::start([script]).unwrap();
    let builder = blocking::Session::builder(broker.url(), "me").authenticator(Echo);
    let session = builder.connect().unwrap();
    session.reauthenticate().unwrap();
    session.disconnect().unwrap();
    broker.finish_blocking().unwrap();
}

/// Failing before anything is sent ends the session too: no attempt could do better.
#[tokio::test]
async fn an_authenticator_that_cannot_begin_ends_the_session() {
    struct Broken;
    impl Authenticator for Broken {
        fn method(&self) -> &str {
            "BROKEN"
        }

        fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError> {
            Err(AuthenticationError::Other("no key".to_owned()))
        }
    }
    let (builder, _desk) = builder();
    let session = builder.authenticator(Broken).start().await.unwrap();
    let mut events = session.events();
    let over = loop {
        if let Event::Over(end) = timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            break end;
        }
    };
    let error = AuthenticationError::Other("no key".to_owned());
    assert_eq!(over, SessionEnd::Link(LinkReason::Authentication(error)));
    let refused = session.publish("a", "x").qos(QoS::AtLeastOnce).await;
    assert!(refused.is_err());
}

/// A session that [`Echo`] has authenticated.
async fn authenticated() -> (Session, Peer, Desk) {
    let (builder, mut desk) = builder();
    let connecting = builder.authenticator(Echo).connect();
    let (session, peer) = tokio::join!(connecting, accept(&mut desk));
    (session.unwrap(), peer, desk)
}

async fn accept(desk: &mut Desk) -> Peer {
    let mut peer = desk.next().await;
    peer.connect().await;
    peer.send(success("yes")).await;
    peer
}

fn auth(reason: ReasonCode, data: &str) -> Packet {
    Packet::Auth(Auth { reason, properties: properties("ECHO", data) })
}

fn success(data: &str) -> Packet {
    Packet::ConnAck(ConnAck { properties: properties("ECHO", data), ..ConnAck::default_success() })
}

fn properties(method: &str, data: &str) -> Properties {
    let method = Property::AuthenticationMethod(Text::new(method).unwrap());
    let data = Bytes::copy_from_slice(data.as_bytes());
    [method, Property::AuthenticationData(data)].into_iter().collect()
}

fn method(properties: &Properties) -> Option<&str> {
    properties.authentication_method().map(Text::as_str)
}

fn data(properties: &Properties) -> String {
    let data = properties.authentication_data().cloned().unwrap_or_default();
    String::from_utf8(data.to_vec()).unwrap()
}
