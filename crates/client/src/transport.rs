//! What a connection runs on: TLS, WebSocket, proxies.

use postrider_net::{Proxy, Tls, WebSocket};

use crate::Builder;

impl<S> Builder<S> {
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
    /// Default: none, whatever the environment says.
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

    /// Connects from this address or host name of ours. Default: what the system chooses.
    #[must_use]
    pub fn bind(mut self, bind: impl Into<String>) -> Self {
        self.dial.bind = Some(bind.into());
        self
    }
}
