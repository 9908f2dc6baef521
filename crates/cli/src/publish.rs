//! `postrider pub`: publishes one message.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{ArgAction, Args};
use postrider::{Builder, QoS, Session, Topic, TopicError};
use postrider_broker::wire::REMAINING_LENGTH_MAX;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    bar::{Bar, Plain},
    connection::ConnectionArgs,
    log,
};

/// Publishes a message, and ends when the broker has it.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
pub(crate) struct PublishArgs {
    /// Topic to publish to.
    #[arg(short, long, value_parser = topic)]
    topic: Topic,
    #[command(flatten)]
    message: MessageArgs,
    /// Quality of service: 0 may be lost, 1 may arrive twice, 2 arrives exactly once.
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// The broker keeps the message for later subscribers; an empty one clears what it keeps.
    #[arg(short, long)]
    retain: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Prints help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What to publish; one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct MessageArgs {
    /// The message.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<OsString>,
    /// The content of this file is the message.
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The message is empty.
    #[arg(short, long)]
    null_message: bool,
    /// All of standard input is the message.
    #[arg(short, long)]
    stdin: bool,
}

/// Publishes the message; an error if the broker did not take it.
pub(crate) fn publish(args: PublishArgs) -> anyhow::Result<()> {
    log::start_if_asked();
    let builder = args.connection.builder()?;
    let payload = payload(args.message)?;
    let qos = QoS::from_bits(args.qos).context("--qos must be 0, 1 or 2")?;
    let message = Message { topic: args.topic, payload, qos, retain: args.retain };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send(builder, message))
}

struct Message {
    topic: Topic,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
}

async fn send(builder: Builder, message: Message) -> anyhow::Result<()> {
    // Whoever calls this wants an answer, not another attempt.
    let session = builder.reconnect(false).session_expiry(Duration::ZERO).connect().await?;
    let size = message.payload.len();
    let topic = message.topic.clone();
    let publishing = async {
        let request = session.publish(message.topic, message.payload);
        let published = request.qos(message.qos).retain(message.retain).await;
        published.with_context(|| format!("'{topic}' was not published"))?;
        // At QoS 0 this is what waits until all is written.
        session.disconnect().await.with_context(|| format!("'{topic}' may be lost"))
    };
    if size < BAR_ABOVE { publishing.await } else { with_bar(&session, size, publishing).await }
}

/// Shows how much is written while `publishing` runs.
async fn with_bar(
    session: &Session,
    size: usize,
    publishing: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut bar = Bar::bytes("publishing", u64::try_from(size)?, Plain::Nothing);
    let before = session.stats().bytes_sent;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut publishing = std::pin::pin!(publishing);
    loop {
        tokio::select! {
            result = &mut publishing => return result,
            _ = look.tick() => bar.set(session.stats().bytes_sent - before),
        }
    }
}

/// Reads the message, before anybody is bothered with a connection.
fn payload(args: MessageArgs) -> anyhow::Result<Vec<u8>> {
    if let Some(text) = args.message {
        Ok(text.into_encoded_bytes())
    } else if let Some(path) = args.file {
        from_file(&path).with_context(|| format!("--file '{}'", path.display()))
    } else if args.stdin {
        from_reader(io::stdin().lock(), 0).context("--stdin")
    } else {
        Ok(Vec::new())
    }
}

fn from_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    ensure!(len <= PAYLOAD_MAX, "it has {len} bytes; at most {PAYLOAD_MAX} fit into a message");
    from_reader(file, len)
}

/// Reads all of it, but never more than fits into a message: there are files without end.
fn from_reader(reader: impl Read, len: u64) -> anyhow::Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(usize::try_from(len)?);
    reader.take(PAYLOAD_MAX + 1).read_to_end(&mut payload)?;
    if u64::try_from(payload.len())? > PAYLOAD_MAX {
        bail!("it goes on after {PAYLOAD_MAX} bytes; no more fit into a message");
    }
    Ok(payload)
}

fn topic(name: &str) -> Result<Topic, String> {
    Topic::new(name).map_err(|error| match error {
        TopicError::Wildcard(_) => {
            format!("{error}; a message goes to one topic, wildcards are for postrider sub")
        }
        TopicError::Text(_) | TopicError::Empty | _ => error.to_string(),
    })
}

/// What a packet can hold at all; the topic takes some more of it.
const PAYLOAD_MAX: u64 = REMAINING_LENGTH_MAX as u64;
/// Bytes from which on a bar is shown.
const BAR_ABOVE: usize = 1 << 20;
/// How often the bar looks at what is written.
const LOOK_EVERY: Duration = Duration::from_millis(50);

const AFTER_HELP: &str = "\
Examples:
  postrider pub -t plant/7/temp -m 21.5
  postrider pub -h broker.example -u ann -P secret -t plant/7/state -m up -q 1 -r
  postrider pub -t plant/7/state -n -r                  clears the retained message
  postrider pub -t plant/7/picture -f picture.png -q 2

The exit status is 0 when the broker has the message (at QoS 0: when it is sent), 1 if it has not, \
with the reason on standard error, and 2 for a wrong option. A lost connection is not made again.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_a_wildcard_says_where_and_what_to_do() {
        let text = topic("a/+/b").unwrap_err();
        assert!(text.contains("byte 2"), "{text}");
        assert!(text.contains("postrider sub"), "{text}");
        assert_eq!(topic("").unwrap_err(), "topic name is empty");
    }

    #[test]
    fn what_has_no_end_is_not_read_to_the_end() {
        let text = from_reader(io::repeat(7), 0).unwrap_err().to_string();
        assert!(text.contains("268435455"), "{text}");
    }
}
