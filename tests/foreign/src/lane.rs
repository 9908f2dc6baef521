//! Named cases, one after the other, and the lines that tests/lanes/lane.sh counts.

use std::{
    cell::Cell,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

/// What the command line asks for.
pub struct Lane {
    /// The broker's port on the loopback.
    pub port: u16,
    suffix: String,
    only: String,
    is_ours: bool,
    count: Cell<u32>,
}

/// One run of a function: its broker, and names that no other case uses.
pub struct Case {
    /// The broker's port on the loopback.
    pub port: u16,
    /// Whether the broker is this project's; with others, cases skip what the standard leaves to the broker.
    pub is_ours: bool,
    number: u32,
    names: Cell<u32>,
}

impl Lane {
    /// Reads the arguments.
    pub fn from_arguments() -> Result<Self> {
        let mut lane = Self {
            port: 0,
            suffix: String::new(),
            only: String::new(),
            is_ours: true,
            count: Cell::new(0),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{name} needs a value"));
            match name.as_str() {
                "--port" => lane.port = value()?.parse()?,
                "--suffix" => lane.suffix = value()?,
                "--only" => lane.only = value()?,
                "--theirs" => lane.is_ours = false,
                _ => bail!("unknown argument {name}"),
            }
        }
        if lane.port == 0 {
            bail!("--port is missing");
        }
        Ok(lane)
    }

    /// Runs one case, if it is asked for, and prints its verdict.
    pub fn case(&self, text: &str, run: impl FnOnce(&Case) -> Result<()>) {
        if !text.contains(&self.only) {
            return;
        }
        self.count.set(self.count.get() + 1);
        let case = Case {
            port: self.port,
            is_ours: self.is_ours,
            number: self.count.get(),
            names: Cell::new(0),
        };
        match run(&case) {
            Ok(()) => println!("pass: {text}{}", self.suffix),
            Err(error) => {
                println!("fail: {text}{}", self.suffix);
                format!("{error:#}").lines().for_each(|line| println!("  | {line}"));
            }
        }
    }
}

impl Case {
    /// A topic that no other case uses.
    pub fn topic(&self, rest: &str) -> String {
        format!("case{}/{rest}", self.number)
    }

    /// A client id that nobody else uses, of at most 23 characters, as 3.1 asks.
    pub fn name(&self) -> String {
        self.names.set(self.names.get() + 1);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let run = (u64::from(process::id()) + started) % 1_000_000;
        format!("{run}-{}-{}", self.number, self.names.get())
    }
}
