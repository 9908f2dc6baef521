//! A cursor over the body of one packet that knows how to complain.

use bytes::{Buf, Bytes};

use crate::{
    ClientId, DecodeError, Fault, Filter, FilterError, PacketId, PacketType, Properties, Property,
    PropertyKind, REMAINING_LENGTH_MAX, ReasonCode, Text, TextError, Topic, TopicError, Version,
    packet::Place,
    statement::{self, Statement},
};

/// The unread rest of a packet body. Every field it hands out shares the bytes of the packet.
pub(crate) struct Reader {
    rest: Bytes,
    /// Offset of the first unread byte from the first byte of the packet.
    at: u32,
    packet: PacketType,
    version: Version,
}

impl Reader {
    pub(super) fn new(rest: Bytes, at: u32, packet: PacketType, version: Version) -> Self {
        Self { rest, at, packet, version }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a variable byte integer: 0 to 268,435,455, in the shortest form. Spec: v5
    /// [MQTT-1.5.5-1].
    pub(crate) fn var_int(&mut self) -> Result<u32, DecodeError> {
        match VarInt::read(&self.rest) {
            VarInt::Value { value, used, is_padded: false } => {
                self.skip(used);
                Ok(value)
            }
            VarInt::Incomplete => Err(self.truncated(self.at)),
            VarInt::Value { .. } | VarInt::TooLong => {
                Err(self.malformed(self.at, Fault::VarInt, statement::VAR_INT))
            }
        }
    }

    /// Reads two length bytes and that many bytes.
    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let start = self.at;
        let len = usize::from(self.u16()?);
        if len > self.rest.len() {
            return Err(self.truncated(start));
        }
        Ok(self.take(len))
    }

    pub(crate) fn text(&mut self) -> Result<Text, DecodeError> {
        let bytes = self.binary()?;
        let start = self.at - len_u32(bytes.len());
        Text::from_bytes(bytes).map_err(|error| self.bad_text(start, error))
    }

    /// Reads a byte that is 0 or 1 as the value of property `id`.
    pub(crate) fn flag(&mut self, id: u8) -> Result<bool, DecodeError> {
        let start = self.at;
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.protocol_error(start, Fault::PropertyValue(id), statement::GENERAL)),
        }
    }

    pub(super) fn client_id(&mut self) -> Result<ClientId, DecodeError> {
        self.text().map(ClientId::from_text)
    }

    /// Reads a topic name that is not empty. `wildcard` is the rule that one with a wildcard
    /// breaks.
    pub(super) fn topic(&mut self, wildcard: Statement) -> Result<Topic, DecodeError> {
        let bytes = self.binary()?;
        let start = self.at - len_u32(bytes.len());
        Topic::from_bytes(bytes).map_err(|error| self.bad_topic(start, error, wildcard))
    }

    /// Reads the topic name of a PUBLISH, `None` if its length is zero.
    pub(super) fn publish_topic(&mut self, is_lenient: bool) -> Result<Option<Topic>, DecodeError> {
        let bytes = self.binary()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let start = self.at - len_u32(bytes.len());
        let topic =
            if is_lenient { Topic::from_bytes_lenient(bytes) } else { Topic::from_bytes(bytes) };
        topic.map(Some).map_err(|error| self.bad_topic(start, error, statement::PUBLISH_WILDCARD))
    }

    pub(super) fn filter(&mut self) -> Result<Filter, DecodeError> {
        let bytes = self.binary()?;
        let start = self.at - len_u32(bytes.len());
        // A clone costs a reference count; the bytes are needed again to tell what is wrong.
        Filter::from_bytes(bytes.clone()).map_err(|error| self.bad_filter(start, &bytes, error))
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let start = self.at;
        let id = self.u16()?;
        PacketId::new(id).ok_or_else(|| {
            self.malformed(start, Fault::PacketId, Statement::packet_id(self.packet))
        })
    }

    /// Reads a reason code that this packet may have.
    pub(super) fn reason(&mut self) -> Result<ReasonCode, DecodeError> {
        let start = self.at;
        let byte = self.byte()?;
        match ReasonCode::from_byte(byte) {
            Some(code) if code.may_stand_in(self.packet) => Ok(code),
            known => Err(self.bad_reason(start, byte, known.is_some())),
        }
    }

    /// Reads the properties of the packet, or of the will inside it.
    pub(super) fn properties(&mut self, place: Place) -> Result<Properties, DecodeError> {
        // Most packets have none.
        if self.rest.first() == Some(&0) {
            self.skip(1);
            return Ok(Properties::new());
        }
        let start = self.at;
        let len = self.var_int()? as usize;
        if len > self.rest.len() {
            return Err(self.truncated(start));
        }
        let at = self.at;
        let mut section = Self { rest: self.take(len), at, ..*self };
        section.all_properties(place)
    }

    fn all_properties(&mut self, place: Place) -> Result<Properties, DecodeError> {
        let start = self.at;
        let mut properties = Properties::new();
        let mut seen: u64 = 0;
        while !self.rest.is_empty() {
            let at = self.at;
            let id = self.var_int()?;
            let kind = u8::try_from(id).ok().and_then(PropertyKind::from_byte);
            let Some(kind) = kind.filter(|kind| kind.fits(place)) else {
                return Err(self.malformed(at, Fault::UnknownProperty(id), statement::GENERAL));
            };
            if seen & kind.bit() != 0 && !kind.may_repeat(place) {
                let fault = Fault::RepeatedProperty(kind.byte());
                return Err(self.protocol_error(at, fault, statement::GENERAL));
            }
            seen |= kind.bit();
            let value_at = self.at;
            let property = Property::read(kind, self)?;
            property.check().map_err(|(reason, rule)| {
                let fault = Fault::PropertyValue(kind.byte());
                self.fault(value_at, fault, rule, reason)
            })?;
            properties.push(property);
        }
        if properties.authentication_data().is_some()
            && properties.authentication_method().is_none()
        {
            return Err(self.missing_method(start));
        }
        Ok(properties)
    }

    /// Ends the packet: no byte may be left.
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.malformed(self.at, Fault::TrailingBytes, statement::GENERAL))
    }

    /// Everything that is left.
    pub(super) fn remainder(self) -> Bytes {
        // An empty slice would keep the whole read buffer alive.
        if self.rest.is_empty() { Bytes::new() } else { self.rest }
    }

    pub(super) fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// What is left.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn at(&self) -> u32 {
        self.at
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(&array) = self.rest.first_chunk::<N>() else {
            return Err(self.truncated(self.at));
        };
        self.skip(N);
        Ok(array)
    }

    /// Takes `len` bytes, which are there.
    fn take(&mut self, len: usize) -> Bytes {
        self.at += len_u32(len);
        // An empty slice would keep the whole read buffer alive.
        if len == 0 { Bytes::new() } else { self.rest.split_to(len) }
    }

    /// Skips `len` bytes, which are there.
    fn skip(&mut self, len: usize) {
        self.at += len_u32(len);
        self.rest.advance(len);
    }
}

/// The faults. None of them is on the way of a good packet.
impl Reader {
    #[cold]
    pub(super) fn malformed(&self, at: u32, fault: Fault, rule: Statement) -> DecodeError {
        self.fault(at, fault, rule, ReasonCode::MalformedPacket)
    }

    #[cold]
    pub(super) fn protocol_error(&self, at: u32, fault: Fault, rule: Statement) -> DecodeError {
        self.fault(at, fault, rule, ReasonCode::ProtocolError)
    }

    #[cold]
    pub(super) fn fault(
        &self,
        at: u32,
        fault: Fault,
        rule: Statement,
        reason: ReasonCode,
    ) -> DecodeError {
        let statement = rule.id(self.version);
        DecodeError { offset: at, packet: Some(self.packet), fault, statement, reason }
    }

    /// A reason code that may not stand here: a protocol error if another packet may have it, else
    /// malformed.
    #[cold]
    pub(super) fn bad_reason(&self, at: u32, byte: u8, is_known: bool) -> DecodeError {
        let rule = Statement::reasons(self.packet);
        if is_known {
            self.protocol_error(at, Fault::Reason(byte), rule)
        } else {
            self.malformed(at, Fault::Reason(byte), rule)
        }
    }

    #[cold]
    pub(super) fn missing_method(&self, at: u32) -> DecodeError {
        self.protocol_error(at, Fault::MissingProperty(METHOD_ID), statement::GENERAL)
    }

    #[cold]
    pub(crate) fn unknown_property(&self, id: u32) -> DecodeError {
        self.malformed(self.at, Fault::UnknownProperty(id), statement::GENERAL)
    }

    #[cold]
    fn truncated(&self, at: u32) -> DecodeError {
        self.malformed(at, Fault::Truncated, statement::GENERAL)
    }

    #[cold]
    fn bad_text(&self, start: u32, error: TextError) -> DecodeError {
        let (at, rule) = match error {
            TextError::TooLong(_) => (0, statement::GENERAL),
            TextError::NotUtf8(at) => (at, statement::UTF8),
            TextError::Nul(at) => (at, statement::NUL),
        };
        self.malformed(start + len_u32(at), Fault::Text, rule)
    }

    #[cold]
    fn bad_topic(&self, start: u32, error: TopicError, wildcard: Statement) -> DecodeError {
        match error {
            TopicError::Text(error) => self.bad_text(start, error),
            TopicError::Empty => {
                // The length bytes are what is wrong.
                self.malformed(start.saturating_sub(2), Fault::Topic, statement::NOT_EMPTY)
            }
            TopicError::Wildcard(at) => {
                let at = start + len_u32(at);
                self.fault(at, Fault::Topic, wildcard, ReasonCode::TopicNameInvalid)
            }
        }
    }

    #[cold]
    fn bad_filter(&self, start: u32, filter: &[u8], error: FilterError) -> DecodeError {
        let (at, rule) = match error {
            FilterError::Text(error) => return self.bad_text(start, error),
            FilterError::Empty if filter.is_empty() => (0, statement::NOT_EMPTY),
            FilterError::Empty => (filter.len(), statement::SHARE_NAME),
            FilterError::MultiLevel(at) => (at, statement::MULTI_LEVEL),
            FilterError::SingleLevel(at) => (at, statement::SINGLE_LEVEL),
            FilterError::Share => {
                // Either there is no group at all, or its name has a wildcard.
                let group = filter.splitn(3, |&byte| byte == b'/').nth(1).unwrap_or_default();
                let has_wildcard = group.iter().any(|byte| matches!(byte, b'+' | b'#'));
                let rule = if has_wildcard { statement::SHARE_NAME } else { statement::SHARE_FORM };
                (0, rule)
            }
        };
        self.malformed(start + len_u32(at), Fault::Filter, rule)
    }
}

/// A variable byte integer at the front of some bytes.
pub(super) enum VarInt {
    /// Its value and the bytes it takes, 1 to 4.
    Value { value: u32, used: usize, is_padded: bool },
    /// The bytes end before it does.
    Incomplete,
    /// A fourth byte says that one more follows.
    TooLong,
}

impl VarInt {
    /// Reads seven bits per byte, lowest group first, at most four bytes.
    /// Spec: v5 section 1.5.5. v3.1.1 section 2.2.3 does not ask for the shortest form.
    pub(super) fn read(input: &[u8]) -> Self {
        let mut value = 0;
        for (index, &byte) in input.iter().take(4).enumerate() {
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let is_padded = index > 0 && byte == 0;
                return Self::Value { value, used: index + 1, is_padded };
            }
        }
        if input.len() < 4 { Self::Incomplete } else { Self::TooLong }
    }
}

/// A length inside a packet: far below `u32::MAX`.
pub(super) fn len_u32(len: usize) -> u32 {
    debug_assert!(len <= REMAINING_LENGTH_MAX as usize + 5, "longer than any packet");
    len as u32
}

/// Identifier of Authentication Method.
const METHOD_ID: u8 = 0x15;
