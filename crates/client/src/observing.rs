//! A session seen from outside: counts, spans, metrics, packets.
//!
//! # Counts
//!
//! [`crate::Session::stats`], at any time and from any thread; they cost nothing. [`crate::Events`] tell what happens to the
//! connection.
//!
//! # Spans
//!
//! With a subscriber of the `tracing` crate. These names and fields are stable, and so is the target, `postrider`; the
//! events in them have targets that begin with `postrider` and texts that may change. Payloads and credentials are in none.
//!
//! | span | level | from, to | fields |
//! | --- | --- | --- | --- |
//! | `postrider.session` | info | the beginning and the end of a session | `server`, `client_id` |
//! | `postrider.connection` | info | an attempt to connect, and the end of the connection | `server`, `attempt`; once they are known `version`, `session_present`, `reason` |
//! | `postrider.publish` | debug | an awaited publication, and its acknowledgement | `topic`, `qos`, `retain` |
//! | `postrider.subscribe` | debug | a subscribe, and its answer | `filter` (the first one), `filters` (how many) |
//!
//! `postrider.connection` is a child of `postrider.session`; the other two are children of the span of the program.
//!
//! # Metrics
//!
//! With the feature `metrics` every session gives its counts to the recorder of the `metrics` crate that is installed when
//! it begins, with the labels `server` and `client_id`. They are those of [`crate::Stats`], at the same time:
//!
//! | name | kind |
//! | --- | --- |
//! | `postrider_queued_messages`, `postrider_in_flight_messages`, `postrider_open_bytes`, `postrider_unmatched_messages` | gauge |
//! | `postrider_round_trip_seconds` | gauge; of the last ping |
//! | `postrider_published_messages_total`, `postrider_received_messages_total`, `postrider_resent_messages_total` | counter |
//! | `postrider_dropped_messages_total` | counter; label `reason`: `full`, `offline`, `expired`, `too_large`, `not_offered`, `unreadable`, `superseded`, `parked`, `refused`, `slow`, `outdated`, `unmatched` |
//! | `postrider_surplus_messages_total` | counter |
//! | `postrider_slow_streams_total` | counter |
//! | `postrider_sent_bytes_total`, `postrider_received_bytes_total` | counter |
//! | `postrider_connections_total`, `postrider_disconnections_total` | counter |
//!
//! # Packets
//!
//! [`crate::Builder::tap`] writes them to a file, see [`crate::tap`].
