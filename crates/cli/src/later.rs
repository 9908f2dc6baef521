//! Options of Mosquitto's clients that there are no means for yet: each is refused by its name, none is passed over.

use anyhow::bail;

use crate::{args::LaterArgs, status::Usage};

impl LaterArgs {
    /// # Errors
    /// [`Usage`] names the first such option.
    pub(crate) fn refuse(&self) -> anyhow::Result<()> {
        let tls = "TLS is not offered yet; it comes with a later version";
        let psk = "TLS with pre-shared keys is not offered; TLS with certificates comes with a later version";
        let given = [
            ("--cafile", self.cafile.is_some(), tls),
            ("--capath", self.capath.is_some(), tls),
            ("--cert", self.cert.is_some(), tls),
            ("--key", self.key.is_some(), tls),
            ("--keyform", self.keyform.is_some(), tls),
            ("--ciphers", self.ciphers.is_some(), tls),
            ("--tls-version", self.tls_version.is_some(), tls),
            ("--tls-alpn", self.tls_alpn.is_some(), tls),
            ("--tls-engine", self.tls_engine.is_some(), tls),
            ("--tls-engine-kpass-sha1", self.tls_engine_kpass_sha1.is_some(), tls),
            ("--tls-use-os-certs", self.tls_use_os_certs, tls),
            ("--insecure", self.insecure, tls),
            ("--psk", self.psk.is_some(), psk),
            ("--psk-identity", self.psk_identity.is_some(), psk),
            ("--tls-keylog", self.tls_keylog.is_some(), tls),
            ("--ws", self.ws, "WebSocket is not offered yet; it comes with a later version"),
            ("--mptcp", self.mptcp, "multipath TCP is not offered"),
            (
                "-S",
                self.srv,
                "SRV records are not looked up; name the broker with --host and --port",
            ),
            (
                "-o",
                self.options_file.is_some(),
                "files of options are not read; there are variables of the environment",
            ),
            ("--proxy", self.proxy.is_some(), "proxies are not offered yet"),
        ];
        match given.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((option, _, why)) => bail!(Usage(format!("{option}: {why}"))),
            None => Ok(()),
        }
    }
}
