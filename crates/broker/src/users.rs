//! Who may connect, from a list of user names and passwords.

use std::{collections::HashMap, hint::black_box};

use postrider_hub::Ask;
use postrider_proto::wire::ReasonCode;

/// The list.
#[derive(Clone, Default)]
pub(crate) struct Users {
    passwords: HashMap<String, Vec<u8>>,
    /// Whether a CONNECT without user name is let in.
    is_anonymous_allowed: bool,
}

impl Users {
    pub(crate) fn new(passwords: HashMap<String, Vec<u8>>, is_anonymous_allowed: bool) -> Self {
        Self { passwords, is_anonymous_allowed }
    }

    /// Whether everybody may come in, whatever they say.
    pub(crate) fn is_open(&self) -> bool {
        self.passwords.is_empty() && self.is_anonymous_allowed
    }

    /// Judges a CONNECT: `Success`, 0x86 for a wrong name or password, 0x87 if a name is needed and none was given.
    pub(crate) fn judge(&self, ask: &Ask) -> ReasonCode {
        let Some(user) = &ask.user_name else {
            let may_come = self.is_anonymous_allowed;
            return if may_come { ReasonCode::Success } else { ReasonCode::NotAuthorized };
        };
        let known = self.passwords.get(user.as_str());
        let given = ask.password.as_deref().unwrap_or_default();
        // An unknown name takes as long as a wrong password.
        let is_right = is_equal(given, known.map_or(&[], Vec::as_slice));
        if known.is_some() && ask.password.is_some() && is_right {
            ReasonCode::Success
        } else {
            ReasonCode::BadUserNameOrPassword
        }
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("count", &self.passwords.len()).finish_non_exhaustive()
    }
}

/// Compares in a time that depends on the length of `given` only.
fn is_equal(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != expected.len());
    for (index, byte) in given.iter().enumerate() {
        let other = expected.get(index).or_else(|| expected.first()).copied().unwrap_or_default();
        difference = black_box(difference | (byte ^ other));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_hub::LinkId;
    use postrider_proto::wire::{ClientId, Text};

    use super::*;

    #[test]
    fn the_right_password_opens_and_everything_else_does_not() {
        let users = users(false);
        assert!(!users.is_open());
        check(&users, Some("ann"), Some("hush"), ReasonCode::Success);
        check(&users, Some("bob"), Some(""), ReasonCode::Success);
        for wrong in ["", "h", "hus", "husH", "hushh", "hhhh"] {
            check(&users, Some("ann"), Some(wrong), ReasonCode::BadUserNameOrPassword);
        }
        check(&users, Some("ann"), None, ReasonCode::BadUserNameOrPassword);
        check(&users, Some("bob"), None, ReasonCode::BadUserNameOrPassword);
        check(&users, Some("eve"), Some(""), ReasonCode::BadUserNameOrPassword);
        check(&users, None, None, ReasonCode::NotAuthorized);
    }

    #[test]
    fn anonymous_clients_are_let_in_beside_users_if_allowed() {
        let users = users(true);
        assert!(!users.is_open());
        check(&users, None, None, ReasonCode::Success);
        check(&users, Some("ann"), Some("no"), ReasonCode::BadUserNameOrPassword);
        assert!(Users::new(HashMap::new(), true).is_open());
        assert!(!Users::new(HashMap::new(), false).is_open());
    }

    fn users(is_anonymous_allowed: bool) -> Users {
        let list = [("ann".to_owned(), b"hush".to_vec()), ("bob".to_owned(), Vec::new())];
        Users::new(list.into(), is_anonymous_allowed)
    }

    fn check(users: &Users, user: Option<&str>, password: Option<&str>, expected: ReasonCode) {
        let ask = Ask {
            link: LinkId { slot: 0, generation: 0 },
            client_id: ClientId::new("c").unwrap(),
            user_name: user.map(|user| Text::new(user).unwrap()),
            password: password.map(|password| Bytes::copy_from_slice(password.as_bytes())),
        };
        assert_eq!(users.judge(&ask), expected, "{user:?} {password:?}");
    }
}
