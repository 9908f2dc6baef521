//! What a CONNECT asks for, in the same words for all versions.

use postrider_wire::{Connect, Version};

/// What becomes of an empty client identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyClientId {
    /// The server invents one and tells it (5.0).
    Told,
    /// The server invents one and keeps it for itself (3.x with Clean Session).
    Hidden,
    /// It is refused (3.x without Clean Session).
    Refused,
}

/// What a CONNECT asks for where the versions say it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Seconds for which the session shall outlive the link; 0 ends with it, `u32::MAX` never. In 3.x Clean Session
    /// asks for one of these two. Spec: v5 section 3.1.2.11.2, v3.1.1 section 3.1.2.4.
    pub session_expiry_s: u32,
    /// What becomes of an empty client identifier. Spec: v5 [MQTT-3.1.3-6], v3.1.1 [MQTT-3.1.3-7] [MQTT-3.1.3-8].
    pub empty_client_id: EmptyClientId,
}

impl Terms {
    /// The terms of a CONNECT.
    #[must_use]
    pub fn of(connect: &Connect) -> Self {
        match connect.version {
            Version::V31 | Version::V311 => Self {
                session_expiry_s: if connect.clean_start { 0 } else { u32::MAX },
                empty_client_id: if connect.clean_start {
                    EmptyClientId::Hidden
                } else {
                    EmptyClientId::Refused
                },
            },
            Version::V5 => Self {
                session_expiry_s: connect
                    .properties
                    .session_expiry_interval()
                    .copied()
                    .unwrap_or_default(),
                empty_client_id: EmptyClientId::Told,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_wire::{ClientId, Properties, Property};

    use super::*;

    fn terms(version: Version, clean_start: bool, expiry_s: Option<u32>) -> (u32, EmptyClientId) {
        let mut properties = Properties::new();
        if let Some(seconds) = expiry_s {
            properties.push(Property::SessionExpiryInterval(seconds));
        }
        let connect = Connect {
            version,
            clean_start,
            keep_alive: 0,
            client_id: ClientId::default(),
            user_name: None,
            password: None,
            will: None,
            properties,
        };
        let terms = Terms::of(&connect);
        (terms.session_expiry_s, terms.empty_client_id)
    }

    /// v5 [MQTT-3.1.2-23] [MQTT-3.1.3-6], v3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.3-7] [MQTT-3.1.3-8].
    #[test]
    fn each_version_says_it_in_its_way() {
        for version in [Version::V31, Version::V311] {
            assert_eq!(terms(version, true, None), (0, EmptyClientId::Hidden));
            assert_eq!(terms(version, false, None), (u32::MAX, EmptyClientId::Refused));
        }
        for is_clean in [false, true] {
            assert_eq!(terms(Version::V5, is_clean, None), (0, EmptyClientId::Told));
            assert_eq!(terms(Version::V5, is_clean, Some(7)), (7, EmptyClientId::Told));
        }
    }
}
