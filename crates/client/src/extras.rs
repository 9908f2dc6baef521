//! Options of a session that modules beside the builder deal with.

use std::{fmt, sync::Arc};

use postrider_proto::{Again, wire::ReasonCode};

use crate::{
    Authenticator, driver::WallClock, request::Settings as RequestSettings, retry::CLOSES_MAX,
    upcoming::Hook,
};

/// What [`crate::Builder`] keeps for those modules, each of which adds its options to it.
#[derive(Clone)]
pub(crate) struct Extras {
    pub(crate) requests: RequestSettings,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) is_server_reauthentication_allowed: bool,
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<(ReasonCode, Again)>,
    pub(crate) certificates: Again,
    pub(crate) closes_max: u32,
    pub(crate) is_qos2_strict: bool,
    pub(crate) wall_clock: WallClock,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            requests: RequestSettings::default(),
            authenticator: None,
            is_server_reauthentication_allowed: false,
            hook: None,
            rules: Vec::new(),
            certificates: Again::Never,
            closes_max: CLOSES_MAX,
            is_qos2_strict: false,
            wall_clock: WallClock::default(),
        }
    }
}

/// Shows no secret.
impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras").field("requests", &self.requests).finish_non_exhaustive()
    }
}
