//! Authenticating again on a connection that stands.

use super::ReauthenticateError;
use crate::{
    Session,
    answer::{Gone, answer},
    blocking,
    command::Command,
    subscription::send,
};

impl Session {
    /// Authenticates again without reconnecting (5.0), as before a token expires. Messages go on meanwhile. It is the
    /// client that begins; a server that wants it ends the connection, and the next one authenticates anew.
    ///
    /// # Errors
    /// [`ReauthenticateError`]. If it failed the connection is ended.
    pub async fn reauthenticate(&self) -> Result<(), ReauthenticateError> {
        let shared = self.shared();
        let (answer, answered) = answer();
        let over = |Gone| ReauthenticateError::Over(shared.end());
        send(shared, Command::Reauthenticate(answer)).await.map_err(over)?;
        answered.wait().await.map_err(over)?
    }
}

impl blocking::Session {
    /// Authenticates again without reconnecting (5.0). See [`crate::Session::reauthenticate`].
    ///
    /// # Errors
    /// [`ReauthenticateError`].
    pub fn reauthenticate(&self) -> Result<(), ReauthenticateError> {
        self.wait(self.session().reauthenticate())
    }
}
