//! When a connection is made again, when a message is not, and which answer is none.

use postrider_proto::{Again, wire::ReasonCode};

use crate::Builder;

/// How often the server may close the connection right after one and the same message, unless told otherwise.
pub(crate) const CLOSES_MAX: u32 = 5;

impl<S> Builder<S> {
    /// What to do when the server refuses or ends a connection with this reason code. [`Again::by_default`] says what is
    /// done otherwise: refused credentials, a ban and a take-over end the session, a busy server is left alone for 5 s and
    /// more, after anything else the usual wait follows.
    ///
    /// ```
    /// use postrider::{Again, ReasonCode, Session};
    ///
    /// // Passwords change at the server before they do here.
    /// let builder = Session::builder("mqtt://127.0.0.1", "press-7")
    ///     .after(ReasonCode::BadUserNameOrPassword, Again::Later);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn after(mut self, reason: ReasonCode, again: Again) -> Self {
        self.extras.rules.push((reason, again));
        self
    }

    /// What to do when a certificate is refused: the server's by us (unknown authority, expired, another host, not the pinned
    /// one), or ours by the server (required, not accepted), or one that cannot be used here (the key does not match, or
    /// its password is wrong). Default [`Again::Never`]: that server is not tried again until another one has taken
    /// us, and without another one the session ends with [`crate::LinkReason::Tls`].
    ///
    /// Certificates and keys are read anew for each attempt. A program that runs on while somebody renews them, or whose
    /// clock is set late, goes on:
    ///
    /// ```
    /// use postrider::{Again, Session};
    ///
    /// let builder = Session::builder("mqtts://127.0.0.1", "press-7")
    ///     .after_refused_certificate(Again::Later);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn after_refused_certificate(mut self, again: Again) -> Self {
        self.extras.certificates = again;
        self
    }

    /// How often the server may close the connection right after one and the same message was sent, before that message
    /// fails with [`crate::PublishError::Parked`] and is told by [`crate::Event::Parked`]; 0 for ever. Default 5.
    ///
    /// Some servers have no other way to refuse a message, and one that is sent again after each reconnect would hold up
    /// all others. Only a close within 10 s counts, and only while no other message is on its way: after two such
    /// closes messages are sent one at a time, until those that were open are answered.
    #[must_use]
    pub fn park_after(mut self, closes: u32) -> Self {
        self.extras.closes_max = closes;
        self
    }

    /// Whether a PUBACK for a message at QoS 2 ends the connection, as the standard has it. Default no: some servers
    /// (RabbitMQ) answer so because they know no QoS 2, and the message is then complete as one of QoS 1, which
    /// [`crate::Published::is_downgraded`] says.
    #[must_use]
    pub fn strict_qos2(mut self, strict_qos2: bool) -> Self {
        self.extras.is_qos2_strict = strict_qos2;
        self
    }
}
