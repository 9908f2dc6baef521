//! The bar of a large message, seen on a terminal only.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::Duration,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::{Program, command};

#[test]
fn a_large_message_has_a_bar_on_a_terminal() {
    let mut peer = Peer::start();
    let (mut terminal, program) = peer.publish(&[]);
    peer.greet();
    // It has taken some of it, and does not read on before the bar says so.
    let mut shown = String::new();
    while !(shown.contains("publishing") && shown.contains(" of 32.00 MB")) {
        let mut piece = [0; 256];
        let len = terminal.read(&mut piece).unwrap();
        assert!(len > 0, "{shown}");
        shown.push_str(&String::from_utf8_lossy(&piece[..len]));
    }
    peer.read_to_end();
    program.end().check_out(&[]);
}

#[test]
fn quiet_has_no_bar() {
    let mut peer = Peer::start();
    let (terminal, program) = peer.publish(&["--quiet"]);
    peer.greet();
    peer.read_to_end();
    program.end().check_out(&[]);
    assert_eq!(rest(terminal), "");
}

/// A broker that reads when it is told to.
struct Peer {
    listener: TcpListener,
    socket: Option<TcpStream>,
    folder: tempfile::TempDir,
}

impl Peer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("large"), vec![7; SIZE]).unwrap();
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), socket: None, folder }
    }

    /// Starts to publish a large file, with standard error on a terminal.
    fn publish(&self, options: &[&str]) -> (File, Program) {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let name = Path::new(OsStr::from_bytes(name.to_bytes()));
        let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let port = self.listener.local_addr().unwrap().port().to_string();
        let path = self.folder.path().join("large");
        let line = ["pub", "-p", &port, "-V", "311", "-t", "a", "-f", path.to_str().unwrap()];
        let mut command = command(&[&line, options].concat());
        command.env("TERM", "xterm");
        (File::from(controller), Program::spawn_with_errors(&mut command, terminal.into()))
    }

    /// Takes the connection and accepts it.
    fn greet(&mut self) {
        let (mut socket, _) = self.listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = [0; 2];
        socket.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x10);
        socket.read_exact(&mut vec![0; head[1].into()]).unwrap();
        socket.write_all(&[0x20, 2, 0, 0]).unwrap();
        self.socket = Some(socket);
    }

    fn read_to_end(&mut self) {
        let mut all = Vec::new();
        self.socket.take().unwrap().read_to_end(&mut all).unwrap();
        assert!(all.len() > SIZE, "{}", all.len());
    }
}

/// What was written to a terminal that nobody has open any more.
fn rest(mut terminal: File) -> String {
    let mut bytes = Vec::new();
    // Linux ends it with an error.
    let _ = terminal.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// More than sockets hold.
const SIZE: usize = 32_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
