//! The options for TLS, WebSocket and proxies, made into those of the client.

use std::{fs, io, path::Path};

use anyhow::{Context, bail};
use postrider::{Builder, Pin, Proxy, ProxyRules, Srv, Tls, TlsVersion, WebSocket};
use postrider_check::Dial;

use crate::{args::TransportArgs, names::Manner, status::Usage};

impl TransportArgs {
    /// Whether an option asks for TLS.
    pub(crate) fn is_tls(&self) -> bool {
        let paths = [&self.cafile, &self.capath, &self.crlfile, &self.cert, &self.pkcs12];
        paths.into_iter().any(Option::is_some)
            || self.tls_use_os_certs
            || self.insecure
            || self.tls_version.is_some()
            || self.servername.is_some()
            || !self.tls_alpn.is_empty()
            || !self.pin.is_empty()
    }

    /// Whether any option was given.
    pub(crate) fn is_given(&self) -> bool {
        let texts = [&self.proxy, &self.noproxy, &self.ws_path, &self.keypass, &self.keyform];
        self.is_tls()
            || self.srv
            || self.key.is_some()
            || self.keypass_file.is_some()
            || !self.ws_header.is_empty()
            || texts.into_iter().any(Option::is_some)
    }

    /// The option that only a WebSocket has, if one was given.
    pub(crate) fn of_websocket(&self) -> Option<&'static str> {
        match (&self.ws_path, self.ws_header.is_empty()) {
            (Some(_), _) => Some("--ws-path"),
            (None, false) => Some("--ws-header"),
            (None, true) => None,
        }
    }

    /// The scheme for --host and --port.
    pub(crate) fn scheme(&self, is_websocket: bool) -> &'static str {
        match (is_websocket, self.is_tls()) {
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        }
    }

    /// A URL, made one with TLS if an option asks for it. Its port stays, also where it is not written: as Mosquitto's.
    pub(crate) fn secured(&self, url: &str) -> String {
        let Some((scheme, rest)) = url.split_once("://").filter(|_| self.is_tls()) else {
            return url.to_owned();
        };
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let end = host.rsplit_once(']').map_or(host, |(_, end)| end);
        match (scheme.to_ascii_lowercase().as_str(), end.contains(':')) {
            ("mqtt" | "tcp", true) => format!("mqtts://{rest}"),
            ("mqtt" | "tcp", false) => format!("mqtts://{rest}:1883"),
            ("ws", _) => format!("wss://{rest}"),
            _ => url.to_owned(),
        }
    }

    /// How to dial. Mosquitto's programs do not look at the environment for proxies.
    ///
    /// # Errors
    /// Names the option that cannot be used.
    pub(crate) fn dial(&self, manner: Manner) -> anyhow::Result<Dial> {
        if let Some(form) = self.keyform.as_deref().filter(|form| *form != "pem") {
            bail!(Usage(format!("--keyform {form}: keys are read from files: pem")));
        }
        let proxy = self.proxy.as_ref().map(|proxy| proxy.parse::<Proxy>()).transpose();
        let proxy = proxy.map_err(|error| Usage(format!("--proxy: {error}")))?;
        let is_looked_up = proxy.is_none() && manner == Manner::Postrider;
        Ok(Dial {
            tls: self.tls()?,
            websocket: self.websocket()?,
            proxy,
            proxies: if is_looked_up { Some(self.proxies()?) } else { None },
            srv: self.srv.then(Srv::new),
            ..Dial::default()
        })
    }

    fn proxies(&self) -> anyhow::Result<ProxyRules> {
        let rules = ProxyRules::from_environment().map_err(|error| Usage(error.to_string()))?;
        Ok(match &self.noproxy {
            Some(hosts) => rules.except(hosts),
            None => rules,
        })
    }

    fn tls(&self) -> anyhow::Result<Tls> {
        let mut tls = Tls::new();
        if let Some(path) = &self.cafile {
            tls = tls.ca_file(path);
        }
        if let Some(path) = &self.capath {
            tls = tls.ca_folder(path);
        }
        if let Some(path) = &self.crlfile {
            tls = tls.crl_file(path);
        }
        if self.tls_use_os_certs {
            tls = tls.system_roots();
        }
        match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => tls = tls.client_certificate(certificate, key),
            (Some(_), None) => bail!(Usage("--cert needs a --key <PATH>".to_owned())),
            (None, Some(_)) => bail!(Usage("--key needs a --cert <PATH>".to_owned())),
            (None, None) => {}
        }
        if let Some(path) = &self.pkcs12 {
            tls = tls.client_pkcs12(path);
        }
        if let Some(password) = self.key_password()? {
            tls = tls.key_password(password);
        }
        if let Some(version) = &self.tls_version {
            let version: TlsVersion =
                version.parse().map_err(|error| Usage(format!("--tls-version: {error}")))?;
            tls = tls.version_min(version);
        }
        if let Some(name) = &self.servername {
            tls = tls.server_name(name);
        }
        for pin in &self.pin {
            let pin: Pin = pin.parse().map_err(|error| Usage(format!("--pin: {error}")))?;
            tls = tls.pin(pin);
        }
        if self.insecure {
            tls = tls.danger_accept_any_certificate();
        }
        Ok(tls.alpn(self.tls_alpn.iter().map(String::as_bytes)))
    }

    fn key_password(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.keypass_file else { return Ok(self.keypass.clone()) };
        let line =
            first_line(path).with_context(|| format!("--keypass-file '{}'", path.display()))?;
        let text = String::from_utf8(line)
            .with_context(|| format!("--keypass-file '{}' is not UTF-8", path.display()))?;
        Ok(Some(text))
    }

    fn websocket(&self) -> anyhow::Result<WebSocket> {
        let mut websocket = WebSocket::new();
        if let Some(path) = &self.ws_path {
            if !path.starts_with('/') {
                bail!(Usage(format!("--ws-path: '{path}' must begin with '/'")));
            }
            websocket = websocket.path(path);
        }
        for header in &self.ws_header {
            let Some((name, value)) = header.split_once(':') else {
                bail!(Usage("--ws-header: write 'Name: value'".to_owned()));
            };
            websocket = websocket.header(name.trim(), value.trim());
        }
        Ok(websocket)
    }
}

/// A builder that dials so.
pub(crate) fn dialing(mut builder: Builder, how: Dial) -> Builder {
    let Dial { tls, websocket, proxy, proxies, srv, .. } = how;
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy);
    }
    if let Some(proxies) = proxies {
        builder = builder.proxies(proxies);
    }
    if let Some(srv) = srv {
        builder = builder.srv(srv);
    }
    builder.tls(tls).websocket(websocket)
}

/// The first line of a file with a secret.
pub(crate) fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let text = fs::read(path)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is empty"));
    }
    Ok(line.to_vec())
}
