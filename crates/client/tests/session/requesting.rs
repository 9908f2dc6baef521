//! Request and response. Spec: v5 section 4.10.

use std::time::Duration;

use postrider::{
    Bytes, Property, Protocol, QoS, ReasonCode, ReplyError, RequestError, Session, Text, Version,
    blocking,
};
use postrider_proto::wire::{AckKind, ConnAck, Packet, PacketId, Publish};
use postrider_testing::TestBroker;
use tokio::time::timeout;

use crate::peer::{PATIENCE, Peer, Success, builder, connect, connected, message};

/// Issue 5, section 4: `session.request(topic, payload).await` and `message.reply(..)`, at a real broker.
#[tokio::test]
async fn request_is_answered_by_reply() {
    let broker = TestBroker::start().unwrap();
    let asking = Session::builder(broker.url(), "asks/+").connect().await.unwrap();
    let replying = Session::builder(broker.url(), "replies").connect().await.unwrap();
    let mut questions = replying.subscribe("double", QoS::ExactlyOnce).await.unwrap();
    let replies = tokio::spawn(async move {
        for _ in 0..3 {
            let question = questions.next().await.unwrap();
            let number: u32 = question.text().unwrap().parse().unwrap();
            assert_eq!(question.response_topic(), Some("responses/asks--"));
            question.reply((number * 2).to_string()).content_type("text/plain").await.unwrap();
        }
    });
    for (qos, number) in [(QoS::AtMostOnce, 1), (QoS::AtLeastOnce, 2), (QoS::ExactlyOnce, 3)] {
        let answer = asking.request("double", number.to_string()).qos(qos).await.unwrap();
        assert_eq!(answer.text(), Ok((number * 2).to_string().as_str()));
        assert_eq!(answer.content_type(), Some("text/plain"));
    }
    timeout(PATIENCE, replies).await.unwrap().unwrap();
}

/// The same without async, from inside a callback.
#[test]
fn blocking_request_is_answered_by_reply() {
    let broker = TestBroker::start().unwrap();
    let session = blocking::Session::builder(broker.url(), "both").connect().unwrap();
    session
        .subscribe("echo", QoS::AtLeastOnce, |_, question| {
            question.reply(question.payload().unwrap()).qos(QoS::AtMostOnce).wait().unwrap();
        })
        .unwrap();
    let answer = session.request("echo", "hello").timeout(PATIENCE).wait().unwrap();
    assert_eq!(answer.text(), Ok("hello"));
    session.disconnect().unwrap();
    let late = session.request("echo", "hello").wait();
    assert!(matches!(late, Err(RequestError::Over(_))), "{late:?}");
}

/// Several at once, answered in another order: each gets its own. The response topic is subscribed to once.
#[tokio::test]
async fn several_requests_at_once_get_their_own_answers() {
    let (session, mut peer, _desk) = connected().await;
    let all = async {
        let [one, two, three] =
            ["1", "2", "3"].map(|text| session.request(text, text).into_future());
        tokio::join!(one, two, three)
    };
    let serve = async {
        let subscribe = peer.grant().await;
        assert_eq!(subscribe.filters[0].filter.as_str(), "responses/me");
        let mut questions = Vec::new();
        for _ in 0..3 {
            let question = peer.publish().await;
            peer.ack(AckKind::PubAck, question.packet_id).await;
            questions.push(question);
        }
        for question in questions.iter().rev() {
            answer(&mut peer, question, None).await;
        }
    };
    let ((one, two, three), ()) =
        timeout(PATIENCE, async { tokio::join!(all, serve) }).await.unwrap();
    for (answer, text) in [(one, "1"), (two, "2"), (three, "3")] {
        assert_eq!(answer.unwrap().text(), Ok(text));
    }
}

/// v5 section 3.4.2.1: reason code 0x10 says that nobody listens, so nobody need wait.
#[tokio::test]
async fn no_matching_subscribers_is_no_responder() {
    let (session, mut peer, _desk) = connected().await;
    let (result, ()) = tokio::join!(session.request("a", "x").into_future(), async {
        peer.grant().await;
        let question = peer.publish().await;
        peer.answer(AckKind::PubAck, question.packet_id, ReasonCode::NoMatchingSubscribers).await;
    });
    assert_eq!(result.unwrap_err(), RequestError::NoResponder);
}

/// No responder in time; an answer that comes too late, or to somebody else's question, goes nowhere.
#[tokio::test]
async fn no_answer_in_time_is_told() {
    let (session, mut peer, _desk) = connected().await;
    let short = Duration::from_millis(10);
    let asking = timeout(PATIENCE, session.request("a", "x").timeout(short).into_future());
    let (result, question) = tokio::join!(asking, async {
        peer.grant().await;
        let question = peer.publish().await;
        peer.ack(AckKind::PubAck, question.packet_id).await;
        question
    });
    assert_eq!(result.unwrap().unwrap_err(), RequestError::TimedOut(short));
    answer(&mut peer, &question, None).await;
    let (result, ()) = tokio::join!(session.request("a", "y").into_future(), async {
        let question = peer.publish().await;
        peer.ack(AckKind::PubAck, question.packet_id).await;
        let ours = question.properties.correlation_data().unwrap().clone();
        // As another session numbers its questions, too.
        let mut anothers = ours.to_vec();
        anothers[0] ^= 1;
        let stranger = Publish { payload: "strange".into(), ..question.clone() };
        for data in ["".into(), "12345678".into(), "1234567812345678".into(), anothers.into()] {
            answer(&mut peer, &stranger, Some(data)).await;
        }
        answer(&mut peer, &question, None).await;
    });
    assert_eq!(result.unwrap().text(), Ok("y"));
}

/// Without a connection the time runs too.
#[tokio::test]
async fn no_connection_in_time_is_told() {
    let (builder, _desk) = builder();
    let session = builder.start().await.unwrap();
    let short = Duration::from_millis(10);
    let asking = session.request("a", "x").timeout(short).into_future();
    let result = timeout(PATIENCE, asking).await.unwrap();
    assert_eq!(result.unwrap_err(), RequestError::TimedOut(short));
}

#[tokio::test]
async fn requests_are_not_possible_in_v311() {
    let (builder, desk) = builder();
    let builder = builder.version(Protocol::V311).clean_start(false);
    let (session, _peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let result = session.request("a", "x").await;
    assert_eq!(result.unwrap_err(), RequestError::NotInVersion(Version::V311));
}

/// v5 section 3.1.2.11.7, 3.2.2.3.14: asked for, the server says below which topic answers belong.
#[tokio::test]
async fn response_information_makes_the_response_topic() {
    let (builder, mut desk) = builder();
    let builder = builder.response_information().response_prefix("unused");
    let information = Property::ResponseInformation(Text::new("reserved/7/").unwrap());
    let connack = ConnAck::default_success().with(information);
    let (session, mut peer) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let connect = peer.connect().await;
        assert_eq!(connect.properties.request_response_information(), Some(&true));
        peer.send(Packet::ConnAck(connack)).await;
        peer
    });
    let session = session.unwrap();
    let (result, ()) = tokio::join!(session.request("a", "x").into_future(), async {
        let subscribe = peer.grant().await;
        assert_eq!(subscribe.filters[0].filter.as_str(), "reserved/7/me");
        let question = peer.publish().await;
        peer.ack(AckKind::PubAck, question.packet_id).await;
        answer(&mut peer, &question, None).await;
    });
    assert_eq!(result.unwrap().topic(), "reserved/7/me");
}

#[tokio::test]
async fn response_prefix_makes_the_response_topic() {
    let (builder, desk) = builder();
    let builder = builder.response_prefix("my/answers/");
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    // Dropped, the request is given up, and with it a subscription that nobody waits for any more.
    let subscribe = tokio::select! {
        result = session.request("a", "x").into_future() => panic!("{result:?}"),
        subscribe = peer.grant() => subscribe,
    };
    assert_eq!(subscribe.filters[0].filter.as_str(), "my/answers/me");
}

/// What is asked and what is wrong with it are told as for any message.
#[tokio::test]
async fn a_request_to_no_topic_is_refused() {
    let (session, mut peer, _desk) = connected().await;
    let (result, _) = tokio::join!(session.request("a/#", "x").into_future(), peer.grant());
    assert!(matches!(result, Err(RequestError::Publish(_))), "{result:?}");
}

/// The program may unsubscribe from everything; who waits hears of it, and the next request subscribes again.
#[tokio::test]
async fn unsubscribing_ends_what_waits() {
    let (session, mut peer, _desk) = connected().await;
    let (result, ()) = tokio::join!(session.request("a", "x").into_future(), async {
        peer.grant().await;
        let question = peer.publish().await;
        peer.ack(AckKind::PubAck, question.packet_id).await;
        let (left, _) = tokio::join!(session.unsubscribe_all(), peer.release());
        left.unwrap();
    });
    assert_eq!(result.unwrap_err(), RequestError::Unsubscribed);
    let (result, ()) = tokio::join!(session.request("a", "x").into_future(), async {
        peer.grant().await;
        let question = peer.publish().await;
        peer.ack(AckKind::PubAck, question.packet_id).await;
        answer(&mut peer, &question, None).await;
    });
    assert_eq!(result.unwrap().text(), Ok("x"));
}

/// In a session that acknowledges by hand the program never sees answers as messages, so the session does it.
#[tokio::test]
async fn answers_are_acknowledged_by_the_session() {
    let (builder, desk) = builder();
    let builder = builder.manual_acknowledgement();
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let (result, ()) = tokio::join!(session.request("a", "x").into_future(), async {
        peer.grant().await;
        let question = peer.publish().await;
        peer.ack(AckKind::PubAck, question.packet_id).await;
        let topic = question.properties.response_topic().unwrap().as_str().to_owned();
        let mut reply = message(&topic, "x", QoS::AtLeastOnce, &[]);
        reply.packet_id = PacketId::new(9);
        let data = question.properties.correlation_data().unwrap().clone();
        reply.properties.push(Property::CorrelationData(data));
        peer.send(Packet::Publish(reply)).await;
        let acknowledged = peer.next().await;
        assert!(matches!(acknowledged, Packet::PubAck(ref ack) if ack.packet_id.get() == 9));
    });
    assert_eq!(result.unwrap().text(), Ok("x"));
}

#[tokio::test]
async fn a_message_that_asks_nothing_cannot_be_answered() {
    let (session, mut peer, _desk) = connected().await;
    let (stream, _) =
        tokio::join!(session.subscribe("a", QoS::AtMostOnce).into_future(), peer.grant());
    let mut stream = stream.unwrap();
    peer.deliver("a", "x", QoS::AtMostOnce, &[]).await;
    let plain = stream.next().await.unwrap();
    assert_eq!(plain.reply("y").await.unwrap_err(), ReplyError::NotAsked { topic: "a".to_owned() });
    // Who answers uses the topic that the question names.
    let mut question = message("a", "x", QoS::AtMostOnce, &[]);
    question.properties.push(Property::ResponseTopic(Text::new("b/c").unwrap()));
    peer.send(Packet::Publish(question)).await;
    let question = stream.next().await.unwrap();
    let (replied, reply) = tokio::join!(question.reply("y").into_future(), peer.publish());
    assert_eq!(replied.unwrap().number, 0);
    assert_eq!(reply.topic.unwrap().as_str(), "b/c");
    assert_eq!(reply.properties.correlation_data(), None);
    // As the question came, unless asked for otherwise.
    assert_eq!(reply.qos, QoS::AtMostOnce);
    let surer = question.reply("y").qos(QoS::AtLeastOnce);
    let (replied, reply) = tokio::join!(surer.into_future(), async {
        let reply = peer.publish().await;
        peer.ack(AckKind::PubAck, reply.packet_id).await;
        reply
    });
    assert_eq!(replied.unwrap().number, 1);
    assert_eq!(reply.qos, QoS::AtLeastOnce);
}

/// Answers a question with its own text.
async fn answer(peer: &mut Peer, question: &Publish, correlation: Option<Bytes>) {
    let topic = question.properties.response_topic().unwrap().as_str().to_owned();
    let text = std::str::from_utf8(&question.payload).unwrap();
    let mut reply = message(&topic, text, QoS::AtMostOnce, &[]);
    let data = match correlation {
        Some(data) => data,
        None => question.properties.correlation_data().unwrap().clone(),
    };
    reply.properties.push(Property::CorrelationData(data));
    peer.send(Packet::Publish(reply)).await;
}
