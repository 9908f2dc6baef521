//! Spans and metrics, by their documented names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use postrider::{Property, QoS};
use postrider_proto::wire::{AckKind, ConnAck, Packet};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer, Registry, layer::Context, layer::SubscriberExt, registry::LookupSpan,
};

use crate::peer::{PATIENCE, Success, builder, connect, until};

/// What is documented in `observing`.
const PAGE: &str = include_str!("../../src/observing.rs");

/// Fields of each span: those that it had, and what it said.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>);

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        assert_eq!(attributes.metadata().target(), "postrider");
        let mut spans = self.0.lock().unwrap();
        let fields = spans.entry(attributes.metadata().name().to_owned()).or_default();
        for field in attributes.metadata().fields() {
            fields.entry(field.name().to_owned()).or_default();
        }
        attributes.record(&mut Fields(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let name = context.span(id).unwrap().name().to_owned();
        let parent = context.span(id).unwrap().parent().map(|parent| parent.name());
        assert_eq!(parent, Some("postrider.session"), "of {name}");
        values.record(&mut Fields(self.0.lock().unwrap().entry(name).or_default()));
    }
}

#[tokio::test]
async fn spans_have_stable_names_and_fields() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(Registry::default().with(spans.clone()));
    let (builder, desk) = builder();
    let (session, mut peer, mut desk) =
        connect(builder.password("hush").user("ann"), desk, ConnAck::default_success()).await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a/+", QoS::AtLeastOnce).await }, peer.grant());
    let _stream = stream.unwrap();
    let (published, ()) = tokio::join!(
        async { session.publish("a/b", "secret").qos(QoS::AtLeastOnce).await },
        async {
            let id = peer.publish().await.packet_id;
            peer.ack(AckKind::PubAck, id).await;
        }
    );
    published.unwrap();
    drop(peer);
    let _peer = desk.accept(ConnAck::default_success()).await;
    let spans = spans.0.lock().unwrap();
    let said = |span: &str, field: &str| spans[span][field].as_str();
    assert_eq!(said("postrider.session", "client_id"), "\"me\"");
    assert_eq!(said("postrider.session", "server"), "\"tcp://peer:1883\"");
    assert_eq!(said("postrider.connection", "attempt"), "1");
    assert_eq!(said("postrider.connection", "version"), "5.0");
    assert_ne!(said("postrider.connection", "reason"), "");
    assert_eq!(said("postrider.publish", "topic"), "\"a/b\"");
    assert_eq!(said("postrider.publish", "qos"), "1");
    assert_eq!(said("postrider.subscribe", "filter"), "\"a/+\"");
    let all = format!("{spans:?}");
    assert!(!all.contains("hush") && !all.contains("secret"), "{all}");
    // Every span and field is on the page.
    for (span, fields) in spans.iter() {
        let row = PAGE.lines().find(|line| line.contains(&format!("| `{span}` |"))).unwrap();
        for field in fields.keys() {
            assert!(row.contains(&format!("`{field}`")), "{span} {field}");
        }
    }
    assert_eq!(spans.len(), PAGE.matches("| `postrider.").count());
}

/// A recorder that remembers.
#[derive(Default)]
struct Memory {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Memory {
    fn counter(&self, name: &str) -> u64 {
        self.counters.lock().unwrap()[name].load(std::sync::atomic::Ordering::SeqCst)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.gauges.lock().unwrap()[name].load(std::sync::atomic::Ordering::SeqCst))
    }
}

/// Name and reason; every metric has the labels of its session.
fn shown(key: &Key) -> String {
    let labels: BTreeMap<_, _> = key.labels().map(|label| (label.key(), label.value())).collect();
    assert_eq!((labels["server"], labels["client_id"]), ("tcp://peer:1883", "me"));
    match labels.get("reason") {
        Some(reason) => format!("{} {reason}", key.name()),
        None => key.name().to_owned(),
    }
}

impl Recorder for &'static Memory {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(shown(key)).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(self.gauges.lock().unwrap().entry(shown(key)).or_default()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn metrics_are_the_stats_under_their_documented_names() {
    let memory: &'static Memory = Box::leak(Box::default());
    let _guard = metrics::set_default_local_recorder(&memory);
    let (builder, desk) = builder();
    let (session, mut peer, mut desk) = connect(builder, desk, ConnAck::default_success()).await;
    let receipts = [
        session.publish("a", "1234").qos(QoS::AtLeastOnce).receipt().await.unwrap(),
        session.publish("a", "5678").qos(QoS::AtLeastOnce).receipt().await.unwrap(),
    ];
    let first = peer.publish().await.packet_id;
    peer.publish().await;
    peer.ack(AckKind::PubAck, first).await;
    let [first, second] = receipts;
    first.await.unwrap();
    assert_eq!(memory.gauge("postrider_in_flight_messages"), 1.0);
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success().resumed()).await;
    let again = peer.publish().await;
    assert!(again.dup);
    peer.ack(AckKind::PubAck, again.packet_id).await;
    second.await.unwrap();
    for _ in 0..1003 {
        peer.deliver("nobody", "asked", QoS::AtMostOnce, &[]).await;
    }
    peer.deliver("nobody", "asked", QoS::AtLeastOnce, &[]).await;
    peer.next().await;
    let stats = session.stats();
    assert_eq!((stats.resent, stats.reconnects(), stats.dropped_unmatched), (1, 1, 4));
    for (name, expected) in [
        ("postrider_published_messages_total", 2),
        ("postrider_received_messages_total", 1004),
        ("postrider_resent_messages_total", 1),
        ("postrider_connections_total", 2),
        ("postrider_disconnections_total", 1),
        ("postrider_dropped_messages_total unmatched", 4),
        ("postrider_dropped_messages_total full", 0),
        ("postrider_dropped_messages_total unreadable", 0),
        ("postrider_dropped_messages_total parked", 0),
        ("postrider_sent_bytes_total", stats.bytes_sent),
        ("postrider_received_bytes_total", stats.bytes_received),
    ] {
        assert_eq!(memory.counter(name), expected, "{name}");
    }
    assert_eq!(memory.gauge("postrider_unmatched_messages"), 1000.0);
    assert_eq!(memory.gauge("postrider_in_flight_messages"), 0.0);
    // Every name and reason is on the page, and the page has no other.
    let counters = memory.counters.lock().unwrap();
    let gauges = memory.gauges.lock().unwrap();
    let mut names = BTreeSet::new();
    for key in counters.keys().chain(gauges.keys()) {
        for word in key.split(' ') {
            assert!(PAGE.contains(&format!("`{word}`")), "{word}");
        }
        names.extend(key.split(' ').next());
    }
    assert_eq!(names.len(), PAGE.matches("`postrider_").count());
}

/// Every count that a program sees by itself: what waits, what is on its way, what came of it, and how far the server is.
#[tokio::test]
async fn stats_count_what_waits_what_is_on_its_way_and_the_round_trip() {
    let (builder, desk) = builder();
    let builder = builder.keep_alive(Duration::from_secs(1)).in_flight_max(1);
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let stats = session.stats();
    assert_eq!((stats.queued, stats.in_flight, stats.bytes, stats.round_trip), (0, 0, 0, None));
    let mut receipts = Vec::new();
    for payload in ["1", "22", "333"] {
        let request = session.publish("abc", payload).qos(QoS::AtLeastOnce);
        receipts.push(request.receipt().await.unwrap());
    }
    let first = peer.publish().await.packet_id;
    let stats = session.stats();
    assert_eq!((stats.queued, stats.in_flight, stats.pending()), (2, 1, 3));
    assert!(stats.bytes >= 6 + 3 * 3, "{} bytes", stats.bytes);
    peer.ack(AckKind::PubAck, first).await;
    for _ in 0..2 {
        let id = peer.publish().await.packet_id;
        peer.ack(AckKind::PubAck, id).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    let stats = session.stats();
    assert_eq!((stats.published, stats.pending(), stats.bytes), (3, 0, 0));
    assert_eq!(peer.next().await, Packet::PingReq);
    peer.send(Packet::PingResp).await;
    let measured = async {
        until(|| session.stats().round_trip.is_some()).await;
    };
    tokio::time::timeout(PATIENCE, measured).await.expect("the ping is measured");
}

/// What was queued without a connection, and cannot go over the one that came.
#[tokio::test]
async fn stats_count_what_is_dropped_by_its_reason() {
    let (builder, mut desk) = builder();
    let session = builder.start().await.unwrap();
    let publish = |topic, payload: Vec<u8>| session.publish(topic, payload);
    let mut receipts = Vec::new();
    for request in [
        publish("large", vec![0; 200]).qos(QoS::AtLeastOnce),
        publish("twice", vec![]).qos(QoS::ExactlyOnce),
        publish("kept", vec![]).qos(QoS::AtLeastOnce).retain(true),
        publish("fine", vec![]).qos(QoS::AtLeastOnce),
    ] {
        receipts.push(request.receipt().await.unwrap());
    }
    let connack = ConnAck::default_success()
        .with(Property::MaximumQoS(1))
        .with(Property::RetainAvailable(false))
        .with(Property::MaximumPacketSize(100));
    let mut peer = desk.accept(connack).await;
    let fine = peer.publish().await;
    assert_eq!(fine.topic.unwrap(), "fine");
    peer.ack(AckKind::PubAck, fine.packet_id).await;
    receipts.pop().unwrap().await.unwrap();
    for receipt in receipts {
        receipt.await.unwrap_err();
    }
    let stats = session.stats();
    assert_eq!((stats.dropped_too_large, stats.dropped_not_offered), (1, 2));
}
