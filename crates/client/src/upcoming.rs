//! What may be changed before each attempt to connect.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use postrider_proto::{
    client::ConnectOptions,
    wire::{Properties, Property, Text},
};

use crate::{
    Authenticator, Builder, ConnectError, LinkReason, Will, blocking,
    builder::{PASSWORD_LEN_MAX, text},
    said::seconds,
};

/// The next attempt to connect, as [`Builder::before_connect`] may change it. What is changed holds for this attempt; the
/// next one begins with what the builder says.
#[derive(Clone)]
#[non_exhaustive]
pub struct Upcoming {
    /// Number of the attempt since the last success, from 1.
    pub number: u32,
    /// Why the connection or attempt before ended; `None` at the first one.
    pub last: Option<LinkReason>,
    /// Where to: a URL as for [`crate::Session::builder`]. A connector gets it too. Credentials in it do not count.
    pub server: String,
    /// User name.
    pub user: Option<String>,
    /// Password, at most 65,535 bytes.
    pub password: Option<Bytes>,
    /// Keep alive, as for [`Builder::keep_alive`].
    pub keep_alive: Duration,
    /// Will.
    pub will: Option<Will>,
    /// Properties of CONNECT, as for [`Builder::property`], but for those that set a limit of ours.
    pub properties: Properties,
    /// How to authenticate. An attempt that does not speak 5.0 fails with one, and the session ends.
    pub authenticator: Option<Arc<dyn Authenticator>>,
}

/// What a hook gives back.
pub(crate) type Prepared = Result<Upcoming, String>;
/// A hook at work.
pub(crate) type Preparing = Pin<Box<dyn Future<Output = Prepared> + Send>>;

/// What is done before each attempt.
#[derive(Clone)]
pub(crate) struct Hook(Arc<dyn Fn(Upcoming) -> Preparing + Send + Sync>);

impl Hook {
    pub(crate) fn call(&self, upcoming: Upcoming) -> Preparing {
        (self.0)(upcoming)
    }
}

impl Builder {
    /// Calls `hook` before each attempt to connect, the first one too. It may change credentials, will, properties and
    /// the server of that attempt, and take its time: all of it counts for [`Builder::connect_timeout`]. An error makes
    /// the attempt fail as if nobody had answered.
    ///
    /// A token that is fetched anew for each connection:
    ///
    /// ```no_run
    /// # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let builder = postrider::Session::builder("mqtt://127.0.0.1", "press-7")
    ///     .before_connect(|mut upcoming| async {
    ///         upcoming.password = Some(fetch_token().await?.into());
    ///         Ok::<_, std::io::Error>(upcoming)
    ///     });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn before_connect<F, Done, E>(mut self, hook: F) -> Self
    where
        F: Fn(Upcoming) -> Done + Send + Sync + 'static,
        Done: Future<Output = Result<Upcoming, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.extras.hook = Some(Hook(Arc::new(move |upcoming| {
            let done = hook(upcoming);
            Box::pin(async move { done.await.map_err(|error| error.into().to_string()) })
        })));
        self
    }
}

impl Builder<blocking::Session> {
    /// Calls `hook` before each attempt to connect, the first one too, on a thread where it may block. See
    /// [`Builder::before_connect`] of the async face.
    #[must_use]
    pub fn before_connect<E>(
        mut self,
        hook: impl Fn(&mut Upcoming) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let hook = Arc::new(hook);
        self.extras.hook = Some(Hook(Arc::new(move |mut upcoming| {
            let hook = Arc::clone(&hook);
            let called = tokio::task::spawn_blocking(move || {
                let result = hook(&mut upcoming).map_err(|error| error.into().to_string());
                result.map(|()| upcoming)
            });
            Box::pin(async move {
                called
                    .await
                    .unwrap_or_else(|_| Err("the hook before the attempt panicked".to_owned()))
            })
        })));
        self
    }
}

impl Upcoming {
    /// Which user, for people.
    pub(crate) fn who(&self) -> String {
        match &self.user {
            Some(user) => format!("user '{user}'"),
            None => "a connection without user name".to_owned(),
        }
    }

    /// What the machine is told, with the first data of the authentication.
    pub(crate) fn options(&self, first: Option<Bytes>) -> Result<ConnectOptions, ConnectError> {
        let len = self.password.as_ref().map_or(0, Bytes::len);
        if len > PASSWORD_LEN_MAX {
            let what = "the password";
            return Err(ConnectError::TooLong { what, len, len_max: PASSWORD_LEN_MAX });
        }
        let mut properties = self.properties.clone();
        if let Some(authenticator) = &self.authenticator {
            let method = text("the authentication method", authenticator.method())?;
            properties.set(Property::AuthenticationMethod(method));
            properties.retain(|property| !matches!(property, Property::AuthenticationData(_)));
            if let Some(first) = first {
                properties.push(Property::AuthenticationData(first));
            }
        }
        let user_name: Option<Text> =
            self.user.as_deref().map(|user| text("the user name", user)).transpose()?;
        Ok(ConnectOptions {
            user_name,
            password: self.password.clone(),
            keep_alive_s: u16::try_from(seconds(self.keep_alive)).unwrap_or(u16::MAX),
            will: self.will.clone().map(Will::checked).transpose()?,
            properties,
        })
    }
}

/// Shows no password.
impl fmt::Debug for Upcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upcoming")
            .field("number", &self.number)
            .field("last", &self.last)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
