//! The process of a broker: started by its script with the first case, ended with this program.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::foreign::USER;

/// Where the one process of a broker is.
pub(crate) struct Place {
    /// Its script in `tests/brokers`, without the ending.
    pub(crate) name: &'static str,
    version: OnceLock<Result<String, String>>,
    process: RwLock<Option<Process>>,
}

/// A case's right to use the process.
pub(crate) enum Visit {
    /// With others.
    Shared(RwLockReadGuard<'static, Option<Process>>),
    /// With nobody else; it may be killed.
    Alone(&'static Place, RwLockWriteGuard<'static, Option<Process>>),
}

/// A broker that runs.
pub(crate) struct Process {
    port: u16,
    /// The script's, for what it needs to know.
    directory: String,
    /// Sessions and retained messages, which outlive a crash.
    data: PathBuf,
    /// Ends the broker when this program is gone, however it ends.
    keeper: Child,
}

impl Place {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, version: OnceLock::new(), process: RwLock::new(None) }
    }

    /// Which version is installed, or why none is.
    pub(crate) fn version(&self) -> &Result<String, String> {
        self.version.get_or_init(|| {
            let output = Command::new(self.script()).arg("version").output().expect("a script");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            if output.status.success() {
                Ok(text(&output.stdout))
            } else {
                Err(text(&output.stderr))
            }
        })
    }

    /// Uses the process together with other cases; starts it if it does not run.
    pub(crate) fn visit(&'static self) -> Visit {
        loop {
            let process = self.process.read().unwrap_or_else(PoisonError::into_inner);
            if process.is_some() {
                return Visit::Shared(process);
            }
            drop(process);
            drop(self.visit_alone());
        }
    }

    /// Waits until no other case uses the process; starts it if it does not run.
    pub(crate) fn visit_alone(&'static self) -> Visit {
        let mut process = self.process.write().unwrap_or_else(PoisonError::into_inner);
        if process.is_none() {
            let data = tempfile::tempdir().expect("a directory").keep();
            *process = Some(self.start(None, data));
        }
        Visit::Alone(self, process)
    }

    fn start(&self, port: Option<u16>, data: PathBuf) -> Process {
        let mut command = Command::new(self.script());
        command.args(["start", "--user", USER.0, "--password", USER.1, "--data"]).arg(&data);
        if let Some(port) = port {
            command.args(["--port", &port.to_string()]);
        }
        let output = command.output().expect("a script");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line = String::from_utf8(output.stdout).expect("text");
        let field = |name: &str| {
            let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
            words.find(|(found, _)| *found == name).expect("port=N pid=N dir=DIR").1
        };
        let directory = field("dir").to_owned();
        let keeper = Command::new("bash")
            .args(["-c", "read -r _; \"$0\" stop \"$1\"; rm -rf \"$2\""])
            .args([self.script(), PathBuf::from(&directory), data.clone()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("bash");
        Process { port: field("port").parse().expect("a port"), directory, data, keeper }
    }

    fn script(&self) -> PathBuf {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/brokers");
        PathBuf::from(root).join(format!("{}.sh", self.name))
    }
}

impl Visit {
    pub(crate) fn port(&self) -> u16 {
        let process = match self {
            Self::Shared(process) => process.as_ref(),
            Self::Alone(_, process) => process.as_ref(),
        };
        process.expect("it runs").port
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&mut self) {
        let Self::Alone(place, process) = self else { panic!("others use it") };
        let process = process.as_mut().expect("it runs");
        process.keeper.kill().expect("our own process");
        process.keeper.wait().expect("our own process");
        let killed = Command::new(place.script()).arg("kill").arg(&process.directory).status();
        assert!(killed.expect("a script").success());
    }

    /// Starts it again after a kill, where it was and with what it kept.
    pub(crate) fn restart(&mut self) {
        let Self::Alone(place, process) = self else { panic!("others use it") };
        let before = process.take().expect("it ran");
        **process = Some(place.start(Some(before.port), before.data));
    }
}
