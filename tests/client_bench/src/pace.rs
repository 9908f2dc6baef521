//! How a receiver paces the sender, through a pipe: a byte when it is ready, and one for each share of messages.

use std::io::{self, Read, Write};

use anyhow::{Context, Result};

/// Messages that a byte stands for.
const SHARE: u64 = 500;

/// Shares that the sender is ahead at most.
const AHEAD: u64 = 4;

/// The receiver's end: its standard output.
#[derive(Default)]
pub struct Arrivals {
    count: u64,
}

impl Arrivals {
    /// Says that the subscription is there.
    ///
    /// # Errors
    /// If the sender is gone.
    pub fn ready(&self) -> io::Result<()> {
        tell()
    }

    /// A message has arrived.
    ///
    /// # Errors
    /// If the sender is gone.
    pub fn count(&mut self) -> io::Result<()> {
        self.count += 1;
        if self.count.is_multiple_of(SHARE) { tell() } else { Ok(()) }
    }
}

fn tell() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b".")?;
    out.flush()
}

/// The sender's end: its standard input.
#[derive(Default)]
pub struct Credit {
    left: u64,
    is_begun: bool,
}

impl Credit {
    /// Waits until one more message may be sent.
    ///
    /// # Errors
    /// If the receiver is gone.
    pub fn take(&mut self) -> Result<()> {
        if !self.is_begun {
            self.is_begun = true;
            self.wait()?;
            self.left = SHARE * AHEAD;
        }
        if self.left == 0 {
            self.wait()?;
            self.left = SHARE;
        }
        self.left -= 1;
        Ok(())
    }

    /// Waits until the receiver has all.
    ///
    /// # Errors
    /// If the pipe breaks.
    pub fn end(self) -> Result<()> {
        io::copy(&mut io::stdin().lock(), &mut io::sink())?;
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        io::stdin().lock().read_exact(&mut [0]).context("the receiver is gone")
    }
}
