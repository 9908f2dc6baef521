//! `postrider packets`: prints what a tap has written.

use std::{
    fs::File,
    io::{self, BufReader, Write},
};

use anyhow::Context;
use bytes::BytesMut;
use postrider::tap::{Record, Records, Taken, What};
use postrider_wire::{Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet};

use crate::{args::PacketsArgs, moment::Moment};

/// Prints the packets; an error if the file is no tap or is damaged.
pub(crate) fn packets(args: &PacketsArgs) -> anyhow::Result<()> {
    let named = || format!("'{}'", args.file.display());
    let file = File::open(&args.file).with_context(named)?;
    let mut out = io::stdout().lock();
    for record in Records::new(BufReader::new(file)) {
        let record = record.with_context(named)?;
        if args.connection.is_some_and(|wanted| wanted != record.connection) {
            continue;
        }
        match writeln!(out, "{}", line(&record, args.payloads)) {
            Ok(()) => {}
            // Nobody reads any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error).context("cannot write to standard output"),
        }
    }
    Ok(())
}

fn line(record: &Record, has_payload: bool) -> String {
    let what = match &record.what {
        What::Opened { server } => format!("- opened to {server}"),
        What::Sent(taken) => format!("> {}", packet(taken, has_payload)),
        What::Received(taken) => format!("< {}", packet(taken, has_payload)),
        What::Closed => "- closed".to_owned(),
        other => format!("- {other:?}"),
    };
    let time = Moment::at(record.time).map_or_else(String::new, |moment| moment.micros());
    format!("{time} #{} {what}", record.connection)
}

/// One packet, and what is missing of it.
fn packet(taken: &Taken, has_payload: bool) -> String {
    let len = taken.packet_len;
    // Of a payload there may be the beginning only.
    let config =
        DecoderConfig { packet_size_max: PACKET_SIZE_MAX, stream_above: 0, is_topic_lenient: true };
    let mut input = BytesMut::from(&taken.bytes[..]);
    let version = taken.version.filter(|_| taken.bytes.first() != Some(&0x10));
    match Decoder::new(config, version).decode(&mut input) {
        Ok(Some(Event::Packet(packet))) => packet.to_string(),
        Ok(Some(Event::PublishStart(mut publish, payload_len))) => {
            publish.payload = input.freeze();
            let payload = publish.payload.clone();
            let mut text = Packet::Publish(publish).to_string();
            if payload.len() < payload_len as usize {
                text += &format!(" of {payload_len}B");
            }
            if has_payload {
                text += &format!(" \"{}\"", payload.escape_ascii());
            }
            text
        }
        _ if taken.bytes.is_empty() => format!("a packet of {len}B that was not kept"),
        _ => format!("a packet of {len}B that begins with {}", taken.bytes.escape_ascii()),
    }
}
