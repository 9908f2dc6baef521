//! A real broker for a test.

use postrider_broker::{Broker, Builder, Endpoint, StartError};

/// A broker in this process, on a loopback port that was free. It stops when it is dropped.
///
/// None of its methods needs an async runtime; those that stop the broker wait a bounded time.
#[derive(Debug)]
pub struct TestBroker {
    settings: Builder,
    broker: Option<Broker>,
    port: u16,
    url: String,
}

impl TestBroker {
    /// Starts a broker that lets everybody in.
    ///
    /// # Errors
    /// [`StartError`] if the system refuses a port or a thread.
    pub fn start() -> Result<Self, StartError> {
        Self::start_with(Broker::builder())
    }

    /// Starts a broker with these settings; the loopback port is added to their listeners.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_with(settings: Builder) -> Result<Self, StartError> {
        let mut this = Self { settings, broker: None, port: 0, url: String::new() };
        this.run()?;
        Ok(this)
    }

    /// Where to connect, such as `mqtt://127.0.0.1:40123`; stays the same for the life of this value.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The broker; `None` while it is stopped.
    #[must_use]
    pub fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref()
    }

    /// Stops the broker as an administrator would: clients are told goodbye. Nobody answers at the port afterwards.
    pub fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.shut_down();
        }
    }

    /// Ends the broker as a crash would: connections just end, and what was not written is lost.
    pub fn kill(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.kill();
        }
    }

    /// Starts the broker again on the same port; stops it first if it runs. It remembers nothing.
    ///
    /// # Errors
    /// [`StartError`], also if another program took the port meanwhile.
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.stop();
        self.run()
    }

    fn run(&mut self) -> Result<(), StartError> {
        let settings = self.settings.clone().listen(format!("tcp://127.0.0.1:{}", self.port));
        let broker = settings.start()?;
        // Ours was given last.
        if let Some(Endpoint::Tcp { port, .. }) = broker.endpoints().last() {
            self.port = *port;
            self.url = format!("mqtt://127.0.0.1:{port}");
        }
        self.broker = Some(broker);
        Ok(())
    }
}
