//! A client of any library, with verbs that wait for their answers.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use crate::{inbox::Inbox, lane::Case, line::Line, message::Message, paho, rumqttc_3, rumqttc_5};

/// A library at one version of MQTT.
pub struct Library {
    /// As cases are named.
    pub name: &'static str,
    /// The protocol level: 3, 4 or 5.
    pub level: u8,
    connect: Connect,
}

/// Connects as the setup says to a port of the loopback.
type Connect = fn(&Setup, u16, Arc<Inbox>) -> Result<Box<dyn Client>>;

/// All of them.
pub const LIBRARIES: [&Library; 5] = [
    &Library { name: "rumqttc 3.1.1", level: 4, connect: rumqttc_3::connect },
    &Library { name: "rumqttc 5.0", level: 5, connect: rumqttc_5::connect },
    &Library { name: "paho-mqtt 3.1", level: 3, connect: paho::connect },
    &Library { name: "paho-mqtt 3.1.1", level: 4, connect: paho::connect },
    &Library { name: "paho-mqtt 5.0", level: 5, connect: paho::connect },
];

/// Whether messages have properties.
pub const fn has_properties(library: &Library) -> bool {
    library.level == 5
}

/// How a client connects.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// 3, 4 or 5.
    pub level: u8,
    /// The client id.
    pub id: String,
    /// Whether an earlier session is taken up, and this one kept.
    pub keeps_session: bool,
    /// 5.0: overrides how long a session is kept, in seconds.
    pub expiry: Option<u32>,
    /// Sent when the connection breaks.
    pub will: Option<Message>,
}

/// What a library has to do; it reports to its [`Inbox`].
pub trait Client: Send {
    /// Sends a SUBSCRIBE; its code comes to `granted`.
    fn subscribe(&self, filter: &str, qos: u8, id: Option<u32>) -> Result<()>;
    /// Sends an UNSUBSCRIBE; its answer counts as `unsubscribed`.
    fn unsubscribe(&self, filter: &str) -> Result<()>;
    /// Publishes; the end of the exchange counts as `completed`, but for QoS 0.
    fn publish(&self, message: &Message) -> Result<()>;
    /// Sends a DISCONNECT.
    fn disconnect(&self) -> Result<()>;
}

/// A connected client.
pub struct Peer<'a> {
    case: &'a Case,
    client: Box<dyn Client>,
    inbox: Arc<Inbox>,
    line: Option<Line>,
}

impl<'a> Peer<'a> {
    /// Connects a client with a session of its own.
    pub fn new(case: &'a Case, library: &Library) -> Result<Self> {
        Self::with(case, library, Setup { id: case.name(), ..Setup::default() })
    }

    /// Connects as the setup says, and waits for the CONNACK.
    pub fn with(case: &'a Case, library: &Library, setup: Setup) -> Result<Self> {
        Self::at(case, library, setup, case.port, None)
    }

    /// The same over a line that can be cut.
    pub fn over_line(case: &'a Case, library: &Library, setup: Setup) -> Result<Self> {
        let line = Line::to(case.port)?;
        let port = line.port;
        Self::at(case, library, setup, port, Some(line))
    }

    fn at(
        case: &'a Case,
        library: &Library,
        setup: Setup,
        port: u16,
        line: Option<Line>,
    ) -> Result<Self> {
        let inbox = Arc::new(Inbox::default());
        let setup = Setup { level: library.level, ..setup };
        let client = (library.connect)(&setup, port, Arc::clone(&inbox))?;
        inbox.answer("CONNACK", |state| state.resumed)?;
        Ok(Self { case, client, inbox, line })
    }

    /// Whether the broker had a session; 3.1 does not say.
    pub fn resumed(&self) -> Result<bool> {
        self.inbox.answer("CONNACK", |state| state.resumed)
    }

    /// The client id that the broker assigned.
    pub fn assigned_id(&self) -> Result<String> {
        self.inbox.answer("an assigned client id", |state| state.assigned_id.clone())
    }

    /// Subscribes and waits for the SUBACK.
    pub fn subscribe(&self, filter: &str, qos: u8) -> Result<()> {
        self.subscribe_with(filter, qos, None)
    }

    /// The same with a subscription identifier.
    pub fn subscribe_with(&self, filter: &str, qos: u8, id: Option<u32>) -> Result<()> {
        self.client.subscribe(filter, qos, id)?;
        let granted = self.inbox.answer("SUBACK", |state| state.granted.pop_front())?;
        ensure!(granted == qos, "{filter}: QoS {granted} was granted instead of {qos}");
        Ok(())
    }

    /// Unsubscribes and waits for the UNSUBACK.
    pub fn unsubscribe(&self, filter: &str) -> Result<()> {
        let before = self.inbox.until("the state", |state| Some(state.unsubscribed))?;
        self.client.unsubscribe(filter)?;
        self.inbox.answer("UNSUBACK", |state| (state.unsubscribed > before).then_some(()))
    }

    /// Publishes and waits until the exchange is complete.
    pub fn publish(&self, message: &Message) -> Result<()> {
        self.publish_all(std::slice::from_ref(message))
    }

    /// Publishes all without waiting in between.
    pub fn publish_all(&self, messages: &[Message]) -> Result<()> {
        let before = self.inbox.until("the state", |state| Some(state.completed))?;
        messages.iter().try_for_each(|message| self.client.publish(message))?;
        let wanted = before + messages.iter().filter(|message| message.qos > 0).count();
        self.inbox
            .answer("the end of PUBLISH", |state| (state.completed >= wanted).then_some(()))
            .with_context(|| format!("{} messages", messages.len()))
    }

    /// Waits for `count` messages in all, and returns what there is.
    pub fn receive(&self, count: usize) -> Result<Vec<Message>> {
        self.inbox.until(&format!("{count} messages"), |state| {
            (state.messages.len() >= count).then(|| state.messages.clone())
        })
    }

    /// All messages that came before one that `publisher` publishes now.
    pub fn fenced(&self, publisher: &Peer<'_>) -> Result<Vec<Message>> {
        let mark = self.case.topic(&format!("fence/{}", self.case.name()));
        self.subscribe(&mark, 2)?;
        publisher.publish(&Message::new(&mark, "fence", 2))?;
        self.inbox.until("the fence", |state| {
            let came = state.messages.iter().any(|message| message.topic == mark);
            let kept = state.messages.iter().filter(|message| !message.topic.contains("/fence/"));
            came.then(|| kept.cloned().collect())
        })
    }

    /// Sends a DISCONNECT and waits for the end of the connection.
    pub fn disconnect(self) -> Result<()> {
        self.client.disconnect()?;
        self.inbox.until("the end of the connection", |state| state.ended.clone()).map(|_| ())
    }

    /// Cuts the line, as a crash would.
    pub fn cut(self) -> Result<()> {
        let Some(line) = &self.line else { bail!("a peer that is cut needs a line") };
        line.cut();
        self.inbox.until("the end of the connection", |state| state.ended.clone()).map(|_| ())
    }

    /// Waits until the connection is over.
    pub fn ended(&self) -> Result<String> {
        self.inbox.until("the end of the connection", |state| state.ended.clone())
    }
}
