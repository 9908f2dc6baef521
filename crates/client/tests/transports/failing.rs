//! What a program is told when there is no connection, by type and in words.

use std::time::Duration;

use postrider::{
    Again, ConnectError, Event, LinkReason, Protocol, ProxyError, ServerPolicy, Session,
    SessionEnd, Tls, TlsError, WebSocketError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::world::{World, issue};

async fn error(url: &str, tls: Tls) -> ConnectError {
    Session::builder(url, "").tls(tls).connect().await.unwrap_err()
}

async fn tls_error(url: &str, tls: Tls) -> TlsError {
    match error(url, tls).await {
        ConnectError::Tls { server, error } => {
            assert_eq!(server, url);
            error
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted() {
    let world = World::start();
    for url in [&world.url(), &world.urls()[2]] {
        let error = tls_error(url, Tls::new()).await;
        assert!(matches!(error, TlsError::UnknownCa { .. } | TlsError::NoRoots), "{error:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired() {
    let world = World::start_with(|folder, issuer, tls| {
        issue(folder, issuer, "server", |params| {
            params.not_after = rcgen::date_time_ymd(2001, 2, 3)
        });
        tls
    });
    let error = tls_error(&world.url(), world.tls()).await;
    assert!(error.to_string().contains("expired on 2001-02-03"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_host() {
    let world = World::start();
    let error = tls_error(&world.url(), world.tls().server_name("broker.example")).await;
    assert!(
        matches!(&error, TlsError::WrongHost { names, .. } if names == &["127.0.0.1"]),
        "{error:?}"
    );
}

/// In TLS 1.3 the handshake is over for the client when the server judges its certificate.
#[tokio::test]
async fn a_client_certificate_that_is_missing() {
    let world =
        World::start_with(|folder, _, tls| tls.client_ca_file(folder.path().join("ca.pem")));
    for url in [&world.url(), &world.urls()[2]] {
        let error = Session::builder(url, "").tls(world.tls()).connect().await.unwrap_err();
        let ConnectError::Tls { error, .. } = error else { panic!("{url}: {error:?}") };
        assert_eq!(error, TlsError::ClientCertificateRequired, "{url}");
    }
}

#[tokio::test]
async fn a_key_that_does_not_match() {
    let world = World::start_with(|folder, issuer, tls| {
        issue(folder, issuer, "one", |_| {});
        issue(folder, issuer, "two", |_| {});
        tls
    });
    let tls = world.tls().client_certificate(world.path("one.pem"), world.path("two.key"));
    let error = tls_error(&world.url(), tls).await;
    assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn a_plain_port_spoken_to_with_tls() {
    let plain = postrider_broker::Broker::builder().listen("tcp://127.0.0.1:0").start().unwrap();
    let url = plain.endpoints()[0].to_string().replace("tcp", "mqtts");
    let error = tls_error(&url, Tls::new().danger_accept_any_certificate()).await;
    assert!(matches!(error, TlsError::NotTls(_)), "{error:?}");
}

#[tokio::test]
async fn a_port_with_tls_spoken_to_in_plain() {
    let world = World::start();
    let error = error(&world.url_as("mqtt"), Tls::new()).await;
    assert!(matches!(error, ConnectError::NotMqtt { .. }), "{error:?}");
    assert!(error.to_string().contains("mqtts, not mqtt"), "{error}");
    let error = self::error(&world.url_as("ws"), Tls::new()).await;
    assert!(error.to_string().contains("use wss://"), "{error}");
}

#[tokio::test]
async fn a_websocket_that_is_refused() {
    let world = World::start();
    let url = world.urls()[1].replace("/mqtt", "/other");
    let error = error(&url, Tls::new()).await;
    let ConnectError::WebSocket { error, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(error, WebSocketError::Refused { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://ann:hush@{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 1024];
        assert_ne!(stream.read(&mut bytes).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").await.unwrap();
    });
    let builder = Session::builder("mqtts://broker.example", "").proxy(proxy.parse().unwrap());
    let error = builder.connect().await.unwrap_err();
    assert!(!error.to_string().contains("hush"), "{error}");
    let ConnectError::Proxy { error, .. } = error else { panic!("{error:?}") };
    assert!(matches!(error, ProxyError::Credentials { had_credentials: true, .. }), "{error:?}");
}

/// The connect timeout bounds all of an attempt: here TLS, which the server does not go on with.
#[tokio::test]
async fn a_handshake_that_does_not_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for scheme in ["mqtts", "wss", "ws"] {
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let builder = Session::builder(url, "").connect_timeout(Duration::from_millis(100));
        let error = builder.connect().await.unwrap_err();
        assert!(
            matches!(error, ConnectError::TimedOut { .. } | ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("within 0.1 s"), "{error}");
    }
}

/// In the background the reason is an event, and the session goes on trying if it was told to.
#[tokio::test]
async fn a_session_that_starts_without_a_server_is_told_why() {
    let world = World::start();
    let builder = Session::builder(world.url(), "").backoff(Duration::ZERO, Duration::ZERO);
    let builder = builder.after_refused_certificate(Again::Soon);
    let session = builder.start().await.unwrap();
    let mut events = session.events();
    for _ in 0..2 {
        match events.next().await.unwrap() {
            Event::Disconnected { reason: LinkReason::Tls(_), retry_in: Some(_) } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Issue 5, section 3: bad certificates are not tried again unless asked, in whichever direction and whenever they are
/// refused: before CONNECT, or behind it. Nor is that a reason to try 3.1.1.
#[tokio::test]
async fn a_refused_certificate_ends_the_session() {
    let world =
        World::start_with(|folder, _, tls| tls.client_ca_file(folder.path().join("ca.pem")));
    let anonymous = world.tls();
    for (tls, is_ours) in [(anonymous, true), (Tls::new(), false)] {
        for url in [&world.url(), &world.urls()[2]] {
            let builder = Session::builder(url, "").version(Protocol::Auto).tls(tls.clone());
            let builder = builder.backoff(Duration::ZERO, Duration::ZERO);
            let session = builder.start().await.unwrap();
            let mut reasons = Vec::new();
            let mut events = session.events();
            while let Some(event) = events.next().await {
                match event {
                    Event::Disconnected { reason, retry_in: None } => reasons.push(reason),
                    Event::Over(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            let [LinkReason::Tls(error)] = &reasons[..] else { panic!("{reasons:?}") };
            assert_eq!(*error == TlsError::ClientCertificateRequired, is_ours, "{error:?}");
            let end = session.ended().unwrap();
            assert_eq!(end, SessionEnd::Link(LinkReason::Tls(error.clone())));
            assert!(end.to_string().ends_with("no further attempt is made"), "{end}");
        }
    }
}

/// Another server may have a better one.
#[tokio::test]
async fn a_refused_certificate_leaves_other_servers() {
    let (stranger, world) = (World::start(), World::start());
    let builder = Session::builder(stranger.url(), "").tls(world.tls());
    let builder = builder.servers([world.url()], ServerPolicy::InOrder);
    let session = builder.start().await.unwrap();
    let mut events = session.events();
    loop {
        match events.next().await.unwrap() {
            Event::Disconnected { reason: LinkReason::Tls(_), retry_in: Some(_) } => {}
            Event::Connected(connected) => break assert_eq!(connected.server, world.url()),
            other => panic!("{other:?}"),
        }
    }
}
