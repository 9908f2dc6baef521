//! What came of a case, written down for the matrix of `docs/interop.md`.

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use postrider::Protocol;

use super::Face;

/// What a broker could not do in a case, as expected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits(Arc<Mutex<Vec<&'static str>>>);

/// A case that runs; it ends with this value.
pub(crate) struct Report {
    pub(crate) broker: String,
    pub(crate) scenario: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) face: Face,
    pub(crate) limits: Limits,
}

impl Limits {
    /// Notes a limit that was met.
    pub(crate) fn met(&self, what: &'static str) {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !limits.contains(&what) {
            limits.push(what);
        }
    }
}

impl Drop for Report {
    /// Appends one line to the file that `POSTRIDER_INTEROP` names: broker, scenario, version, face, result, limits.
    fn drop(&mut self) {
        let Some(path) = env::var_os("POSTRIDER_INTEROP") else { return };
        let result = if thread::panicking() { "failed" } else { "ok" };
        let limits = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner).join("; ");
        let Self { broker, scenario, protocol, face, .. } = self;
        let line = format!("{broker}\t{scenario}\t{protocol:?}\t{face:?}\t{result}\t{limits}\n");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
            println!("{}: {error}", path.display());
        }
    }
}
