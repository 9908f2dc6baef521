//! Where to connect, and what a connection runs on: TLS, WebSocket, proxies.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use postrider_net::{Proxy, ProxyRules, Stream, Tls, WebSocket};

use crate::{
    Builder,
    connector::{Attempt, Connector},
};

/// In which order servers are tried. The session lives where the connection was, so that server is tried first when the
/// connection is lost; then the one behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerPolicy {
    /// In the order of the list.
    #[default]
    InOrder,
    /// In another order for each session, by chance.
    Random,
    /// In the order of the list, but each session of this process begins one further.
    RoundRobin,
}

/// Servers beside that of the builder's URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers {
    others: Vec<String>,
    policy: ServerPolicy,
}

impl Servers {
    /// All servers in the order in which they are tried; `seed` is chance.
    pub(crate) fn listed(&self, first: &str, seed: u64) -> Vec<String> {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let mut all: Vec<String> =
            [first.to_owned()].into_iter().chain(self.others.clone()).collect();
        match self.policy {
            ServerPolicy::InOrder => {}
            ServerPolicy::Random => shuffle(&mut all, seed),
            ServerPolicy::RoundRobin => {
                let turn = TURN.fetch_add(1, Ordering::Relaxed) % all.len();
                all.rotate_left(turn);
            }
        }
        all
    }
}

/// Fisher and Yates, on the digits of one number: enough for the few servers that there are.
fn shuffle(all: &mut [String], mut chance: u64) {
    for last in (1..all.len()).rev() {
        let choices = last as u64 + 1;
        all.swap(last, usize::try_from(chance % choices).unwrap_or_default());
        chance = chance.rotate_right(17) ^ (chance / choices);
    }
}

impl<S> Builder<S> {
    /// More servers, as URLs, beside that with which the builder was made: replicas of one broker, which share its sessions,
    /// or else a session begins anew where it finds none. User name and password may stand in any of the URLs; the first
    /// are taken for all.
    ///
    /// A first attempt gives each its share of the connect timeout. A server that sends us on to another one (5.0) is
    /// followed, three times in a row at most.
    ///
    /// ```
    /// use postrider::{ServerPolicy, Session};
    ///
    /// let builder = Session::builder("mqtt://a.example", "press-7")
    ///     .servers(["mqtt://b.example", "mqtt://c.example"], ServerPolicy::Random);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn servers<U: Into<String>>(
        mut self,
        others: impl IntoIterator<Item = U>,
        policy: ServerPolicy,
    ) -> Self {
        let others = others.into_iter().map(Into::into).collect();
        self.servers = Servers { others, policy };
        self
    }

    /// How to make connections secure, for URLs that begin with `mqtts://` (also `ssl://`, `tls://`) or `wss://`. Default:
    /// the system's authorities, no certificate of ours.
    ///
    /// Files are read at each attempt to connect: a renewed certificate needs no restart. What cannot be had with it:
    /// pre-shared keys, and versions below 1.2.
    ///
    /// ```
    /// use postrider::{Session, Tls};
    ///
    /// let tls = Tls::new()
    ///     .ca_file("plant-ca.pem")
    ///     .client_certificate("press-7.pem", "press-7.key");
    /// let builder = Session::builder("mqtts://broker.example", "press-7").tls(tls);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.dial.tls = tls;
        self
    }

    /// What to ask for when a WebSocket is opened, for URLs that begin with `ws://` or `wss://`. Default: the path of the
    /// URL, or `/mqtt`; sub-protocol `mqtt`; no headers of one's own.
    #[must_use]
    pub fn websocket(mut self, websocket: WebSocket) -> Self {
        self.dial.websocket = websocket;
        self
    }

    /// Connects through a proxy, which also looks the host's name up; TLS and WebSocket are spoken with the host behind it.
    /// Default: none, whatever the environment says; see [`Builder::proxies`].
    ///
    /// ```
    /// use postrider::{Proxy, ProxyUrlError, Session};
    ///
    /// let proxy: Proxy = "socks5h://ann:secret@gateway.example:1080".parse()?;
    /// let builder = Session::builder("mqtts://broker.example", "press-7").proxy(proxy);
    /// # let _ = builder;
    /// # Ok::<(), ProxyUrlError>(())
    /// ```
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.dial.proxy = Some(proxy);
        self
    }

    /// Connects through the proxies that the environment names, for each server its own, unless [`Builder::proxy`] names one.
    ///
    /// ```
    /// use postrider::{ProxyRules, ProxyVariableError, Session};
    ///
    /// let proxies = ProxyRules::from_environment()?;
    /// let builder = Session::builder("wss://broker.example", "press-7").proxies(proxies);
    /// # let _ = builder;
    /// # Ok::<(), ProxyVariableError>(())
    /// ```
    #[must_use]
    pub fn proxies(mut self, proxies: ProxyRules) -> Self {
        self.dial.proxies = Some(proxies);
        self
    }

    /// Opens the byte stream in another way than the URL says, for in-process brokers and transports of one's own.
    ///
    /// It is called for each attempt. [`Attempt::open`] does what would be done without it, TLS, WebSocket and proxy
    /// included, for a connector that only adds to that. An error that it returns is told as
    /// [`crate::LinkReason::Unreachable`], in its own words.
    ///
    /// ```
    /// use postrider::{Session, Stream};
    ///
    /// let builder = Session::builder("mqtt://in-process", "press-7").connector(|_attempt| async {
    ///     let (ours, _theirs) = tokio::io::duplex(64 * 1024);
    ///     Ok(Stream::new(ours))
    /// });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn connector<F, Opened>(mut self, open: F) -> Self
    where
        F: Fn(Attempt) -> Opened + Send + Sync + 'static,
        Opened: Future<Output = io::Result<Stream>> + Send + 'static,
    {
        self.connector = Some(Connector::new(open));
        self
    }

    /// Takes the host of a URL for a domain, and looks its brokers up by DNS SRV records, at each attempt: `_mqtt._tcp`, and
    /// `_secure-mqtt._tcp` for TLS, whose certificate must be for the domain.
    #[cfg(feature = "srv")]
    #[must_use]
    pub fn srv(mut self, srv: postrider_net::Srv) -> Self {
        self.dial.srv = Some(srv);
        self
    }

    /// Connects from this address or host name of ours. Default: what the system chooses.
    #[must_use]
    pub fn bind(mut self, bind: impl Into<String>) -> Self {
        self.dial.bind = Some(bind.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn servers(policy: ServerPolicy) -> Servers {
        Servers { others: vec!["b".to_owned(), "c".to_owned()], policy }
    }

    #[test]
    fn servers_come_in_the_order_of_their_policy() {
        assert_eq!(servers(ServerPolicy::InOrder).listed("a", 7), ["a", "b", "c"]);
        let turns = || servers(ServerPolicy::RoundRobin).listed("a", 7).swap_remove(0);
        let first = turns();
        let later: BTreeSet<String> = [first, turns(), turns()].into();
        assert_eq!(later.len(), 3);
        let orders: BTreeSet<Vec<String>> = (0..1000_u64)
            .map(|seed| seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .map(|seed| servers(ServerPolicy::Random).listed("a", seed))
            .collect();
        assert_eq!(orders.len(), 6);
    }
}
