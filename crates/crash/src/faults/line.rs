//! The way from one session to the broker, with every fault that a network can have.
//!
//! ```text
//! client --Pipe--> Line::pass --> broker      a pipe reads a packet and asks for its fate
//!        <-------- Line::pass <--Pipe--
//!                    |   ^
//!            account '   `-- Line::catch, Line::strike: the controller
//! ```

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use postrider_wire::Packet;
use socket2::SockRef;

use super::{handed::Handed, sent::Sent};
use crate::{
    flight::{End, Flights, Side, Stage},
    frames::{Frames, Spoken},
    proxy::Upstream,
};

/// What befalls a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Nothing: what was held goes on.
    None,
    /// Both ends hear FIN.
    Close,
    /// Both ends hear RST; what they had not read may be gone.
    Reset,
    /// So many thousandths of the next packet arrive, then as [`Blow::Reset`].
    Tear(u16),
    /// Nothing arrives any more, and nobody is told. The broker's end is closed at once, or later by itself.
    Mute { is_broker_told: bool },
    /// Nothing arrives until then.
    Stall(Instant),
}

/// What becomes of connections that are made until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// They are closed at once.
    Refuse(Instant),
    /// They are accepted, and nothing arrives.
    Swallow(Instant),
}

/// What the wire tells of a session.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    Publisher(Sent),
    Subscriber(Handed),
}

/// The way of one session.
#[derive(Debug)]
pub(crate) struct Line {
    side: Side,
    upstream: Upstream,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    account: Account,
    flights: Flights,
    /// The newest connection, if there is one.
    newest: Option<Arc<Connection>>,
    connections: u64,
    mood: Mood,
    outage: Option<Outage>,
    /// The stage that an exchange is to be caught in.
    aim: Option<Stage>,
    catch: Catch,
}

/// What the newest connection does with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Passing,
    Tearing(u16),
    Mute,
    Stalled(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Catch {
    Nothing,
    /// A packet that begins the stage waits.
    Held,
    /// It is let go of, lost or not, and with it the connection or not.
    Released {
        is_lost: bool,
        blow: Blow,
    },
}

/// Two sockets, dropped together.
#[derive(Debug)]
struct Connection {
    number: u64,
    client: TcpStream,
    broker: TcpStream,
    /// It ends by RST, or without a word: no FIN.
    is_silent: AtomicBool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Forward,
    Lose,
    /// It arrives, or so many thousandths of it do, and the connection is cut.
    Cut {
        thousandths: u16,
        blow: Blow,
    },
}

impl Line {
    /// Listens until the process ends; returns the line and its port.
    pub(crate) fn open(account: Account, upstream: Upstream) -> io::Result<(Arc<Self>, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let side = match account {
            Account::Publisher(_) => Side::Inbound,
            Account::Subscriber(_) => Side::Outbound,
        };
        let state = State {
            account,
            flights: Flights::default(),
            newest: None,
            connections: 0,
            mood: Mood::Passing,
            outage: None,
            aim: None,
            catch: Catch::Nothing,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let line = Arc::new(Self { side, upstream, state, changed });
        let accepting = Arc::clone(&line);
        thread::Builder::new().name(format!("line {side}")).spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever is not let in, or finds no broker, asks again.
                let _ = accepting.accept(client);
            }
        })?;
        Ok((line, port))
    }

    /// Waits until an exchange comes to a stage, and holds the packet that begins it. Returns whether one did in time.
    pub(crate) fn catch(&self, stage: Stage, patience: Duration) -> bool {
        let mut state = self.lock();
        (state.aim, state.catch) = (Some(stage), Catch::Nothing);
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.catch != Catch::Nothing || left.is_zero() {
                let is_caught = state.catch != Catch::Nothing;
                if !is_caught {
                    state.aim = None;
                }
                return is_caught;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Strikes the newest connection, after a packet that is held for it or instead of it. Returns a stage in which an
    /// exchange was open; `pick` chooses among several.
    pub(crate) fn strike(&self, blow: Blow, is_lost: bool, pick: u64) -> Option<Stage> {
        let mut state = self.lock();
        let open = state.flights.open(&[self.side]);
        let any = pick.checked_rem(open.len() as u64).and_then(|at| open.get(at as usize));
        let is_held = state.catch == Catch::Held;
        let caught = state.aim.take().filter(|_| is_held);
        let hit = caught.or_else(|| any.map(|(_, stage)| *stage));
        // TCP loses nothing unless the connection is lost.
        let is_lost = is_lost && matches!(blow, Blow::Close | Blow::Reset | Blow::Mute { .. });
        match blow {
            Blow::None => (),
            // Whoever waits to write does it himself.
            Blow::Close | Blow::Reset if is_held => (),
            Blow::Close | Blow::Reset => state.cut(blow),
            // A dead connection does not come to life again.
            Blow::Tear(_) | Blow::Stall(_) if state.mood == Mood::Mute => (),
            Blow::Tear(thousandths) => state.mood = Mood::Tearing(thousandths),
            Blow::Mute { is_broker_told } => {
                state.mood = Mood::Mute;
                if let Some(connection) = &state.newest {
                    connection.is_silent.store(true, Ordering::Release);
                    if is_broker_told {
                        // It may be gone already.
                        let _ = connection.broker.shutdown(Shutdown::Both);
                    }
                }
            }
            Blow::Stall(until) => state.mood = Mood::Stalled(until),
        }
        if is_held {
            state.catch = Catch::Released { is_lost, blow };
        }
        self.changed.notify_all();
        hit
    }

    /// What becomes of connections that are made from now on.
    pub(crate) fn set_outage(&self, outage: Option<Outage>) {
        self.lock().outage = outage;
    }

    /// No more faults but those that have begun.
    pub(crate) fn calm(&self) {
        let mut state = self.lock();
        state.outage = None;
        if matches!(state.mood, Mood::Tearing(_)) {
            state.mood = Mood::Passing;
        }
    }

    /// Whether there is a connection that passes packets.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.lock();
        state.newest.is_some()
            && match state.mood {
                Mood::Passing => true,
                Mood::Stalled(until) => until <= Instant::now(),
                Mood::Tearing(_) | Mood::Mute => false,
            }
    }

    /// The account so far.
    pub(crate) fn account(&self) -> Account {
        self.lock().account.clone()
    }

    fn accept(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let outage = self.lock().outage;
        let now = Instant::now();
        let is_refused = matches!(outage, Some(Outage::Refuse(until)) if now < until);
        if is_refused {
            return Ok(());
        }
        let broker = self.upstream.connect()?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let mut state = self.lock();
        state.connections += 1;
        let (number, is_silent) = (state.connections, AtomicBool::new(false));
        let connection = Arc::new(Connection { number, client, broker, is_silent });
        state.newest = Some(Arc::clone(&connection));
        state.mood = Mood::Passing;
        if matches!(outage, Some(Outage::Swallow(until)) if now < until) {
            state.mood = Mood::Mute;
            connection.is_silent.store(true, Ordering::Release);
        }
        match &mut state.account {
            Account::Publisher(sent) => sent.connect(),
            Account::Subscriber(handed) => handed.connect(),
        }
        drop(state);
        self.changed.notify_all();
        let spoken = Spoken::default();
        for writer in [End::Client, End::Broker] {
            let (line, connection) = (Arc::clone(self), Arc::clone(&connection));
            let frames = Frames::new(writer, Arc::clone(&spoken));
            let pipe = thread::Builder::new().name(format!("pipe {}", self.side));
            pipe.spawn(move || line.run(&connection, writer, frames))?;
        }
        Ok(())
    }

    /// Passes packets on until an end is gone.
    fn run(&self, connection: &Connection, writer: End, mut frames: Frames) {
        if let Err(error) = self.pass_all(connection, writer, &mut frames)
            && error.kind() == io::ErrorKind::InvalidData
        {
            eprintln!("{} {writer:?}: {error}", self.side);
        }
        if !connection.is_silent.load(Ordering::Acquire) {
            connection.hang_up(Blow::Close);
        }
        let mut state = self.lock();
        state.newest.take_if(|newest| newest.number == connection.number);
        self.changed.notify_all();
    }

    fn pass_all(
        &self,
        connection: &Connection,
        writer: End,
        frames: &mut Frames,
    ) -> io::Result<()> {
        let (from, mut to) = match writer {
            End::Client => (&connection.client, &connection.broker),
            End::Broker => (&connection.broker, &connection.client),
        };
        while let Some((packet, frame)) = frames.next(from)? {
            match self.pass(connection.number, writer, &packet) {
                Fate::Forward => to.write_all(&frame)?,
                Fate::Lose => (),
                Fate::Cut { thousandths, blow } => {
                    let len = frame.len() * usize::from(thousandths) / 1000;
                    to.write_all(frame.get(..len).unwrap_or(&frame))?;
                    connection.hang_up(blow);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits until the fate of a packet is known.
    fn pass(&self, number: u64, writer: End, packet: &Packet) -> Fate {
        let mut state = self.lock();
        let mut cut = None;
        if state.is_caught(self.side, number, writer, packet) {
            state.catch = Catch::Held;
            self.changed.notify_all();
            loop {
                if let Catch::Released { is_lost, blow } = state.catch {
                    state.catch = Catch::Nothing;
                    cut = matches!(blow, Blow::Close | Blow::Reset)
                        .then_some(Fate::Cut { thousandths: 1000, blow });
                    if is_lost {
                        state.note(self.side, number, writer, packet, false);
                        return cut.map_or(Fate::Lose, |_| Fate::Cut { thousandths: 0, blow });
                    }
                    break;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        while let (true, Mood::Stalled(until)) = (state.is_newest(number), state.mood) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.mood = Mood::Passing;
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let fate = match (state.is_newest(number), state.mood) {
            (true, Mood::Mute) => Fate::Lose,
            (true, Mood::Tearing(thousandths)) => Fate::Cut { thousandths, blow: Blow::Reset },
            (_, Mood::Passing | Mood::Tearing(_) | Mood::Mute | Mood::Stalled(_)) => {
                cut.unwrap_or(Fate::Forward)
            }
        };
        let is_whole = match fate {
            Fate::Forward => true,
            Fate::Lose => false,
            Fate::Cut { thousandths, .. } => thousandths == 1000,
        };
        state.note(self.side, number, writer, packet, is_whole);
        fate
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_newest(&self, number: u64) -> bool {
        self.connections == number
    }

    /// Whether a packet begins the stage that is aimed at.
    fn is_caught(&self, side: Side, number: u64, writer: End, packet: &Packet) -> bool {
        let is_aimed = self.aim.is_some() && self.catch == Catch::Nothing;
        let step = self.flights.step(side, writer, packet);
        is_aimed && self.is_newest(number) && step.is_some_and(|step| step.to == self.aim)
    }

    /// Packets of a connection that the client has given up for another one are not told: it cannot get them any more, and
    /// what it wrote before is older than what is told already.
    fn note(&mut self, side: Side, number: u64, writer: End, packet: &Packet, is_passed: bool) {
        if !self.is_newest(number) {
            return;
        }
        match &mut self.account {
            Account::Publisher(sent) => sent.note(writer, packet, is_passed),
            Account::Subscriber(handed) => handed.note(writer, packet, is_passed),
        }
        if let Packet::ConnAck(connack) = packet
            && !connack.session_present
            && !connack.reason.is_error()
        {
            self.flights.clear(side);
        }
        if let Some(step) = self.flights.step(side, writer, packet)
            && is_passed
        {
            self.flights.apply(step);
        }
    }

    fn cut(&mut self, blow: Blow) {
        if let Some(connection) = self.newest.take() {
            connection.hang_up(blow);
        }
    }
}

impl Connection {
    /// Ends both ends, by FIN or by RST.
    fn hang_up(&self, blow: Blow) {
        let is_reset = blow == Blow::Reset;
        if is_reset {
            self.is_silent.store(true, Ordering::Release);
        }
        for end in [&self.client, &self.broker] {
            // Any of these may be closed already. The pipes stop reading, and the last one to let go of the socket closes
            // it: with a linger of zero by RST.
            if is_reset {
                let _ = SockRef::from(end).set_linger(Some(Duration::ZERO));
                let _ = end.shutdown(Shutdown::Read);
            } else {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use postrider_wire::{ClientId, Connect, Properties, Version, encode};

    use super::*;
    use crate::faults::{message::Name, script::publish};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A line with a client and a broker that have exchanged a CONNECT.
    struct Ends {
        line: Arc<Line>,
        listener: TcpListener,
        port: u16,
    }

    impl Ends {
        fn open() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let upstream = Upstream::default();
            upstream.set(listener.local_addr().unwrap());
            let (line, port) = Line::open(Account::Publisher(Sent::default()), upstream).unwrap();
            Self { line, listener, port }
        }

        fn connect(&self) -> (TcpStream, TcpStream) {
            let mut client = self.dial();
            let (mut broker, _) = self.listener.accept().unwrap();
            broker.set_read_timeout(Some(PATIENCE)).unwrap();
            let frame = frame(&connect());
            client.write_all(&frame).unwrap();
            let mut found = vec![0; frame.len()];
            broker.read_exact(&mut found).unwrap();
            assert_eq!(found, frame);
            (client, broker)
        }

        fn dial(&self) -> TcpStream {
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
        }

        fn knows(&self, number: u32) -> bool {
            let Account::Publisher(sent) = self.line.account() else { unreachable!() };
            sent.messages.contains_key(&Name { publisher: 0, qos: 1, number })
        }
    }

    fn connect() -> Packet {
        Packet::Connect(Box::new(Connect {
            version: Version::V311,
            clean_start: true,
            keep_alive: 0,
            client_id: ClientId::new("faults-0").unwrap(),
            user_name: None,
            password: None,
            will: None,
            properties: Properties::new(),
        }))
    }

    fn frame(packet: &Packet) -> Vec<u8> {
        let mut frame = Vec::new();
        encode(packet, Version::V311, u32::MAX, &mut frame).unwrap();
        frame
    }

    /// All that comes, and how it ended.
    fn rest(stream: &mut TcpStream) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut found = Vec::new();
        let end = stream.read_to_end(&mut found);
        (found, end.err().map(|error| error.kind()))
    }

    #[test]
    fn a_caught_packet_waits_and_arrives_or_is_lost() {
        let ends = Ends::open();
        for (number, is_lost) in [(1, false), (2, true)] {
            let (mut client, mut broker) = ends.connect();
            let frame = frame(&publish(1, 7, number, false));
            thread::scope(|scope| {
                let caught = scope.spawn(|| ends.line.catch(Stage::Ack, PATIENCE));
                while ends.line.lock().aim.is_none() {
                    thread::yield_now();
                }
                client.write_all(&frame).unwrap();
                assert!(caught.join().unwrap());
            });
            assert_eq!(ends.line.strike(Blow::Close, is_lost, 0), Some(Stage::Ack));
            assert_eq!(rest(&mut broker), (if is_lost { Vec::new() } else { frame }, None));
            assert_eq!(rest(&mut client), (Vec::new(), None));
            assert!(ends.knows(number), "the client sent it");
        }
    }

    #[test]
    fn a_reset_is_heard_at_both_ends() {
        let ends = Ends::open();
        let (mut client, mut broker) = ends.connect();
        assert_eq!(ends.line.strike(Blow::Reset, false, 0), None);
        for end in [&mut client, &mut broker] {
            assert_eq!(rest(end), (Vec::new(), Some(io::ErrorKind::ConnectionReset)));
        }
    }

    #[test]
    fn a_torn_packet_arrives_in_part() {
        let ends = Ends::open();
        let (mut client, mut broker) = ends.connect();
        ends.line.strike(Blow::Tear(500), false, 0);
        let frame = frame(&publish(1, 7, 1, false));
        client.write_all(&frame).unwrap();
        let (found, end) = rest(&mut broker);
        assert_eq!(found, frame[..frame.len() / 2]);
        assert_eq!(end, Some(io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn a_dead_connection_passes_nothing_until_another_one_is_made() {
        let ends = Ends::open();
        let (mut client, mut broker) = ends.connect();
        ends.line.strike(Blow::Mute { is_broker_told: true }, false, 0);
        assert_eq!(rest(&mut broker), (Vec::new(), None));
        client.write_all(&frame(&publish(1, 7, 1, false))).unwrap();
        while !ends.knows(1) {
            thread::yield_now();
        }
        assert!(!ends.line.is_open());
        let _both = ends.connect();
        assert!(ends.line.is_open());
    }

    #[test]
    fn nobody_is_let_in_for_a_while() {
        let ends = Ends::open();
        ends.line.set_outage(Some(Outage::Refuse(Instant::now() + 2 * PATIENCE)));
        assert!(rest(&mut ends.dial()).0.is_empty());
        ends.line.set_outage(None);
        ends.connect();
    }
}
