//! The version of MQTT that a program asks for.

use postrider_proto::wire;

use crate::ConnectError;

/// Which version of MQTT to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// 5.0, and 3.1.1 if the server does not speak it.
    #[default]
    Auto,
    /// 3.1 only.
    V31,
    /// 3.1.1 only.
    V311,
    /// 5.0 only.
    V5,
}

impl Protocol {
    /// The only version to speak, if there is one.
    pub(crate) fn version(self) -> Option<wire::Version> {
        match self {
            Self::Auto => None,
            Self::V31 => Some(wire::Version::V31),
            Self::V311 => Some(wire::Version::V311),
            Self::V5 => Some(wire::Version::V5),
        }
    }

    /// What is spoken with an authenticator, or without.
    pub(crate) fn with(self, has_authenticator: bool) -> Result<Self, ConnectError> {
        match (self, has_authenticator) {
            (Self::V31 | Self::V311, true) => Err(ConnectError::AuthenticatorVersion),
            (Self::Auto, true) => Ok(Self::V5),
            (protocol, _) => Ok(protocol),
        }
    }
}
