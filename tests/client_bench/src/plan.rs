//! What a program is asked to do.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// The topic of all messages.
pub const TOPIC: &str = "bench/plant/7/temp";

/// What to do with the server at a port of this machine.
pub enum Plan {
    /// `publish PORT QOS WINDOW SIZE MESSAGES`
    Publish(Traffic),
    /// `receive PORT QOS WINDOW SIZE MESSAGES`
    Receive(Traffic),
    /// `idle PORT SESSIONS`
    Idle { port: u16, sessions: usize },
}

/// Messages of one kind.
#[derive(Clone, Copy)]
pub struct Traffic {
    pub port: u16,
    pub qos: u8,
    /// Messages whose exchange is not complete, at most.
    pub window: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Messages that count; a tenth of them comes before, unmeasured.
    pub messages: u64,
}

impl Traffic {
    /// Messages that are not measured.
    #[must_use]
    pub const fn warm_up(&self) -> u64 {
        self.messages / 10
    }

    /// All messages.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.messages + self.warm_up()
    }
}

impl Plan {
    /// Of the arguments of this program.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_arguments() -> Result<Self> {
        let mut arguments = std::env::args().skip(1);
        let action = arguments.next().context("publish, receive or idle")?;
        let port = next(&mut arguments, "PORT")?;
        Ok(match action.as_str() {
            "publish" => Self::Publish(traffic(port, &mut arguments)?),
            "receive" => Self::Receive(traffic(port, &mut arguments)?),
            "idle" => Self::Idle { port, sessions: next(&mut arguments, "SESSIONS")? },
            other => bail!("{other}: not publish, receive or idle"),
        })
    }
}

fn traffic(port: u16, arguments: &mut impl Iterator<Item = String>) -> Result<Traffic> {
    Ok(Traffic {
        port,
        qos: next(arguments, "QOS")?,
        window: next(arguments, "WINDOW")?,
        size: next(arguments, "SIZE")?,
        messages: next(arguments, "MESSAGES")?,
    })
}

fn next<T: FromStr>(arguments: &mut impl Iterator<Item = String>, name: &str) -> Result<T> {
    let text = arguments.next().with_context(|| format!("{name} is missing"))?;
    text.parse().ok().with_context(|| format!("{name}: {text:?} is no number in its range"))
}
