//! Several filters subscribed at once: one SUBSCRIBE, and a verdict and a stream for each.

use std::{
    future::{Future, IntoFuture},
    pin::{Pin, pin},
    task::{Context, Waker},
};

use postrider::{
    Filter, Properties, Property, Protocol, QoS, ReasonCode, Session, StreamEnd, SubscribeError,
    Subscription,
};
use postrider_proto::wire::{ConnAck, Packet, Publish, SubAck, Subscribe};

use crate::peer::{Peer, Success, builder, connect, connected, message, until};

type Verdict = Result<Subscription, SubscribeError>;

/// Subscribes at QoS 1 to what the peer grants in so many packets.
async fn subscribe<const N: usize>(
    session: &Session,
    peer: &mut Peer,
    filters: [&str; N],
    packets: usize,
) -> ([Subscription; N], Vec<Subscribe>) {
    let request = session.subscribe_many(filters.map(|filter| (filter, QoS::AtLeastOnce)));
    let (streams, asked) = tokio::join!(request.into_future(), grant(peer, packets));
    let streams: Result<Vec<Subscription>, SubscribeError> = streams.unwrap().into_iter().collect();
    (streams.unwrap().try_into().unwrap(), asked)
}

async fn grant(peer: &mut Peer, packets: usize) -> Vec<Subscribe> {
    let mut asked = Vec::new();
    for _ in 0..packets {
        asked.push(peer.grant().await);
    }
    asked
}

/// Answers the next SUBSCRIBE.
async fn answer<const N: usize>(peer: &mut Peer, reasons: [ReasonCode; N]) -> Subscribe {
    let subscribe = peer.subscribe().await;
    let (packet_id, properties) = (subscribe.packet_id, Properties::new());
    let reasons = reasons.to_vec();
    peer.send(Packet::SubAck(SubAck { packet_id, properties, reasons })).await;
    subscribe
}

/// Nothing was sent before what is published here.
async fn nothing_else(session: &Session, peer: &mut Peer) {
    session.publish("fence", "").await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap(), "fence");
}

/// Begins without a turn of the driver.
fn begin<F: Future + ?Sized>(future: &mut Pin<&mut F>) {
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn names(subscribe: &Subscribe) -> Vec<&str> {
    subscribe.filters.iter().map(|line| line.filter.as_str()).collect()
}

fn identifier(subscribe: &Subscribe) -> Option<u32> {
    subscribe.properties.subscription_identifier().copied()
}

async fn text(stream: &mut Subscription) -> String {
    stream.next().await.unwrap().text().unwrap().to_owned()
}

fn refused(filter: &str, reason: ReasonCode) -> SubscribeError {
    let (filter, properties) = (filter.to_owned(), Properties::new());
    SubscribeError::Refused { filter, reason, explanation: None, properties }
}

/// v5 [MQTT-3.8.4-6] [MQTT-3.8.4-7], v3.1.1 [MQTT-3.8.4-5]: one SUBSCRIBE, and a code for each filter in their order. One that is refused takes nothing from the others.
#[tokio::test]
async fn several_filters_go_in_one_subscribe_and_each_has_its_verdict() {
    for version in [Protocol::V311, Protocol::V5] {
        let (builder, desk) = builder();
        // So that one connection is all, in 3.1.1 too.
        let builder = builder.version(version).clean_start(false);
        let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
        let refusal =
            if peer.is_v311() { ReasonCode::UnspecifiedError } else { ReasonCode::NotAuthorized };
        let asked = [
            ("a", QoS::ExactlyOnce),
            ("b/+", QoS::AtMostOnce),
            ("c", QoS::AtLeastOnce),
            ("d", QoS::ExactlyOnce),
        ];
        let reasons =
            [ReasonCode::GrantedQoS1, ReasonCode::Success, refusal, ReasonCode::GrantedQoS2];
        let (verdicts, subscribe) =
            tokio::join!(session.subscribe_many(asked).into_future(), answer(&mut peer, reasons));
        let lines = subscribe.filters.iter().map(|it| (it.filter.as_str(), it.options.qos));
        assert!(lines.eq(asked), "{subscribe:?}");
        let told = |verdict: &Verdict| match verdict {
            Ok(stream) => Ok((stream.filter().to_owned(), stream.granted())),
            Err(error) => Err(error.clone()),
        };
        let verdicts = verdicts.unwrap();
        let expected = [
            Ok(("a".to_owned(), QoS::AtLeastOnce)),
            Ok(("b/+".to_owned(), QoS::AtMostOnce)),
            Err(refused("c", refusal)),
            Ok(("d".to_owned(), QoS::ExactlyOnce)),
        ];
        assert!(verdicts.iter().map(told).eq(expected), "{verdicts:?}");
        for (topic, text) in [("d", "to d"), ("b/1", "to b"), ("c", "to nobody"), ("a", "to a")] {
            peer.deliver(topic, text, QoS::AtMostOnce, &[]).await;
        }
        let mut streams: Vec<Subscription> = verdicts.into_iter().flatten().collect();
        for (stream, expected) in streams.iter_mut().zip(["to a", "to b", "to d"]) {
            assert_eq!(text(stream).await, expected);
        }
        nothing_else(&session, &mut peer).await;
    }
}

/// v5 [MQTT-3.8.3-2], v3.1.1 [MQTT-3.8.3-3].
#[tokio::test]
async fn a_request_without_a_filter_or_with_a_wrong_one_sends_nothing() {
    let (session, mut peer, _desk) = connected().await;
    let none: [(Filter, QoS); 0] = [];
    let error = session.subscribe_many(none).await.unwrap_err();
    assert_eq!(error, SubscribeError::Empty);
    let wrong = ["a", "b#", "c"].map(|filter| (filter, QoS::AtMostOnce));
    let error = session.subscribe_many(wrong).await.unwrap_err();
    assert_eq!(error.wildcard_at(), Some(1), "{error}");
    nothing_else(&session, &mut peer).await;
}

/// What was granted is subscribed again, and what is refused then ends alone.
#[tokio::test]
async fn a_lost_session_gets_again_what_was_granted() {
    let (session, mut peer, mut desk) = connected().await;
    let asked = ["a", "b", "c"].map(|filter| (filter, QoS::AtLeastOnce));
    let reasons = [ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized, ReasonCode::GrantedQoS1];
    let (verdicts, _) =
        tokio::join!(session.subscribe_many(asked).into_future(), answer(&mut peer, reasons));
    let mut streams: Vec<Subscription> = verdicts.unwrap().into_iter().flatten().collect();
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success()).await;
    let reasons = [ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized];
    assert_eq!(names(&answer(&mut peer, reasons).await), ["a", "c"]);
    assert!(streams[1].next().await.is_none());
    assert_eq!(streams[1].ended(), Some(StreamEnd::Refused));
    peer.deliver("a", "again", QoS::AtMostOnce, &[]).await;
    assert_eq!(text(&mut streams[0]).await, "again");
}

#[tokio::test]
async fn each_of_several_filters_is_unsubscribed_by_itself() {
    let (session, mut peer, _desk) = connected().await;
    let ([a, mut b, mut c, d], _) = subscribe(&session, &mut peer, ["a", "b", "c", "d"], 1).await;
    drop(a);
    assert_eq!(peer.release().await.filters, ["a"]);
    let (unsubscribed, asked) = tokio::join!(session.unsubscribe("b"), peer.release());
    unsubscribed.unwrap();
    assert_eq!(asked.filters, ["b"]);
    assert!(b.next().await.is_none());
    let (unsubscribed, asked) = tokio::join!(d.unsubscribe(), peer.release());
    unsubscribed.unwrap();
    assert_eq!(asked.filters, ["d"]);
    peer.deliver("c", "still there", QoS::AtMostOnce, &[]).await;
    assert_eq!(text(&mut c).await, "still there");
    let (unsubscribed, asked) = tokio::join!(session.unsubscribe_all(), peer.release());
    unsubscribed.unwrap();
    assert_eq!(asked.filters, ["c"]);
    assert!(c.next().await.is_none());
}

#[tokio::test]
async fn several_filters_that_are_given_up_are_taken_back() {
    let (session, mut peer, _desk) = connected().await;
    let asked = ["a", "b"].map(|filter| (filter, QoS::AtLeastOnce));
    let mut future = session.subscribe_many(asked).into_future();
    begin(&mut future.as_mut());
    peer.grant().await;
    drop(future);
    for filter in ["a", "b"] {
        assert_eq!(peer.release().await.filters, [filter]);
    }
}

/// v5 [MQTT-3.3.4-3] [MQTT-3.3.4-4]: a SUBSCRIBE has one identifier, so overlapping filters need more than one of them, and
/// no more than it takes. Copies come out as with filters that were subscribed one by one.
#[tokio::test]
async fn filters_of_one_request_that_overlap_are_told_apart() {
    let (session, mut peer, _desk) = connected().await;
    let filters = ["a/#", "b", "a/0", "a/1", "a/2", "a/3", "a/4", "c"];
    let (mut streams, asked) = subscribe(&session, &mut peer, filters, 3).await;
    let [all, none, plain] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(names(all), ["a/#"]);
    assert_eq!((names(none), identifier(none)), (vec!["b", "c"], None));
    assert_eq!(names(plain), ["a/0", "a/1", "a/2", "a/3", "a/4"]);
    let (all_id, plain_id) = (identifier(all).unwrap(), identifier(plain).unwrap());
    assert_ne!(all_id, plain_id);
    peer.deliver("a/0", "one copy", QoS::AtMostOnce, &[plain_id, all_id]).await;
    peer.deliver("a/3", "copies", QoS::AtMostOnce, &[plain_id]).await;
    peer.deliver("a/3", "copies", QoS::AtMostOnce, &[all_id]).await;
    for filter in ["a/0", "b", "a/1", "a/2", "a/3", "a/4", "c"] {
        peer.deliver(filter, "fence", QoS::AtMostOnce, &[]).await;
    }
    for (stream, expected) in streams.iter_mut().zip([
        &["one copy", "copies", "fence"][..],
        &["fence"],
        &["one copy", "fence"],
        &["fence"],
        &["fence"],
        &["copies", "fence"],
        &["fence"],
        &["fence"],
    ]) {
        for expected in expected {
            assert_eq!(text(stream).await, *expected, "{}", stream.filter());
        }
    }
}

/// What this is for: a thousand filters are one packet, and two with one that overlaps all of them.
#[tokio::test]
async fn a_thousand_filters_cost_no_more_packets_than_a_few() {
    let (session, mut peer, _desk) = connected().await;
    let filters = |name| (0..1000).map(move |at| (format!("{name}/{at}"), QoS::AtLeastOnce));
    let (first, asked) =
        tokio::join!(session.subscribe_many(filters("a")).into_future(), peer.grant());
    let lines = asked.filters.iter().map(|line| line.filter.as_str().to_owned());
    assert!(lines.eq(filters("a").map(|(filter, _)| filter)));
    let all = filters("b").chain([("b/#".to_owned(), QoS::AtLeastOnce)]);
    let (second, asked) =
        tokio::join!(session.subscribe_many(all).into_future(), grant(&mut peer, 2));
    assert_eq!(asked.iter().map(|asked| asked.filters.len()).collect::<Vec<_>>(), [1000, 1]);
    let streams: Vec<Verdict> = first.unwrap().into_iter().chain(second.unwrap()).collect();
    assert_eq!(streams.iter().filter(|verdict| verdict.is_ok()).count(), 2001);
}

/// v5 [MQTT-3.3.1-9]: the same filter twice is two streams, and each has what is retained once.
#[tokio::test]
async fn one_filter_twice_is_two_streams() {
    let (session, mut peer, _desk) = connected().await;
    let ([mut one, mut two], asked) = subscribe(&session, &mut peer, ["a", "a"], 2).await;
    assert_eq!(identifier(&asked[0]), None);
    let second = identifier(&asked[1]).unwrap();
    for (text, ids) in [("first", &[][..]), ("second", &[second])] {
        let retained = Publish { retain: true, ..message("a", text, QoS::AtMostOnce, ids) };
        peer.send(Packet::Publish(retained)).await;
    }
    peer.deliver("a", "fence", QoS::AtMostOnce, &[second]).await;
    for (stream, retained) in [(&mut one, "first"), (&mut two, "second")] {
        assert_eq!(text(stream).await, retained);
        assert_eq!(text(stream).await, "fence");
    }
}

#[tokio::test]
async fn options_hold_for_all_filters_of_a_request() {
    let (session, mut peer, _desk) = connected().await;
    let asked = [("a/#", QoS::AtMostOnce), ("a/+", QoS::ExactlyOnce)];
    let request = session.subscribe_many(asked).identifier(77).no_local(true);
    let (_streams, subscribe) = tokio::join!(request.into_future(), peer.grant());
    assert_eq!((names(&subscribe), identifier(&subscribe)), (vec!["a/#", "a/+"], Some(77)));
    assert!(subscribe.filters.iter().all(|line| line.options.no_local), "{subscribe:?}");
}

/// v5 section 3.2.2.3.13: what the server does not offer is refused here, whether that is known when it is asked for or when
/// the connection comes, and the rest goes out.
#[tokio::test]
async fn what_is_not_offered_takes_nothing_from_the_others() {
    let (builder, desk) = builder();
    let connack = || ConnAck::default_success().with(Property::SharedSubscriptionAvailable(false));
    let (session, mut peer, mut desk) = connect(builder, desk, connack()).await;
    let asked = |name| {
        let filters = [format!("{name}/1"), "$share/g/a".to_owned(), format!("{name}/2")];
        session.subscribe_many(filters.map(|filter| (filter, QoS::AtLeastOnce)))
    };
    let check = |verdicts: Result<Vec<Verdict>, SubscribeError>| {
        let verdicts = verdicts.unwrap();
        let (what, filter) = ("shared subscriptions", "$share/g/a".to_owned());
        let refusal = SubscribeError::NotOffered { what, filter };
        assert_eq!(verdicts[1].as_ref().err(), Some(&refusal));
        assert!(verdicts[0].is_ok() && verdicts[2].is_ok(), "{verdicts:?}");
        verdicts
    };
    let (verdicts, subscribe) = tokio::join!(asked("b").into_future(), peer.grant());
    let _streams = check(verdicts);
    assert_eq!(names(&subscribe), ["b/1", "b/2"]);
    drop(peer);
    let (verdicts, (subscribe, _peer)) = tokio::join!(asked("c").into_future(), async {
        let mut peer = desk.accept(connack().resumed()).await;
        (peer.grant().await, peer)
    });
    check(verdicts);
    assert_eq!(names(&subscribe), ["c/1", "c/2"]);
}

/// v5 [MQTT-3.2.2-15]: more filters than the server takes in one packet go in several, and one that fits into none is
/// refused alone.
#[tokio::test]
async fn what_is_too_large_for_one_packet_goes_in_several() {
    let (builder, desk) = builder();
    let connack = || ConnAck::default_success().with(Property::MaximumPacketSize(56));
    let mut streams = Vec::new();
    let (session, peer, mut desk) = connect(builder, desk, connack()).await;
    let mut link = Some(peer);
    let long = "long".repeat(15);
    for is_connected in [true, false] {
        let name = |at| match at {
            2 => long.clone(),
            at => format!("filter-{is_connected}-{at}"),
        };
        if !is_connected {
            link = None;
            until(|| session.connected().is_none()).await;
        }
        let mut asking =
            session.subscribe_many((0..8).map(|at| (name(at), QoS::AtMostOnce))).into_future();
        begin(&mut asking.as_mut());
        if link.is_none() {
            link = Some(desk.accept(connack().resumed()).await);
        }
        let peer = link.as_mut().unwrap();
        let (verdicts, asked) = tokio::join!(asking, grant(peer, 4));
        for (at, verdict) in verdicts.unwrap().into_iter().enumerate() {
            match verdict {
                Ok(stream) => {
                    assert_eq!(stream.filter(), name(at));
                    streams.push(stream);
                }
                Err(error) => {
                    assert_eq!((at, error), (2, refused(&long, ReasonCode::PacketTooLarge)));
                }
            }
        }
        let mut sent: Vec<&str> = asked.iter().flat_map(names).collect();
        sent.sort_unstable();
        assert!(sent.into_iter().eq([0, 1, 3, 4, 5, 6, 7].map(name)), "{asked:?}");
    }
    assert_eq!(streams.len(), 14);
    nothing_else(&session, &mut link.unwrap()).await;
}

/// Filters that all overlap need a packet each, and no more wait for an answer than may: the others are refused, each by
/// itself, and can be asked for again.
#[tokio::test]
async fn of_too_many_packets_those_above_the_bound_are_refused() {
    let (session, mut peer, _desk) = connected().await;
    let names: Vec<String> = (1..=1002).map(|depth| "a/".repeat(depth) + "#").collect();
    let asked = names.iter().map(|name| (name.as_str(), QoS::AtMostOnce));
    let request = session.subscribe_many(asked).into_future();
    let (verdicts, packets) = tokio::join!(request, grant(&mut peer, 1000));
    assert!(packets.iter().flat_map(self::names).eq(&names[..1000]));
    let mut verdicts = verdicts.unwrap();
    let refused = verdicts.split_off(1000);
    let streams: Result<Vec<Subscription>, SubscribeError> = verdicts.into_iter().collect();
    let _streams = streams.unwrap();
    for verdict in refused {
        assert_eq!(verdict.unwrap_err(), SubscribeError::TooMany(1000));
    }
    let again = session.subscribe_many([(names[1001].as_str(), QoS::AtMostOnce)]).into_future();
    let (again, packets) = tokio::join!(again, grant(&mut peer, 1));
    assert!(again.unwrap().pop().unwrap().is_ok());
    assert_eq!(self::names(&packets[0]), [names[1001].as_str()]);
}

/// v5 [MQTT-3.2.2-15]: nor does the server stay subscribed because the filters of all fit into no UNSUBSCRIBE.
#[tokio::test]
async fn all_filters_go_in_as_many_packets_as_they_need() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success().with(Property::MaximumPacketSize(56));
    let (session, mut peer, _desk) = connect(builder, desk, connack).await;
    let name = |at| format!("filter-{at}");
    let mut streams = Vec::new();
    for at in 0..8 {
        let subscribe = session.subscribe(name(at), QoS::AtMostOnce).into_future();
        let (stream, _) = tokio::join!(subscribe, peer.grant());
        streams.push(stream.unwrap());
    }
    let mut left = Vec::new();
    let all = async {
        while left.len() < 8 {
            left.extend(peer.release().await.filters);
        }
    };
    let (unsubscribed, ()) = tokio::join!(session.unsubscribe_all(), all);
    unsubscribed.unwrap();
    assert!(left.iter().map(Filter::as_str).eq((0..8).map(name)), "{left:?}");
    for stream in &streams {
        assert_eq!(stream.ended(), Some(StreamEnd::Unsubscribed));
    }
    drop(streams);
    nothing_else(&session, &mut peer).await;
}

/// What is subscribed again while the parts of a large UNSUBSCRIBE are on their way stays subscribed, twice too; what was
/// subscribed before ends.
#[tokio::test]
async fn what_is_subscribed_again_is_not_unsubscribed_by_a_later_part() {
    let (builder, desk) = builder();
    let connack = || ConnAck::default_success().with(Property::MaximumPacketSize(56));
    let (session, mut peer, mut desk) = connect(builder, desk, connack()).await;
    for is_connected in [true, false] {
        let name = |at| format!("filter-{at}");
        let mut before = Vec::new();
        for at in 0..8 {
            let subscribe = session.subscribe(name(at), QoS::AtMostOnce).into_future();
            let (stream, _) = tokio::join!(subscribe, peer.grant());
            before.push(stream.unwrap());
        }
        let mut link = is_connected.then_some(peer);
        if !is_connected {
            until(|| session.connected().is_none()).await;
        }
        let mut all = pin!(session.unsubscribe_all());
        begin(&mut all);
        let mut again: Vec<_> = (["filter-1", "filter-6", "filter-6"].into_iter())
            .map(|filter| session.subscribe(filter, QoS::AtMostOnce).into_future())
            .collect();
        again.iter_mut().for_each(|again| begin(&mut again.as_mut()));
        if link.is_none() {
            link = Some(desk.accept(connack().resumed()).await);
        }
        peer = link.unwrap();
        let mut there: Vec<String> = (0..8).map(name).collect();
        let serving = async {
            loop {
                let packet = peer.next().await;
                if let Packet::Subscribe(subscribe) = &packet {
                    there.extend(names(subscribe).into_iter().map(str::to_owned));
                    peer.agree(subscribe).await;
                } else if let Packet::Unsubscribe(unsubscribe) = &packet {
                    there.retain(|it| !unsubscribe.filters.iter().any(|gone| *gone == **it));
                    peer.agree_to_leave(unsubscribe).await;
                } else {
                    let Packet::Publish(fence) = packet else { panic!("{packet:?}") };
                    break assert_eq!(fence.topic.unwrap(), "fence");
                }
            }
        };
        let asking = async {
            let mut streams = Vec::new();
            for again in again {
                streams.push(again.await.unwrap());
            }
            all.await.unwrap();
            session.publish("fence", "").await.unwrap();
            streams
        };
        let (streams, ()) = tokio::join!(asking, serving);
        there.sort_unstable();
        there.dedup();
        assert_eq!(there, ["filter-1", "filter-6"], "connected: {is_connected}");
        for stream in &streams {
            assert_eq!(stream.ended(), None, "connected: {is_connected}");
        }
        for stream in &before {
            assert_eq!(stream.ended(), Some(StreamEnd::Unsubscribed));
        }
        let (ended, _) = tokio::join!(session.unsubscribe_all(), peer.release());
        ended.unwrap();
    }
}

/// What was asked for before there is a connection, and is too much for it, is not asked for again behind its UNSUBSCRIBE.
#[tokio::test]
async fn what_was_unsubscribed_meanwhile_is_not_subscribed_in_parts() {
    let (session, peer, mut desk) = connected().await;
    drop(peer);
    until(|| session.connected().is_none()).await;
    let asked = ["filter-1", "filter-2", "filter-3", "filter-4"];
    let request = session.subscribe_many(asked.map(|filter| (filter, QoS::AtMostOnce)));
    let mut subscribing = request.into_future();
    begin(&mut subscribing.as_mut());
    let mut unsubscribing = pin!(session.unsubscribe("filter-2"));
    begin(&mut unsubscribing);
    let connack = ConnAck::default_success().with(Property::MaximumPacketSize(40)).resumed();
    let (verdicts, unsubscribed, (asked, _peer)) =
        tokio::join!(subscribing, unsubscribing, async {
            let mut peer = desk.accept(connack).await;
            assert_eq!(peer.release().await.filters, ["filter-2"]);
            (grant(&mut peer, 2).await, peer)
        });
    unsubscribed.unwrap();
    assert_eq!(
        asked.iter().flat_map(names).collect::<Vec<_>>(),
        ["filter-1", "filter-3", "filter-4"]
    );
    let errors: Vec<_> = verdicts.unwrap().into_iter().filter_map(Result::err).collect();
    assert_eq!(errors, [refused("filter-2", ReasonCode::PacketTooLarge)]);
}
