//! Whether the broker still has a session.

use postrider_wire::Packet;

/// What CONNECT and CONNACK tell of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    /// Counts sessions that began.
    pub(crate) session: u64,
    /// How often the broker had no session that it was to keep.
    pub(crate) lost: u64,
    /// The last CONNECT asks for a session that outlives its connection.
    is_asked: bool,
    /// The broker is to keep the session.
    is_kept: bool,
}

impl Presence {
    /// Returns whether a session begins with this packet.
    pub(crate) fn note(&mut self, packet: &Packet) -> bool {
        if let Packet::Connect(connect) = packet {
            // Of 3.1.1 there is no expiry: there a session that begins clean ends with its connection.
            let expiry = connect.properties.session_expiry_interval().copied().unwrap_or(0);
            self.is_asked = expiry > 0 || !connect.clean_start;
        }
        let Packet::ConnAck(connack) = packet else { return false };
        if connack.reason.is_error() {
            return false;
        }
        let is_new = !connack.session_present;
        if is_new {
            self.session += 1;
            self.lost += u64::from(self.is_kept);
        }
        self.is_kept = self.is_asked;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use postrider_wire::{ClientId, Connect, Properties, Property, Version};

    use super::*;
    use crate::faults::script::connack;

    fn connect(clean_start: bool, expiry: Option<u32>) -> Packet {
        let mut properties = Properties::new();
        if let Some(expiry) = expiry {
            properties.push(Property::SessionExpiryInterval(expiry));
        }
        Packet::Connect(Box::new(Connect {
            version: if expiry.is_some() { Version::V5 } else { Version::V311 },
            clean_start,
            keep_alive: 2,
            client_id: ClientId::new("faults-0").unwrap(),
            user_name: None,
            password: None,
            will: None,
            properties,
        }))
    }

    #[test]
    fn a_session_is_lost_if_it_was_to_be_kept() {
        let mut presence = Presence::default();
        let mut play = |clean_start, expiry, session_present| {
            presence.note(&connect(clean_start, expiry));
            (presence.note(&connack(session_present)), presence.lost)
        };
        // 3.1.1 begins clean, which is kept by nobody, and once more to have it kept.
        assert_eq!(play(true, None, false), (true, 0));
        assert_eq!(play(false, None, false), (true, 0));
        assert_eq!(play(false, None, true), (false, 0));
        assert_eq!(play(false, None, false), (true, 1));
        assert_eq!(play(false, Some(60), true), (false, 1));
        assert_eq!(play(false, Some(60), false), (true, 2));
        // 5.0 may have it kept from the beginning.
        let mut presence = Presence::default();
        let mut play = |clean_start, expiry, session_present| {
            presence.note(&connect(clean_start, expiry));
            presence.note(&connack(session_present));
            presence.lost
        };
        assert_eq!(play(true, Some(0), false), 0);
        assert_eq!(play(true, Some(60), false), 0);
        assert_eq!(play(false, Some(60), false), 1);
    }
}
