//! Records as bytes.

use std::sync::Arc;

use bytes::Bytes;
use postrider_proto::{
    Delivery, Fact, FlightState, Message, Payload, Record, SpoolId, Time,
    wire::{
        ClientId, Filter, PacketId, Properties, Property, Publish, QoS, RetainHandling,
        SubscribeOptions, Text, Topic,
    },
};
use proptest::prelude::*;

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|bits| QoS::from_bits(bits).unwrap())
}

fn text() -> impl Strategy<Value = Text> {
    "[a-z/\u{e4}$]{1,12}".prop_map(|text| Text::new(&text).unwrap())
}

fn properties() -> impl Strategy<Value = Properties> {
    let user = prop::collection::vec((text(), text()), 0..3);
    (prop::option::of(any::<u32>()), user, prop::option::of(text())).prop_map(
        |(expiry, user, kind)| {
            let expiry = expiry.map(Property::MessageExpiryInterval).into_iter();
            let user = user.into_iter().map(|(name, value)| Property::UserProperty(name, value));
            expiry.chain(user).chain(kind.map(Property::ContentType)).collect()
        },
    )
}

fn publish() -> impl Strategy<Value = Publish> {
    (qos(), any::<bool>(), text(), properties()).prop_map(|(qos, retain, topic, properties)| {
        Publish {
            dup: false,
            qos,
            retain,
            topic: Some(Topic::from_text(topic).unwrap()),
            packet_id: None,
            properties,
            payload: Bytes::new(),
        }
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn time() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(Time)
}

fn message() -> impl Strategy<Value = Arc<Message>> {
    let spooled = (any::<u64>(), any::<u32>())
        .prop_map(|(number, len)| Payload::Spooled { id: SpoolId::stored(number), len });
    let payload = prop_oneof![bytes().prop_map(Payload::Bytes), spooled];
    (publish(), payload, time(), prop::option::of(time())).prop_map(
        |(head, payload, arrived, expires)| Arc::new(Message { head, payload, arrived, expires }),
    )
}

fn delivery() -> impl Strategy<Value = Delivery> {
    (qos(), any::<bool>(), prop::collection::vec(any::<u32>(), 0..3)).prop_map(
        |(qos, retain, ids)| Delivery { qos, retain, subscription_ids: ids.into_iter().collect() },
    )
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn options() -> impl Strategy<Value = SubscribeOptions> {
    (qos(), any::<bool>(), any::<bool>(), 0..3_u8).prop_map(|(qos, a, b, handling)| {
        SubscribeOptions {
            qos,
            no_local: a,
            retain_as_published: b,
            retain_handling: RetainHandling::from_bits(handling).unwrap(),
        }
    })
}

fn owners() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u64>(), 0..4)
}

fn state() -> impl Strategy<Value = FlightState> {
    let states = [FlightState::AwaitAck, FlightState::AwaitRec, FlightState::AwaitComp];
    (0..3_usize).prop_map(move |at| states[at])
}

/// Every fact that is a put.
fn put() -> impl Strategy<Value = Fact> {
    let filter = || text().prop_map(|text| Filter::from_text(text).unwrap());
    prop_oneof![
        (text(), any::<u32>(), prop::option::of(time())).prop_map(
            |(client_id, expiry_s, detached)| Fact::Session {
                client_id: ClientId::from_text(client_id),
                expiry_s,
                detached,
            }
        ),
        (any::<u64>(), message(), delivery())
            .prop_map(|(number, message, delivery)| Fact::Queued { number, message, delivery }),
        (any::<u64>(), id(), state()).prop_map(|(number, packet_id, state)| Fact::Flight {
            number,
            packet_id,
            state
        }),
        any::<u64>().prop_map(|reserved| Fact::Numbers { reserved }),
        id().prop_map(Fact::Received),
        (id(), any::<(u16, u64)>(), prop::option::of(any::<(u64, u16, u64)>()), owners()).prop_map(
            |(packet_id, (hub, until), stamp, sessions)| {
                Fact::Taken { packet_id, hub, stamp, until, sessions }
            }
        ),
        (id(), filter(), any::<u64>()).prop_map(|(packet_id, filter, session)| {
            Fact::TakenByGroup { packet_id, filter, session }
        }),
        (id(), 1..3_u8, any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
            |(packet_id, qos, number, digest, is_acknowledged)| Fact::Arrived {
                packet_id,
                qos: QoS::from_bits(qos).unwrap(),
                number,
                digest,
                is_acknowledged,
            }
        ),
        (bytes(), bytes()).prop_map(|(key, value)| Fact::Own { key, value }),
        (filter(), options(), prop::option::of(1..=268_435_455_u32)).prop_map(
            |(filter, options, identifier)| Fact::Subscription { filter, options, identifier }
        ),
        (message(), any::<(u64, u16, u64)>())
            .prop_map(|(message, stamp)| Fact::Retained { message, stamp }),
        (publish(), bytes(), any::<u32>(), prop::option::of(time())).prop_map(
            |(publish, payload, delay_s, due)| Fact::Will {
                publish: Box::new(Publish { payload, ..publish }),
                delay_s,
                due,
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_put_is_read_back(owner in any::<u64>(), fact in put()) {
        let record = Record { owner, fact };
        let (key, value) = (record.key(), Bytes::from(record.value().unwrap()));
        prop_assert_eq!(Record::decode(&key, &value), Ok(record));
    }

    #[test]
    fn every_truncation_is_an_error(owner in any::<u64>(), fact in put()) {
        let record = Record { owner, fact };
        let (key, value) = (record.key(), Bytes::from(record.value().unwrap()));
        for len in 0..value.len() {
            prop_assert!(Record::decode(&key, &value.slice(..len)).is_err(), "value of {len}");
        }
        for len in 0..key.len() {
            prop_assert!(Record::decode(&key[..len], &value).is_err(), "key of {len}");
        }
    }

    #[test]
    fn no_byte_makes_it_panic(fact in put(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let record = Record { owner: 1, fact };
        let (mut key, mut value) = (record.key(), record.value().unwrap());
        let at = at.index(key.len() + value.len());
        match at.checked_sub(key.len()) {
            Some(at) => value[at] = with,
            None => key[at] = with,
        }
        let value = Bytes::from(value);
        if let Ok(record) = Record::decode(&key, &value) {
            prop_assert!(record.value().is_some());
        }
    }
}

/// A delete removes its put, and only what hangs on that.
#[test]
fn a_delete_has_the_key_of_its_put() {
    let key = |owner, fact| Record { owner, fact }.key();
    let id = PacketId::new(7).unwrap();
    let filter = |filter| Filter::new(filter).unwrap();
    let flight = |number| Fact::Flight { number, packet_id: id, state: FlightState::AwaitAck };
    let subscription = |name| Fact::Subscription {
        filter: filter(name),
        options: SubscribeOptions::default(),
        identifier: None,
    };
    assert_eq!(key(1, Fact::Received(id)), key(1, Fact::Released(id)));
    let taken =
        |packet_id| Fact::Taken { packet_id, hub: 1, stamp: None, until: 0, sessions: Vec::new() };
    let group =
        |packet_id| Fact::TakenByGroup { packet_id, filter: filter("$share/g/a"), session: 9 };
    for fact in [taken(id), group(id)] {
        assert!(key(1, fact.clone()).starts_with(&key(1, Fact::Released(id))));
        assert!(!key(1, fact).starts_with(&key(1, Fact::Released(PacketId::new(8).unwrap()))));
    }
    assert_eq!(key(1, flight(5)), key(1, Fact::Requeued { number: 5 }));
    assert!(key(1, flight(5)).starts_with(&key(1, Fact::Finished { number: 5 })));
    assert!(!key(1, flight(0x0500)).starts_with(&key(1, Fact::Finished { number: 5 })));
    let arrived = Fact::Arrived {
        packet_id: id,
        qos: QoS::AtLeastOnce,
        number: 1,
        digest: 2,
        is_acknowledged: false,
    };
    assert_eq!(key(1, arrived), key(1, Fact::ArrivedGone(id)));
    let own = |name: &'static str| Bytes::from_static(name.as_bytes());
    let put = |name| Fact::Own { key: own(name), value: Bytes::new() };
    assert_eq!(key(1, put("a")), key(1, Fact::OwnGone(own("a"))));
    assert!(!key(1, put("ab")).starts_with(&key(1, Fact::OwnGone(own("a")))));
    assert!(!key(1, put("a")).starts_with(&key(1, Fact::OwnGone(own("")))));
    assert_eq!(key(1, subscription("a")), key(1, Fact::SubscriptionGone(filter("a"))));
    assert!(!key(1, subscription("a/b")).starts_with(&key(1, Fact::SubscriptionGone(filter("a")))));
    assert!(key(1, Fact::Received(id)).starts_with(&key(1, Fact::SessionGone)));
    assert!(!key(2, Fact::Received(id)).starts_with(&key(1, Fact::SessionGone)));
    for gone in [Fact::SessionGone, Fact::Finished { number: 1 }, Fact::Requeued { number: 1 }] {
        assert_eq!(Record { owner: 1, fact: gone }.value(), None);
    }
}

/// Numbers sort as keys, so that a scan finds messages in their order.
#[test]
fn keys_sort_by_owner_and_number() {
    let key = |owner, number| Record { owner, fact: Fact::Finished { number } }.key();
    let keys = [key(1, 1), key(1, 255), key(1, 256), key(2, 0), key(256, 0)];
    assert!(keys.is_sorted());
}

/// The bytes of one record of each kind, so that a change of the layout shows.
#[test]
fn the_layout_is_pinned() {
    let hex = |record: &Record| {
        let join =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        (join(&record.key()), join(&record.value().unwrap()))
    };
    let id = PacketId::new(0x1234).unwrap();
    let fact = Fact::Flight { number: 5, packet_id: id, state: FlightState::AwaitComp };
    let (key, value) = hex(&Record { owner: 3, fact });
    assert_eq!(key, "0000000000000003".to_owned() + "4d" + "0000000000000005" + "46");
    assert_eq!(value, "01123402");
    let qos = QoS::ExactlyOnce;
    let fact = Fact::Arrived { packet_id: id, qos, number: 5, digest: 6, is_acknowledged: true };
    let (key, value) = hex(&Record { owner: 3, fact });
    assert_eq!(key, "0000000000000003".to_owned() + "41" + "1234");
    assert_eq!(value, "0106".to_owned() + "0000000000000005" + "0000000000000006");
    let (stamp, sessions) = (Some((7, 1, 2)), vec![4, 5]);
    let fact = Fact::Taken { packet_id: id, hub: 2, stamp, until: 9, sessions };
    let (key, value) = hex(&Record { owner: 3, fact });
    assert_eq!(key, "0000000000000003".to_owned() + "49" + "1234" + "54" + "0002");
    let stamp = "0000000000000007".to_owned() + "0001" + "0000000000000002";
    assert_eq!(
        value,
        "0101".to_owned()
            + &stamp
            + "0000000000000009"
            + "00000002"
            + "0000000000000004"
            + "0000000000000005"
    );
    let filter = Filter::new("a").unwrap();
    let fact = Fact::TakenByGroup { packet_id: id, filter, session: 4 };
    let (key, value) = hex(&Record { owner: 3, fact });
    assert_eq!(key, "0000000000000003".to_owned() + "49" + "1234" + "47" + "0001" + "61");
    assert_eq!(value, "01".to_owned() + "0000000000000004");
    let own = Fact::Own { key: Bytes::from_static(b"ab"), value: Bytes::from_static(b"xyz") };
    let (key, value) = hex(&Record { owner: 3, fact: own });
    assert_eq!(key, "0000000000000003".to_owned() + "50" + "0002" + "6162");
    assert_eq!(value, "01000000037879".to_owned() + "7a");
    let head = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: Some(Topic::new("a/b").unwrap()),
        packet_id: None,
        properties: Properties::new(),
        payload: Bytes::new(),
    };
    let payload = Payload::Bytes(Bytes::from_static(b"xy"));
    let message = Arc::new(Message { head, payload, arrived: Time(9), expires: None });
    let delivery = Delivery {
        qos: QoS::ExactlyOnce,
        retain: false,
        subscription_ids: [8].into_iter().collect(),
    };
    let (key, value) =
        hex(&Record { owner: 3, fact: Fact::Queued { number: 5, message, delivery } });
    assert_eq!(key, "0000000000000003".to_owned() + "4d" + "0000000000000005");
    let expected = ["01", "02", "0001", "00000008", "05", "0000000000000009", "00"].concat()
        + "00000008"
        + "30060003612f6200"
        + "00"
        + "00000002"
        + "7879";
    assert_eq!(value, expected);
}
