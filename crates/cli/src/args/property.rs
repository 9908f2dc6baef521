//! `-D COMMAND PROPERTY VALUE`: properties of MQTT 5.0 on a command line.

use std::str::FromStr;

use postrider_wire::{Bytes, Property, Text};

/// One property and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) place: Place,
    pub(crate) property: Property,
}

/// The packet, or the part of one, that has a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Publish,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Will,
}

/// Between the parts of one property, once they are joined.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// Reads `COMMAND PROPERTY VALUE` or `COMMAND user-property NAME VALUE`, parted by [`SEPARATOR`] or by spaces.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Given, String> {
    let parts: Vec<&str> = match text.contains(SEPARATOR) {
        true => text.split(SEPARATOR).collect(),
        false => text.split_whitespace().collect(),
    };
    let (command, name, values) = match parts.as_slice() {
        [command, name, values @ ..] => (*command, *name, values),
        _ => return Err("it needs a command, a property and a value".to_owned()),
    };
    let place = place(command)?;
    let property = property(name, values)?;
    if !allowed(place, &property) {
        return Err(format!("'{name}' is no property of {}", command.to_ascii_uppercase()));
    }
    Ok(Given { place, property })
}

fn place(command: &str) -> Result<Place, String> {
    let command = command.to_ascii_lowercase();
    Ok(match command.as_str() {
        "connect" => Place::Connect,
        "publish" => Place::Publish,
        "subscribe" => Place::Subscribe,
        "unsubscribe" => Place::Unsubscribe,
        "disconnect" => Place::Disconnect,
        "will" => Place::Will,
        "auth" | "puback" | "pubrec" | "pubrel" | "pubcomp" => {
            return Err(format!("properties of {} cannot be set", command.to_ascii_uppercase()));
        }
        _ => return Err(format!("'{command}' is no command; {COMMANDS}")),
    })
}

fn property(name: &str, values: &[&str]) -> Result<Property, String> {
    if name == "user-property" {
        let [name, value] = values else {
            return Err("'user-property' needs a name and a value".to_owned());
        };
        return Ok(Property::UserProperty(text(name)?, text(value)?));
    }
    let make = PROPERTIES.iter().find(|(known, _)| *known == name).map(|(_, make)| make);
    let make = make.ok_or_else(|| format!("'{name}' is no property"))?;
    let [value] = values else { return Err(format!("'{name}' needs one value")) };
    make(value).map_err(|error| format!("'{value}' for '{name}': {error}"))
}

type Make = fn(&str) -> Result<Property, String>;

/// All that a client may send, by the names that Mosquitto gives them.
const PROPERTIES: &[(&str, Make)] = &[
    ("authentication-data", |value| Ok(Property::AuthenticationData(binary(value)))),
    ("authentication-method", |value| text(value).map(Property::AuthenticationMethod)),
    ("content-type", |value| text(value).map(Property::ContentType)),
    ("correlation-data", |value| Ok(Property::CorrelationData(binary(value)))),
    ("maximum-packet-size", |value| positive(value).map(Property::MaximumPacketSize)),
    ("message-expiry-interval", |value| number(value).map(Property::MessageExpiryInterval)),
    ("payload-format-indicator", |value| {
        flag(value).map(|is_text| Property::PayloadFormatIndicator(is_text.into()))
    }),
    ("receive-maximum", |value| positive(value).map(Property::ReceiveMaximum)),
    ("request-problem-information", |value| flag(value).map(Property::RequestProblemInformation)),
    ("request-response-information", |value| flag(value).map(Property::RequestResponseInformation)),
    ("response-topic", |value| text(value).map(Property::ResponseTopic)),
    ("session-expiry-interval", |value| number(value).map(Property::SessionExpiryInterval)),
    ("subscription-identifier", |value| {
        let id = positive(value)?;
        if id > IDENTIFIER_MAX {
            return Err(format!("at most {IDENTIFIER_MAX}"));
        }
        Ok(Property::SubscriptionIdentifier(id))
    }),
    ("topic-alias", |value| positive(value).map(Property::TopicAlias)),
    ("topic-alias-maximum", |value| number(value).map(Property::TopicAliasMaximum)),
    ("will-delay-interval", |value| number(value).map(Property::WillDelayInterval)),
];

fn allowed(place: Place, property: &Property) -> bool {
    use Property as P;
    if matches!(property, P::UserProperty(..)) {
        return true;
    }
    match place {
        Place::Connect => matches!(
            property,
            P::AuthenticationData(_)
                | P::AuthenticationMethod(_)
                | P::MaximumPacketSize(_)
                | P::ReceiveMaximum(_)
                | P::RequestProblemInformation(_)
                | P::RequestResponseInformation(_)
                | P::SessionExpiryInterval(_)
                | P::TopicAliasMaximum(_)
        ),
        Place::Publish => is_of_message(property) || matches!(property, P::TopicAlias(_)),
        Place::Will => is_of_message(property) || matches!(property, P::WillDelayInterval(_)),
        Place::Subscribe => matches!(property, P::SubscriptionIdentifier(_)),
        Place::Disconnect => matches!(property, P::SessionExpiryInterval(_)),
        Place::Unsubscribe => false,
    }
}

fn is_of_message(property: &Property) -> bool {
    matches!(
        property,
        Property::ContentType(_)
            | Property::CorrelationData(_)
            | Property::MessageExpiryInterval(_)
            | Property::PayloadFormatIndicator(_)
            | Property::ResponseTopic(_)
    )
}

fn text(value: &str) -> Result<Text, String> {
    Text::new(value).map_err(|error| error.to_string())
}

fn binary(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

fn number<N: FromStr<Err: ToString>>(value: &str) -> Result<N, String> {
    value.parse().map_err(|error: N::Err| error.to_string())
}

fn positive<N: FromStr<Err: ToString> + Default + PartialEq>(value: &str) -> Result<N, String> {
    let number = number(value)?;
    if number == N::default() { Err("it must not be 0".to_owned()) } else { Ok(number) }
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("it must be 0 or 1".to_owned()),
    }
}

const COMMANDS: &str = "there are connect, publish, subscribe, unsubscribe, disconnect and will";
/// Spec: v5 section 3.8.2.1.2.
const IDENTIFIER_MAX: u32 = 268_435_455;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_goes_where_the_standard_has_it() {
        for (text, place) in [
            ("connect authentication-method plain", Place::Connect),
            ("connect authentication-data x", Place::Connect),
            ("CONNECT receive-maximum 7", Place::Connect),
            ("connect maximum-packet-size 100", Place::Connect),
            ("connect request-problem-information 0", Place::Connect),
            ("connect request-response-information 1", Place::Connect),
            ("connect session-expiry-interval 5", Place::Connect),
            ("connect topic-alias-maximum 5", Place::Connect),
            ("publish content-type a", Place::Publish),
            ("publish correlation-data a", Place::Publish),
            ("publish message-expiry-interval 1", Place::Publish),
            ("publish payload-format-indicator 1", Place::Publish),
            ("publish response-topic a", Place::Publish),
            ("publish topic-alias 1", Place::Publish),
            ("publish user-property a b", Place::Publish),
            ("subscribe user-property a b", Place::Subscribe),
            ("subscribe subscription-identifier 1", Place::Subscribe),
            ("unsubscribe user-property a b", Place::Unsubscribe),
            ("disconnect session-expiry-interval 1", Place::Disconnect),
            ("disconnect user-property a b", Place::Disconnect),
            ("will will-delay-interval 1", Place::Will),
            ("will content-type 1", Place::Will),
        ] {
            assert_eq!(parse(text).map(|given| given.place), Ok(place), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("publish", "it needs a command"),
            ("publish colour red", "'colour' is no property"),
            ("publish receive-maximum 5", "'receive-maximum' is no property of PUBLISH"),
            ("connect topic-alias 1", "'topic-alias' is no property of CONNECT"),
            ("puback reason-string x", "properties of PUBACK cannot be set"),
            ("shout content-type x", "'shout' is no command"),
            ("publish user-property a", "a name and a value"),
            ("publish topic-alias 0", "'0' for 'topic-alias': it must not be 0"),
            ("publish message-expiry-interval x", "'x' for 'message-expiry-interval'"),
            ("publish payload-format-indicator 2", "it must be 0 or 1"),
            ("subscribe subscription-identifier 268435456", "at most 268435455"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn parts_may_have_spaces_if_they_come_apart() {
        let joined = ["publish", "user-property", "a b", ""].join(&SEPARATOR.to_string());
        let expected = Property::UserProperty(Text::new("a b").unwrap(), Text::new("").unwrap());
        assert_eq!(parse(&joined).unwrap().property, expected);
    }
}
