//! Which broker: the options made into a URL.

use std::{env, net::Ipv6Addr};

use anyhow::{Context, bail};
use postrider_broker::Address;

use crate::{
    args::{AddressArgs, TransportArgs},
    status::Usage,
};

impl AddressArgs {
    /// The URL: what was given, or the default.
    ///
    /// # Errors
    /// [`Usage`] names the option that cannot be used.
    pub(crate) fn url(&self, transport: &TransportArgs) -> anyhow::Result<String> {
        if let Some(url) = &self.url {
            return Ok(transport.secured(url));
        }
        if let Some(path) = &self.unix {
            let path = std::path::absolute(path).context("--unix")?;
            return Ok(format!("unix:{}", path.display()));
        }
        let scheme = transport.scheme(self.ws);
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        let host = match &self.host {
            Some(host) => {
                bracketed(host).map_err(|error| Usage(format!("--host '{host}': {error}")))?
            }
            None => "127.0.0.1".to_owned(),
        };
        Ok(format!("{scheme}://{host}{port}"))
    }

    /// The same for `check` and `bench`, where no option but the URL has a variable.
    ///
    /// # Errors
    /// Names the option or the variable that cannot be used, as [`Usage`] if it is an option.
    pub(crate) fn address(&self, transport: &TransportArgs) -> anyhow::Result<Address> {
        let is_given = self.host.is_some()
            || self.port.is_some()
            || self.url.is_some()
            || self.unix.is_some()
            || self.ws;
        let variable = env::var(VARIABLE).ok().filter(|url| !is_given && !url.is_empty());
        match variable {
            Some(url) => Address::parse(&transport.secured(&url)).context(VARIABLE),
            None => {
                let option = if self.url.is_some() { "--url" } else { "--host" };
                let parsed = Address::parse(&self.url(transport)?);
                parsed.map_err(|error| Usage(format!("{option}: {error}")).into())
            }
        }
    }
}

/// A host as it stands in a URL: an IPv6 address in brackets.
pub(crate) fn bracketed(host: &str) -> anyhow::Result<String> {
    if host.is_empty() {
        bail!("the name is empty");
    }
    if host.contains("//") || host.starts_with("unix:") {
        bail!("this is a URL: give it with --url");
    }
    if host.contains(['/', '@', '?', '#', '%', ' ']) {
        bail!("not a host name or address");
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{host}]"));
    }
    if host.contains(':') && !host.starts_with('[') {
        bail!("not a host name or address; the port has an option of its own, --port");
    }
    Ok(host.to_owned())
}

const VARIABLE: &str = "POSTRIDER_URL";
