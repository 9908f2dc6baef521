//! What works over TCP works over the others.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use postrider::{Event, QoS, Session};
use tokio::{io::copy_bidirectional, net::TcpListener};

use crate::world::World;

#[tokio::test]
async fn messages_of_all_sizes_go_over_tls_and_websocket() {
    let world = World::start();
    for url in world.urls() {
        let session = Session::builder(&url, "").tls(world.tls()).connect().await.unwrap();
        let mut arriving = session.subscribe("a/#", QoS::ExactlyOnce).await.unwrap();
        // The last ones lie in files on their way.
        for len in [0, 1, 125, 126, 20_000, 70_000, 1_500_000, 3_000_000] {
            let payload: Vec<u8> = (0..len).map(|at: u32| (at % 253) as u8).collect();
            session.publish("a/b", payload.clone()).qos(QoS::ExactlyOnce).await.unwrap();
            let message = arriving.next().await.unwrap();
            let mut reader = message.reader();
            let mut arrived = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut arrived).unwrap();
            assert!(arrived == payload, "{len} bytes over {url}");
        }
        assert_eq!(session.connected().unwrap().server, url);
        session.disconnect().await.unwrap();
    }
}

#[test]
fn the_blocking_face_has_them_too() {
    let world = World::start();
    for url in world.urls() {
        let builder = postrider::blocking::Session::builder(&url, "").tls(world.tls());
        let session = builder.connect().unwrap();
        session.publish("a", "x").qos(QoS::AtLeastOnce).wait().unwrap();
        session.disconnect().unwrap();
    }
}

/// A client certificate, from files that are read at each attempt: it is renewed while the session lives.
#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let world = World::start_with(|folder, issuer, tls| {
        crate::world::issue(folder, issuer, "press-7", |_| {});
        crate::world::issue(folder, issuer, "renewed", |_| {});
        tls.client_ca_file(folder.path().join("ca.pem"))
    });
    let relay = Relay::start(port(&world.url())).await;
    let tls = world.tls().client_certificate(world.path("press-7.pem"), world.path("press-7.key"));
    let url = format!("mqtts://127.0.0.1:{}", relay.port);
    let session = Session::builder(url, "").tls(tls).connect().await.unwrap();
    let mut events = session.events();
    std::fs::write(world.path("press-7.key"), "nothing").unwrap();
    relay.cut();
    let reason = loop {
        match events.next().await.unwrap() {
            Event::Disconnected { reason, .. } if reason.to_string().contains("press-7.key") => {
                break reason;
            }
            _ => {}
        }
    };
    assert!(matches!(reason, postrider::LinkReason::Tls(_)), "{reason:?}");
    std::fs::copy(world.path("renewed.pem"), world.path("press-7.pem")).unwrap();
    std::fs::copy(world.path("renewed.key"), world.path("press-7.key")).unwrap();
    while !matches!(events.next().await.unwrap(), Event::Connected(_)) {}
    session.publish("a", "x").qos(QoS::AtLeastOnce).await.unwrap();
}

#[tokio::test]
async fn a_session_comes_back_over_each_transport() {
    let world = World::start();
    for url in world.urls() {
        let relay = Relay::start(port(&url)).await;
        let url = url.replace(&port(&url).to_string(), &relay.port.to_string());
        let session = Session::builder(&url, "").tls(world.tls()).connect().await.unwrap();
        let mut arriving = session.subscribe("a", QoS::AtLeastOnce).await.unwrap();
        relay.cut();
        session.publish("a", "after").qos(QoS::AtLeastOnce).await.unwrap();
        assert_eq!(arriving.next().await.unwrap().text().unwrap(), "after");
        assert!(session.stats().connections >= 2, "{url}");
        session.disconnect().await.unwrap();
    }
}

/// A connector that only adds to what the builder says.
#[tokio::test]
async fn a_connector_can_open_what_the_builder_says() {
    let world = World::start();
    let attempts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&attempts);
    let builder = Session::builder(world.url(), "").tls(world.tls()).connector(move |attempt| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { attempt.open().await }
    });
    let session = builder.connect().await.unwrap();
    session.publish("a", "x").qos(QoS::AtLeastOnce).await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_address_of_ours_to_connect_from() {
    let world = World::start();
    let builder = Session::builder(world.url(), "").tls(world.tls());
    builder.clone().bind("127.0.0.1").connect().await.unwrap();
    let error = builder.bind("::1").connect().await.unwrap_err();
    assert!(error.to_string().contains("not of the kind"), "{error}");
}

fn port(url: &str) -> u16 {
    let rest = url.rsplit_once(':').unwrap().1;
    rest.split('/').next().unwrap().parse().unwrap()
}

/// Passes bytes on, until it is told to cut.
struct Relay {
    port: u16,
    cut: tokio::sync::watch::Sender<u32>,
}

impl Relay {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, cuts) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let far = tokio::net::TcpStream::connect(("127.0.0.1", to)).await;
                    let mut far = far.unwrap();
                    tokio::select! {
                        // Whoever ends, ends both.
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { port, cut }
    }

    fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }
}
