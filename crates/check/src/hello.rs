//! What a CONNECT asks for.

use postrider_net::Credentials;
use postrider_wire::Version;

use crate::raw;

/// The words behind `connect` and `hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) client: Client,
    /// Speaks 3.1.1 also in a play of 5.0.
    pub(crate) is_old: bool,
    /// Whether CONNACK must say that a session is present, or that none is.
    pub(crate) presence: Option<bool>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) alias_maximum: Option<u16>,
    pub(crate) packet_maximum: Option<u32>,
    pub(crate) problem_information: Option<u8>,
    pub(crate) response_information: Option<u8>,
    pub(crate) method: Option<String>,
    clean: bool,
    keep_alive: u16,
    expiry: Option<u32>,
    user: Option<String>,
    password: Option<String>,
    will: Option<Will>,
}

/// Whose client id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// The actor's own.
    Own,
    /// Another actor's.
    Of(char),
    /// This one; `%` is the word of the play.
    Named(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Will {
    topic: String,
    payload: String,
    qos: u8,
    retain: bool,
    delay: Option<u32>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            client: Client::Own,
            is_old: false,
            presence: None,
            receive_maximum: None,
            alias_maximum: None,
            packet_maximum: None,
            problem_information: None,
            response_information: None,
            method: None,
            clean: true,
            keep_alive: 60,
            expiry: None,
            user: None,
            password: None,
            will: None,
        }
    }
}

impl Hello {
    /// Reads words such as `resume keep=1 will=a/b will.qos=1`. Words for 5.0 only do nothing in 3.1.1.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, &'static str> {
        let mut hello = Self::default();
        for word in words {
            hello.word(word)?;
        }
        Ok(hello)
    }

    fn word(&mut self, word: &str) -> Result<(), &'static str> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let text = || value.to_owned();
        match name {
            "old" => self.is_old = true,
            "present" => self.presence = Some(true),
            "absent" => self.presence = Some(false),
            "resume" => (self.clean, self.expiry) = (false, Some(600)),
            "clean" => self.clean = number::<u8>(value)? == 1,
            "as" => self.client = Client::Of(value.chars().next().ok_or("as=ACTOR")?),
            "id" => self.client = Client::Named(text()),
            "keep" => self.keep_alive = number(value)?,
            "expiry" => self.expiry = Some(number(value)?),
            "receive" => self.receive_maximum = Some(number(value)?),
            "alias" => self.alias_maximum = Some(number(value)?),
            "packet" => self.packet_maximum = Some(number(value)?),
            "problem" => self.problem_information = Some(number(value)?),
            "response" => self.response_information = Some(number(value)?),
            "method" => self.method = Some(text()),
            "user" => self.user = Some(text()),
            "password" => self.password = Some(text()),
            "will" => self.will = Some(Will { topic: text(), ..Will::default() }),
            _ => {
                let will = self.will.as_mut().ok_or("no such word for CONNECT")?;
                match name {
                    "will.payload" => will.payload = text(),
                    "will.qos" => will.qos = number(value)?,
                    "will.retain" => will.retain = true,
                    "will.delay" => will.delay = Some(number(value)?),
                    _ => return Err("no such word for CONNECT"),
                }
            }
        }
        Ok(())
    }

    /// The whole packet. Credentials count unless the words name others.
    pub(crate) fn packet(
        &self,
        version: Version,
        client_id: &str,
        credentials: &Credentials,
        word: &str,
    ) -> Vec<u8> {
        let has_properties = version.has_properties();
        let user = self.user.as_ref().or(credentials.user.as_ref());
        let password = self.password.as_ref().or(credentials.password.as_ref());
        let will_flags = self
            .will
            .as_ref()
            .map_or(0, |will| 0b100 | will.qos << 3 | if will.retain { 0b10_0000 } else { 0 });
        let user_flag = if user.is_some() { 0x80 } else { 0 };
        let password_flag = if password.is_some() { 0x40 } else { 0 };
        let flags = u8::from(self.clean) << 1 | will_flags | user_flag | password_flag;
        let mut body = Vec::new();
        raw::string(version.protocol_name().as_bytes(), &mut body);
        body.extend_from_slice(&[version.level(), flags]);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        if has_properties {
            let properties = self.properties();
            raw::var_int(properties.len(), &mut body);
            body.extend(properties);
        }
        raw::string(client_id.as_bytes(), &mut body);
        if let Some(will) = &self.will {
            if has_properties {
                let delay = will.delay.map(|delay| delay.to_be_bytes());
                body.push(if delay.is_some() { 5 } else { 0 });
                body.extend(delay.iter().flat_map(|delay| [0x18].into_iter().chain(*delay)));
            }
            raw::string(will.topic.replace('%', word).as_bytes(), &mut body);
            raw::string(will.payload.as_bytes(), &mut body);
        }
        for text in [user, password].into_iter().flatten() {
            raw::string(text.as_bytes(), &mut body);
        }
        let mut out = Vec::new();
        raw::packet(0x10, &body, &mut out);
        out
    }

    fn properties(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let long = [(0x11, self.expiry), (0x27, self.packet_maximum)];
        let short = [(0x21, self.receive_maximum), (0x22, self.alias_maximum)];
        let byte = [(0x17, self.problem_information), (0x19, self.response_information)];
        for (id, value) in long {
            out.extend(value.iter().flat_map(|value| [id].into_iter().chain(value.to_be_bytes())));
        }
        for (id, value) in short {
            out.extend(value.iter().flat_map(|value| [id].into_iter().chain(value.to_be_bytes())));
        }
        for (id, value) in byte {
            out.extend(value.iter().flat_map(|value| [id, *value]));
        }
        if let Some(method) = &self.method {
            out.push(0x15);
            raw::string(method.as_bytes(), &mut out);
        }
        out
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "this word wants a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_connect() {
        let nobody = Credentials::default();
        let hello = Hello::parse(&["keep=1", "clean=0", "expiry=2", "will=w/%", "will.qos=1"]);
        let hello = hello.unwrap();
        assert_eq!(
            hello.packet(Version::V5, "c", &nobody, "x"),
            b"\x10\x1b\x00\x04MQTT\x05\x0c\x00\x01\x05\x11\x00\x00\x00\x02\x00\x01c\x00\x00\x03w/x\x00\x00"
        );
        assert_eq!(
            hello.packet(Version::V311, "c", &nobody, "x"),
            b"\x10\x14\x00\x04MQTT\x04\x0c\x00\x01\x00\x01c\x00\x03w/x\x00\x00"
        );
    }

    #[test]
    fn credentials_of_the_address_are_given() {
        let credentials =
            Credentials { user: Some("u".to_owned()), password: Some("p".to_owned()) };
        assert_eq!(
            Hello::default().packet(Version::V311, "c", &credentials, "x"),
            b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p"
        );
    }

    #[test]
    fn unknown_words_are_refused() {
        assert_eq!(Hello::parse(&["fast"]), Err("no such word for CONNECT"));
        assert_eq!(Hello::parse(&["keep=soon"]), Err("this word wants a number"));
        assert_eq!(Hello::parse(&["will.qos=1"]), Err("no such word for CONNECT"));
    }
}
