//! The format language of `mosquitto_sub -F`.

use postrider::{Message, NotText, PayloadError, Property, QoS};

use crate::{
    args::{Field, Format, Piece},
    json::{Json, Layout},
    moment::Moment,
    printer::{Shape, Sheet},
};

/// What a message looks like apart from its format.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) layout: Layout,
    /// Whether subscription identifiers are the user's, and not the session's own.
    pub(crate) has_identifiers: bool,
}

/// What of a format cannot be printed. Everything else of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unprintable {
    /// A payload, by `%J`.
    NotJson,
    /// A large payload, which cannot be read.
    Payload(PayloadError),
}

impl Format {
    /// Appends what the format says of a message.
    ///
    /// # Errors
    /// [`Unprintable`]; all else was appended.
    pub(crate) fn write(
        &self,
        message: &Message,
        look: Look,
        sheet: &mut Sheet,
    ) -> Result<(), Unprintable> {
        let moment = Moment::now();
        let mut result = Ok(());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => sheet.text.extend_from_slice(text),
                Piece::Time('N') => put(&mut sheet.text, &format!("{:09}", moment.nanos())),
                Piece::Time(letter) => put(&mut sheet.text, &moment.part(*letter)),
                Piece::Field(Field {
                    letter: letter @ ('p' | 'x' | 'X'),
                    width: 0,
                    is_left: false,
                    ..
                }) => {
                    sheet.add_payload(message, shape(*letter));
                }
                Piece::Field(field) => {
                    let written = field.write(message, look, &moment, &mut sheet.text);
                    result = result.and(written);
                }
            }
        }
        result
    }
}

impl Field {
    fn write(
        self,
        message: &Message,
        look: Look,
        moment: &Moment,
        out: &mut Vec<u8>,
    ) -> Result<(), Unprintable> {
        let properties = message.properties();
        match self.letter {
            '%' => out.push(b'%'),
            'A' => self.number(properties.topic_alias().copied().map(u64::from), out),
            'C' => self.text(message.content_type().unwrap_or_default(), out),
            'D' => out.extend_from_slice(message.correlation_data().map_or(&[], |data| data)),
            'E' => self.number(message.message_expiry().map(u64::from), out),
            'F' => self.number(properties.payload_format_indicator().copied().map(u64::from), out),
            'I' => self.text(&moment.iso(), out),
            'j' => json(message, look, moment, quoted(message)?).write(look.layout, out),
            'J' => {
                let payload = unquoted(message)?;
                json(message, look, moment, payload).write(look.layout, out);
            }
            'l' => self.number(u64::try_from(message.payload_len()).ok(), out),
            'm' => self.number(Some(message.packet_id().unwrap_or(0).into()), out),
            'P' => {
                let pairs =
                    message.user_properties().map(|(name, value)| format!("{name}:{value}"));
                put(out, &pairs.collect::<Vec<_>>().join(" "));
            }
            'p' | 'x' | 'X' => self.payload(&message.payload()?, shape(self.letter), out),
            'q' => put(out, &message.qos().bits().to_string()),
            'R' => {
                if let Some(topic) = message.response_topic() {
                    self.text(topic, out);
                }
            }
            'r' => out.push(if message.is_retained() { b'1' } else { b'0' }),
            'S' => self.number(identifier(message, look).map(u64::from), out),
            't' => self.text(message.topic(), out),
            'U' => put(out, &moment.unix()),
            // `field` lets no other letter in.
            _ => {}
        }
        Ok(())
    }

    /// As `%*d` of C; nothing is padding alone.
    fn number(self, value: Option<u64>, out: &mut Vec<u8>) {
        let text = value.map_or_else(String::new, |value| value.to_string());
        let pad = if self.is_left && value.is_some() { b' ' } else { self.pad };
        self.align(text.as_bytes(), pad, out);
    }

    /// As `%*.*s` of C: width and precision in bytes.
    fn text(self, text: &str, out: &mut Vec<u8>) {
        let len = self.precision.unwrap_or(usize::MAX).min(text.len());
        self.align(text.as_bytes().get(..len).unwrap_or_default(), b' ', out);
    }

    fn align(self, text: &[u8], pad: u8, out: &mut Vec<u8>) {
        let padding = self.width.saturating_sub(text.len());
        if !self.is_left {
            out.resize(out.len() + padding, pad);
        }
        out.extend_from_slice(text);
        if self.is_left {
            out.resize(out.len() + padding, pad);
        }
    }

    /// With the habits of `mosquitto_sub`: a width also cuts, in hexadecimal to half the bytes; `-` without a width pads
    /// by the length of the payload.
    fn payload(self, payload: &[u8], shape: Shape, out: &mut Vec<u8>) {
        let (mut shown, mut padding) = (payload, 0);
        if self.width > 0 {
            let len = payload.len().min(self.width);
            let (len, used) = if shape == Shape::Raw { (len, len) } else { (len / 2, len / 2 * 2) };
            shown = payload.get(..len).unwrap_or_default();
            padding = self.width - used;
        } else if self.is_left {
            padding = payload.len();
        }
        if !self.is_left {
            out.resize(out.len() + padding, self.pad);
        }
        shape.append(shown, out);
        if self.is_left {
            out.resize(out.len() + padding, b' ');
        }
    }
}

/// How a letter has the payload written.
fn shape(letter: char) -> Shape {
    match letter {
        'x' => Shape::Hex,
        'X' => Shape::HexCapital,
        _ => Shape::Raw,
    }
}

impl From<PayloadError> for Unprintable {
    fn from(error: PayloadError) -> Self {
        Self::Payload(error)
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn identifier(message: &Message, look: Look) -> Option<u32> {
    let mut ids = message.properties().iter().filter_map(|property| {
        if let Property::SubscriptionIdentifier(id) = property { Some(*id) } else { None }
    });
    ids.next().filter(|_| look.has_identifiers)
}

/// The whole message as an object.
fn json(message: &Message, look: Look, moment: &Moment, payload: Json) -> Json {
    let number = |number: usize| Json::Number(u32::try_from(number).map_or(f64::MAX, f64::from));
    let mut members = vec![
        ("tst".to_owned(), Json::Text(moment.json())),
        ("topic".to_owned(), Json::text(message.topic())),
        ("qos".to_owned(), Json::Number(message.qos().bits().into())),
        ("retain".to_owned(), Json::Number(u8::from(message.is_retained()).into())),
        ("payloadlen".to_owned(), number(message.payload_len())),
    ];
    if message.qos() != QoS::AtMostOnce {
        let id = message.packet_id().unwrap_or(0);
        members.push(("mid".to_owned(), Json::Number(id.into())));
    }
    let properties = properties(message, look);
    if !properties.is_empty() {
        members.push(("properties".to_owned(), Json::Object(properties)));
    }
    members.push(("payload".to_owned(), payload));
    Json::Object(members)
}

/// In their order; user properties together where the first of them stands.
#[allow(clippy::wildcard_enum_match_arm, reason = "a message has few of the properties")]
fn properties(message: &Message, look: Look) -> Vec<(String, Json)> {
    let mut members: Vec<(String, Json)> = Vec::new();
    for property in message.properties().iter() {
        let (name, value) = match property {
            Property::PayloadFormatIndicator(value) => {
                ("payload-format-indicator", Json::Number((*value).into()))
            }
            Property::MessageExpiryInterval(seconds) => {
                ("message-expiry-interval", Json::Number((*seconds).into()))
            }
            Property::ContentType(text) => ("content-type", Json::text(text.as_str())),
            Property::ResponseTopic(text) => ("response-topic", Json::text(text.as_str())),
            Property::CorrelationData(data) => ("correlation-data", bytes(data)),
            Property::SubscriptionIdentifier(id) if look.has_identifiers => {
                ("subscription-identifier", Json::Number((*id).into()))
            }
            Property::TopicAlias(alias) => ("topic-alias", Json::Number((*alias).into())),
            Property::UserProperty(name, value) => {
                let pair = (name.as_str().to_owned(), Json::text(value.as_str()));
                let place = members.iter_mut().find(|(name, _)| name == "user-properties");
                if let Some((_, Json::Object(pairs))) = place {
                    pairs.push(pair);
                    continue;
                }
                ("user-properties", Json::Object(vec![pair]))
            }
            // No other property comes with a message.
            _ => continue,
        };
        members.push((name.to_owned(), value));
    }
    members
}

/// The payload as text, or as an array of its bytes if it is none; `null` if it is empty.
fn quoted(message: &Message) -> Result<Json, PayloadError> {
    if message.payload_len() == 0 { Ok(Json::Null) } else { Ok(bytes(&message.payload()?)) }
}

fn bytes(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Json::text(text),
        Ok(_) | Err(_) => {
            Json::Array(bytes.iter().map(|byte| Json::Number((*byte).into())).collect())
        }
    }
}

/// The payload as the JSON that it is.
fn unquoted(message: &Message) -> Result<Json, Unprintable> {
    if message.payload_len() == 0 {
        return Ok(Json::Null);
    }
    match message.text() {
        Ok(text) => Json::parse(text).ok_or(Unprintable::NotJson),
        Err(NotText::Payload(error)) => Err(Unprintable::Payload(error)),
        Err(_) => Err(Unprintable::NotJson),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_pads_and_cuts_as_in_mosquitto() {
        let format = |text: &str, payload: &[u8]| {
            let Some(Piece::Field(field)) = Format::parse(text).unwrap().0.pop() else { panic!() };
            let mut out = Vec::new();
            let shape = if field.letter == 'x' { Shape::Hex } else { Shape::Raw };
            field.payload(payload, shape, &mut out);
            String::from_utf8(out).unwrap()
        };
        for (text, expected) in [
            ("%6x", "    61"),
            ("%-6x", "61    "),
            ("%06x", "000061"),
            ("%-p", "ab  "),
            ("%05p", "000ab"),
            ("%-05p", "ab   "),
            ("%1p", "a"),
            ("%.1p", "ab"),
        ] {
            assert_eq!(format(text, b"ab"), expected, "{text}");
        }
    }
}
