//! Where answers are expected.

use postrider_proto::wire::Property;

use crate::{Builder, Connected};

/// What the builder says about requests.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    prefix: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { prefix: "responses".to_owned() }
    }
}

impl Settings {
    /// The topic to which answers come: below what the server reserves for us, or below the prefix; the same for every
    /// connection of a session, so that a server that keeps it keeps the subscription too.
    pub(super) fn response_topic(&self, connected: &Connected) -> String {
        let client_id: String = connected.client_id.chars().map(plain).collect();
        match connected.properties.response_information() {
            Some(information) => {
                format!("{}/{client_id}", information.as_str().trim_end_matches('/'))
            }
            None => format!("{}/{client_id}", self.prefix.trim_end_matches('/')),
        }
    }
}

/// A character of a client id as a topic level may have it.
fn plain(letter: char) -> char {
    if matches!(letter, '/' | '+' | '#' | '\0') { '-' } else { letter }
}

impl<S> Builder<S> {
    /// Below which topic answers to [`crate::Session::request`] come, if the server does not say: the response topic is
    /// `prefix/client id`, with `-` for each `/`, `+` and `#` in the client id. Default `responses`.
    #[must_use]
    pub fn response_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.extras.requests.prefix = prefix.into();
        self
    }

    /// Asks the server for its Response Information (5.0): a part of the topic tree that it reserves for this session,
    /// below which the response topic then lies.
    #[must_use]
    pub fn response_information(self) -> Self {
        self.property(Property::RequestResponseInformation(true))
    }
}
