//! Exit statuses.
#![allow(clippy::wildcard_enum_match_arm, reason = "few errors have a code of the server")]

use std::fmt;

use postrider::{
    ConnectError, LinkReason, PublishError, ReasonCode, SessionEnd, SubscribeError,
    UnsubscribeError, UrlError,
};
use postrider_broker::StartError;

/// An option that cannot be used; shown like the errors of the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage(pub(crate) String);

/// Which codes a server of this version refuses a connection with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    /// Return codes, 1 to 5.
    V3,
    /// Reason codes, 128 and above.
    V5,
}

/// All that was asked for is done.
pub(crate) const DONE: u8 = 0;
/// An error that has no code of its own.
pub(crate) const FAILED: u8 = 1;
/// A wrong option.
pub(crate) const WRONG_OPTION: u8 = 2;
/// The time is over, as with `mosquitto_sub -W`.
pub(crate) const TIMED_OUT: u8 = 27;

/// The status of an error: the server's code if it gave one, and 1 otherwise.
pub(crate) fn of(error: &anyhow::Error, codes: Codes) -> u8 {
    if is_wrong_option(error) {
        return WRONG_OPTION;
    }
    let reason = error
        .downcast_ref()
        .and_then(connect)
        .map(|reason| (reason, codes))
        .or_else(|| error.downcast_ref().and_then(publish).map(|reason| (reason, Codes::V5)))
        .or_else(|| error.downcast_ref().and_then(subscribe).map(|reason| (reason, Codes::V5)))
        .or_else(|| error.downcast_ref().and_then(unsubscribe).map(|reason| (reason, Codes::V5)));
    match reason {
        Some((reason, Codes::V3)) => reason.return_code().unwrap_or(FAILED),
        Some((reason, Codes::V5)) => reason.byte().max(FAILED),
        None => FAILED,
    }
}

/// Whether it is an option that cannot be used.
pub(crate) fn is_wrong_option(error: &anyhow::Error) -> bool {
    error.is::<Usage>()
        || error.is::<UrlError>()
        || matches!(
            error.downcast_ref(),
            Some(ConnectError::Url(_) | ConnectError::Text { .. } | ConnectError::TooLong { .. })
        )
        || matches!(
            error.downcast_ref(),
            Some(StartError::UrlWithUser | StartError::Mode(_) | StartError::ModeWithoutStore(_))
        )
}

fn connect(error: &ConnectError) -> Option<ReasonCode> {
    match error {
        ConnectError::Credentials { reason, .. } | ConnectError::Refused { reason, .. } => {
            Some(*reason)
        }
        ConnectError::Ended(end) => ended(end),
        _ => None,
    }
}

fn publish(error: &PublishError) -> Option<ReasonCode> {
    match error {
        PublishError::Refused { reason, .. } => Some(*reason),
        PublishError::Over(end) => ended(end),
        _ => None,
    }
}

fn subscribe(error: &SubscribeError) -> Option<ReasonCode> {
    match error {
        SubscribeError::Refused { reason, .. } => Some(*reason),
        SubscribeError::Over(end) => ended(end),
        _ => None,
    }
}

fn unsubscribe(error: &UnsubscribeError) -> Option<ReasonCode> {
    match error {
        UnsubscribeError::Refused { reason, .. } => Some(*reason),
        UnsubscribeError::Over(end) => ended(end),
        _ => None,
    }
}

fn ended(end: &SessionEnd) -> Option<ReasonCode> {
    match end {
        SessionEnd::Link(
            LinkReason::Disconnected { reason, .. } | LinkReason::Refused { reason, .. },
        ) => Some(*reason),
        _ => None,
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_code_of_the_server_is_the_status() {
        let none = postrider::Properties::new;
        let refused = |reason| ConnectError::Refused {
            server: String::new(),
            reason,
            explanation: None,
            properties: none(),
        };
        let banned = anyhow::Error::from(refused(ReasonCode::Banned));
        assert_eq!(of(&banned, Codes::V5), 138);
        assert_eq!(of(&banned, Codes::V3), 1);
        let not_allowed = anyhow::Error::from(refused(ReasonCode::NotAuthorized));
        assert_eq!(of(&not_allowed, Codes::V3), 5);
        let quota = PublishError::Refused {
            reason: ReasonCode::QuotaExceeded,
            explanation: None,
            properties: none(),
        };
        let quota = Err::<(), _>(quota).context("'a' was not published").unwrap_err();
        assert_eq!(of(&quota, Codes::V3), 151);
        assert_eq!(of(&Usage(String::new()).into(), Codes::V5), 2);
        assert_eq!(of(&anyhow::anyhow!("x"), Codes::V5), 1);
    }
}
