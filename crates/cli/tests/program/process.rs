//! Running the program under test. Nothing here waits longer than [`PATIENCE`].

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// The program, running.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status; `None` if a signal killed it.
    pub(crate) status: Option<i32>,
    /// What was left of its standard output.
    pub(crate) out: Vec<String>,
    /// Its standard error.
    pub(crate) err: String,
}

/// `postrider broker` on a free loopback port. Killed when dropped.
pub(crate) struct Broker {
    _program: Program,
    pub(crate) port: String,
    pub(crate) url: String,
}

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Program::start(args).end()
}

/// Runs the program to its end, with this standard input.
pub(crate) fn run_with_input(args: &[&str], input: &[u8]) -> Ended {
    let mut program = Program::spawn(command(args).stdin(Stdio::piped()));
    program.child.stdin.take().unwrap().write_all(input).unwrap();
    program.end()
}

/// The program with these arguments, and nothing of our environment that it would read.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(args).env_remove("POSTRIDER_URL").env_remove("POSTRIDER_USERS");
    for scheme in ["mqtt", "mqtts", "ws", "wss", "http", "https", "all", "no"] {
        let name = format!("{scheme}_proxy");
        command.env_remove(name.to_ascii_uppercase()).env_remove(name);
    }
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// The program, started under another name.
#[cfg(unix)]
pub(crate) fn command_named(name: &str, args: &[&str]) -> Command {
    use std::os::unix::process::CommandExt;

    let mut command = command(args);
    command.arg0(name);
    command
}

impl Program {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(&mut command(args))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let mut err = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            err.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, lines: read_lines(out), errors: Some(errors) }
    }

    /// As [`Program::spawn`], with standard error somewhere else.
    #[cfg(unix)]
    pub(crate) fn spawn_with_errors(command: &mut Command, errors: Stdio) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        // What it holds of the terminal is to be gone when the program is.
        command.stderr(Stdio::null());
        let out = child.stdout.take().unwrap();
        Self { child, lines: read_lines(out), errors: None }
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(_) => panic!("no line came; standard error:\n{}", self.kill()),
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut out = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => out.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it does not end; standard error:\n{}", self.kill())
                }
            }
        }
        let err = self.errors.take().map_or_else(String::new, |errors| errors.join().unwrap());
        Ended { status: self.child.wait().unwrap().code(), out, err }
    }

    /// Its number at the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn kill(&mut self) -> String {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.errors.take().map_or_else(String::new, |errors| errors.join().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Ended {
    /// Fails unless the status is this one and standard error has all of `parts`.
    pub(crate) fn check(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "'{part}' is not in: {}", self.err);
        }
    }

    /// Fails unless it ended well, without a word on standard error, and with these lines.
    pub(crate) fn check_out(&self, lines: &[&str]) {
        self.check(0, &[]);
        assert_eq!(self.err, "");
        assert_eq!(self.out, lines);
    }
}

impl Broker {
    pub(crate) fn start(args: &[&str]) -> Self {
        let listen = ["broker", "--listen", "tcp://127.0.0.1:0"];
        let mut program = Program::start(&[&listen, args].concat());
        let line = program.line();
        let port = line.strip_prefix("listening on tcp://127.0.0.1:").expect(&line).to_owned();
        let url = format!("mqtt://127.0.0.1:{port}");
        Self { _program: program, port, url }
    }

    /// Runs `pub` or `sub` here, to its end.
    pub(crate) fn run(&self, verb: &str, args: &[&str]) -> Ended {
        run(&self.args(verb, args))
    }

    /// Publishes, and fails if that fails.
    pub(crate) fn publish(&self, args: &[&str]) {
        self.run("pub", args).check_out(&[]);
    }

    /// Starts `sub -v`, and waits until it has subscribed: a retained message says so.
    pub(crate) fn subscriber(&self, args: &[&str]) -> Program {
        self.publish(&["-t", "ready", "-m", "go", "-r", "-q", "1"]);
        let mut program =
            Program::start(&self.args("sub", &[args, &["-v", "-t", "ready"]].concat()));
        while program.line() != "ready go" {}
        program
    }

    pub(crate) fn args<'a>(&'a self, verb: &'a str, args: &[&'a str]) -> Vec<&'a str> {
        [&[verb, "-p", &self.port], args].concat()
    }
}

fn read_lines(out: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(out).split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
