//! A way to the broker that can be made to end in the middle of a message.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// Relays connections to a broker that may move.
pub(crate) struct Proxy {
    pub(crate) url: String,
    target: Arc<Mutex<String>>,
    /// To the broker, and back.
    pub(crate) up: Arc<Gate>,
    pub(crate) down: Arc<Gate>,
}

/// Lets so many bytes through in one direction, of all connections together.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// `None`: all.
    left: Option<usize>,
    /// Somebody waits.
    is_shut: bool,
}

impl Proxy {
    pub(crate) fn new(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            url: format!("mqtt://{}", listener.local_addr().unwrap()),
            target: Arc::new(Mutex::new(target.to_owned())),
            up: Arc::default(),
            down: Arc::default(),
        };
        let (target, up, down) = (proxy.target.clone(), proxy.up.clone(), proxy.down.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let place = target.lock().unwrap().clone();
                // Without a broker the client is hung up.
                let Ok(broker) = TcpStream::connect(place) else { continue };
                relay(&client, &broker, &up);
                relay(&broker, &client, &down);
            }
        });
        proxy
    }

    pub(crate) fn redirect(&self, target: &str) {
        target.clone_into(&mut self.target.lock().unwrap());
    }
}

fn relay(from: &TcpStream, to: &TcpStream, gate: &Arc<Gate>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let gate = Arc::clone(gate);
    thread::spawn(move || {
        let mut piece = [0; 1 << 14];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            gate.pass(count);
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        // Either may be gone already.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

impl Gate {
    /// From now on `bytes` more, about.
    pub(crate) fn limit(&self, bytes: usize) {
        self.state.lock().unwrap().left = Some(bytes);
    }

    /// Waits until somebody wants to send more than that.
    pub(crate) fn wait_until_shut(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.is_shut {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Lets everything through.
    pub(crate) fn open(&self) {
        *self.state.lock().unwrap() = State::default();
        self.changed.notify_all();
    }

    fn pass(&self, count: usize) {
        let mut state = self.state.lock().unwrap();
        while let Some(left) = state.left {
            if left >= count {
                state.left = Some(left - count);
                return;
            }
            state.is_shut = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap();
        }
    }
}
