//! A TCP proxy that reads the packets it passes on.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::{
    board::{Board, Fate},
    flight::{End, Side},
    frames::{Frames, Spoken},
};

/// Where the broker is; it changes when the broker is started again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upstream(Arc<Mutex<Option<SocketAddr>>>);

impl Upstream {
    pub(crate) fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        let address = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        TcpStream::connect(address.ok_or(io::ErrorKind::NotConnected)?)
    }
}

/// Listens for one client until the process ends; returns the port. A connection without a broker is closed at once.
pub(crate) fn open(side: Side, board: Arc<Board>, upstream: Upstream) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::Builder::new().name(format!("proxy {side}")).spawn(move || {
        for client in listener.incoming().flatten() {
            // Whoever is not there now is asked for again by the client.
            let Ok(broker) = upstream.connect() else { continue };
            if let Err(error) = join(side, &board, client, broker) {
                eprintln!("proxy {side}: {error}");
            }
        }
    })?;
    Ok(port)
}

/// Joins a client and a broker until one of them is gone.
fn join(side: Side, board: &Arc<Board>, client: TcpStream, broker: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let spoken = Spoken::default();
    for (writer, from, to) in
        [(End::Client, client.try_clone()?, broker.try_clone()?), (End::Broker, broker, client)]
    {
        let pipe = Pipe { side, writer, from, to, spoken: Arc::clone(&spoken) };
        let board = Arc::clone(board);
        thread::Builder::new().name(format!("pipe {side}")).spawn(move || pipe.run(&board))?;
    }
    Ok(())
}

/// One direction of a connection.
struct Pipe {
    side: Side,
    writer: End,
    from: TcpStream,
    to: TcpStream,
    spoken: Spoken,
}

impl Pipe {
    /// Passes packets on until an end is gone, then closes both.
    fn run(mut self, board: &Board) {
        if let Err(error) = self.pass_all(board)
            && error.kind() == io::ErrorKind::InvalidData
        {
            eprintln!("{} {:?}: {error}", self.side, self.writer);
        }
        for end in [&self.from, &self.to] {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn pass_all(&mut self, board: &Board) -> io::Result<()> {
        let mut frames = Frames::new(self.writer, Arc::clone(&self.spoken));
        while let Some((packet, frame)) = frames.next(&self.from)? {
            match board.pass(self.side, self.writer, &packet) {
                Fate::Forward => self.to.write_all(&frame)?,
                Fate::Cut => return Ok(()),
            }
        }
        Ok(())
    }
}
