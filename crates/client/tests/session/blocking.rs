//! The blocking face, against a broker in this process.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use postrider::{
    Connected, Event, Properties, Property, Protocol, PublishError, QoS, ReasonCode, SessionEnd,
    StreamEnd, SubscribeError, Text, blocking::Session,
};
use postrider_proto::wire::{Packet, PacketId, PacketType, SubAck, UnsubAck};
use postrider_testing::{Script, ScriptedBroker, TestBroker};

const PATIENCE: Duration = Duration::from_secs(10);

fn connected(broker: &TestBroker, id: &str) -> Session {
    Session::builder(broker.url(), id).connect().unwrap()
}

#[test]
fn every_verb_works_inside_a_callback() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "inside");
    let (done, is_done) = mpsc::channel();
    session
        .subscribe("go", QoS::ExactlyOnce, move |session, message| {
            assert_eq!(message.text(), Ok("now"));
            let (inner, answered) = mpsc::channel();
            session
                .subscribe("inner", QoS::AtLeastOnce, move |_, _| inner.send(()).unwrap())
                .unwrap();
            session.publish("inner", "x").qos(QoS::ExactlyOnce).wait().unwrap();
            session.publish("inner", "x").qos(QoS::AtLeastOnce).receipt().unwrap();
            let nested = done.clone();
            session
                .publish("inner", "x")
                .qos(QoS::AtLeastOnce)
                .on_complete(move |session, number, result| {
                    assert_eq!(result.unwrap().number, number);
                    session.publish("other", "x").qos(QoS::AtLeastOnce).wait().unwrap();
                    nested.send("completed").unwrap();
                })
                .unwrap();
            // Callbacks take turns, so the inner one has to wait for this one.
            assert!(answered.try_recv().is_err());
            session.unsubscribe("inner").unwrap();
            session.unsubscribe_all().unwrap();
            done.send("unsubscribed").unwrap();
        })
        .unwrap();
    session.publish("go", "now").qos(QoS::ExactlyOnce).wait().unwrap();
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok("unsubscribed"));
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok("completed"));
    session.disconnect().unwrap();
}

/// What the async face has, this one has too: properties both ways, and how much waits.
#[test]
fn subscribing_and_unsubscribing_show_the_properties_of_the_server() {
    let id = |id| PacketId::new(id).unwrap();
    let said = |value: &str| -> Properties {
        let pair = (Text::new("said").unwrap(), Text::new(value).unwrap());
        [Property::UserProperty(pair.0, pair.1)].into_iter().collect()
    };
    let granted = vec![ReasonCode::GrantedQoS1];
    let suback = SubAck { packet_id: id(1), properties: said("granted"), reasons: granted };
    let success = vec![ReasonCode::Success];
    let unsuback = UnsubAck { packet_id: id(2), properties: said("gone"), reasons: success };
    let script = Script::new()
        .accept()
        .expect(PacketType::Subscribe)
        .send(Packet::SubAck(suback))
        .send_bytes(b"\x30\x05\x00\x01a\x00x".to_vec())
        .expect(PacketType::Unsubscribe)
        .send(Packet::UnsubAck(unsuback))
        .closed();
    let broker = ScriptedBroker::start([script]).unwrap();
    let session = Session::builder(broker.url(), "me").version(Protocol::V5).connect().unwrap();
    let stream = session.subscribe_with("a", QoS::AtLeastOnce).open().unwrap();
    assert_eq!(stream.properties(), &said("granted"));
    while stream.waiting() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(session.unsubscribe_with("a", said("bye")), Ok(said("gone")));
    session.disconnect().unwrap();
    let received = broker.finish_blocking().unwrap();
    let is_ours =
        |packet: &Packet| matches!(packet, Packet::Unsubscribe(it) if it.properties == said("bye"));
    assert!(received.iter().any(|received| is_ours(&received.packet)), "{received:?}");
}

/// v5 [MQTT-3.8.4-6]: one SUBSCRIBE, one callback, and a verdict for each filter in their order.
#[test]
fn several_filters_have_one_callback_and_a_verdict_each() {
    let reasons = vec![ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized, ReasonCode::Success];
    let properties = Properties::new();
    let suback = SubAck { packet_id: PacketId::new(1).unwrap(), properties, reasons };
    let script = Script::new()
        .accept()
        .expect(PacketType::Subscribe)
        .send(Packet::SubAck(suback))
        .send_bytes(b"\x30\x05\x00\x01c\x00x".to_vec())
        .send_bytes(b"\x30\x05\x00\x01a\x00x".to_vec())
        .closed();
    let broker = ScriptedBroker::start([script]).unwrap();
    let session = Session::builder(broker.url(), "me").version(Protocol::V5).connect().unwrap();
    let (got, is_got) = mpsc::channel();
    let filters = ["a", "b", "c"].map(|filter| (filter, QoS::AtLeastOnce));
    let verdicts = session
        .subscribe_many(filters, move |_, message| got.send(message.topic().to_owned()).unwrap())
        .unwrap();
    assert_eq!((&verdicts[0], &verdicts[2]), (&Ok(QoS::AtLeastOnce), &Ok(QoS::AtMostOnce)));
    let refused =
        matches!(&verdicts[1], Err(SubscribeError::Refused { filter, .. }) if filter == "b");
    assert!(refused, "{verdicts:?}");
    let mut topics = [(); 2].map(|()| is_got.recv_timeout(PATIENCE).unwrap());
    topics.sort_unstable();
    assert_eq!(topics, ["a", "c"]);
    session.disconnect().unwrap();
    broker.finish_blocking().unwrap();
}

#[test]
fn several_filters_have_an_iterator_each() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "many");
    let filters = ["a", "b"].map(|filter| (filter, QoS::AtLeastOnce));
    let streams = session.subscribe_many_with(filters).open().unwrap();
    for (stream, topic) in streams.into_iter().zip(["a", "b"]) {
        let mut stream = stream.unwrap();
        session.publish(topic, "x").qos(QoS::AtLeastOnce).wait().unwrap();
        assert_eq!(stream.next_within(PATIENCE).unwrap().topic(), topic);
    }
    let none: [(&str, QoS); 0] = [];
    assert_eq!(session.subscribe_many(none, |_, _| {}), Err(SubscribeError::Empty));
}

#[test]
fn a_callback_may_disconnect() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "leaver");
    let (done, is_done) = mpsc::channel();
    session
        .subscribe("go", QoS::AtLeastOnce, move |session, _| {
            done.send(session.disconnect()).unwrap();
        })
        .unwrap();
    session.publish("go", "now").qos(QoS::AtLeastOnce).wait().unwrap();
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok(Ok(())));
    assert_eq!(session.ended(), Some(SessionEnd::Disconnected));
    let over = PublishError::Over(SessionEnd::Disconnected);
    assert_eq!(session.publish("a", "").qos(QoS::AtLeastOnce).wait(), Err(over));
}

#[test]
fn a_callback_that_panics_is_not_called_again_and_others_go_on() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "panic");
    let (done, is_done) = mpsc::channel();
    session.subscribe("bad", QoS::AtLeastOnce, |_, _| panic!("a fault of the program")).unwrap();
    session.subscribe("good", QoS::AtLeastOnce, move |_, _| done.send(()).unwrap()).unwrap();
    let several = ["bad", "worse"].map(|filter| (filter, QoS::AtLeastOnce));
    let (tell, calls) = mpsc::channel();
    let panics = move |_: &Session, _| {
        tell.send(()).unwrap();
        panic!("a fault of the program")
    };
    session.subscribe_many(several, panics).unwrap();
    for topic in ["bad", "worse", "good", "bad", "worse", "good"] {
        session.publish(topic, "x").qos(QoS::AtLeastOnce).wait().unwrap();
    }
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok(()));
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok(()));
    session.disconnect().unwrap();
    // Of two filters with one callback it was the first that called it; now nobody can.
    assert_eq!(calls.recv_timeout(PATIENCE), Ok(()));
    assert_eq!(calls.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn verbs_work_inside_an_async_runtime() {
    let broker = TestBroker::start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = connected(&broker, "nested");
        let mut messages = session.subscribe_with("a", QoS::AtLeastOnce).open().unwrap();
        session.publish("a", "x").qos(QoS::ExactlyOnce).wait().unwrap();
        assert_eq!(messages.next().unwrap().text(), Ok("x"));
        session.disconnect().unwrap();
    });
}

#[test]
fn an_iterator_waits_and_ends() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "iterator");
    let mut messages = session.subscribe_with("a", QoS::AtLeastOnce).open().unwrap();
    assert_eq!((messages.topic_filter(), messages.granted()), ("a", QoS::AtLeastOnce));
    assert!(messages.next_within(Duration::ZERO).is_none());
    assert!(messages.try_next().is_none());
    for text in ["1", "2", "3"] {
        session.publish("a", text).qos(QoS::AtLeastOnce).wait().unwrap();
    }
    assert_eq!(messages.next_within(PATIENCE).unwrap().text(), Ok("1"));
    session.unsubscribe("a").unwrap();
    assert_eq!(messages.by_ref().count(), 2);
    assert_eq!(messages.ended(), Some(StreamEnd::Unsubscribed));
    messages.unsubscribe().unwrap();
}

#[test]
fn an_iterator_of_events_waits_and_ends() {
    let mut broker = TestBroker::start().unwrap();
    let builder = Session::builder(broker.url(), "events");
    let session = builder.backoff(Duration::ZERO, Duration::from_millis(1)).connect().unwrap();
    let mut events = session.events();
    assert!(matches!(events.next(), Some(Event::Connected(_))));
    while events.next_within(Duration::ZERO).is_some() {}
    assert_eq!(events.try_next(), None);
    broker.kill();
    assert!(matches!(events.next_within(PATIENCE), Some(Event::Disconnected { .. })));
    broker.restart().unwrap();
    let again = events.find_map(connection);
    assert_eq!(again, session.connected());
    // A late reader begins with the state of now.
    let mut late = session.events();
    assert!(matches!(late.try_next(), Some(Event::Connected(_))));
    session.disconnect().unwrap();
    let over = Event::Over(SessionEnd::Disconnected);
    assert_eq!(events.last().as_ref(), Some(&over));
    assert_eq!(late.by_ref().last(), Some(over));
    assert_eq!((late.next(), late.next_within(PATIENCE), late.try_next()), (None, None, None));
    assert_eq!(session.events().count(), 1);
}

/// As a stream of messages does.
#[test]
fn an_iterator_of_events_keeps_the_session() {
    let mut broker = TestBroker::start().unwrap();
    let builder = Session::builder(broker.url(), "kept");
    let session = builder.backoff(Duration::ZERO, Duration::from_millis(1)).connect().unwrap();
    let mut events = session.events();
    drop(session);
    assert!(events.find_map(connection).is_some());
    broker.kill();
    broker.restart().unwrap();
    assert!(events.find_map(connection).is_some());
}

fn connection(event: Event) -> Option<Connected> {
    if let Event::Connected(connected) = event { Some(*connected) } else { None }
}

#[test]
fn the_last_handle_ends_the_session_although_callbacks_are_left() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "dropped");
    session.subscribe("a", QoS::AtLeastOnce, |_, _| {}).unwrap();
    let (done, is_done) = mpsc::channel::<()>();
    session.on_unmatched(|_, _| {}).unwrap();
    // The callback is dropped with the session, and its end of the channel with it.
    session
        .on_event(move |_, _| {
            let _keep = &done;
        })
        .unwrap();
    drop(session);
    assert_eq!(is_done.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_number_comes_at_once_and_zero_at_qos_0() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "numbers");
    let (done, is_done) = mpsc::channel();
    let mut numbers = Vec::new();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let done = done.clone();
        let report = move |_: &Session, number, result: Result<_, _>| {
            assert!(result.is_ok());
            done.send(number).unwrap();
        };
        numbers.push(session.publish("a", "x").qos(qos).on_complete(report).unwrap());
    }
    assert_eq!(numbers, [0, 1, 2]);
    let mut told: Vec<u64> = (0..3).map(|_| is_done.recv_timeout(PATIENCE).unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2]);
}

#[test]
fn receipts_are_waited_for_in_any_order_and_on_any_thread() {
    let broker = TestBroker::start().unwrap();
    let session = connected(&broker, "receipts");
    let publish = |qos| session.publish("a", "x").qos(qos).receipt().unwrap();
    let mut receipts = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].map(publish);
    assert_eq!(receipts.each_ref().map(|receipt| receipt.message_number()), [0, 1, 2]);
    assert_eq!(receipts[1].stored(), Err(PublishError::NotStored));
    let [zero, one, two] = receipts;
    assert_eq!(std::thread::spawn(|| two.wait()).join().unwrap().unwrap().number, 2);
    assert_eq!([zero, one].map(|receipt| receipt.wait().unwrap().number), [0, 1]);

    session.disconnect().unwrap();
    let late = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt();
    assert_eq!(late.unwrap_err(), PublishError::Over(SessionEnd::Disconnected));
}
