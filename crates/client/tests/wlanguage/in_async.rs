//! In an async program.

use std::{sync::mpsc, time::Duration};

use postrider::{ConnectError, Protocol, QoS, Session, Source, Tls, TlsError};
use postrider_testing::TestBroker;

use crate::{Result, plant::Plant};

#[tokio::test]
async fn address_port_and_client_id() -> Result {
    let broker = TestBroker::start()?;
    let port = broker.port();
    // example
    // session.Address = "127.0.0.1", session.Port = port, session.ClientID = "press-7"
    let url = format!("mqtt://127.0.0.1:{port}");
    let session = Session::builder(url, "press-7").connect().await?;
    // end
    assert_eq!(session.connected().unwrap().client_id, "press-7");
    Ok(())
}

#[tokio::test]
async fn empty_client_id() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // An empty ClientID is allowed here: one is made, and kept for the life of the session.
    let session = Session::builder(url, "").connect().await?;
    let client_id = session.connected().map(|connected| connected.client_id);
    // end
    assert_eq!(client_id.unwrap().len(), 23);
    Ok(())
}

#[tokio::test]
async fn user_and_password() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // session.User = "me", session.UserPassword = "secret"
    let session = Session::builder(url, "press-7").user("me").password("secret").connect().await?;
    // end
    session.disconnect().await?;
    Ok(())
}

#[tokio::test]
async fn connection_timeout() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // session.ConnectionTimeout = 10 s
    let ten = Duration::from_secs(10);
    let session = Session::builder(url, "press-7").connect_timeout(ten).connect().await?;
    // end
    session.disconnect().await?;
    Ok(())
}

#[tokio::test]
async fn clean_session() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // session.CleanSession = True (the default here)
    let fresh = Session::builder(url, "press-7").clean_start(true).connect().await?;
    fresh.disconnect().await?;
    // session.CleanSession = False: the server keeps the session for a day, and goes on with it.
    let day = Duration::from_secs(24 * 3600);
    let kept = Session::builder(url, "press-7").clean_start(false).session_expiry(day);
    let session = kept.clone().connect().await?;
    session.disconnect().await?;
    let resumed = kept.connect().await?;
    let is_resumed = resumed.connected().is_some_and(|connected| connected.session_present);
    // end
    assert!(is_resumed);
    Ok(())
}

#[tokio::test]
async fn option_and_private_key() -> Result {
    let plant = Plant::start()?;
    let (port, authority) = (plant.port(), plant.path("ca.pem"));
    let (certificate, key) = (plant.path("press-7.pem"), plant.path("press-7.key"));
    // example
    // session.Option = optionSSL, session.PrivateKey = key, session.PrivateKeyPassword = "secret"
    let tls =
        Tls::new().ca_file(authority).client_certificate(certificate, key).key_password("secret");
    let url = format!("mqtts://127.0.0.1:{port}");
    let session = Session::builder(url, "press-7").tls(tls).connect().await?;
    // end
    session.publish("plant/7/temp", "21.5").qos(QoS::AtLeastOnce).await?;
    // Without the key nobody is let in.
    let nobody = Session::builder(plant.url(), "").tls(plant.tls()).connect().await;
    let required = TlsError::ClientCertificateRequired;
    assert!(matches!(nobody, Err(ConnectError::Tls { error, .. }) if error == required));
    Ok(())
}

#[tokio::test]
async fn connect() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // IF NOT MQTTConnect(session) THEN Error(ErrorInfo())
    match Session::builder(url, "press-7").connect().await {
        Ok(session) => session.disconnect().await?,
        Err(error) => eprintln!("{error}"),
    }
    // end
    let port = broker.port();
    drop(broker);
    let nobody = Session::builder(format!("mqtt://127.0.0.1:{port}"), "press-7").connect().await;
    assert!(matches!(nobody, Err(ConnectError::Unreachable { .. })));
    Ok(())
}

#[tokio::test]
async fn publish() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    // example
    // MQTTPublish(session, "plant/7/temp", "21.5"): QoS 0, not retained
    session.publish("plant/7/temp", "21.5").await?;
    // MQTTPublish(session, "plant/7/temp", "21.5", True, mqttQualityExactlyOnce): done when it returns
    let published =
        session.publish("plant/7/temp", "21.5").retain(true).qos(QoS::ExactlyOnce).await?;
    let number = published.number;
    // end
    assert_eq!(number, 1);
    let mut stream = session.subscribe("plant/+/temp", QoS::ExactlyOnce).await?;
    let message = stream.next().await.unwrap();
    assert_eq!((message.topic(), message.text()), ("plant/7/temp", Ok("21.5")));
    assert_eq!((message.is_retained(), message.qos()), (true, QoS::ExactlyOnce));
    Ok(())
}

#[tokio::test]
async fn publish_with_a_procedure() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    let (done, is_done) = mpsc::channel();
    // example
    // number = MQTTPublish(session, "plant/7/temp", "21.5", False, mqttQualityAtLeastOnce, Procedure)
    let receipt = session.publish("plant/7/temp", "21.5").qos(QoS::AtLeastOnce).receipt().await?;
    let number = receipt.message_number();
    tokio::spawn(async move {
        match receipt.await {
            Ok(published) => done.send(published.number),
            Err(_) => done.send(0),
        }
    });
    // end
    tokio::task::spawn_blocking(move || assert_eq!(is_done.recv(), Ok(number))).await?;
    Ok(())
}

#[tokio::test]
async fn publish_large_content() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("picture.png");
    std::fs::write(&path, vec![7; 2 * 1024 * 1024])?;
    // example
    // Content of up to 256 MB: from a file, without having it in memory
    session.publish_from("plant/7/picture", Source::file(path)).qos(QoS::AtLeastOnce).await?;
    // end
    Ok(())
}

#[tokio::test]
async fn subscribe() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    let other = session.clone();
    let (seen, is_seen) = mpsc::channel();
    // example
    // MQTTSubscribe(session, "plant/+/set", mqttQualityAtLeastOnce, Procedure)
    let mut messages = session.subscribe("plant/+/set", QoS::AtLeastOnce).await?;
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let content = message.text_lossy().unwrap_or_default().into_owned();
            let _ = seen.send((message.topic().to_owned(), content, message.is_retained()));
        }
    });
    // end
    other.publish("plant/7/set", "42").qos(QoS::AtLeastOnce).await?;
    let seen = tokio::task::spawn_blocking(move || is_seen.recv()).await??;
    assert_eq!(seen, ("plant/7/set".to_owned(), "42".to_owned(), false));
    Ok(())
}

#[tokio::test]
async fn unsubscribe() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    let mut stream = session.subscribe("plant/+/set", QoS::AtLeastOnce).await?;
    // example
    // MQTTUnsubscribe(session, "plant/+/set")
    session.unsubscribe("plant/+/set").await?;
    // end
    assert!(stream.next().await.is_none());
    assert_eq!(broker.broker().unwrap().stats().subscriptions, 0);
    Ok(())
}

#[tokio::test]
async fn unsubscribe_all() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    let mut stream = session.subscribe("plant/+/set", QoS::AtLeastOnce).await?;
    let mut other = session.subscribe("plant/#", QoS::AtMostOnce).await?;
    // example
    // MQTTUnsubscribeAll(session)
    session.unsubscribe_all().await?;
    // end
    assert!(stream.next().await.is_none());
    assert!(other.next().await.is_none());
    assert_eq!(broker.broker().unwrap().stats().subscriptions, 0);
    Ok(())
}

#[tokio::test]
async fn disconnect() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    // example
    // MQTTDisconnect(session)
    session.disconnect().await?;
    // end
    assert!(session.ended().is_some());
    Ok(())
}

#[tokio::test]
async fn qualities() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    let mut messages = session.subscribe("plant/7/temp", QoS::ExactlyOnce).await?;
    // example
    // mqttQualityAtMostOnce, mqttQualityAtLeastOnce, mqttQualityExactlyOnce
    for quality in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        session.publish("plant/7/temp", "21.5").qos(quality).await?;
    }
    // end
    for quality in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        assert_eq!(messages.next().await.unwrap().qos(), quality);
    }
    Ok(())
}

#[tokio::test]
async fn errors() -> Result {
    let broker = TestBroker::start()?;
    let session = Session::builder(broker.url(), "press-7").connect().await?;
    // example
    // IF MQTTPublish(...) = -1 THEN Error(ErrorInfo())
    if let Err(error) = session.publish("plant/+/temp", "21.5").await {
        assert_eq!(
            error.to_string(),
            "'plant/+/temp' is not a topic: topic name has a wildcard at byte 6; wildcards belong into subscriptions"
        );
    }
    // end
    assert!(session.publish("plant/+/temp", "21.5").await.is_err());
    Ok(())
}

#[tokio::test]
async fn version() -> Result {
    let broker = TestBroker::start()?;
    let url = broker.url();
    // example
    // Not in the original: which version of MQTT is spoken
    let session = Session::builder(url, "press-7").version(Protocol::V311).connect().await?;
    // end
    session.disconnect().await?;
    Ok(())
}
