//! The processes that are killed.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use postrider::Mode;

/// A process that says on its standard output how far it is, line by line, and is told what to do on its standard input.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts a process; its standard error goes to `NAME.log` in the folder.
    pub(crate) fn start(name: &str, folder: &Path, mut command: Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let errors = OpenOptions::new().append(true).create(true).open(&log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let output = child.stdout.take().context("its output is piped")?;
        let input = child.stdin.take();
        let (sender, lines) = mpsc::channel();
        thread::Builder::new().name(format!("lines of {name}")).spawn(move || {
            for line in BufReader::new(output).lines().map_while(io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { name: name.to_owned(), child, input, lines, log })
    }

    /// Waits for a line that holds `text`.
    pub(crate) fn wait_for(&mut self, text: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(_) => (),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say '{text}' in {patience:?}{}", self.name, self.last_words())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before it said '{text}'{}", self.name, self.last_words())
                }
            }
        }
    }

    /// The next line, if there is one in time.
    pub(crate) fn line_within(&self, patience: Duration) -> Result<Option<String>> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{} ended{}", self.name, self.last_words())
            }
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is piped")?;
        writeln!(input, "{line}").with_context(|| format!("{} does not listen", self.name))
    }

    /// SIGKILL, at once and without waiting for the end.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// Waits until a killed process is gone. It must not have ended by itself before.
    pub(crate) fn bury(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if status.code().is_some() {
            bail!("{} ended by itself with {status}{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Waits until it ends by itself with an error; returns what it wrote to standard error last.
    pub(crate) fn wait_for_end(mut self, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => (),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not end in {patience:?}{}", self.name, self.last_words())
                }
                // Its standard output is closed: it ends.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait()?;
        if status.code().is_none_or(|code| code == 0) {
            bail!("{} ended with {status}{}", self.name, self.last_words());
        }
        Ok(self.last_words())
    }

    /// What it wrote to standard error last.
    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
        if last.is_empty() { String::new() } else { format!(":\n  {}", last.join("\n  ")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which broker is killed.
#[derive(Clone, Debug)]
pub(crate) enum BrokerKind {
    /// The `postrider` program with so many hubs.
    Postrider { program: PathBuf, hubs: u16 },
    /// Mosquitto with the strongest persistence that it has; or with none, where it is not killed: it writes all that it
    /// has with each change.
    Mosquitto { program: PathBuf, is_persistent: bool },
}

/// What our stores promise when they say that something is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreMode {
    /// Synced to the disk.
    #[default]
    Durable,
    /// Handed to the operating system.
    Process,
}

impl StoreMode {
    /// As command lines have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Process => "process",
        }
    }

    /// As sessions have it.
    pub(crate) fn of_session(self) -> Mode {
        match self {
            Self::Durable => Mode::Durable,
            Self::Process => Mode::Process,
        }
    }
}

/// How much room a process has on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Plenty,
    /// No file may be longer than this many KiB: what a write beyond gets is an error, as on a full disk.
    Kib(u32),
}

impl Room {
    /// The same command with that much room.
    pub(crate) fn limit(self, command: Command) -> Command {
        let Self::Kib(kib) = self else { return command };
        // The unit of `ulimit -f` is 512 bytes in POSIX. Without the trap the signal would end the process.
        let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
        let mut limited = Command::new("sh");
        limited.args(["-c", script, &(2 * kib).to_string()]);
        limited.arg(command.get_program()).args(command.get_args());
        limited
    }
}

/// Starts a broker whose store is in the folder, and waits until it listens.
pub(crate) fn start_broker(
    kind: &BrokerKind,
    mode: StoreMode,
    folder: &Path,
    room: Room,
) -> Result<(Process, SocketAddr)> {
    match kind {
        BrokerKind::Postrider { program, hubs } => {
            let mut command = Command::new(program);
            command.args(["broker", "--listen", "tcp://127.0.0.1:0", "--store"]);
            command.arg(folder.join("broker.store"));
            command.args(["--mode", mode.name(), "--hubs", &hubs.to_string()]);
            let mut process = Process::start("broker", folder, room.limit(command))?;
            let line = process.wait_for("listening on tcp://", PATIENCE)?;
            let address = line.rsplit("tcp://").next().unwrap_or_default();
            let address = address.parse().with_context(|| format!("'{line}' has no address"))?;
            Ok((process, address))
        }
        BrokerKind::Mosquitto { program, is_persistent } => {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let config = folder.join("mosquitto.conf");
            fs::write(&config, mosquitto_config(port, folder, *is_persistent))?;
            // Its standard output waits in a buffer; its standard error does not.
            let mut command = Command::new("sh");
            command.args(["-c", "exec \"$0\" -c \"$1\" 2>&1"]).arg(program).arg(config);
            let mut process = Process::start("broker", folder, room.limit(command))?;
            process.wait_for(" running", PATIENCE)?;
            Ok((process, (Ipv4Addr::LOCALHOST, port).into()))
        }
    }
}

/// Everything that Mosquitto has to keep messages, and no bound that drops any.
fn mosquitto_config(port: u16, folder: &Path, is_persistent: bool) -> String {
    // As root it would become a user who may not write here.
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser {user}\nlog_dest stderr\nlog_type information\n\
         persistence {is_persistent}\npersistence_location {}/\nautosave_on_changes true\nautosave_interval 1\n\
         max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\n",
        folder.display()
    )
}

/// How long a process may take for what it is asked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of a process's errors that are shown.
const LAST_WORDS: usize = 12;
