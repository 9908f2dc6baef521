//! A long queue of a session that is away, in a hub with a store: `cargo bench -p postrider-broker [-- MESSAGES BYTES]`.
//!
//! Prints a table. Each line is a process of its own, so that the peak memory is its own too. No sockets: packets go
//! straight into the hub, records straight into the store.

use std::{
    env,
    error::Error,
    fs, iter,
    ops::ControlFlow,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use postrider_hub::{Hub, HubConfig, LinkId, Output};
use postrider_proto::{
    Chunk, PageRows, Record, SessionConfig, Time,
    wire::{
        Ack, ClientId, Connect, Decoder, DecoderConfig, Event, Filter, PACKET_SIZE_MAX, Packet,
        PacketId, Properties, Property, Publish, QoS, ReasonCode, Subscribe, SubscribeFilter,
        SubscribeOptions, Topic, Version, encode,
    },
};
use postrider_store::{Change, Disk, DiskOptions, DiskStore, Mode, Store, StoreError};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Messages between two looks at the store; at most the hub's Receive Maximum.
const BATCH: u64 = 500;
/// The same in bytes of payloads, so that what is on its way here does not count as the hub's memory.
const BATCH_BYTES: u64 = 4 << 20;
const NOW: Time = Time(1_700_000_000_000);
/// Bytes of rows read at once by recovery, as the broker does.
const PAGE_BYTES: usize = 1 << 20;

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => all("1000000", "64"),
        [messages, bytes] => all(messages, bytes),
        [task, messages, bytes, dir] => run(task, messages.parse()?, bytes.parse()?, dir.as_ref()),
        _ => Err("usage: queue [MESSAGES BYTES]".into()),
    }
}

fn all(messages: &str, bytes: &str) -> Outcome {
    let dir = tempfile::tempdir()?;
    println!("{messages} messages of {bytes} bytes, QoS 1, store in `process` mode");
    println!();
    println!("| what | seconds | messages/s | peak MB | disk MB |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for task in ["empty", "fill", "recover", "drain"] {
        let mut command = Command::new(env::current_exe()?);
        let status = command.args([task, messages, bytes]).arg(dir.path()).status()?;
        if !status.success() {
            return Err(format!("{task}: {status}").into());
        }
    }
    Ok(())
}

fn run(task: &str, messages: u64, bytes: usize, dir: &Path) -> Outcome {
    let dir = dir.join("store");
    let disk = Disk::open(&dir, DiskOptions::default())?;
    let mut bench = Bench::new(disk.handle(Mode::Process, || {}));
    let start = Instant::now();
    match task {
        "empty" => bench.begin()?,
        "fill" => bench.fill(messages, bytes)?,
        "recover" => bench.recover(messages)?,
        "drain" => {
            bench.recover(messages)?;
            let recovered = start.elapsed();
            bench.drain(messages)?;
            report("drain", messages, start.elapsed() - recovered, &dir)?;
            return Ok(disk.close()?);
        }
        _ => return Err(format!("no task {task}").into()),
    }
    report(task, messages, start.elapsed(), &dir)?;
    Ok(disk.close()?)
}

fn report(task: &str, messages: u64, took: Duration, dir: &Path) -> Outcome {
    let seconds = took.as_secs_f64();
    let (peak, disk) = (peak_mb()?, disk_mb(dir)?);
    println!("| {task} | {seconds:.1} | {:.0} | {peak} | {disk} |", messages as f64 / seconds);
    Ok(())
}

/// The most memory that this process ever had, in MB.
fn peak_mb() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kb: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1024)
}

fn disk_mb(dir: &Path) -> Outcome<u64> {
    let sizes = fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len()));
    Ok(sizes.sum::<std::io::Result<u64>>()? / 1_000_000)
}

/// A hub and its store.
struct Bench {
    hub: Hub,
    store: DiskStore,
    changes: Vec<Change>,
    written: u64,
    decoder: Decoder,
}

impl Bench {
    fn new(store: DiskStore) -> Self {
        let session = SessionConfig {
            queue_messages_max: u32::MAX,
            queue_bytes_max: u64::MAX,
            ..SessionConfig::stored()
        };
        let hub = HubConfig { is_durable: true, session, ..HubConfig::default() };
        let decoder = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        Self {
            hub: Hub::new(hub, NOW),
            store,
            changes: Vec::new(),
            written: 0,
            decoder: Decoder::new(decoder, Some(Version::V5)),
        }
    }

    /// A subscriber comes and goes.
    fn begin(&mut self) -> Outcome {
        let away = self.connect("away")?;
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        let subscribe = Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).ok_or("an id")?,
            properties: Properties::new(),
            filters: vec![SubscribeFilter { filter: Filter::new("t")?, options }],
        });
        self.send(away, &[subscribe])?;
        self.hub.handle_closed(away, NOW);
        self.settle().map(drop)
    }

    fn fill(&mut self, messages: u64, bytes: usize) -> Outcome {
        self.begin()?;
        let publisher = self.connect("publisher")?;
        let mut number = 0;
        while number < messages {
            let batch = (BATCH_BYTES / bytes.max(1) as u64).clamp(1, BATCH);
            let count = batch.min(messages - number);
            let publishes: Vec<_> = (1..=count)
                .map(|id| publish(number + id, id as u16, bytes))
                .collect::<Outcome<_>>()?;
            let answers = self.send(publisher, &publishes)?;
            if answers.len() != publishes.len() {
                return Err(format!("{} answers to {count} messages", answers.len()).into());
            }
            number += count;
        }
        Ok(())
    }

    fn recover(&mut self, messages: u64) -> Outcome {
        let (store, mut after) = (&self.store, Vec::new());
        let mut failed = None;
        let pages = iter::from_fn(|| match read_page(store, &after) {
            Ok(page) => {
                after.clone_from(&page.last()?.0);
                Some(page)
            }
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        let records = pages.flatten().filter_map(|(key, value)| Record::decode(&key, &value).ok());
        self.hub.recover(records, NOW);
        if let Some(error) = failed {
            return Err(error.into());
        }
        let sessions = self.hub.stats().sessions;
        if messages > 0 && sessions == 0 {
            return Err("nothing was recovered".into());
        }
        Ok(())
    }

    /// The subscriber is back: all come in order, each is acknowledged.
    fn drain(&mut self, messages: u64) -> Outcome {
        let away = self.hub.accept(NOW);
        let mut got = self.send(away, &[connect("away")?])?;
        let mut last = 0;
        while last < messages {
            let mut acks = Vec::new();
            for packet in got {
                let Packet::Publish(publish) = packet else { continue };
                let number = publish.payload.first_chunk().copied().map(u64::from_be_bytes);
                if number != Some(last + 1) {
                    return Err(format!("{number:?} after {last}").into());
                }
                last += 1;
                let packet_id = publish.packet_id.ok_or("an id")?;
                let (reason, properties) = (ReasonCode::Success, Properties::new());
                acks.push(Packet::PubAck(Ack { packet_id, reason, properties }));
            }
            if acks.is_empty() {
                return Err(format!("nothing follows {last}").into());
            }
            got = self.send(away, &acks)?;
        }
        Ok(())
    }

    fn connect(&mut self, client_id: &str) -> Outcome<LinkId> {
        let link = self.hub.accept(NOW);
        self.send(link, &[connect(client_id)?])?;
        Ok(link)
    }

    /// Sends packets; returns what comes back once everything is stored.
    fn send(&mut self, link: LinkId, packets: &[Packet]) -> Outcome<Vec<Packet>> {
        let mut bytes = Vec::new();
        for packet in packets {
            encode(packet, Version::V5, PACKET_SIZE_MAX, &mut bytes)?;
        }
        let mut input = BytesMut::from(&bytes[..]);
        self.hub.handle_bytes(link, &mut input, NOW);
        let mut got = self.settle()?;
        while !input.is_empty() {
            self.hub.handle_bytes(link, &mut input, NOW);
            got.extend(self.settle()?);
        }
        Ok(got)
    }

    fn settle(&mut self) -> Outcome<Vec<Packet>> {
        let (mut output, mut stored) = (BytesMut::new(), self.written);
        loop {
            match self.hub.poll_output() {
                Output::Store(seq, record) => {
                    self.written = seq;
                    self.changes.push(match record.value() {
                        Some(value) if record.is_first() => {
                            Change::Insert(record.key().into(), value.into())
                        }
                        Some(value) => Change::Put(record.key().into(), value.into()),
                        None => Change::Delete(record.key().into()),
                    });
                }
                Output::Page { ticket, request } => {
                    self.write()?;
                    let mut page = PageRows::new(&request);
                    let mut each = |key: &[u8], value| page.push(key, value);
                    self.store.scan_after(&request.prefix, &request.after, &mut each)?;
                    self.hub.handle_page(ticket, page, NOW);
                }
                Output::Transmit(link) => {
                    let before = output.len();
                    for chunk in self.hub.chunks(link) {
                        let Chunk::Bytes(bytes) = chunk else { return Err("a spool".into()) };
                        output.extend_from_slice(bytes);
                    }
                    self.hub.consume(link, (output.len() - before) as u64, NOW);
                }
                Output::Wait(at) => {
                    self.write()?;
                    if self.written > stored {
                        self.store.wait(self.written)?;
                        stored = self.written;
                        self.hub.handle_stored(stored, NOW);
                    } else if at.is_some_and(|at| at <= NOW) {
                        self.hub.handle_time(NOW);
                    } else {
                        break;
                    }
                }
                Output::Close(link) => self.hub.handle_closed(link, NOW),
                Output::Event(_) | Output::Pause(_) | Output::Resume(_) => {}
                other @ (Output::Ask(_)
                | Output::Move { .. }
                | Output::Peer(..)
                | Output::Spool(_)) => return Err(format!("unexpected {other:?}").into()),
            }
        }
        let mut packets = Vec::new();
        while let Some(event) = self.decoder.decode(&mut output)? {
            let Event::Packet(packet) = event else { return Err("a stream".into()) };
            packets.push(packet);
        }
        Ok(packets)
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.store.write_batch(self.written, &mut self.changes.drain(..))
    }
}

fn read_page(store: &DiskStore, after: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    store.scan_after(b"", after, &mut |key, value| {
        bytes += key.len() + value.len();
        rows.push((key.to_vec(), value));
        if bytes < PAGE_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(rows)
}

fn connect(client_id: &str) -> Outcome<Packet> {
    let mut properties = Properties::new();
    properties.push(Property::SessionExpiryInterval(u32::MAX));
    Ok(Packet::Connect(Box::new(Connect {
        version: Version::V5,
        clean_start: false,
        keep_alive: 0,
        client_id: ClientId::new(client_id)?,
        user_name: None,
        password: None,
        will: None,
        properties,
    })))
}

/// A message that begins with its number.
fn publish(number: u64, id: u16, bytes: usize) -> Outcome<Packet> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(bytes.max(payload.len()), b'.');
    Ok(Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: Some(Topic::new("t")?),
        packet_id: PacketId::new(id),
        properties: Properties::new(),
        payload: Bytes::from(payload),
    }))
}
