//! Which thread drives a session of the blocking face: one that waits for it, or the session's own.

use std::{io, sync::mpsc, thread, time::Duration};

use postrider::{
    ConnectError, QoS, SessionEnd, Stream,
    blocking::{Session, Subscription},
};
use postrider_testing::TestBroker;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_verb_drives_the_session_while_it_waits() {
    let broker = TestBroker::start().unwrap();
    let address = broker.url().trim_start_matches("mqtt://").to_owned();
    let (opened, by_whom) = mpsc::channel();
    let builder = Session::builder(broker.url(), "waits").connector(move |_| {
        opened.send(thread::current().id()).unwrap();
        let address = address.clone();
        async move { Ok(Stream::new(TcpStream::connect(address).await?)) }
    });
    let session = builder.connect().unwrap();
    assert_eq!(by_whom.try_recv(), Ok(thread::current().id()));
    session.disconnect().unwrap();
}

/// Attempts are made by who waits, sooner or later: the session's own thread begins, and may come first.
#[test]
fn a_reader_of_events_drives_the_session_while_it_waits() {
    let (tried, by_whom) = mpsc::channel();
    let builder = Session::builder("mqtt://nowhere", "events").connector(move |_| {
        tried.send(thread::current().id()).unwrap();
        async { Err(io::Error::other("nobody is there")) }
    });
    let session =
        builder.backoff(Duration::from_millis(1), Duration::from_millis(9)).start().unwrap();
    let mut events = session.events();
    let is_ours = |_: &_| by_whom.try_iter().any(|id| id == thread::current().id());
    assert!(events.by_ref().take(1_000).any(|event| is_ours(&event)));
    assert!((0..1_000).any(|_| is_ours(&events.next_within(PATIENCE).unwrap())));
    drop(session);
}

/// What nobody waits for is sent by the session's own thread; with a subscription by that of its callbacks, and by the
/// other one while a callback takes its time.
#[test]
fn a_session_goes_on_while_no_verb_waits() {
    let broker = TestBroker::start().unwrap();
    let reader = Session::builder(broker.url(), "reader").connect().unwrap();
    let mut messages = reader.subscribe_with("a", QoS::AtLeastOnce).open().unwrap();
    let session = Session::builder(broker.url(), "goes-on").connect().unwrap();
    session.publish("a", "1").qos(QoS::AtLeastOnce).wait().unwrap();
    session.publish("a", "2").qos(QoS::AtLeastOnce).receipt().unwrap();
    let read = |messages: &mut Subscription| {
        messages.next_within(PATIENCE).unwrap().text().unwrap().to_owned()
    };
    assert_eq!([read(&mut messages), read(&mut messages)], ["1", "2"]);

    let (began, has_began) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    session
        .subscribe("go", QoS::AtLeastOnce, move |_, _| {
            began.send(()).unwrap();
            may_end.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    session.publish("go", "").qos(QoS::AtLeastOnce).receipt().unwrap();
    has_began.recv_timeout(PATIENCE).unwrap();
    session.publish("a", "3").qos(QoS::AtLeastOnce).receipt().unwrap();
    assert_eq!(read(&mut messages), "3");
    end.send(()).unwrap();
    session.publish("a", "4").qos(QoS::AtLeastOnce).receipt().unwrap();
    assert_eq!(read(&mut messages), "4");

    session.disconnect().unwrap();
    reader.disconnect().unwrap();
}

#[test]
fn verbs_of_many_threads_all_have_their_answers() {
    let broker = TestBroker::start().unwrap();
    let session = Session::builder(broker.url(), "many").connect().unwrap();
    let (done, is_done) = mpsc::channel();
    session.subscribe("all/#", QoS::AtLeastOnce, move |_, _| done.send(()).unwrap()).unwrap();
    thread::scope(|scope| {
        for at in 0..8 {
            let session = &session;
            scope.spawn(move || {
                let own = format!("own/{at}");
                let mut messages = session.subscribe_with(&*own, QoS::ExactlyOnce).open().unwrap();
                for count in 0..50 {
                    let text = count.to_string();
                    session.publish(&*own, &*text).qos(QoS::ExactlyOnce).wait().unwrap();
                    assert_eq!(messages.next_within(PATIENCE).unwrap().text(), Ok(&*text));
                    session.publish("all/x", "").qos(QoS::AtLeastOnce).wait().unwrap();
                }
                messages.unsubscribe().unwrap();
            });
        }
    });
    for _ in 0..400 {
        is_done.recv_timeout(PATIENCE).unwrap();
    }
    session.disconnect().unwrap();
}

/// What the program gave the driver may panic on the thread of a verb, which only hears that the session is over.
#[test]
fn a_driver_that_panics_ends_its_session_and_not_the_verb() {
    let builder = Session::builder("mqtt://nowhere", "panics")
        .connector(|_| -> std::future::Ready<io::Result<Stream>> { panic!("a fault") });
    let refused = builder.connect().unwrap_err();
    assert!(matches!(refused, ConnectError::Ended(SessionEnd::Stopped)), "{refused}");
}
