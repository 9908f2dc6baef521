//! A small language for the server's side of a connection.
//!
//! A case is steps with `;` between them. What is not ended by its last step must be kept by the client: it then has to
//! answer one more PUBLISH, and to be silent until the end.
//!
//! ```text
//! S TOKENS   the server sends            C TOKENS  the client sends exactly this packet next
//! B TOKENS   the same, byte by byte      alive     the client answers a PUBLISH at QoS 1
//! close      the server is gone          quiet     the server stops sending; the client says nothing more and closes
//! end CODE   the client closes; in 5.0 it says DISCONNECT with this code first
//! end        the client closes without a word
//! left       the client closes; it may ask for a sign of life before
//! either     the client closes, in whatever way, or answers a PUBLISH at QoS 1
//! ```
//! Tokens are `30ff` (bytes), `=text` (with its length of two bytes before it), `'text` (without), `{ ... }` (with its
//! remaining length before it), `[ ... ]` (properties: with their length before them in 5.0, left out in 3.x), and
//! `34:TOKEN` (only at these protocol levels).

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What accepts a connection.
pub(crate) const CONNACK: &str = "S 20 { 00 00 [ ] }";
/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The cases of one test at some levels, with clean session (or clean start) 0 and 1, all through one process.
pub(crate) struct Play<'a> {
    levels: &'a str,
    cleans: &'a [u8],
    command: &'a str,
    others: &'a [String],
    greeting: Option<String>,
}

/// Where and how one connection is played.
#[derive(Clone, Copy)]
struct Setting {
    level: u8,
    clean: u8,
}

pub(crate) struct Process {
    child: Child,
    log: mpsc::Receiver<String>,
}

/// The server's end of a connection.
struct Server {
    stream: TcpStream,
    setting: Setting,
}

type Verdict = Result<(), String>;

/// Cases behind a plain CONNACK.
pub(crate) fn accepted<'a>(levels: &'a str, command: &'a str) -> Play<'a> {
    Play { greeting: Some(CONNACK.to_owned()), ..greeted(levels, command) }
}

/// Cases that begin behind CONNECT.
pub(crate) fn greeted<'a>(levels: &'a str, command: &'a str) -> Play<'a> {
    Play { levels, cleans: &[0, 1], command, others: &[], greeting: None }
}

impl<'a> Play<'a> {
    /// Only with this clean session, or clean start.
    pub(crate) fn clean(self, clean: &'static [u8]) -> Self {
        Self { cleans: clean, ..self }
    }

    /// Puts other lines before each of ours.
    pub(crate) fn among(self, others: &'a [String]) -> Self {
        Self { others, ..self }
    }

    /// Puts steps before every case.
    pub(crate) fn after(self, steps: &str) -> Self {
        let greeting = match self.greeting {
            Some(greeting) => format!("{greeting}; {steps}"),
            None => steps.to_owned(),
        };
        Self { greeting: Some(greeting), ..self }
    }

    /// Plays them all, and tells of all that went wrong. Returns what the example said.
    pub(crate) async fn play(self, cases: &[impl AsRef<str>]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let mut process = Process::start(&["-v"]);
        let mut failures = Vec::new();
        for level in self.levels.bytes().map(|digit| digit - b'0') {
            for &clean in self.cleans {
                for case in cases {
                    let case = case.as_ref();
                    let line = format!("{port} {level} {clean} {}", self.command);
                    for line in self.others.iter().chain([&line]) {
                        process.write(line);
                    }
                    let accepting = timeout(PATIENCE, listener.accept());
                    let Ok(accepted) = accepting.await else {
                        panic!("no connection for '{line}', {case}; {failures:#?}");
                    };
                    let (stream, _) = accepted.expect("a connection");
                    stream.set_nodelay(true).expect("a socket");
                    let mut server = Server { stream, setting: Setting { level, clean } };
                    if let Err(what) = server.play(self.greeting.as_deref(), case).await {
                        failures.push(format!("{line}: {case}: {what}"));
                    }
                }
            }
        }
        let log = process.finish();
        assert!(failures.is_empty(), "{failures:#?}\nit said:\n{log}");
        let extra = listener.into_std().expect("a socket").accept();
        assert!(extra.is_err(), "it connected once more than it was told");
        log
    }
}

impl Server {
    async fn play(&mut self, greeting: Option<&str>, case: &str) -> Verdict {
        self.expect(&self.setting.connect()).await.map_err(|what| format!("CONNECT: {what}"))?;
        let steps = greeting.into_iter().chain([case]).flat_map(|steps| steps.split(';'));
        for step in steps.map(str::trim).filter(|step| !step.is_empty()) {
            let played = self.step(step).await.map_err(|what| format!("at '{step}': {what}"));
            if played? {
                return Ok(());
            }
        }
        self.alive().await.map_err(|what| format!("not kept: {what}"))?;
        self.quiet().await
    }

    /// Returns whether the case is over.
    async fn step(&mut self, step: &str) -> Result<bool, String> {
        let (verb, tokens) = step.split_once(char::is_whitespace).unwrap_or((step, ""));
        match verb {
            "S" => self.send(&self.setting.bytes(tokens)).await?,
            "B" => {
                for byte in self.setting.bytes(tokens) {
                    self.send(&[byte]).await?;
                }
            }
            "C" => self.expect(&self.setting.bytes(tokens)).await?,
            "alive" => self.alive().await?,
            "quiet" => return self.quiet().await.map(|()| true),
            "close" => return Ok(true),
            "reset" => return self.reset().map(|()| true),
            "gone" => return self.gone().await.map(|()| true),
            "left" => return self.left().await.map(|()| true),
            "either" => return self.either().await.map(|()| true),
            "end" => return self.ended(tokens).await.map(|()| true),
            _ => panic!("no such step: {step}"),
        }
        Ok(false)
    }

    async fn send(&mut self, bytes: &[u8]) -> Verdict {
        let written = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        written.map_err(|_| "nobody reads".to_owned())?.map_err(|error| error.to_string())
    }

    async fn expect(&mut self, expected: &[u8]) -> Verdict {
        match self.packet().await? {
            Some(packet) if packet == expected => Ok(()),
            Some(packet) => Err(format!("expected {expected:02x?}, got {packet:02x?}")),
            None => Err(format!("expected {expected:02x?}, got the end")),
        }
    }

    async fn alive(&mut self) -> Verdict {
        self.send(&self.setting.bytes("32 { =alive 7777 [ ] '? }")).await?;
        self.expect(&self.setting.bytes("40 { 7777 }")).await
    }

    async fn quiet(&mut self) -> Verdict {
        self.stream.shutdown().await.map_err(|error| error.to_string())?;
        self.over().await
    }

    async fn ended(&mut self, code: &str) -> Verdict {
        if let (5, false) = (self.setting.level, code.is_empty()) {
            let code = u8::from_str_radix(code, 16).expect("a code");
            match self.packet().await?.as_deref() {
                Some([0xe0, _, told, ..]) if *told == code => {}
                other => return Err(format!("expected DISCONNECT, got {other:02x?}")),
            }
        }
        self.over().await
    }

    async fn left(&mut self) -> Verdict {
        while let Some(packet) = self.packet().await? {
            if packet != [0xc0, 0] {
                return Err(format!("expected the end, got {packet:02x?}"));
            }
        }
        Ok(())
    }

    async fn gone(&mut self) -> Verdict {
        while self.packet().await?.is_some() {}
        Ok(())
    }

    /// The connection is aborted, not closed.
    fn reset(&mut self) -> Verdict {
        self.stream.set_zero_linger().map_err(|error| error.to_string())
    }

    async fn either(&mut self) -> Verdict {
        // It may have closed already.
        let _ = self.send(&self.setting.bytes("32 { =alive 7777 [ ] '? }")).await;
        let answer = self.setting.bytes("40 { 7777 }");
        while let Some(packet) = self.packet().await? {
            match packet.first() {
                Some(0xe0) => return self.over().await,
                _ if packet == answer => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn over(&mut self) -> Verdict {
        match self.packet().await? {
            Some(packet) => Err(format!("expected the end, got {packet:02x?}")),
            None => Ok(()),
        }
    }

    /// The next packet of the client, `None` at the end.
    async fn packet(&mut self) -> Result<Option<Vec<u8>>, String> {
        let reading = timeout(PATIENCE, read_packet(&mut self.stream)).await;
        reading.map_err(|_| "nothing comes, and the connection is open".to_owned())
    }
}

async fn read_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    // A client that has not read everything resets the connection when it closes it: an end too.
    let mut packet = vec![stream.read_u8().await.ok()?];
    let (mut len, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        packet.push(byte);
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let head = packet.len();
    packet.resize(head + len, 0);
    stream.read_exact(packet.get_mut(head..)?).await.ok()?;
    Some(packet)
}

impl Setting {
    /// Keep alive 60, no will, no user; limits of ours in 5.0 (receive maximum 1024, topic alias maximum 10).
    fn connect(self) -> Vec<u8> {
        let flags = if self.clean == 0 { "00" } else { "02" };
        let name = if self.level == 3 { "=MQIsdp" } else { "=MQTT" };
        let level = self.level;
        let limits = "[ 21 0400 22 000a ]";
        self.bytes(&format!("10 {{ {name} 0{level} {flags} 003c {limits} =line-driven }}"))
    }

    fn bytes(self, tokens: &str) -> Vec<u8> {
        let mut open: Vec<(&str, Vec<u8>)> = vec![("", Vec::new())];
        for token in tokens.split_whitespace() {
            let Some(token) = self.applies(token) else { continue };
            let mut push =
                |bytes: &[u8]| open.last_mut().expect("one is always open").1.extend(bytes);
            if let Some(text) = token.strip_prefix('=') {
                push(&u16::try_from(text.len()).expect("a short text").to_be_bytes());
                push(text.as_bytes());
            } else if let Some(text) = token.strip_prefix('\'') {
                push(text.as_bytes());
            } else if matches!(token, "{" | "[") {
                open.push((token, Vec::new()));
            } else if matches!(token, "}" | "]") {
                let (kind, inside) = open.pop().expect("an open bracket");
                assert_eq!(kind == "{", token == "}", "{tokens}");
                let outside = &mut open.last_mut().expect("an open bracket").1;
                if kind == "{" || self.level == 5 {
                    outside.extend(var_int(inside.len()));
                    outside.extend(inside);
                }
            } else {
                push(&hex(token));
            }
        }
        assert_eq!(open.len(), 1, "open brackets: {tokens}");
        open.pop().expect("the outermost").1
    }

    /// The token without its levels, if it is for this one.
    fn applies(self, token: &str) -> Option<&str> {
        match token.split_once(':') {
            Some((levels, rest)) if levels.bytes().all(|byte| byte.is_ascii_digit()) => {
                levels.contains(char::from(b'0' + self.level)).then_some(rest)
            }
            _ => Some(token),
        }
    }
}

fn var_int(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

fn hex(token: &str) -> Vec<u8> {
    assert!(token.len().is_multiple_of(2), "{token}");
    let digits = |at| token.get(at..at + 2).expect("two digits");
    (0..token.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits(at), 16).expect("digits"))
        .collect()
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = program();
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut stderr = child.stderr.take().expect("it is piped");
        let (sender, log) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            // The test may have failed before it asks for this.
            let _ = sender.send(text);
        });
        Self { child, log }
    }

    fn write(&mut self, line: &str) {
        self.write_bytes(format!("{line}\n").as_bytes());
    }

    /// Bytes that need not be a line.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().expect("it is piped").write_all(bytes).expect("it reads on");
    }

    pub(crate) fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The end of input; returns what it printed.
    pub(crate) fn finish(&mut self) -> String {
        self.end_input();
        let log = self.log.recv_timeout(PATIENCE).expect("it ends with its input");
        let status = self.child.wait().expect("a child");
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example. `cargo test` builds it with the tests of the package, but not if it is told to build this one only.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("tests stand in deps");
    let name = format!("line_driven_client{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(program.exists(), "first: cargo build -p postrider --example line_driven_client");
    program
}
