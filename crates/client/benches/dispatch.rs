//! What one arriving message costs with a few filters and with 10,000: they should cost the same.
//!
//! ```text
//! cargo bench -p postrider --bench dispatch [-- MESSAGES]
//! ```
//!
//! A session reads messages that lie ready in a pipe, so that nothing but the client is measured. Each message matches one
//! filter with a wildcard and one without; the topics are the same few in all rows.

use std::{env, error::Error, time::Instant};

use postrider::{Properties, Protocol, QoS, ReasonCode, Session, Stream, Subscription, Topic};
use postrider_proto::wire::{
    ConnAck, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, Publish, SubAck, Version,
    encode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const MESSAGES: u32 = 200_000;
/// Bytes on their way in one direction.
const PIPE: usize = 1 << 20;
/// Topics of the messages.
const TOPICS: usize = 5;
const ROUNDS: usize = 5;
const FILTERS: [usize; 3] = [10, 1000, 10_000];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let count = env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(MESSAGES);
    println!("{count} messages at QoS 0, 64 bytes each; medians of {ROUNDS} rounds");
    for filters in FILTERS {
        let mut costs = Vec::new();
        let mut subscribing = 0.0;
        for _ in 0..ROUNDS {
            let (begun, cost) = round(filters, count).await?;
            subscribing = begun;
            costs.push(cost);
        }
        costs.sort_by(f64::total_cmp);
        let median = costs[ROUNDS / 2];
        println!(
            "{filters:>7} filters {median:>8.0} ns a message; subscribed in {subscribing:.2} s"
        );
    }
    Ok(())
}

/// Seconds to subscribe, and nanoseconds for each message.
async fn round(filters: usize, count: u32) -> Outcome<(f64, f64)> {
    let (sender, mut pipes) = mpsc::unbounded_channel();
    let builder = Session::builder("mqtt://peer", "bench").version(Protocol::V5);
    let builder = builder.connector(move |_| {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let sent = sender.send(theirs);
        async move {
            sent.map_err(std::io::Error::other)?;
            Ok(Stream::new(ours))
        }
    });
    let server = tokio::spawn(async move {
        let pipe = pipes.recv().await.ok_or("no connection")?;
        serve(pipe, filters).await.map_err(|error| error.to_string())
    });
    let session = builder.connect().await?;
    let begun = Instant::now();
    let mut streams: Vec<Subscription> = Vec::new();
    for index in 0..filters {
        let filter = if index % 2 == 0 {
            format!("plant/{}/+/temp", index / 2)
        } else {
            format!("plant/{}/press/temp", index / 2)
        };
        streams.push(session.subscribe(filter.as_str(), QoS::AtMostOnce).await?);
    }
    let subscribing = begun.elapsed().as_secs_f64();
    let mut pipe = server.await??;
    let messages = messages(count)?;
    let begun = Instant::now();
    let writing = tokio::spawn(async move { pipe.write_all(&messages).await.map(|()| pipe) });
    for turn in 0..count as usize {
        let at = turn % TOPICS * 2;
        for stream in streams.get_mut(at..at + 2).into_iter().flatten() {
            stream.next().await.ok_or("the stream ended")?;
        }
    }
    let cost = begun.elapsed().as_nanos() as f64 / f64::from(count);
    drop(writing.await??);
    Ok((subscribing, cost))
}

/// Accepts a connection and so many subscriptions.
async fn serve(mut pipe: DuplexStream, filters: usize) -> Outcome<DuplexStream> {
    let config = DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: u32::MAX,
        is_topic_lenient: false,
    };
    let (mut decoder, mut input) = (Decoder::new(config, None), bytes::BytesMut::new());
    let mut granted = 0;
    // Filters that overlap are subscribed again, with an identifier.
    while granted < filters + filters / 2 {
        let Some(Event::Packet(packet)) = decoder.decode(&mut input)? else {
            if pipe.read_buf(&mut input).await? == 0 {
                return Err("the session ended".into());
            }
            continue;
        };
        let properties = Properties::new();
        let answer = if let Packet::Subscribe(subscribe) = packet {
            granted += 1;
            let (packet_id, reasons) = (subscribe.packet_id, vec![ReasonCode::Success]);
            Packet::SubAck(SubAck { packet_id, properties, reasons })
        } else {
            // The CONNECT.
            let (session_present, reason) = (false, ReasonCode::Success);
            Packet::ConnAck(ConnAck { session_present, reason, properties })
        };
        let mut bytes = Vec::new();
        encode(&answer, Version::V5, PACKET_SIZE_MAX, &mut bytes)?;
        pipe.write_all(&bytes).await?;
    }
    Ok(pipe)
}

fn messages(count: u32) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    for turn in 0..count as usize {
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: Some(Topic::new(format!("plant/{}/press/temp", turn % TOPICS).as_str())?),
            packet_id: None,
            properties: Properties::new(),
            payload: postrider::Bytes::from_static(&[b'x'; 64]),
        };
        encode(&Packet::Publish(publish), Version::V5, PACKET_SIZE_MAX, &mut bytes)?;
    }
    Ok(bytes)
}
