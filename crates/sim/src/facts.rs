//! What stands in a store, read from its bytes by the page that describes records (`postrider_proto`'s `record`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub(crate) type Content = BTreeMap<Vec<u8>, Bytes>;

/// A flight as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredFlight {
    pub(crate) number: u64,
    pub(crate) packet_id: u16,
    pub(crate) state: u8,
    /// Which message it carries; `None` after PUBREC, when the message may be gone.
    pub(crate) tag: Option<u64>,
}

/// States of a flight.
pub(crate) const AWAIT_ACK: u8 = 0;
pub(crate) const AWAIT_REC: u8 = 1;
pub(crate) const AWAIT_COMP: u8 = 2;

/// All keys that begin with `prefix`.
pub(crate) fn under<'a>(
    content: &'a Content,
    prefix: &'a [u8],
) -> impl Iterator<Item = (&'a Vec<u8>, &'a Bytes)> {
    content.range(prefix.to_vec()..).take_while(move |(key, _)| key.starts_with(prefix))
}

/// The owners of sessions of this client identifier.
pub(crate) fn owners(content: &Content, client_id: &str) -> Vec<u64> {
    let mut wanted = vec![1];
    wanted.extend((client_id.len() as u16).to_be_bytes());
    wanted.extend(client_id.as_bytes());
    let sessions = content.iter().filter(|(key, _)| key.len() == 9 && key[8] == b'S');
    sessions.filter(|(_, value)| value.starts_with(&wanted)).map(|(key, _)| owner(key)).collect()
}

/// Whether the id of a QoS 2 message of the peer is stored as received.
pub(crate) fn has_received(content: &Content, owner: u64, packet_id: u16) -> bool {
    content.contains_key(&key(owner, b'I', &packet_id.to_be_bytes()))
}

/// All ids of QoS 2 messages of the peer that are stored as received.
pub(crate) fn received(content: &Content, owner: u64) -> Vec<u16> {
    let prefix = key(owner, b'I', &[]);
    let found = under(content, &prefix).filter(|(key, _)| key.len() == 11);
    found.map(|(key, _)| u16::from_be_bytes([key[9], key[10]])).collect()
}

/// Received ids of messages that go to several hubs.
pub(crate) fn crossing(content: &Content) -> u64 {
    let is_taken = |key: &Vec<u8>| key.len() == 14 && key[8] == b'I' && key[11] == b'T';
    let is_it = |key: &&Vec<u8>| is_taken(key) && content.contains_key(&key[..11]);
    content.keys().filter(is_it).map(|key| &key[..11]).collect::<BTreeSet<_>>().len() as u64
}

/// Whether a subscription is stored.
pub(crate) fn has_subscription(content: &Content, owner: u64, filter: &str) -> bool {
    let mut rest = (filter.len() as u16).to_be_bytes().to_vec();
    rest.extend(filter.as_bytes());
    content.contains_key(&key(owner, b'U', &rest))
}

/// Whether a session is stored.
pub(crate) fn has_session(content: &Content, owner: u64) -> bool {
    content.contains_key(&key(owner, b'S', &[]))
}

/// Whether a key, or what keys begin with, is that of a retained message.
pub(crate) fn is_of_retained(key: &[u8]) -> bool {
    owner(key) == 0 && key.get(8) == Some(&b'R')
}

/// Whether a will is stored.
pub(crate) fn has_will(content: &Content, owner: u64) -> bool {
    content.contains_key(&key(owner, b'W', &[]))
}

/// Published wills that may not be stored everywhere: they belong to no session.
pub(crate) fn departed(content: &Content) -> u64 {
    let wills = content.keys().filter(|key| key.len() == 9 && key[8] == b'W');
    wills.filter(|key| !has_session(content, owner(key))).count() as u64
}

/// Numbers and tags of stored messages, whether they fly or wait.
pub(crate) fn messages(content: &Content, owner: u64) -> Vec<(u64, Option<u64>)> {
    let prefix = key(owner, b'M', &[]);
    let found = under(content, &prefix).filter(|(key, _)| key.len() == 17);
    found.map(|(key, value)| (number(key), queued_tag(value))).collect()
}

/// Message numbers from this one on were certainly not given out, as far as the store knows.
pub(crate) fn reserved(content: &Content, owner: u64) -> u64 {
    let value = content.get(&key(owner, b'N', &[]));
    let bytes = value.and_then(|value| value.get(1..)).and_then(|rest| rest.first_chunk());
    bytes.map_or(1, |bytes| u64::from_be_bytes(*bytes))
}

/// Stored flights in the order of their numbers.
pub(crate) fn flights(content: &Content, owner: u64) -> Vec<StoredFlight> {
    let prefix = key(owner, b'M', &[]);
    let found = under(content, &prefix).filter(|(key, _)| key.len() == 18 && key[17] == b'F');
    found
        .filter_map(|(key, value)| {
            let [1, high, low, state] = value[..] else { return None };
            let tag = content.get(&key[..17]).and_then(|value| queued_tag(value));
            let packet_id = u16::from_be_bytes([high, low]);
            Some(StoredFlight { number: number(key), packet_id, state, tag })
        })
        .collect()
}

/// Whether one of them is a message that a program has.
pub(crate) fn is_arrived(name: &str) -> bool {
    name.starts_with("[00, 00, 00, 00, 00, 00, 00, 00, 41,")
}

/// As [`unfinished`], but for these owners.
pub(crate) fn unfinished_but_of(content: &Content, owners: &[u64]) -> Vec<String> {
    let mut content = content.clone();
    content.retain(|key, _| !owners.contains(&owner(key)));
    unfinished(&content)
}

/// Whether a program stored that it has done with a message.
pub(crate) fn has_own(content: &Content, tag: u64) -> bool {
    let name = tag.to_string();
    let mut rest = (name.len() as u16).to_be_bytes().to_vec();
    rest.extend(name.as_bytes());
    content.contains_key(&key(0, b'P', &rest))
}

/// Keys of messages, flights and received ids, of all owners: what a drained store has none of.
pub(crate) fn unfinished(content: &Content) -> Vec<String> {
    let is_open = |key: &&Vec<u8>| key.len() > 9 && matches!(key[8], b'A' | b'I' | b'M');
    content.keys().filter(is_open).map(|key| format!("{key:02x?}")).collect()
}

/// The number that a payload begins with, up to a colon.
pub(crate) fn tag_of(payload: &[u8]) -> Option<u64> {
    let end = payload.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(&payload[..end]).ok()?.parse().ok()
}

/// The tag of a message behind its delivery: version, flags, identifiers; flags, arrived, expires, head, payload.
fn queued_tag(value: &[u8]) -> Option<u64> {
    let ids = usize::from(u16::from_be_bytes(value.get(2..4)?.try_into().ok()?));
    let mut rest = value.get(4 + 4 * ids + 1 + 8..)?;
    rest = rest.get(if *rest.first()? == 0 { 1 } else { 9 }..)?;
    let head = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    rest = rest.get(4 + head..)?;
    if *rest.first()? == 0 { tag_of(rest.get(5..)?) } else { None }
}

fn key(owner: u64, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = owner.to_be_bytes().to_vec();
    key.push(kind);
    key.extend(rest);
    key
}

fn owner(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn number(key: &[u8]) -> u64 {
    key.get(9..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
