//! SCRAM-SHA-256: both sides prove that they know the password, and neither sends it. RFC 5802, RFC 7677.
//!
//! ```text
//! n,,n=user,r=ours ------------------------->
//!        <----------------- r=ours+theirs,s=salt,i=iterations
//! c=biws,r=ours+theirs,p=proof ------------->
//!        <------------------------------------- v=signature
//! ```

use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{AuthenticationError, AuthenticationExchange, Authenticator};
use crate::{builder::seed, lock::lock};

/// Authentication by user name and password that sends neither the password nor anything it could be found from without
/// effort, and makes the server prove that it knows the password (`SCRAM-SHA-256`).
///
/// The password is hashed on a thread that delays nothing else, some milliseconds for ten thousand iterations, once per
/// salt.
#[derive(Clone)]
pub struct Scram {
    user: String,
    password: String,
    iterations: RangeInclusive<u32>,
    salted: Arc<Mutex<Option<Salted>>>,
}

/// A hashed password, and what it was hashed with.
#[derive(Clone)]
struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    password: Key,
}

type Key = [u8; 32];

/// Where an exchange is.
struct Exchange {
    scram: Scram,
    nonce: String,
    /// Once the challenge was answered: what the server must send.
    signature: Option<Hmac<Sha256>>,
}

/// RFC 7677 asks for 4,096 at least; above a million a server keeps us busy for seconds.
const ITERATIONS: RangeInclusive<u32> = 4_096..=1_000_000;
/// No channel binding. RFC 5802 section 7.
const GS2_HEADER: &str = "n,,";

impl Scram {
    /// Authenticates as `user`. These go before, and beside, user name and password of CONNECT.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        let (user, password) = (user.into(), password.into());
        Self { user, password, iterations: ITERATIONS, salted: Arc::default() }
    }

    /// How many iterations a server may ask for. Default 4,096 to 1,000,000.
    #[must_use]
    pub fn iterations(mut self, iterations: RangeInclusive<u32>) -> Self {
        self.iterations = iterations;
        self
    }

    fn exchange(&self, nonce: String) -> Exchange {
        Exchange { scram: self.clone(), nonce, signature: None }
    }

    /// Hashes the password, unless it was with the same salt the last time.
    fn salted(&self, salt: &[u8], iterations: u32) -> Result<Key, AuthenticationError> {
        let mut salted = lock(&self.salted);
        if let Some(last) = &*salted
            && (last.salt.as_slice(), last.iterations) == (salt, iterations)
        {
            return Ok(last.password);
        }
        let plain = prepared(&self.password, "the password")?;
        let password = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(plain.as_bytes(), salt, iterations);
        *salted = Some(Salted { salt: salt.to_vec(), iterations, password });
        Ok(password)
    }
}

impl Authenticator for Scram {
    fn method(&self) -> &str {
        "SCRAM-SHA-256"
    }

    fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError> {
        // Keyed hashes of the process's secret: nobody can tell the next one from those before.
        let random: Vec<u8> = (0..3).flat_map(|_| seed().to_be_bytes()).collect();
        Ok(Box::new(self.exchange(Base64::encode_string(&random))))
    }
}

impl AuthenticationExchange for Exchange {
    fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        Ok(Some(format!("{GS2_HEADER}{}", self.bare()?).into()))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Option<Bytes>, AuthenticationError> {
        if self.signature.is_some() {
            return Err(AuthenticationError::Malformed("a second challenge"));
        }
        let challenge = text(challenge)?;
        let Challenge { nonce, salt, iterations } = Challenge::read(challenge)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(AuthenticationError::Nonce);
        }
        let allowed = &self.scram.iterations;
        if !allowed.contains(&iterations) {
            let (min, max) = (*allowed.start(), *allowed.end());
            return Err(AuthenticationError::Iterations { iterations, min, max });
        }
        let salted = self.scram.salted(&salt, iterations)?;
        let bare = self.bare()?;
        let last = format!("c={},r={nonce}", Base64::encode_string(GS2_HEADER.as_bytes()));
        let all = format!("{bare},{challenge},{last}");
        let client_key = keyed(&salted, b"Client Key").finalize().into_bytes();
        let stored_key = Sha256::digest(client_key);
        let signature = keyed(&stored_key, all.as_bytes()).finalize().into_bytes();
        let proof: Vec<u8> =
            client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        let server_key = keyed(&salted, b"Server Key").finalize().into_bytes();
        self.signature = Some(keyed(&server_key, all.as_bytes()));
        Ok(Some(format!("{last},p={}", Base64::encode_string(&proof)).into()))
    }

    fn finish(&mut self, data: &[u8]) -> Result<(), AuthenticationError> {
        let data = text(data)?;
        if let Some(error) = data.strip_prefix("e=") {
            return Err(AuthenticationError::Server(error.to_owned()));
        }
        let signature = data.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let signature = signature.ok_or(AuthenticationError::Malformed("no signature"))?;
        let signature = decoded(signature)?;
        // Without a challenge it cannot know what to sign.
        let Some(expected) = self.signature.take() else {
            return Err(AuthenticationError::Signature);
        };
        expected.verify_slice(&signature).map_err(|_| AuthenticationError::Signature)
    }
}

impl Exchange {
    /// The first message without its header.
    fn bare(&self) -> Result<String, AuthenticationError> {
        let user = prepared(&self.scram.user, "the user name")?;
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Ok(format!("n={user},r={}", self.nonce))
    }
}

/// The server's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    /// RFC 5802 section 7; extensions behind the three attributes are passed over, one in front is not known and must
    /// not be.
    fn read(text: &'a str) -> Result<Self, AuthenticationError> {
        let mut parts = text.split(',');
        let mut part = |name: &str, what| {
            let value = parts.next().and_then(|part| part.strip_prefix(name));
            value.ok_or(AuthenticationError::Malformed(what))
        };
        let nonce = part("r=", "no nonce")?;
        let salt = decoded(part("s=", "no salt")?)?;
        let iterations = part("i=", "no iterations")?.parse();
        let iterations =
            iterations.map_err(|_| AuthenticationError::Malformed("iterations are no number"))?;
        if salt.is_empty() {
            return Err(AuthenticationError::Malformed("no salt"));
        }
        Ok(Self { nonce, salt, iterations })
    }
}

/// A keyed hash with a message in it.
fn keyed(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    // Keys longer than a block are hashed first, shorter ones filled up.
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut hmac = Hmac::<Sha256>::new(&block.into());
    hmac.update(message);
    hmac
}

/// A text as both sides must write it. RFC 4013.
fn prepared(text: &str, what: &'static str) -> Result<String, AuthenticationError> {
    let prepared = stringprep::saslprep(text);
    let prepared = prepared.map_err(|_| AuthenticationError::Credentials(what))?;
    if prepared.is_empty() {
        return Err(AuthenticationError::Credentials(what));
    }
    Ok(prepared.into_owned())
}

fn text(data: &[u8]) -> Result<&str, AuthenticationError> {
    std::str::from_utf8(data).map_err(|_| AuthenticationError::Malformed("it is not text"))
}

fn decoded(text: &str) -> Result<Vec<u8>, AuthenticationError> {
    Base64::decode_vec(text).map_err(|_| AuthenticationError::Malformed("it is not base64"))
}

/// Shows no password.
impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const ANSWER: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn exchange() -> Exchange {
        Scram::new("user", "pencil").exchange(NONCE.to_owned())
    }

    fn answered() -> Exchange {
        let mut exchange = exchange();
        assert_eq!(exchange.respond(CHALLENGE.as_bytes()), Ok(Some(ANSWER.into())));
        exchange
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let mut exchange = exchange();
        assert_eq!(exchange.first(), Ok(Some("n,,n=user,r=rOprNGfwEbeRWgbNEkqO".into())));
        assert_eq!(answered().finish(SIGNATURE.as_bytes()), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let wrong = "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        let short = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjk=";
        for signature in [wrong, short, "v="] {
            let result = answered().finish(signature.as_bytes());
            assert_eq!(result, Err(AuthenticationError::Signature), "{signature}");
        }
        // Nor does one that asks for no proof.
        assert_eq!(exchange().finish(SIGNATURE.as_bytes()), Err(AuthenticationError::Signature));
        let server = AuthenticationError::Server("invalid-proof".to_owned());
        assert_eq!(answered().finish(b"e=invalid-proof"), Err(server));
        for nothing in ["", "x=1", "v", "6rri"] {
            let result = answered().finish(nothing.as_bytes());
            assert!(matches!(result, Err(AuthenticationError::Malformed(_))), "{nothing}");
        }
    }

    #[test]
    fn a_wrong_nonce_is_refused() {
        for nonce in ["", "x", "rOprNGfwEbeRWgbNEkqO", "rOprNGfwEbeRWgbNEkqx123"] {
            let challenge = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
            let result = exchange().respond(challenge.as_bytes());
            assert_eq!(result, Err(AuthenticationError::Nonce), "{nonce}");
        }
    }

    /// At, under and over the bounds.
    #[test]
    fn iterations_are_bounded() {
        let scram = Scram::new("user", "pencil").iterations(2..=4);
        let respond = |iterations: &str| {
            let challenge = format!("r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={iterations}");
            scram.exchange(NONCE.to_owned()).respond(challenge.as_bytes())
        };
        for iterations in [1, 5, u32::MAX] {
            let error = AuthenticationError::Iterations { iterations, min: 2, max: 4 };
            assert_eq!(respond(&iterations.to_string()), Err(error));
        }
        assert!(respond("2").is_ok() && respond("4").is_ok());
        let default =
            AuthenticationError::Iterations { iterations: 4095, min: 4096, max: 1_000_000 };
        let weak = format!("r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095");
        assert_eq!(exchange().respond(weak.as_bytes()), Err(default));
    }

    #[test]
    fn malformed_challenges_are_refused() {
        for challenge in [
            "",
            "r=x",
            "s=W22Z,r=x,i=4096",
            "m=ext,r=x,s=W22Z,i=4096",
            "r=x,s=!,i=4096",
            "r=x,s=,i=4096",
            "r=x,s=W22Z,i=",
            "r=x,s=W22Z,i=-1",
            "r=x,s=W22Z,i=99999999999",
        ] {
            let result = exchange().respond(challenge.as_bytes());
            assert!(matches!(result, Err(AuthenticationError::Malformed(_))), "{challenge}");
        }
        assert!(exchange().respond(b"\xff").is_err());
        assert!(answered().respond(CHALLENGE.as_bytes()).is_err());
    }

    #[test]
    fn names_are_prepared_and_escaped() {
        // A soft hyphen is nothing, a full-width letter a plain one. RFC 4013 section 3.
        let mut exchange = Scram::new("I\u{ad}X,=\u{ff21}", "p").exchange("n".to_owned());
        assert_eq!(exchange.first(), Ok(Some("n,,n=IX=2C=3DA,r=n".into())));
        let mut unusable = Scram::new("a\u{7}", "p").exchange("n".to_owned());
        assert_eq!(unusable.first(), Err(AuthenticationError::Credentials("the user name")));
        let mut empty = Scram::new("a", "").exchange(NONCE.to_owned());
        let result = empty.respond(CHALLENGE.as_bytes());
        assert_eq!(result, Err(AuthenticationError::Credentials("the password")));
    }

    #[test]
    fn nonces_differ() {
        let scram = Scram::new("user", "pencil");
        let first = || scram.begin().unwrap().first().unwrap();
        assert_ne!(first(), first());
        assert!(!format!("{scram:?}").contains("pencil"));
    }
}
