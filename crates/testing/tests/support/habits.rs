//! What a broker does differently, so that scenarios expect exactly that.

use postrider::QoS;

/// What a broker cannot do, or does its own way, in a version of MQTT. The default is a broker that does everything the
/// standard describes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Whether it speaks the version.
    pub(crate) speaks: Speaks,
    /// Whether a client that it does not let in is always told so before the connection is closed.
    pub(crate) always_says_refused: bool,
    /// The highest QoS that it grants, and so delivers.
    pub(crate) qos_granted_max: QoS,
    /// What becomes of a publication at QoS 2.
    pub(crate) qos2: Qos2,
    /// Whether a new subscription with wildcards gets retained messages.
    pub(crate) finds_retained_by_wildcard: bool,
    /// Whether it says that a session is present when it is.
    pub(crate) says_session_present: bool,
    /// What becomes of messages at QoS 0 for a session that is away.
    pub(crate) qos0_offline: Qos0Offline,
    /// Whether messages at QoS 1 and 2 that waited for a session come in the order of their publication.
    pub(crate) keeps_order_offline: bool,
    /// Whether it tells a client of 5.0 that another one took its session over.
    pub(crate) says_taken_over: bool,
    /// How often a message comes that matches several filters of one session.
    pub(crate) overlap: Overlap,
    /// Whether a PUBLISH at QoS 2 that comes again is known by its packet identifier.
    pub(crate) knows_repeated_qos2: bool,
    /// Whether an acknowledgement that it has received outlives a crash.
    pub(crate) keeps_acks_in_a_crash: bool,
    /// Whether a subscription that it has granted outlives a crash if its session does.
    pub(crate) keeps_subscriptions_in_a_crash: bool,
    /// What becomes of a topic with unusual characters.
    pub(crate) odd_topic: fn(&str) -> Oddity,
    /// What becomes of a topic that begins with `$`.
    pub(crate) dollar_topic: DollarTopic,
    /// What becomes of a shared subscription.
    pub(crate) shares: Shares,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            speaks: Speaks::Yes,
            always_says_refused: true,
            qos_granted_max: QoS::ExactlyOnce,
            qos2: Qos2::Full,
            finds_retained_by_wildcard: true,
            says_session_present: true,
            qos0_offline: Qos0Offline::Dropped,
            keeps_order_offline: true,
            says_taken_over: true,
            overlap: Overlap::OneEach,
            knows_repeated_qos2: true,
            keeps_acks_in_a_crash: true,
            keeps_subscriptions_in_a_crash: true,
            odd_topic: |_| Oddity::None,
            dollar_topic: DollarTopic::Delivered,
            shares: Shares::Yes,
        }
    }
}

/// How a broker answers the CONNECT of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Yes,
    /// CONNACK with return code 1.
    Refuses,
    /// It closes without a CONNACK.
    Closes,
}

/// What becomes of a publication at QoS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos2 {
    Full,
    /// It is acknowledged with PUBACK and goes on as QoS 1.
    PubAck,
    /// The connection is closed.
    Closes,
    /// A CONNACK of 5.0 says that the maximum is QoS 1.
    Announced,
}

/// What becomes of messages at QoS 0 for a session that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos0Offline {
    Dropped,
    Kept,
    /// Kept if others wait before them.
    KeptBehindOthers,
}

/// How often a message comes that matches several filters of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// Such that each subscription of the client gets one.
    OneEach,
    /// Once, and at QoS 0 if one of the filters asks for it.
    OneAtQos0,
    /// Once for each filter, without saying for which: each subscription gets all of them.
    PerFilter,
    /// Once from the queue for QoS 0 and once from the queue for QoS 1, likewise.
    PerQueue,
}

/// What becomes of a topic, and how that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    None,
    /// It arrives as another one.
    Becomes(&'static str, &'static str),
    /// The connection is closed.
    Closes(&'static str),
}

/// What becomes of a shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shares {
    Yes,
    /// A CONNACK of 5.0 says that there are none.
    NotOffered,
    /// It is granted as if the filter were an ordinary one.
    AsTopic,
    /// The connection is closed.
    Closes,
}

/// What becomes of a message to a topic that begins with `$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DollarTopic {
    Delivered,
    /// It is acknowledged, and goes nowhere.
    Lost,
    /// The PUBACK of 5.0 says that the topic is not allowed, and why.
    Refused,
    /// The connection is closed.
    Closes,
}
