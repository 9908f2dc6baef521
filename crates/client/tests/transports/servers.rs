//! Several servers, and servers that send us on.

use std::time::Duration;

use postrider::{ConnectError, Properties, Property, QoS, ReasonCode, ServerPolicy, Session, Text};
use postrider_proto::wire::{ConnAck, Disconnect, Packet, PacketType};
use postrider_testing::{Script, ScriptedBroker, TestBroker};
use tokio::net::TcpListener;

#[tokio::test]
async fn the_next_server_is_tried_when_the_first_is_not_there() {
    let broker = TestBroker::start().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let builder = Session::builder(format!("mqtt://{free}"), "")
        .servers([broker.url()], ServerPolicy::InOrder);
    let session = builder.connect().await.unwrap();
    assert_eq!(session.connected().unwrap().server, broker.url().replace("mqtt", "tcp"));
    session.publish("a", "x").qos(QoS::AtLeastOnce).await.unwrap();
}

/// A server that does not answer TLS takes no more than its share of the connect timeout.
#[tokio::test]
async fn a_silent_server_leaves_time_for_the_next() {
    let broker = TestBroker::start().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtts://{}", silent.local_addr().unwrap());
    let builder = Session::builder(url, "").connect_timeout(Duration::from_secs(2));
    builder.servers([broker.url()], ServerPolicy::InOrder).connect().await.unwrap();
}

#[tokio::test]
async fn the_error_is_that_of_the_last_server() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let builder = Session::builder(format!("mqtt://{free}"), "");
    let builder = builder.servers(["mqtt://nowhere.invalid"], ServerPolicy::InOrder);
    let error = builder.clone().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("nowhere.invalid"), "{error}");
    let error = builder.servers(["nonsense"], ServerPolicy::Random).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Url(_)), "{error:?}");
}

/// v5 section 4.11, at CONNACK: [MQTT-3.2.2-22] lets a server refuse so.
#[tokio::test]
async fn a_server_that_refuses_sends_us_on() {
    let broker = TestBroker::start().unwrap();
    for reason in [ReasonCode::UseAnotherServer, ReasonCode::ServerMoved] {
        let first = refusing(&[&format!("127.0.0.1:{}", broker.port())], reason);
        let session = Session::builder(first.url(), "").connect().await.unwrap();
        let server = session.connected().unwrap().server;
        assert_eq!(server, format!("tcp://127.0.0.1:{}", broker.port()));
        session.disconnect().await.unwrap();
    }
}

/// A server that is named is no domain, whose servers would have to be looked up.
#[cfg(feature = "srv")]
#[tokio::test]
async fn a_server_of_a_domain_sends_us_on() {
    let broker = TestBroker::start().unwrap();
    let first = refusing(&[&format!("127.0.0.1:{}", broker.port())], ReasonCode::UseAnotherServer);
    // Who asks this one gets no answer.
    let nobody = postrider::Srv::new().name_server("127.0.0.1:1".parse().unwrap());
    let place = place(&first);
    let builder = Session::builder("mqtt://plant.invalid", "").srv(nobody).connector(
        move |attempt: postrider::Attempt| {
            let place = place.clone();
            async move {
                if attempt.server.contains("plant.invalid") {
                    let tcp = tokio::net::TcpStream::connect(place).await?;
                    return Ok(postrider::Stream::new(tcp));
                }
                attempt.open().await
            }
        },
    );
    let session = builder.connect().await.unwrap();
    let server = session.connected().unwrap().server;
    assert_eq!(server, format!("tcp://127.0.0.1:{}", broker.port()));
}

#[tokio::test]
async fn a_server_that_says_goodbye_sends_us_on() {
    let broker = TestBroker::start().unwrap();
    let properties = reference(&format!("127.0.0.1:{}", broker.port()));
    let goodbye = Disconnect { reason: ReasonCode::UseAnotherServer, properties };
    let script = Script::new()
        .accept()
        .expect(PacketType::Publish)
        .send(Packet::Disconnect(goodbye))
        .close();
    let first = ScriptedBroker::start([script]).unwrap();
    let session = Session::builder(first.url(), "").connect().await.unwrap();
    // It is sent again where we were sent on to.
    session.publish("a", "x").qos(QoS::AtLeastOnce).await.unwrap();
    let server = session.connected().unwrap().server;
    assert_eq!(server, format!("tcp://127.0.0.1:{}", broker.port()));
}

#[tokio::test]
async fn three_hops_are_followed_and_no_more() {
    let third = refusing(&["127.0.0.1:1"], ReasonCode::UseAnotherServer);
    let second = refusing(&[&place(&third)], ReasonCode::UseAnotherServer);
    let first = refusing(&[&place(&second)], ReasonCode::UseAnotherServer);
    // The third hop leads to a port where nobody is.
    let error = Session::builder(first.url(), "").connect().await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1 cannot be reached"), "{error}");
    let fourth = refusing(&["127.0.0.1:1"], ReasonCode::UseAnotherServer);
    let third = refusing(&[&place(&fourth)], ReasonCode::UseAnotherServer);
    let second = refusing(&[&place(&third)], ReasonCode::UseAnotherServer);
    let first = refusing(&[&place(&second)], ReasonCode::UseAnotherServer);
    let error = Session::builder(first.url(), "").connect().await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused { reason: ReasonCode::UseAnotherServer, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_place_that_is_no_host_is_told() {
    let first = refusing(&["ann:hush@other"], ReasonCode::ServerMoved);
    let error = Session::builder(first.url(), "").connect().await.unwrap_err();
    assert!(error.to_string().contains("sends us on to somewhere else"), "{error}");
}

fn reference(reference: &str) -> Properties {
    Properties::from_iter([Property::ServerReference(Text::new(reference).unwrap())])
}

/// A server that refuses one connection after the other and names another server each time.
fn refusing(references: &[&str], reason: ReasonCode) -> ScriptedBroker {
    let scripts = references.iter().map(|name| {
        let properties = reference(name);
        let connack = ConnAck { session_present: false, reason, properties };
        Script::new().expect(PacketType::Connect).send(Packet::ConnAck(connack)).close()
    });
    ScriptedBroker::start(scripts.collect::<Vec<_>>()).unwrap()
}

fn place(broker: &ScriptedBroker) -> String {
    broker.url().trim_start_matches("mqtt://").to_owned()
}
