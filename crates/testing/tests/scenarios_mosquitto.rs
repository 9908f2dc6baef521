//! The scenario list against Mosquitto, one process a test, each with a directory and a port of its own.
//!
//! Without Mosquitto nothing is run; that is a failure only if `POSTRIDER_REQUIRE_MOSQUITTO` is 1 or `POSTRIDER_LANE` is
//! `mosquitto`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod support;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use postrider::Protocol;
use tempfile::TempDir;

use self::support::{Server, habits::Habits};

/// A Mosquitto process; it ends with this value.
struct Mosquitto {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

/// Ports are found free and used a moment later; tests take turns so that no two find the same.
static STARTING: Mutex<()> = Mutex::new(());

impl Server for Mosquitto {
    fn title(&self) -> String {
        static VERSION: OnceLock<String> = OnceLock::new();
        let version = VERSION.get_or_init(|| {
            let help = Command::new(&self.program).arg("-h").output().expect("the program runs");
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            let mut words = help.split_whitespace();
            words.find(|word| *word == "version");
            words.next().unwrap_or("of unknown version").to_owned()
        });
        format!("Mosquitto {version}")
    }

    fn habits(&self, _: Protocol) -> Habits {
        // 2.0.11 just closes.
        Habits { says_taken_over: false, ..Habits::default() }
    }

    fn start(user: Option<(&str, &str)>) -> Option<Self> {
        let Some(program) = find("mosquitto") else {
            println!("not run: mosquitto is not installed");
            assert!(!is_required(), "mosquitto is required and not installed");
            return None;
        };
        let _turn = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let port = port.expect("a free port").port();
        let mut server = Self { program, directory, port, process: None };
        server.configure(user);
        server.run();
        Some(server)
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("our own process");
            process.wait().expect("our own process");
        }
    }

    fn restart(&mut self) {
        self.kill();
        self.run();
    }
}

impl Mosquitto {
    fn configure(&self, user: Option<(&str, &str)>) {
        let directory = self.directory.path();
        let mut config = format!(
            "listener {} 127.0.0.1\nmax_queued_messages 0\npersistence true\n\
             persistence_location {}/\nuser root\nlog_dest stderr\nlog_type all\n",
            self.port,
            directory.display(),
        );
        match user {
            None => config.push_str("allow_anonymous true\n"),
            Some((name, password)) => {
                let passwords = directory.join("passwords");
                let program = find("mosquitto_passwd").expect("it comes with the broker");
                let mut command = Command::new(program);
                command.args(["-b", "-c"]).arg(&passwords).args([name, password]);
                assert!(command.status().expect("it runs").success());
                config.push_str("allow_anonymous false\n");
                config.push_str(&format!("password_file {}\n", passwords.display()));
            }
        }
        fs::write(directory.join("mosquitto.conf"), config).expect("our own directory");
    }

    /// Starts the process and waits until it says that it runs.
    fn run(&mut self) {
        let mut process = Command::new(&self.program)
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program runs");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
        self.process = Some(process);
        let mut said = String::new();
        while !said.contains(" running") {
            let count = log.read_line(&mut said).expect("a log");
            assert!(count > 0, "mosquitto ended: {said}");
        }
        // Its log must not fill the pipe.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program in the path, or where Debian has servers.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), "/usr/bin".into()]);
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

fn is_required() -> bool {
    env::var_os("POSTRIDER_REQUIRE_MOSQUITTO").is_some_and(|value| value == "1")
        || env::var_os("POSTRIDER_LANE").is_some_and(|lane| lane == "mosquitto")
}

all_scenarios!(super::Mosquitto);
