//! Messages that the program acknowledges itself, and what it stores with that.

use alloc::vec::Vec;

use bytes::Bytes;
use postrider_wire::PacketId;

use super::{Client, Event, Phase};
use crate::{AckReason, Arrived, Durability, Entrusted, Fact, Payload, Record};

/// What the program wants stored together with its acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnChange {
    /// The value of a key.
    Put(Bytes, Bytes),
    /// Nothing under this key.
    Delete(Bytes),
}

/// An acknowledgement was refused; nothing was stored and nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgeError {
    /// No message with this number waits: it is acknowledged, or the server lost the session it came in.
    Stale(u64),
    /// There is no store for what the program wants to store.
    NoStore,
    /// Keys and values have more bytes than [`BATCH_BYTES_MAX`].
    TooLarge {
        /// Their bytes.
        bytes: u64,
    },
    /// A key has more bytes than [`OWN_KEY_BYTES_MAX`].
    KeyTooLong {
        /// Its bytes.
        bytes: u64,
    },
    /// The session is over.
    Over,
}

/// Most bytes of keys and values in one acknowledgement, 1 MiB: what is synced at once holds up everybody.
pub const BATCH_BYTES_MAX: u64 = 1024 * 1024;
/// Most bytes of a key of the program: the store keeps keys in its inner pages, where long ones make it deep.
pub const OWN_KEY_BYTES_MAX: usize = 1024;

/// The key in the store under which a key of the program stands; its value decodes to [`Fact::Own`].
#[must_use]
pub fn own_key(key: &[u8]) -> Vec<u8> {
    Record { owner: 0, fact: Fact::OwnGone(Bytes::copy_from_slice(key)) }.key()
}

/// Checks the bounds of what the program wants stored with one acknowledgement.
///
/// # Errors
/// [`AcknowledgeError::KeyTooLong`], [`AcknowledgeError::TooLarge`].
pub fn check_own(own: &[OwnChange]) -> Result<(), AcknowledgeError> {
    let mut bytes = 0;
    for change in own {
        let (key, value) = match change {
            OwnChange::Put(key, value) => (key, value.len()),
            OwnChange::Delete(key) => (key, 0),
        };
        if key.len() > OWN_KEY_BYTES_MAX {
            return Err(AcknowledgeError::KeyTooLong { bytes: key.len() as u64 });
        }
        bytes += (key.len() + value + CHANGE_BYTES) as u64;
    }
    if bytes > BATCH_BYTES_MAX { Err(AcknowledgeError::TooLarge { bytes }) } else { Ok(()) }
}

impl Client {
    /// The program has done with the message `number` of [`Event::Entrusted`]. `own` is stored in one step with that:
    /// after a crash either both are there, or neither, and the message comes again. [`Event::Acknowledged`] follows once it
    /// is stored. PUBACK or PUBREC leaves after that, and in the order in which the messages came: it may have to wait
    /// for those of earlier messages. Works without a connection too.
    ///
    /// # Errors
    /// [`AcknowledgeError`].
    pub fn acknowledge(
        &mut self,
        number: u64,
        own: Vec<OwnChange>,
    ) -> Result<(), AcknowledgeError> {
        self.acknowledge_with(number, own, AckReason::default())
    }

    /// [`Client::acknowledge`], and tells the server more (5.0). A code from 0x80 on refuses the message, which is over all
    /// the same: the server does not send it again, unless the connection is lost before it has the refusal. At QoS 2 the
    /// message then comes again, too. 3.1.1 has no codes, and a refused message is acknowledged.
    ///
    /// # Errors
    /// [`AcknowledgeError`].
    pub fn acknowledge_with(
        &mut self,
        number: u64,
        own: Vec<OwnChange>,
        reason: AckReason,
    ) -> Result<(), AcknowledgeError> {
        if self.phase == Phase::Over {
            return Err(AcknowledgeError::Over);
        }
        if !own.is_empty() && !self.config.is_durable {
            return Err(AcknowledgeError::NoStore);
        }
        check_own(&own)?;
        let own = own.into_iter().map(|change| match change {
            OwnChange::Put(key, value) => Fact::Own { key, value },
            OwnChange::Delete(key) => Fact::OwnGone(key),
        });
        let seq = self.acknowledge_entrusted(number, own.collect(), reason);
        let seq = seq.ok_or(AcknowledgeError::Stale(number))?;
        self.tell_after(seq, Event::Acknowledged(number));
        Ok(())
    }

    /// The program's copy of the message `number` is gone, and it was not acknowledged. If the server sends it again,
    /// which it does on the next connection, it is handed out again.
    pub fn take_back(&mut self, number: u64) {
        self.session.take_back(number);
    }

    /// Whether [`Client::acknowledge`] would know this number.
    #[must_use]
    pub fn is_entrusted(&self, number: u64) -> bool {
        self.session.is_entrusted_number(number)
    }

    /// Messages that the program has and has not acknowledged.
    #[must_use]
    pub fn entrusted_len(&self) -> usize {
        self.session.entrusted_len()
    }

    /// Takes a PUBLISH of QoS 1 or 2 for the program to acknowledge.
    pub(super) fn entrust(&mut self, arrived: Arrived, packet_id: PacketId) {
        let Some(link) = &mut self.link else { return };
        let (qos, digest) = (arrived.publish.qos, digest(&arrived));
        let entrusted = self.session.entrust(
            qos,
            packet_id,
            arrived.publish.dup,
            digest,
            link,
            &mut self.journal,
        );
        let (number, seq, is_redelivery) = match entrusted {
            Entrusted::New { number, seq } => (number, seq, false),
            Entrusted::Again { number } => (number, 0, true),
            Entrusted::Known => return,
        };
        if self.config.is_manual {
            self.tell_after(seq, Event::Entrusted { arrived, number, is_redelivery });
        } else {
            self.events.push_back(Event::Message(arrived));
            self.acknowledge_entrusted(number, Vec::new(), AckReason::default());
        }
    }

    /// Tells what waited for the store.
    pub(super) fn tell_stored(&mut self) {
        let stored = self.journal.stored();
        while let Some((_, event)) = self.gated.pop_front_if(|(seq, _)| *seq <= stored) {
            self.events.push_back(event);
        }
    }

    fn acknowledge_entrusted(
        &mut self,
        number: u64,
        own: Vec<Fact>,
        mut reason: AckReason,
    ) -> Option<u64> {
        let completion = core::mem::take(&mut reason.completion);
        if self.config.is_manual
            && !reason.code.is_error()
            && let Some(packet_id) = self.session.release_id(number)
        {
            self.remarks.set_number(packet_id, number);
            self.remarks.set_completion(packet_id, completion);
        }
        let link = self.link.as_mut().filter(|_| self.phase == Phase::Open);
        self.session.acknowledge_entrusted(number, own, reason, link, &mut self.journal)
    }

    /// Tells an event once `seq` is stored, behind those that wait already.
    pub(super) fn tell_after(&mut self, seq: u64, event: Event) {
        let last = self.gated.back().map_or(0, |(last, _)| *last);
        let seq = seq.max(last);
        if self.journal.is_stored(seq, Durability::Durable) {
            self.events.push_back(event);
        } else {
            self.gated.push_back((seq, event));
        }
    }
}

/// Tells messages under one packet id apart: FNV-1a, 64 bits, of the topic, the length of the payload, and the payload
/// where it is in memory. Not of properties, some of which differ from one delivery to the next.
fn digest(arrived: &Arrived) -> u64 {
    let topic = arrived.publish.topic.as_ref().map_or(&[][..], |topic| topic.as_bytes());
    let payload = match &arrived.payload {
        Payload::Bytes(bytes) => &bytes[..],
        Payload::Spooled { .. } => &[],
    };
    let len = arrived.payload.len().to_be_bytes();
    let bytes = topic.iter().chain(&len).chain(payload);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What a change costs besides key and value.
const CHANGE_BYTES: usize = 32;
