//! Why a link ended, for programs and for people.

use alloc::string::String;
use core::fmt;

use postrider_wire::{ConnAck, Disconnect, Properties, ReasonCode};

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnd {
    /// The peer broke `statement`; `reason` was sent if this version can explain itself.
    PeerFault {
        /// Reason code.
        reason: ReasonCode,
        /// Statement of the standard that was broken.
        statement: &'static str,
        /// What was wrong, for people.
        what: String,
    },
    /// The peer said no, within the rules (CONNACK), with its properties for the reason string and server reference.
    Refused(ConnAck),
    /// The peer said DISCONNECT.
    Disconnected(Disconnect),
    /// We ended it, with this code.
    Ours(ReasonCode),
    /// The stream closed, or nothing arrived in time.
    Lost,
    /// No stream could be opened; why, for people.
    Unreachable(String),
    /// The peer did not prove who it is, or cannot be answered; why, for people.
    Untrusted(String),
    /// A certificate was refused, the peer's by us or ours by the peer; why, for people.
    Certificate(String),
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerFault { reason, statement, what } => {
                write!(f, "the peer broke the protocol: {what}; {reason}, {statement}")
            }
            Self::Refused(connack) => {
                write!(f, "the server refused the connection: {}", connack.reason)?;
                said(f, &connack.properties)?;
                advise(f, connack.reason)
            }
            Self::Disconnected(disconnect) => {
                f.write_str("the peer disconnected")?;
                if disconnect.reason != ReasonCode::Success {
                    write!(f, ": {}", disconnect.reason)?;
                }
                said(f, &disconnect.properties)?;
                advise(f, disconnect.reason)
            }
            Self::Ours(ReasonCode::Success) => f.write_str("we disconnected"),
            Self::Ours(reason) => write!(f, "we ended the connection: {reason}"),
            Self::Lost => f.write_str(
                "the connection was lost: it was closed without a word, or nothing arrived in time; \
                 connect again",
            ),
            Self::Untrusted(what) => write!(f, "authentication failed: {what}"),
            Self::Unreachable(what) => write!(f, "no connection could be opened: {what}"),
            Self::Certificate(what) => write!(f, "a certificate was refused: {what}"),
        }
    }
}

impl core::error::Error for LinkEnd {}

/// What the peer itself says about it.
fn said(f: &mut fmt::Formatter<'_>, properties: &Properties) -> fmt::Result {
    if let Some(text) = properties.reason_string() {
        write!(f, ", \"{}\"", text.as_str().escape_debug())?;
    }
    if let Some(server) = properties.server_reference() {
        write!(f, ", other server: \"{}\"", server.as_str().escape_debug())?;
    }
    Ok(())
}

/// What to do about it.
fn advise(f: &mut fmt::Formatter<'_>, reason: ReasonCode) -> fmt::Result {
    let advice = match reason.byte() {
        0x84 => "try another protocol version",
        0x85 => "choose another client identifier",
        0x86 | 0x8C => "check user name, password and authentication method",
        0x87 | 0x8A => "ask the operator of the server for permission",
        0x88 | 0x89 | 0x8B | 0x97 | 0x9F | 0xA0 => "try again later",
        0x8D => "send more often or choose a longer keep alive",
        0x8E => "make sure that no other client uses the same client identifier",
        0x93 => "keep fewer messages open at once",
        0x95 => "send smaller messages",
        0x9A => "do not set retain",
        0x9B => "use a lower QoS",
        0x9C | 0x9D => "connect to another server",
        _ => return Ok(()),
    };
    write!(f, "; {advice}")
}
