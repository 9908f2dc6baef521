//! What each library has to see at a broker.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::{
    lane::Case,
    message::{Message, Properties},
    peer::{LIBRARIES, Library, Peer, Setup},
};

type Run = fn(&Case, &Library) -> Result<()>;

/// Cases that every version has.
pub const EVERY_VERSION: [(&str, Run); 10] = [
    ("each QoS to each QoS", each_qos),
    ("to every other library", crossing),
    ("retained, replaced, cleared", retained),
    ("will on a cut, none on disconnect", will),
    ("session resumed, then clean", resumed),
    ("taken over", taken_over),
    ("shared subscription", shared),
    ("unsubscribed", unsubscribed),
    ("overlapping filters", overlapping),
    ("wildcards", wildcards),
];

/// Cases of 5.0.
pub const WITH_PROPERTIES: [(&str, Run); 5] = [
    ("properties pass unchanged", properties),
    ("a will's properties", will_properties),
    ("subscription identifiers", subscription_ids),
    ("session expiry", session_expiry),
    ("assigned client id", assigned_id),
];

const MIB: usize = 1024 * 1024;
const BURST: usize = 500;
const CLIENTS: usize = 200;

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::text).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(actual: T, expected: T) -> Result<()> {
    ensure!(actual == expected, "expected: {expected:?}\nactual:   {actual:?}");
    Ok(())
}

fn each_qos(case: &Case, library: &Library) -> Result<()> {
    let topic = case.topic("7/temp");
    let publisher = Peer::new(case, library)?;
    let mut subscribers = Vec::new();
    for qos in 0..3 {
        let subscriber = Peer::new(case, library)?;
        subscriber.subscribe(&case.topic("+/temp"), qos)?;
        subscribers.push((qos, subscriber));
    }
    for qos in 0..3 {
        publisher.publish(&Message::new(&topic, format!("21.{qos}"), qos))?;
    }
    for (qos, subscriber) in &subscribers {
        let mut got = subscriber.fenced(&publisher)?;
        got.sort();
        let sent = |n: u8| Message::new(&topic, format!("21.{n}"), n.min(*qos));
        same(got, (0..3).map(sent).collect())?;
    }
    Ok(())
}

fn crossing(case: &Case, library: &Library) -> Result<()> {
    let publisher = Peer::new(case, library)?;
    let message = Message::new(case.topic("a"), "text", 2);
    let mut subscribers = Vec::new();
    for other in LIBRARIES {
        let subscriber = Peer::new(case, other)?;
        subscriber.subscribe(&case.topic("#"), 2)?;
        subscribers.push(subscriber);
    }
    publisher.publish(&message)?;
    for subscriber in subscribers {
        same(subscriber.fenced(&publisher)?, vec![message.clone()])?;
    }
    Ok(())
}

fn retained(case: &Case, library: &Library) -> Result<()> {
    let topic = case.topic("keep");
    let publisher = Peer::new(case, library)?;
    for qos in 0..3 {
        publisher.publish(&Message::new(&topic, format!("at {qos}"), qos).retained())?;
    }
    let early = Peer::new(case, library)?;
    early.subscribe(&case.topic("+"), 2)?;
    same(early.receive(1)?, vec![Message::new(&topic, "at 2", 2).retained()])?;
    publisher.publish(&Message::new(&topic, "next", 1).retained())?;
    publisher.publish(&Message::new(&topic, "", 1).retained())?;
    let live = vec![Message::new(&topic, "next", 1), Message::new(&topic, "", 1)];
    same(early.fenced(&publisher)?.split_off(1), live)?;
    let late = Peer::new(case, library)?;
    late.subscribe(&case.topic("+"), 2)?;
    same(late.fenced(&publisher)?, vec![])
}

fn will(case: &Case, library: &Library) -> Result<()> {
    let watch = Peer::new(case, library)?;
    watch.subscribe(&case.topic("will/+"), 2)?;
    for qos in 0..3 {
        let message = Message::new(case.topic(&format!("will/{qos}")), "gone", qos);
        let setup = |will| Setup { id: case.name(), will: Some(will), ..Setup::default() };
        Peer::over_line(case, library, setup(message.clone().retained()))?.cut()?;
        let never = Message { payload: b"never".to_vec(), ..message };
        Peer::with(case, library, setup(never))?.disconnect()?;
    }
    watch.receive(3)?;
    let mut got = watch.fenced(&watch)?;
    got.sort();
    let sent = |qos| Message::new(case.topic(&format!("will/{qos}")), "gone", qos);
    same(got, (0..3).map(sent).collect())?;
    let late = Peer::new(case, library)?;
    late.subscribe(&case.topic("will/+"), 2)?;
    let mut got = late.fenced(&watch)?;
    got.sort();
    same(got, (0..3).map(|qos| sent(qos).retained()).collect())?;
    (0..3).try_for_each(|qos| watch.publish(&Message::new(sent(qos).topic, "", 1).retained()))
}

fn resumed(case: &Case, library: &Library) -> Result<()> {
    let topic = case.topic("offline");
    let keeps = Setup { id: case.name(), keeps_session: true, ..Setup::default() };
    let first = Peer::with(case, library, keeps.clone())?;
    same(first.resumed()?, false)?;
    first.subscribe(&topic, 2)?;
    first.disconnect()?;
    let publisher = Peer::new(case, library)?;
    let sent: Vec<Message> = (0..200_u8)
        .map(|n| Message::new(&topic, format!("{n}"), if n < 100 { 1 } else { 2 }))
        .collect();
    publisher.publish_all(&sent)?;
    let again = Peer::with(case, library, keeps.clone())?;
    same(again.resumed()?, library.level > 3)?;
    let got = again.fenced(&publisher)?;
    for qos in [1, 2] {
        let of = |list: &[Message]| -> Vec<Message> {
            list.iter().filter(|message| message.qos == qos).cloned().collect()
        };
        same(texts(&of(&got)), texts(&of(&sent)))?;
    }
    // One that is cut, not disconnected.
    again.disconnect()?;
    Peer::over_line(case, library, keeps.clone())?.cut()?;
    publisher.publish(&Message::new(&topic, "after the cut", 1))?;
    let again = Peer::with(case, library, keeps.clone())?;
    same(texts(&again.fenced(&publisher)?), vec!["after the cut".to_owned()])?;
    again.disconnect()?;
    let clean = Setup { keeps_session: false, ..keeps };
    Peer::with(case, library, clean.clone())?.disconnect()?;
    publisher.publish(&Message::new(&topic, "late", 1))?;
    let last = Peer::with(case, library, clean)?;
    same(last.resumed()?, false)?;
    same(last.fenced(&publisher)?, vec![])
}

fn taken_over(case: &Case, library: &Library) -> Result<()> {
    let keeps = Setup { id: case.name(), keeps_session: true, ..Setup::default() };
    let first = Peer::with(case, library, keeps.clone())?;
    first.subscribe(&case.topic("a"), 1)?;
    let second = Peer::with(case, library, keeps.clone())?;
    first.ended()?;
    same(second.resumed()?, library.level > 3)?;
    second.publish(&Message::new(case.topic("a"), "x", 1))?;
    same(texts(&second.fenced(&second)?), vec!["x".to_owned()])?;
    second.disconnect()?;
    Peer::with(case, library, Setup { keeps_session: false, ..keeps })?.disconnect()
}

fn shared(case: &Case, library: &Library) -> Result<()> {
    let filter = format!("$share/group/{}", case.topic("s/+"));
    let mut members = Vec::new();
    for _ in 0..3 {
        let member = Peer::new(case, library)?;
        member.subscribe(&filter, 1)?;
        members.push(member);
    }
    let everybody = Peer::new(case, library)?;
    everybody.subscribe(&case.topic("s/+"), 1)?;
    let publisher = Peer::new(case, library)?;
    let sent: Vec<Message> =
        (0..30).map(|n| Message::new(case.topic("s/x"), format!("{n:02}"), 1)).collect();
    publisher.publish_all(&sent)?;
    same(texts(&everybody.fenced(&publisher)?), texts(&sent))?;
    let mut together = Vec::new();
    for member in &members {
        let got = member.fenced(&publisher)?;
        ensure!(!case.is_ours || got.len() == 10, "{} of 30 came to one of three", got.len());
        together.extend(texts(&got));
    }
    together.sort();
    same(together, texts(&sent))
}

fn unsubscribed(case: &Case, library: &Library) -> Result<()> {
    let peer = Peer::new(case, library)?;
    peer.subscribe(&case.topic("a"), 1)?;
    peer.subscribe(&case.topic("b"), 1)?;
    peer.unsubscribe(&case.topic("a"))?;
    peer.publish(&Message::new(case.topic("a"), "a", 1))?;
    peer.publish(&Message::new(case.topic("b"), "b", 1))?;
    same(texts(&peer.fenced(&peer)?), vec!["b".to_owned()])
}

fn overlapping(case: &Case, library: &Library) -> Result<()> {
    let peer = Peer::new(case, library)?;
    for (filter, qos) in [("#", 0), ("+", 2), ("a", 1)] {
        peer.subscribe(&case.topic(filter), qos)?;
    }
    peer.publish(&Message::new(case.topic("a"), "x", 2))?;
    let got = peer.fenced(&peer)?;
    ensure!(got.iter().any(|message| message.qos == 2), "none has the highest QoS: {got:?}");
    ensure!(!case.is_ours || got.len() == 1, "{} copies", got.len());
    Ok(())
}

fn wildcards(case: &Case, library: &Library) -> Result<()> {
    let publisher = Peer::new(case, library)?;
    let topics = ["a", "a/b", "a/b/c", "a//c", "/a"].map(|topic| case.topic(topic));
    for (filter, matches) in
        [("a/+/c", vec![2, 3]), ("a/#", vec![0, 1, 2, 3]), ("+/+", vec![1, 4]), ("/+", vec![4])]
    {
        let peer = Peer::new(case, library)?;
        peer.subscribe(&case.topic(filter), 1)?;
        for topic in &topics {
            publisher.publish(&Message::new(topic, "x", 1))?;
        }
        let got: BTreeSet<String> =
            peer.fenced(&publisher)?.into_iter().map(|message| message.topic).collect();
        same(got, matches.into_iter().map(|n: usize| topics[n].clone()).collect())?;
    }
    Ok(())
}

/// A payload of 1 MiB is whole, live and retained.
pub fn large(case: &Case, library: &Library, qos: u8) -> Result<()> {
    let payload: Vec<u8> = (0..=255).cycle().take(MIB).collect();
    let topic = case.topic("large");
    let live = Peer::new(case, library)?;
    live.subscribe(&topic, qos)?;
    let publisher = Peer::new(case, library)?;
    publisher.publish(&Message::new(&topic, &payload, qos).retained())?;
    live.receive(1)?;
    let late = Peer::new(case, library)?;
    late.subscribe(&topic, qos)?;
    for peer in [&live, &late] {
        ensure!(peer.receive(1)?[0].payload == payload, "the payload is not whole");
    }
    publisher.publish(&Message::new(&topic, "", 1).retained())
}

/// Many messages at once keep their order.
pub fn burst(case: &Case, library: &Library, qos: u8) -> Result<()> {
    let topic = case.topic("burst");
    let peer = Peer::new(case, library)?;
    peer.subscribe(&topic, qos)?;
    let publisher = Peer::new(case, library)?;
    let sent: Vec<Message> = (0..BURST).map(|n| Message::new(&topic, n.to_string(), qos)).collect();
    publisher.publish_all(&sent)?;
    same(texts(&peer.fenced(&publisher)?), texts(&sent))
}

/// 200 clients at once: each to its neighbour, one to all, all to one.
pub fn crowd(case: &Case, library: &Library) -> Result<()> {
    let all = case.topic("all");
    let place = |n: usize| case.topic(&format!("to/{}", n % CLIENTS));
    let mut peers = Vec::new();
    for n in 0..CLIENTS {
        let peer = Peer::new(case, library)?;
        peer.subscribe(&place(n), 2)?;
        peer.subscribe(&all, 1)?;
        peers.push(peer);
    }
    let center = Peer::new(case, library)?;
    center.subscribe(&case.topic("in"), 1)?;
    for (n, peer) in peers.iter().enumerate() {
        peer.publish(&Message::new(place(n + 1), format!("from {n}"), 2))?;
        peer.publish(&Message::new(case.topic("in"), n.to_string(), 1))?;
    }
    for n in 0..5 {
        center.publish(&Message::new(&all, format!("to all {n}"), 1))?;
    }
    for (n, peer) in peers.iter().enumerate() {
        let mut got = texts(&peer.receive(6)?);
        got.sort();
        let mut expected: Vec<String> = (0..5).map(|n| format!("to all {n}")).collect();
        expected.insert(0, format!("from {}", (n + CLIENTS - 1) % CLIENTS));
        same(got, expected)?;
    }
    let wanted = CLIENTS;
    let got: BTreeSet<String> = texts(&center.receive(wanted)?).into_iter().collect();
    same(got, (0..CLIENTS).map(|n| n.to_string()).collect())
}

fn all_properties(case: &Case) -> Properties {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Properties {
        format: Some(1),
        expiry: Some(1000),
        content_type: Some("application/json".to_owned()),
        response_topic: Some(case.topic("back")),
        correlation: Some((0..=255).collect()),
        user: vec![pair("b", "2"), pair("a", "1"), pair("b", "3"), pair("", "")],
        subscription_ids: Vec::new(),
    }
}

fn properties(case: &Case, library: &Library) -> Result<()> {
    let sent = Message {
        properties: all_properties(case),
        ..Message::new(case.topic("a"), "{}", 2).retained()
    };
    let publisher = Peer::new(case, library)?;
    let live = Peer::new(case, library)?;
    live.subscribe(&sent.topic, 2)?;
    publisher.publish(&sent)?;
    same(live.receive(1)?, vec![Message { retain: false, ..sent.clone() }])?;
    let late = Peer::new(case, library)?;
    late.subscribe(&sent.topic, 2)?;
    let mut got = late.receive(1)?;
    // A retained message has waited.
    let left = got[0].properties.expiry.take().unwrap_or(0);
    ensure!((900..=1000).contains(&left), "{left} s are left");
    let mut expected = sent.clone();
    expected.properties.expiry = None;
    same(got, vec![expected])?;
    publisher.publish(&Message::new(&sent.topic, "", 1).retained())
}

fn will_properties(case: &Case, library: &Library) -> Result<()> {
    let will =
        Message { properties: all_properties(case), ..Message::new(case.topic("will"), "{}", 1) };
    let watch = Peer::new(case, library)?;
    watch.subscribe(&will.topic, 1)?;
    let setup = Setup { id: case.name(), will: Some(will.clone()), ..Setup::default() };
    Peer::over_line(case, library, setup)?.cut()?;
    same(watch.receive(1)?, vec![will])
}

fn subscription_ids(case: &Case, library: &Library) -> Result<()> {
    let peer = Peer::new(case, library)?;
    peer.subscribe_with(&case.topic("#"), 1, Some(7))?;
    peer.subscribe_with(&case.topic("+"), 1, Some(268_435_455))?;
    peer.publish(&Message::new(case.topic("a"), "x", 1))?;
    let got = peer.fenced(&peer)?;
    ensure!(!case.is_ours || got.len() == 1, "{} copies", got.len());
    let mut ids: Vec<u32> =
        got.iter().flat_map(|message| &message.properties.subscription_ids).copied().collect();
    ids.sort_unstable();
    same(ids, vec![7, 268_435_455])
}

fn session_expiry(case: &Case, library: &Library) -> Result<()> {
    let at = |expiry| {
        Peer::with(
            case,
            library,
            Setup {
                id: format!("expires-{}", case.topic("")),
                keeps_session: true,
                expiry: Some(expiry),
                ..Setup::default()
            },
        )
    };
    at(0)?.disconnect()?;
    let peer = at(100)?;
    same(peer.resumed()?, false)?;
    peer.disconnect()?;
    let peer = at(0)?;
    same(peer.resumed()?, true)?;
    peer.disconnect()?;
    same(at(0)?.resumed()?, false)
}

fn assigned_id(case: &Case, library: &Library) -> Result<()> {
    let keeps = Setup { keeps_session: false, expiry: Some(100), ..Setup::default() };
    let peer = Peer::with(case, library, keeps.clone())?;
    let id = peer.assigned_id()?;
    peer.disconnect()?;
    let again =
        Peer::with(case, library, Setup { id, keeps_session: true, expiry: Some(0), ..keeps })?;
    same(again.resumed()?, true)
}
