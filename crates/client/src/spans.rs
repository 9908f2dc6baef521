//! The `tracing` spans of a session, see [`crate::observing`].

use postrider_proto::wire::{Filter, Publish, Version};
use tracing::{Span, field::Empty};

/// Of a session, from its beginning to its end.
pub(crate) fn session(server: &str, client_id: &str) -> Span {
    tracing::info_span!(target: TARGET, "postrider.session", server, client_id)
}

/// Of one connection, from the attempt to its end.
pub(crate) fn connection(server: &str, attempt: u32) -> Span {
    tracing::info_span!(
        target: TARGET,
        "postrider.connection",
        server,
        attempt,
        version = Empty,
        session_present = Empty,
        reason = Empty
    )
}

/// Notes that a connection stands.
pub(crate) fn connected(span: &Span, version: Version, session_present: bool) {
    span.record("version", tracing::field::display(version));
    span.record("session_present", session_present);
}

/// Of an awaited publication, from the first poll to its acknowledgement or the drop of its future.
pub(crate) fn publish(head: &Publish) -> Span {
    let topic = head.topic.as_ref().map(|topic| topic.as_str());
    let (qos, retain) = (head.qos.bits(), head.retain);
    tracing::debug_span!(target: TARGET, "postrider.publish", topic, qos, retain)
}

/// Of a subscribe, from the request to the answer: its first filter, and how many it has.
pub(crate) fn subscribe(filter: &Filter, filters: usize) -> Span {
    let filter = filter.as_str();
    tracing::debug_span!(target: TARGET, "postrider.subscribe", filter, filters)
}

/// Of all spans, for filters of logs.
const TARGET: &str = "postrider";
