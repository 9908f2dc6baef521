//! A broker that plays scripts.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use postrider_broker::wire::Packet;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{Script, ScriptError, play::Play};

/// A listener on a free loopback port that plays one script per connection, in the order of connections. A connection
/// for which no script is left is closed at once. The broker stops when it is dropped.
///
/// It runs on a thread of its own, so it works for async and for blocking programs. The methods that wait are async;
/// a blocking test may use them with any runtime, or with [`ScriptedBroker::finish_blocking`].
#[derive(Debug)]
pub struct ScriptedBroker {
    url: String,
    stage: Stage,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A packet that came from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number of the connection, from 1.
    pub connection: usize,
    /// The packet.
    pub packet: Packet,
}

/// What test and plays share.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    released: HashSet<String>,
    /// Scripts that were played to their last step.
    finished: usize,
    scripts: usize,
    failure: Option<ScriptError>,
}

impl ScriptedBroker {
    /// Starts it with a script for each connection.
    ///
    /// # Errors
    /// [`ScriptError::System`].
    pub fn start(scripts: impl IntoIterator<Item = Script>) -> Result<Self, ScriptError> {
        let scripts: VecDeque<Script> = scripts.into_iter().collect();
        let state = State { scripts: scripts.len(), ..State::default() };
        let stage = Stage { state: Arc::new(watch::Sender::new(state)) };
        let (stop, stopped) = oneshot::channel();
        let (started, reports) = mpsc::sync_channel(1);
        let played = stage.clone();
        let thread = thread::Builder::new().name("scripted-broker".to_owned());
        let thread = thread.spawn(move || run(scripts, played, stopped, &started));
        // Built before the thread reports, so that it is joined in any case.
        let mut this = Self {
            url: String::new(),
            stage,
            stop: Some(stop),
            thread: Some(thread.map_err(|error| system(&error))?),
        };
        let port = reports.recv().unwrap_or_else(|error| Err(system(&error)))?;
        this.url = format!("mqtt://127.0.0.1:{port}");
        Ok(this)
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What came so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.stage.state.borrow().received.clone()
    }

    /// Lets scripts go on that wait for this name, now or later.
    pub fn release(&self, name: impl Into<String>) {
        let name = name.into();
        self.stage.state.send_modify(|state| {
            state.released.insert(name);
        });
    }

    /// Waits until what came satisfies a condition; returns it.
    ///
    /// # Errors
    /// The first way in which the play differed from a script, or [`ScriptError::TimedOut`] after 10 s.
    pub async fn wait_for(
        &self,
        mut condition: impl FnMut(&[Received]) -> bool,
    ) -> Result<Vec<Received>, ScriptError> {
        let what = "what was waited for has not come";
        self.wait(what, |state| condition(&state.received)).await?;
        Ok(self.received())
    }

    /// Waits until all scripts were played to their last step; returns what came.
    ///
    /// # Errors
    /// As [`ScriptedBroker::wait_for`].
    pub async fn finish(self) -> Result<Vec<Received>, ScriptError> {
        self.wait("not all scripts were played", |state| state.finished == state.scripts).await?;
        Ok(self.received())
    }

    /// [`ScriptedBroker::finish`] for a test without async runtime.
    ///
    /// # Errors
    /// As [`ScriptedBroker::wait_for`].
    pub fn finish_blocking(self) -> Result<Vec<Received>, ScriptError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.map_err(|error| system(&error))?.block_on(self.finish())
    }

    async fn wait(
        &self,
        what: &str,
        mut condition: impl FnMut(&State) -> bool,
    ) -> Result<(), ScriptError> {
        let mut state = self.stage.state.subscribe();
        let done = state.wait_for(|state| state.failure.is_some() || condition(state));
        let outcome = timeout(WAIT_MAX, done).await;
        // The sender lives as long as `self`, so there is always a state to look at.
        if let Some(failure) = &self.stage.state.borrow().failure {
            return Err(failure.clone());
        }
        outcome.map(drop).map_err(|_| ScriptError::TimedOut(what.to_owned()))
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there; a second one here would hide the test's own.
            let _ = thread.join();
        }
    }
}

impl Stage {
    pub(crate) fn note(&self, connection: usize, packet: Packet) {
        self.state.send_modify(|state| state.received.push(Received { connection, packet }));
    }

    pub(crate) fn finished(&self) {
        self.state.send_modify(|state| state.finished += 1);
    }

    /// Keeps the first failure.
    pub(crate) fn fail(&self, failure: ScriptError) {
        self.state.send_modify(|state| {
            state.failure.get_or_insert(failure);
        });
    }

    pub(crate) async fn released(&self, name: &str) {
        let mut state = self.state.subscribe();
        // An error would mean that the test has gone; then the thread is stopped anyway.
        let _ = state.wait_for(|state| state.released.contains(name)).await;
    }
}

/// The thread: accepts and plays until it is stopped.
fn run(
    scripts: VecDeque<Script>,
    stage: Stage,
    stopped: oneshot::Receiver<()>,
    started: &mpsc::SyncSender<Result<u16, ScriptError>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(system(&error)))),
    };
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        match bound {
            Ok((port, listener)) => {
                // The starter waits for it.
                let _ = started.send(Ok(port));
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, scripts, &stage) => {}
                }
            }
            Err(error) => drop(started.send(Err(system(&error)))),
        }
    });
}

async fn accept(listener: TcpListener, mut scripts: VecDeque<Script>, stage: &Stage) {
    let mut connection = 0;
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => return stage.fail(system(&error)),
        };
        connection += 1;
        // Without a script for it the connection is closed at once, as by a broker that is about to end.
        if let Some(script) = scripts.pop_front() {
            tokio::spawn(Play::new(connection, socket, stage.clone()).run(script));
        }
    }
}

fn system(error: &dyn std::error::Error) -> ScriptError {
    ScriptError::System(error.to_string())
}

/// How long a wait may take; the message of [`ScriptError::TimedOut`] names it.
const WAIT_MAX: Duration = Duration::from_secs(10);
