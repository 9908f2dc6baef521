//! The processes that are killed and measured.

use std::{
    io,
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postrider::{QoS, Source, blocking::Session};
use postrider_wire::{
    Ack, ClientId, Connect, Decoder, DecoderConfig, Event, Filter, PACKET_SIZE_MAX, Packet,
    PacketId, Properties, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions,
    Version, encode,
};

use crate::{TOPIC, add_up, process::peak_kb, sha256};

/// Finishes what is open; if there is nothing, publishes a file, or standard input if the path is a length. Then says
/// that this was all.
pub(crate) fn publish(url: &str, store: &Path, path: &str) {
    let session = Session::builder(url, "publisher").store(store).connect().unwrap();
    let open = session.pending().unwrap();
    if open.is_empty() {
        let source = match path.parse() {
            Ok(len) => Source::reader(io::stdin(), len),
            Err(_) => Source::file(path),
        };
        let begun = Instant::now();
        let request = session.publish_from(TOPIC, source).qos(QoS::ExactlyOnce);
        let number = request.stored().unwrap().message_number();
        println!("stored after {:.1} s", begun.elapsed().as_secs_f64());
        finish(&session, number);
        println!("complete after {:.1} s", begun.elapsed().as_secs_f64());
    } else {
        println!("stored before");
        open.iter().for_each(|message| finish(&session, message.number));
        println!("complete");
    }
    session.publish(TOPIC, "end").qos(QoS::ExactlyOnce).wait().unwrap();
    session.disconnect().unwrap();
    println!("peak {}", peak_kb("self"));
}

fn finish(session: &Session, number: u64) {
    match session.complete(number) {
        Ok(_) | Err(postrider::PublishError::NotOpen(_)) => {}
        Err(error) => panic!("message {number}: {error}"),
    }
}

/// Says the sum of each message once it is acknowledged, until the last one.
pub(crate) fn subscribe(url: &str, store: &Path) {
    let builder = Session::builder(url, "subscriber").store(store);
    let session = builder.manual_acknowledgement().connect().unwrap();
    let mut stream = session.subscribe_with(TOPIC, QoS::ExactlyOnce).open().unwrap();
    println!("subscribed");
    for message in stream.by_ref() {
        let is_end = message.payload_len() < 100;
        let line = if is_end { "end".to_owned() } else { sha256(message.reader()).unwrap() };
        message.ack_with(|batch| batch.put("last", line.clone())).wait().unwrap();
        println!("{line}");
        if is_end {
            break;
        }
    }
    session.disconnect().unwrap();
    println!("peak {}", peak_kb("self"));
}

/// So many subscribers that keep nothing: each adds up the bytes of one message.
pub(crate) fn crowd(place: &str, count: u32) {
    let mut members: Vec<Member> = (0..count).map(|number| Member::new(place, number)).collect();
    members.iter_mut().for_each(Member::subscribe);
    println!("subscribed");
    let threads: Vec<_> =
        members.into_iter().map(|mut member| thread::spawn(move || member.take())).collect();
    for thread in threads {
        println!("{}", thread.join().unwrap());
    }
}

struct Member {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
}

impl Member {
    fn new(place: &str, number: u32) -> Self {
        let stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: 1000,
            is_topic_lenient: false,
        };
        let decoder = Decoder::new(config, Some(Version::V5));
        let mut member = Self { stream, decoder, input: BytesMut::new() };
        member.send(&Packet::Connect(Box::new(Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 0,
            client_id: ClientId::new(&format!("crowd-{number}")).unwrap(),
            will: None,
            user_name: None,
            password: None,
            properties: Properties::new(),
        })));
        assert!(matches!(member.next(), Event::Packet(Packet::ConnAck(_))));
        member
    }

    fn subscribe(&mut self) {
        let options = SubscribeOptions {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let filters = vec![SubscribeFilter { filter: Filter::new(TOPIC).unwrap(), options }];
        let packet_id = PacketId::new(1).unwrap();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            properties: Properties::new(),
            filters,
        }));
        assert!(matches!(self.next(), Event::Packet(Packet::SubAck(_))));
    }

    /// Takes the message, in exchange for all of QoS 2.
    fn take(&mut self) -> u64 {
        let Event::PublishStart(head, len) = self.next() else { panic!("no large message") };
        let (mut sum, mut came) = (0, 0);
        loop {
            let Event::PublishChunk { bytes, is_last } = self.next() else { panic!("no chunk") };
            sum += add_up(&bytes);
            came += bytes.len() as u64;
            if is_last {
                break;
            }
        }
        assert_eq!(came, u64::from(len));
        let ack = |packet_id| Ack {
            packet_id,
            reason: ReasonCode::Success,
            properties: Properties::new(),
        };
        self.send(&Packet::PubRec(ack(head.packet_id.unwrap())));
        loop {
            if let Event::Packet(Packet::PubRel(rel)) = self.next() {
                self.send(&Packet::PubComp(ack(rel.packet_id)));
                return sum;
            }
        }
    }

    fn send(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        encode(packet, Version::V5, PACKET_SIZE_MAX, &mut bytes).unwrap();
        io::Write::write_all(&mut self.stream, &bytes).unwrap();
    }

    fn next(&mut self) -> Event {
        let mut piece = [0; 1 << 16];
        loop {
            if let Some(event) = self.decoder.decode(&mut self.input).unwrap() {
                return event;
            }
            let count = io::Read::read(&mut self.stream, &mut piece).unwrap();
            assert!(count > 0, "the broker has hung up");
            self.input.extend_from_slice(&piece[..count]);
        }
    }
}
