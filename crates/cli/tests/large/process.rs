//! Processes of the test, and what they say.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// A process; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    name: &'static str,
    lines: Receiver<String>,
}

/// Longest wait for a line: this is for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(300);

impl Running {
    /// This program in another role.
    pub(crate) fn role(name: &'static str, words: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(name).args(words);
        Self::start(name, command)
    }

    /// A broker, and where it listens.
    pub(crate) fn broker(store: &Path) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
        command.args(["broker", "--port", "0", "--store"]).arg(store);
        command.env("RUST_LOG", "warn");
        let broker = Self::start("broker", command);
        let line = broker.line();
        let place = line.strip_prefix("listening on tcp://").expect(&line).to_owned();
        (broker, place)
    }

    fn start(name: &'static str, mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, name, lines }
    }

    /// The next line.
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        line.unwrap_or_else(|_| panic!("the {} says nothing", self.name))
    }

    /// Expects this line.
    pub(crate) fn says(&self, wanted: &str) {
        let line = self.line();
        assert!(line.starts_with(wanted), "the {} says '{line}', not '{wanted}'", self.name);
    }

    /// Takes the last line but for the peak of memory, in KiB.
    pub(crate) fn peak_kb(&self) -> u64 {
        let line = self.line();
        line.strip_prefix("peak ").expect(&line).parse().unwrap()
    }

    pub(crate) fn peak_kb_so_far(&self) -> u64 {
        peak_kb(&self.child.id().to_string())
    }

    /// Writes to its standard input, which stays open.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the {} has ended", self.name);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in most cases.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Most memory that a process had at once, in KiB.
pub(crate) fn peak_kb(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
