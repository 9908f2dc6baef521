//! One raw connection of a play.

use std::time::Duration;

use bytes::BytesMut;
use postrider_net::{Address, DialError, Stream, dial};
use postrider_wire::{
    Ack, ClientId, Connect, DecodeError, Decoder, DecoderConfig, EncodeError, Event, Filter,
    PACKET_SIZE_MAX, Packet, PacketId, Properties, Property, Publish, QoS, ReasonCode, Subscribe,
    SubscribeFilter, SubscribeOptions, Text, Topic, Version, encode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// The broker did something else than it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Surprise {
    /// No connection at all.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Another packet came.
    #[error("expected {expected}, got {got}")]
    Packet {
        /// One-line form of what was expected.
        expected: String,
        /// One-line form of what came.
        got: String,
    },
    /// The connection ended.
    #[error("expected {0}, but the connection was closed")]
    Closed(String),
    /// The connection did not end.
    #[error("expected the connection to be closed, but it stayed open for {0} s")]
    Open(u64),
    /// Nothing came.
    #[error("expected {expected}, but nothing came for {seconds} s")]
    Silence {
        /// One-line form of what was expected.
        expected: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Bytes that are no packet came.
    #[error("what came is no packet: {0}")]
    Decode(#[from] DecodeError),
    /// The play asks for a packet that cannot be written, or names that are not valid.
    #[error("the play is wrong: {0}")]
    Play(String),
}

impl From<EncodeError> for Surprise {
    fn from(error: EncodeError) -> Self {
        Self::Play(error.to_string())
    }
}

/// One raw connection.
pub(crate) struct Actor {
    stream: Stream,
    decoder: Decoder,
    input: BytesMut,
    version: Version,
}

impl Actor {
    pub(crate) async fn open(address: &Address, version: Version) -> Result<Self, Surprise> {
        let stream = dial(&address.endpoint, PATIENCE).await?;
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        let decoder = Decoder::new(config, Some(version));
        Ok(Self { stream, decoder, input: BytesMut::new(), version })
    }

    /// A broker may close while we still write; what it said first is read afterwards, so errors do not matter here.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn send(&mut self, packet: &Packet) -> Result<(), Surprise> {
        let mut bytes = Vec::new();
        encode(packet, self.version, PACKET_SIZE_MAX, &mut bytes)?;
        self.send_bytes(&bytes).await;
        Ok(())
    }

    pub(crate) async fn connect(
        &mut self,
        address: &Address,
        client_id: &str,
        is_resuming: bool,
    ) -> Result<(), Surprise> {
        let mut properties = Properties::new();
        if is_resuming && self.version.has_properties() {
            properties.push(Property::SessionExpiryInterval(600));
        }
        let text = |text: &str| Text::new(text).map_err(|error| play(&error));
        let connect = Connect {
            version: self.version,
            clean_start: !is_resuming,
            keep_alive: 60,
            client_id: ClientId::new(client_id).map_err(|error| play(&error))?,
            user_name: address.credentials.user.as_deref().map(text).transpose()?,
            password: address.credentials.password.clone().map(Into::into),
            will: None,
            properties,
        };
        self.send(&Packet::Connect(Box::new(connect))).await
    }

    /// Carries out a whole exchange; the broker may say that nobody is there to receive it.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        qos: QoS,
        retain: bool,
        payload: &str,
    ) -> Result<(), Surprise> {
        let packet_id = if qos > QoS::AtMostOnce { PacketId::new(7) } else { None };
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic: Some(Topic::new(topic).map_err(|error| play(&error))?),
            packet_id,
            properties: Properties::new(),
            payload: payload.to_owned().into(),
        };
        self.send(&Packet::Publish(publish)).await?;
        match (qos, packet_id) {
            (QoS::AtLeastOnce, Some(_)) => self.expect_either("PUBACK id=7").await,
            (QoS::ExactlyOnce, Some(packet_id)) => {
                self.expect_either("PUBREC id=7").await?;
                let (reason, properties) = (ReasonCode::Success, Properties::new());
                self.send(&Packet::PubRel(Ack { packet_id, reason, properties })).await?;
                self.expect("PUBCOMP id=7 Success").await
            }
            (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _) => Ok(()),
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<(), Surprise> {
        let filter = Filter::new(filter).map_err(|error| play(&error))?;
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let packet_id = PacketId::new(9).ok_or_else(|| Surprise::Play("9 is no id".into()))?;
        let filters = vec![SubscribeFilter { filter, options }];
        let subscribe = Subscribe { packet_id, properties: Properties::new(), filters };
        self.send(&Packet::Subscribe(subscribe)).await?;
        self.expect(&format!("SUBACK id=9 [{:?}]", ReasonCode::granted(qos))).await
    }

    /// The next packet must have this one-line form; `*` at its end stands for anything.
    pub(crate) async fn expect(&mut self, expected: &str) -> Result<(), Surprise> {
        let Some(packet) = self.next(expected).await? else {
            return Err(Surprise::Closed(expected.to_owned()));
        };
        let got = packet.to_string();
        let is_as_expected = match expected.strip_suffix('*') {
            Some(start) => got.starts_with(start),
            None => got == expected,
        };
        if is_as_expected {
            return Ok(());
        }
        Err(Surprise::Packet { expected: expected.to_owned(), got })
    }

    pub(crate) async fn closed(&mut self) -> Result<(), Surprise> {
        loop {
            match self.next("the end").await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(Surprise::Silence { seconds, .. }) => return Err(Surprise::Open(seconds)),
                Err(other) => return Err(other),
            }
        }
    }

    async fn expect_either(&mut self, start: &str) -> Result<(), Surprise> {
        let expected = format!("{start} Success or NoMatchingSubscribers");
        let got = self.next(&expected).await?.map(|packet| packet.to_string());
        let got = got.ok_or_else(|| Surprise::Closed(expected.clone()))?;
        let ends = [" Success", " NoMatchingSubscribers"];
        if ends.iter().any(|end| got == format!("{start}{end}")) {
            return Ok(());
        }
        Err(Surprise::Packet { expected, got })
    }

    /// The next packet, or `None` at the end of the connection, however it came.
    async fn next(&mut self, expected: &str) -> Result<Option<Packet>, Surprise> {
        loop {
            if let Some(Event::Packet(packet)) = self.decoder.decode(&mut self.input)? {
                return Ok(Some(packet));
            }
            match timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await {
                Ok(Ok(0) | Err(_)) => return Ok(None),
                Ok(Ok(_)) => {}
                Err(_) => {
                    let (expected, seconds) = (expected.to_owned(), PATIENCE.as_secs());
                    return Err(Surprise::Silence { expected, seconds });
                }
            }
        }
    }
}

fn play(error: &dyn std::fmt::Debug) -> Surprise {
    Surprise::Play(format!("{error:?}"))
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
