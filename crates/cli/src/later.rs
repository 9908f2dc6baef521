//! Options of Mosquitto's clients that there are no means for: each is refused by its name, none is passed over.

use anyhow::bail;

use crate::{args::LaterArgs, status::Usage};

impl LaterArgs {
    /// # Errors
    /// [`Usage`] names the first such option.
    pub(crate) fn refuse(&self) -> anyhow::Result<()> {
        let psk = "pre-shared keys are not offered; use certificates, or --pin";
        let engine = "keys in hardware are not offered; give the file of the key with --key";
        let given = [
            (
                "--ciphers",
                self.ciphers.is_some(),
                "ciphers are not chosen; all that are offered are safe",
            ),
            ("--tls-engine", self.tls_engine.is_some(), engine),
            ("--tls-engine-kpass-sha1", self.tls_engine_kpass_sha1.is_some(), engine),
            ("--psk", self.psk.is_some(), psk),
            ("--psk-identity", self.psk_identity.is_some(), psk),
            ("--tls-keylog", self.tls_keylog.is_some(), "the keys of connections are not told"),
            ("--mptcp", self.mptcp, "multipath TCP is not offered"),
            (
                "-o",
                self.options_file.is_some(),
                "files of options are not read; there are variables of the environment",
            ),
        ];
        match given.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((option, _, why)) => bail!(Usage(format!("{option}: {why}"))),
            None => Ok(()),
        }
    }
}
