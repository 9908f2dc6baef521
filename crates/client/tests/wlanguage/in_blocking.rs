//! In a program without async.

use std::{sync::mpsc, time::Duration};

use postrider::{ConnectError, Protocol, QoS, Source, Tls, TlsError, blocking::Session};
use postrider_testing::TestBroker;

use crate::{Result, plant::Plant};

#[test]
fn address_port_and_client_id() -> Result {
    let broker = TestBroker::start()?;
    let port = broker.port();
    // example
    // session.Address = "127.0.0.1", session.Port = port, session.ClientID = "press-7"
    let url = format!("mqtt://127.0.0.1:{port}");
    let session = Session::builder(url, "press-7").connect()?;
    // end
    assert_eq!(session.connected().unwrap().client_id, "press-7");
    Ok(())
}

#[test]
fn empty_client_id() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // An empty ClientID is allowed here: one is made, and kept for the life of the session.
    let session = Session::builder(url, "").connect()?;
    let client_id = session.connected().map(|connected| connected.client_id);
    // end
    assert_eq!(client_id.unwrap().len(), 23);
    Ok(())
}

#[test]
fn user_and_password() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // session.User = "me", session.UserPassword = "secret"
    let session = Session::builder(url, "press-7").user("me").password("secret").connect()?;
    // end
    session.disconnect()?;
    Ok(())
}

#[test]
fn connection_timeout() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // session.ConnectionTimeout = 10 s
    let ten = Duration::from_secs(10);
    let session = Session::builder(url, "press-7").connect_timeout(ten).connect()?;
    // end
    session.disconnect()?;
    Ok(())
}

#[test]
fn clean_session() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // session.CleanSession = True (the default here)
    let fresh = Session::builder(url, "press-7").clean_start(true).connect()?;
    fresh.disconnect()?;
    // session.CleanSession = False: the server keeps the session for a day, and goes on with it.
    let day = Duration::from_secs(24 * 3600);
    let kept = Session::builder(url, "press-7").clean_start(false).session_expiry(day);
    let session = kept.clone().connect()?;
    session.disconnect()?;
    let resumed = kept.connect()?;
    let is_resumed = resumed.connected().is_some_and(|connected| connected.session_present);
    // end
    assert!(is_resumed);
    Ok(())
}

#[test]
fn option_and_private_key() -> Result {
    let plant = Plant::start()?;
    let (port, authority) = (plant.port(), plant.path("ca.pem"));
    let (certificate, key) = (plant.path("press-7.pem"), plant.path("press-7.key"));
    // example
    // session.Option = optionSSL, session.PrivateKey = key, session.PrivateKeyPassword = "secret"
    let tls =
        Tls::new().ca_file(authority).client_certificate(certificate, key).key_password("secret");
    let url = format!("mqtts://127.0.0.1:{port}");
    let session = Session::builder(url, "press-7").tls(tls).connect()?;
    // end
    session.publish("plant/7/temp", "21.5").qos(QoS::AtLeastOnce).wait()?;
    // Without the key nobody is let in.
    let nobody = Session::builder(plant.url(), "").tls(plant.tls()).connect();
    let required = TlsError::ClientCertificateRequired;
    assert!(matches!(nobody, Err(ConnectError::Tls { error, .. }) if error == required));
    Ok(())
}

#[test]
fn connect() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // IF NOT MQTTConnect(session) THEN Error(ErrorInfo())
    match Session::builder(url, "press-7").connect() {
        Ok(session) => session.disconnect()?,
        Err(error) => eprintln!("{error}"),
    }
    // end
    let port = broker.port();
    drop(broker);
    let nobody = Session::builder(format!("mqtt://127.0.0.1:{port}"), "press-7").connect();
    assert!(matches!(nobody, Err(ConnectError::Unreachable { .. })));
    Ok(())
}

#[test]
fn publish() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    // example
    // MQTTPublish(session, "plant/7/temp", "21.5"): QoS 0, not retained
    session.publish("plant/7/temp", "21.5").wait()?;
    // MQTTPublish(session, "plant/7/temp", "21.5", True, mqttQualityExactlyOnce): done when it returns
    let published =
        session.publish("plant/7/temp", "21.5").retain(true).qos(QoS::ExactlyOnce).wait()?;
    let number = published.number;
    // end
    assert_eq!(number, 1);
    let mut stream = session.subscribe_with("plant/+/temp", QoS::ExactlyOnce).open()?;
    let message = stream.next().unwrap();
    assert_eq!((message.topic(), message.text()), ("plant/7/temp", Ok("21.5")));
    assert_eq!((message.is_retained(), message.qos()), (true, QoS::ExactlyOnce));
    Ok(())
}

#[test]
fn publish_with_a_procedure() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    let (done, is_done) = mpsc::channel();
    // example
    // number = MQTTPublish(session, "plant/7/temp", "21.5", False, mqttQualityAtLeastOnce, Procedure)
    let request = session.publish("plant/7/temp", "21.5").qos(QoS::AtLeastOnce);
    let number = request.on_complete(move |_session, number, result| {
        let _ = done.send(if result.is_ok() { number } else { 0 });
    })?;
    // end
    assert_eq!(is_done.recv(), Ok(number));
    Ok(())
}

#[test]
fn publish_large_content() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("picture.png");
    std::fs::write(&path, vec![7; 2 * 1024 * 1024])?;
    // example
    // Content of up to 256 MB: from a file, without having it in memory
    session.publish_from("plant/7/picture", Source::file(path)).qos(QoS::AtLeastOnce).wait()?;
    // end
    Ok(())
}

#[test]
fn subscribe() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    let other = session.clone();
    let (seen, is_seen) = mpsc::channel();
    // example
    // MQTTSubscribe(session, "plant/+/set", mqttQualityAtLeastOnce, Procedure)
    session.subscribe("plant/+/set", QoS::AtLeastOnce, move |_session, message| {
        let content = message.text_lossy().unwrap_or_default().into_owned();
        let _ = seen.send((message.topic().to_owned(), content, message.is_retained()));
    })?;
    // end
    other.publish("plant/7/set", "42").qos(QoS::AtLeastOnce).wait()?;
    let seen = is_seen.recv()?;
    assert_eq!(seen, ("plant/7/set".to_owned(), "42".to_owned(), false));
    Ok(())
}

#[test]
fn unsubscribe() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    let mut stream = session.subscribe_with("plant/+/set", QoS::AtLeastOnce).open()?;
    // example
    // MQTTUnsubscribe(session, "plant/+/set")
    session.unsubscribe("plant/+/set")?;
    // end
    assert!(stream.next().is_none());
    assert_eq!(broker.broker().unwrap().stats().subscriptions, 0);
    Ok(())
}

#[test]
fn unsubscribe_all() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    let mut stream = session.subscribe_with("plant/+/set", QoS::AtLeastOnce).open()?;
    let mut other = session.subscribe_with("plant/#", QoS::AtMostOnce).open()?;
    // example
    // MQTTUnsubscribeAll(session)
    session.unsubscribe_all()?;
    // end
    assert!(stream.next().is_none());
    assert!(other.next().is_none());
    assert_eq!(broker.broker().unwrap().stats().subscriptions, 0);
    Ok(())
}

#[test]
fn disconnect() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    // example
    // MQTTDisconnect(session)
    session.disconnect()?;
    // end
    assert!(session.ended().is_some());
    Ok(())
}

#[test]
fn qualities() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    let mut messages = session.subscribe_with("plant/7/temp", QoS::ExactlyOnce).open()?;
    // example
    // mqttQualityAtMostOnce, mqttQualityAtLeastOnce, mqttQualityExactlyOnce
    for quality in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        session.publish("plant/7/temp", "21.5").qos(quality).wait()?;
    }
    // end
    for quality in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(messages.next().unwrap().qos(), quality);
    }
    Ok(())
}

#[test]
fn errors() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect()?;
    // example
    // IF MQTTPublish(...) = -1 THEN Error(ErrorInfo())
    if let Err(error) = session.publish("plant/+/temp", "21.5").wait() {
        assert_eq!(
            error.to_string(),
            "'plant/+/temp' is not a topic: topic name has a wildcard at byte 6; wildcards belong into subscriptions"
        );
    }
    // end
    assert!(session.publish("plant/+/temp", "21.5").wait().is_err());
    Ok(())
}

#[test]
fn version() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // Not in the original: which version of MQTT is spoken
    let session = Session::builder(url, "press-7").version(Protocol::V311).connect()?;
    // end
    session.disconnect()?;
    Ok(())
}
