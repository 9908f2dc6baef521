//! Faults that the simulation plants to see that it finds them.
//!
//! Without the feature `mutations` nothing is planted, at no cost. With it, one of them can be chosen for the whole
//! process. What each one does stands where it is planted.

macro_rules! mutations {
    ($($name:ident: $what:literal,)*) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation {
            $(#[doc = $what] $name,)*
        }

        impl Mutation {
            /// All of them, with a sentence for people.
            #[cfg(feature = "mutations")]
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $what),)*];
        }
    };
}

mutations! {
    PubAckBeforeStore: "PUBACK leaves before the message is stored",
    PubRecBeforeStore: "PUBREC leaves before message and id are stored",
    PubRelBeforeStore: "PUBREL leaves before it is stored that PUBREC came",
    PubCompBeforeStore: "PUBCOMP leaves before the release is stored",
    PublishBeforeStore: "a QoS 2 PUBLISH leaves before it is stored",
    ConnAckBeforeStore: "CONNACK leaves before the session is stored",
    SubAckBeforeStore: "SUBACK leaves before the subscription is stored",
    StoredAtOnce: "what was handed to the store counts as stored",
    FenceIgnored: "an acknowledgement does not wait for other hubs",
    IdSetDropped: "received ids are forgotten when the client connects again",
    IdSetNotRecovered: "received ids are forgotten by a restart",
    ReleaseForgotten: "PUBREL does not take the id out of the set",
    DuplicateDelivered: "a repeated QoS 2 PUBLISH is delivered again",
    DeliveredTwice: "a QoS 2 message is delivered at PUBLISH and once more for its PUBREL",
    DupForgotten: "DUP is not set when a PUBLISH is sent again",
    DupAtFirst: "DUP is set when a PUBLISH is sent for the first time",
    BusyIdReused: "a packet id is given out although it is in use",
    NotSentAgain: "open PUBLISHes are not sent again on resume",
    NotReleasedAgain: "PUBREL is not sent again on resume",
    QueueJumped: "a new message goes before those that wait",
    WindowIgnored: "the peer's receive maximum is ignored",
    QueueUnbounded: "a full queue takes more",
    QueueLostOffline: "the first message of the queue is lost with the link",
    NumbersNotReserved: "message numbers are given out without being reserved",
    NumbersEarly: "a message leaves before the record that reserves its number is stored",
    FinishNotRecorded: "the end of a message is not recorded",
    MessageNotRecorded: "a queued message is not recorded",
    StateMisread: "a restart takes a flight that awaits PUBCOMP for one that awaits PUBREC",
    LostSessionResumed: "the client goes on with its flights although the server lost the session",
    ConnectNotMarked: "a CONNECT leaves before it is stored that its answer is open",
    NewSessionTrusted: "a session that began for a CONNECT without an answer is taken for the old one",
    SubscribedInDoubt: "SUBSCRIBE leaves while received ids of an older session are not durably forgotten",
    NotSubscribedAgain: "the client does not subscribe again although the server lost the session",
    SubscriptionNotRecovered: "a restart of the broker forgets subscriptions",
    OwnerReused: "a restart of the broker gives out owner numbers again",
    RetainedNotRecorded: "a retained message is not recorded",
    RetainedOldWins: "an older retained message replaces a newer one of another hub",
    RetainedLowQos: "a retained message sent out of turn takes the QoS of the live one",
    SessionPresentWrong: "CONNACK says that there was a session where there was none",
    CleanStartIgnored: "a clean start goes on with the old session",
    GoneSessionUnstored: "CONNACK says that a session is gone before that is stored",
    SessionKeptExpired: "sessions do not expire",
    SessionExpiresEarly: "sessions expire at once",
    NotCrossing: "messages do not reach other hubs",
    CrossingNotResumed: "a QoS 2 message that a crash stopped between two hubs counts as delivered",
    TakersNotRecorded: "a hub does not record who has a QoS 2 message that goes to others too",
    TakersIgnored: "a QoS 2 message that a crash stopped between two hubs goes to those again who have it",
    WillForgottenEarly: "the record of a will goes before other hubs have stored the message",
    WillNotResumed: "a will that a crash stopped between two hubs counts as published",
    FirstDespiteTakers: "the store is told that nothing is under a received id although other hubs write there",
    QosRaised: "a message is delivered at a higher QoS than it was published at",
    RetainKept: "RETAIN stays set on a live message",
    UnsubscribeIgnored: "messages come after UNSUBACK",
    AckNotWithheld: "PUBACK or PUBREC leaves before the program has acknowledged",
    OwnAckBeforeStore: "PUBACK leaves before what the program has done is stored",
    DroppedNotAgain: "a message that the program dropped is not handed out again",
    AcksOutOfOrder: "PUBACKs leave in the order in which the program acknowledges",
    HandedIsSynced: "what was handed to the operating system counts as synced",
    SpoolUnsynced: "a record is synced before the payload that it names (driver)",
    SpoolNotNamed: "a restart of the broker takes spools for orphans (driver)",
    LastRecordLost: "the store loses the last record of a batch (driver)",
    FailedSyncIgnored: "a failed sync counts as stored (driver)",
    DeleteWithoutPrefix: "the store deletes a key without those that begin with it (driver)",
}

/// Whether this fault is planted. Always false without the feature `mutations`.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
#[must_use]
pub const fn planted(_mutation: Mutation) -> bool {
    false
}

/// Whether this fault is planted.
#[cfg(feature = "mutations")]
#[must_use]
pub fn planted(mutation: Mutation) -> bool {
    CHOSEN.load(core::sync::atomic::Ordering::Relaxed) == mutation as u32 + 1
}

/// Plants one fault, or none.
#[cfg(feature = "mutations")]
pub fn plant(mutation: Option<Mutation>) {
    let number = mutation.map_or(0, |mutation| mutation as u32 + 1);
    CHOSEN.store(number, core::sync::atomic::Ordering::Relaxed);
}

/// The number of the fault that is planted, from 1; 0 for none.
#[cfg(feature = "mutations")]
static CHOSEN: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);
