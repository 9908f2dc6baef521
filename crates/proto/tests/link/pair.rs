//! A client's and a server's link, wired back to back.

use bytes::BytesMut;
use postrider_proto::{Chunk, Delivery, Link, LinkConfig, Payload, Received, Role, Spools, Time};
use postrider_wire::{AckKind, Packet, PacketId, Property, QoS, SubAck, Subscribe, Version};
use proptest::prelude::*;

use crate::end::{ALL, FREE, START, ack, connack, connect, id, message, properties, text};

/// Both ends, and the bytes on their way.
struct Pair {
    client: Link,
    server: Link,
    to_client: BytesMut,
    to_server: BytesMut,
    spools: Spools,
    now: Time,
}

impl Pair {
    /// A pair after its handshake.
    fn open(version: Version, config: LinkConfig) -> Self {
        let connect = connect(version);
        let mut pair = Self {
            client: Link::client(config, &connect, START).expect("a good CONNECT"),
            server: Link::server(config, START),
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            spools: Spools::new(1 << 30),
            now: START,
        };
        let received = pair.carry(usize::MAX);
        assert!(matches!(&received[..], [(Role::Server, Received::Connect(_))]));
        pair.server.accept(connack(&[]), connect.keep_alive, 0, FREE);
        let received = pair.carry(usize::MAX);
        assert!(matches!(&received[..], [(Role::Client, Received::ConnAck(_))]));
        pair
    }

    /// Carries bytes both ways, at most `piece` at a time, until both are quiet; returns who received what.
    fn carry(&mut self, piece: usize) -> Vec<(Role, Received)> {
        let mut all = Vec::new();
        loop {
            let up = carry(&mut self.client, &mut self.to_server, piece);
            let down = carry(&mut self.server, &mut self.to_client, piece);
            let (spools, now) = (&mut self.spools, self.now);
            while let Some(received) =
                self.server.receive(&mut self.to_server, spools, now).expect("within the rules")
            {
                all.push((Role::Server, received));
            }
            while let Some(received) =
                self.client.receive(&mut self.to_client, spools, now).expect("within the rules")
            {
                all.push((Role::Client, received));
            }
            if up + down == 0 {
                return all;
            }
        }
    }
}

/// Moves at most `piece` bytes; returns how many.
fn carry(from: &mut Link, to: &mut BytesMut, piece: usize) -> u64 {
    let mut moved = 0;
    for chunk in from.outbox().chunks() {
        let Chunk::Bytes(bytes) = chunk else { panic!("a spool") };
        let step = bytes.len().min(piece - moved);
        to.extend_from_slice(&bytes[..step]);
        moved += step;
    }
    from.outbox_mut().consume(moved as u64);
    moved as u64
}

/// A small talk: what one end says, the other hears.
#[test]
fn a_conversation() {
    for version in ALL {
        let mut pair = Pair::open(version, LinkConfig::default());
        let filters = vec![postrider_wire::SubscribeFilter {
            filter: postrider_wire::Filter::new("a/#").expect("a filter"),
            options: Default::default(),
        }];
        let subscribe = Subscribe { packet_id: id(1), properties: properties(&[]), filters };
        pair.client.send(&Packet::Subscribe(subscribe.clone()), FREE).expect("fits");
        assert_eq!(pair.carry(3), [(Role::Server, Received::Subscribe(subscribe))]);
        let reasons = vec![postrider_wire::ReasonCode::GrantedQoS2];
        let suback = SubAck { packet_id: id(1), properties: properties(&[]), reasons };
        pair.server.send(&Packet::SubAck(suback.clone()), FREE).expect("fits");
        assert_eq!(pair.carry(3), [(Role::Client, Received::SubAck(suback))]);
        for (kind, sender) in [
            (AckKind::PubAck, Role::Client),
            (AckKind::PubRec, Role::Server),
            (AckKind::PubRel, Role::Client),
            (AckKind::PubComp, Role::Server),
        ] {
            let link = if sender == Role::Client { &mut pair.client } else { &mut pair.server };
            link.send_ack(kind, ack(9), FREE);
            let received = pair.carry(1);
            assert!(
                matches!(&received[..], [(role, Received::Ack(got, _))] if *role != sender && *got == kind)
            );
        }
        // Ten minutes of silence, kept alive.
        for _ in 0..600 {
            pair.now = pair.now.plus_s(1);
            pair.client.handle_time(pair.now).expect("alive");
            pair.carry(usize::MAX);
            pair.server.handle_time(pair.now).expect("alive");
        }
        assert!(pair.client.is_open());
        assert!(pair.server.is_open());
    }
}

/// One message on its way.
#[derive(Clone, Debug)]
struct Shipment {
    is_up: bool,
    topic: String,
    qos: QoS,
    retain: bool,
    payload: Vec<u8>,
    content: Option<String>,
}

fn shipment() -> impl Strategy<Value = Shipment> {
    let qos = prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let payload = prop_oneof![
        9 => proptest::collection::vec(any::<u8>(), 0..100),
        1 => proptest::collection::vec(any::<u8>(), 4000..6000),
    ];
    let content = proptest::option::of("[a-z]{1,4}");
    (any::<bool>(), "[a-c]{1,2}", qos, any::<bool>(), payload, content).prop_map(
        |(is_up, topic, qos, retain, payload, content)| Shipment {
            is_up,
            topic,
            qos,
            retain,
            payload,
            content,
        },
    )
}

proptest! {
    /// Whatever is sent arrives as it was, in order, however the bytes are cut, with aliases both ways.
    #[test]
    fn everything_arrives(
        shipments in proptest::collection::vec(shipment(), 0..40),
        piece in prop_oneof![1..20usize, 1000..9000usize],
        version in prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)],
    ) {
        let config = LinkConfig { topic_alias_max: 3, topic_alias_max_out: 5, ..LinkConfig::default() };
        let mut pair = Pair::open(version, config);
        for (index, shipment) in shipments.iter().enumerate() {
            let content = shipment.content.as_ref().map(|content| Property::ContentType(text(content)));
            let message = message(&shipment.topic, &shipment.payload, &Vec::from_iter(content));
            let delivery = Delivery {
                qos: shipment.qos,
                retain: shipment.retain,
                subscription_ids: Default::default(),
            };
            let number = u16::try_from(index + 1).expect("few");
            let packet_id = PacketId::new(number).filter(|_| shipment.qos != QoS::AtMostOnce);
            let link = if shipment.is_up { &mut pair.client } else { &mut pair.server };
            prop_assert!(link.send_message(&message, &delivery, packet_id, false, START));
        }
        let received = pair.carry(piece);
        for role in [Role::Server, Role::Client] {
            let wanted = shipments.iter().filter(|shipment| shipment.is_up == (role == Role::Server));
            let got = received.iter().filter(|(to, _)| *to == role);
            prop_assert_eq!(wanted.clone().count(), got.clone().count());
            for (shipment, (_, received)) in wanted.zip(got) {
                let Received::Publish(arrived) = received else { panic!("{received:?}") };
                let publish = &arrived.publish;
                prop_assert_eq!(publish.topic.as_ref().map(|topic| topic.to_string()), Some(shipment.topic.clone()));
                prop_assert_eq!((publish.qos, publish.retain), (shipment.qos, shipment.retain));
                prop_assert_eq!(&arrived.payload, &Payload::Bytes(shipment.payload.clone().into()));
                let content = shipment.content.clone().filter(|_| version == Version::V5);
                prop_assert_eq!(publish.properties.content_type().map(|text| text.to_string()), content);
                prop_assert_eq!(publish.properties.topic_alias(), None);
            }
        }
    }
}
