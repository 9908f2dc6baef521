//! A TCP connection that can be cut: libraries have no verb for a crash.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// Carries the bytes of one connection between a client and the broker until it is cut.
#[derive(Debug)]
pub struct Line {
    /// Where the client has to connect, on the loopback.
    pub port: u16,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    /// Waits, on a thread of its own, for one client of the broker at `port`.
    pub fn to(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let line = Self { port: listener.local_addr()?.port(), ends: Arc::default() };
        let ends = Arc::clone(&line.ends);
        thread::spawn(move || carry(&listener, port, &ends));
        Ok(line)
    }

    /// Ends the connection on both sides, without a DISCONNECT.
    pub fn cut(&self) {
        for end in self.ends.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // An end that is closed already is as good.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn carry(listener: &TcpListener, port: u16, ends: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let (client, _) = listener.accept()?;
    let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    for end in [&client, &broker] {
        end.set_nodelay(true)?;
        ends.lock().unwrap_or_else(PoisonError::into_inner).push(end.try_clone()?);
    }
    let (mut from_broker, mut to_client) = (broker.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut from_broker, &mut to_client);
        to_client.shutdown(Shutdown::Write).and(copied)
    });
    let (mut from_client, mut to_broker) = (client, broker);
    let copied = io::copy(&mut from_client, &mut to_broker);
    // A line that was cut has nothing to shut down any more.
    let _ = to_broker.shutdown(Shutdown::Write);
    let _ = back.join();
    copied.map(|_| ())
}
