//! A client that a test suite for clients can drive, one line per connection.
//!
//! For each line `PORT LEVEL CLEAN [COMMAND]` on standard input it connects to 127.0.0.1:PORT with protocol level LEVEL
//! (3, 4 or 5) and clean session or clean start CLEAN (0 or 1), carries out COMMAND once the server has accepted, and
//! goes on reading and answering until the connection is over, for whatever reason. Then it reads the next line. A server
//! has 10 s to accept. At the end of input it exits with 0. A line that is not one of these is told on standard error and
//! skipped; with the argument `-v` it tells how each connection ended, too (somebody has to read that).
//!
//! Commands: `publish-0`, `publish-1`, `publish-2` (topic `test/publish`, payload `message`), `subscribe-0`,
//! `subscribe-1`, `subscribe-2`, `unsubscribe` (topic filter `test/subscribe`).
//!
//! Try it: `echo "1883 5 1 publish-2" | cargo run --example line_driven_client -- -v` beside `postrider broker`; end it with
//! Ctrl-C, since this broker does not end the connection.
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    fmt::Display,
    io::{self, BufRead, Write},
    str::FromStr,
    time::Duration,
};

use postrider::{Event, Protocol, QoS, ReasonCode, Session};

/// A server that does not answer must not hold up the lines behind for long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    port: u16,
    protocol: Protocol,
    is_clean: bool,
    command: Option<Command>,
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Publish(QoS),
    Subscribe(QoS),
    Unsubscribe,
}

impl FromStr for Line {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let wrong = |what: &str| format!("'{line}': {what}; expected PORT LEVEL CLEAN [COMMAND]");
        let (&[port, level, clean], rest) =
            words.split_first_chunk().ok_or_else(|| wrong("too short"))?;
        let command = match rest {
            [] => None,
            ["publish-0"] => Some(Command::Publish(QoS::AtMostOnce)),
            ["publish-1"] => Some(Command::Publish(QoS::AtLeastOnce)),
            ["publish-2"] => Some(Command::Publish(QoS::ExactlyOnce)),
            ["subscribe-0"] => Some(Command::Subscribe(QoS::AtMostOnce)),
            ["subscribe-1"] => Some(Command::Subscribe(QoS::AtLeastOnce)),
            ["subscribe-2"] => Some(Command::Subscribe(QoS::ExactlyOnce)),
            ["unsubscribe"] => Some(Command::Unsubscribe),
            _ => return Err(wrong("no such command")),
        };
        let protocol = match level {
            "3" => Protocol::V31,
            "4" => Protocol::V311,
            "5" => Protocol::V5,
            _ => return Err(wrong("LEVEL is 3, 4 or 5")),
        };
        let is_clean = match clean {
            "0" => false,
            "1" => true,
            _ => return Err(wrong("CLEAN is 0 or 1")),
        };
        let port = port.parse().map_err(|_| wrong("PORT is a number up to 65535"))?;
        Ok(Self { port, protocol, is_clean, command })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_verbose = env::args().any(|argument| argument == "-v");
    for bytes in io::stdin().lock().split(b'\n') {
        // What is no text is no line of ours either, and told as such.
        let text = String::from_utf8_lossy(&bytes?).trim().to_owned();
        if text.is_empty() {
            continue;
        }
        match text.parse() {
            Ok(line) => {
                let end = run(&line).await;
                if is_verbose {
                    tell(&text, end);
                }
            }
            Err(wrong) => tell(&text, wrong),
        }
    }
    Ok(())
}

/// A log that nobody takes ends nothing.
fn tell(line: &str, what: impl Display) {
    let _ = writeln!(io::stderr(), "{line}: {what}");
}

/// One connection from its beginning to its end; says how it ended.
async fn run(line: &Line) -> String {
    let url = format!("mqtt://127.0.0.1:{}", line.port);
    // In 3.x a session without an expiry is a clean one; in 5.0 the two are told apart.
    let expiry =
        if line.is_clean || line.protocol == Protocol::V5 { Duration::ZERO } else { Duration::MAX };
    let connected = Session::builder(url, "line-driven")
        .version(line.protocol)
        .clean_start(line.is_clean)
        .session_expiry(expiry)
        .keep_alive(Duration::from_secs(60))
        .connect_timeout(CONNECT_TIMEOUT)
        .reconnect(false)
        .connect()
        .await;
    let session = match connected {
        Ok(session) => session,
        Err(error) => return error.to_string(),
    };
    let is_present = session.connected().is_some_and(|connected| connected.session_present);
    if is_present && line.protocol == Protocol::V5 {
        // No line knows of a session before it. Spec: v5 [MQTT-3.2.2-4]; 3.1.1 leaves it to the client.
        let farewell = session.disconnect_with().reason(ReasonCode::ProtocolError);
        let _ = farewell.flush(Duration::ZERO).await;
        return "the server has a session that is not known here".to_owned();
    }
    let mut events = session.events();
    let over = async {
        loop {
            match events.next().await {
                Some(Event::Over(end)) => return end.to_string(),
                Some(_) => {}
                None => return "over".to_owned(),
            }
        }
    };
    let mut failure = String::new();
    let work = async {
        if let Err(error) = carry_out(&session, line.command.as_ref()).await {
            failure = format!("{error}; ");
        }
        // The connection goes on, whatever became of the command.
        std::future::pending::<()>().await;
    };
    let mut others = session.unmatched();
    let reading = async {
        while others.next().await.is_some() {}
        std::future::pending::<()>().await;
    };
    let end = tokio::select! {
        end = over => end,
        () = work => unreachable!("it waits for ever"),
        () = reading => unreachable!("it waits for ever"),
    };
    failure + &end
}

async fn carry_out(session: &Session, command: Option<&Command>) -> Result<(), Box<dyn Error>> {
    match command {
        None => {}
        Some(Command::Publish(qos)) => {
            session.publish("test/publish", "message").qos(*qos).await?;
        }
        Some(Command::Subscribe(qos)) => {
            let mut messages = session.subscribe("test/subscribe", *qos).await?;
            while messages.next().await.is_some() {}
        }
        Some(Command::Unsubscribe) => session.unsubscribe("test/subscribe").await?,
    }
    Ok(())
}
