//! The scenario list against other people's brokers. `tests/brokers` starts them; what they cannot do is expected.
//!
//! All cases of a broker use one process, with topics of their own; a case that kills it waits until it is alone.
//! A broker that is not there is not run; that is a failure only if `POSTRIDER_LANE` names it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

#[path = "../support/mod.rs"]
mod support;

mod foreign;
mod place;

use postrider::{Protocol, QoS};

use self::support::habits::{
    DollarTopic, Habits, Oddity, Overlap, Qos0Offline, Qos2, Shares, Speaks,
};

/// Says what a broker is called, what it does differently by version, and makes its tests.
macro_rules! broker {
    ($name:ident, $title:literal, $habits:expr) => {
        mod $name {
            use postrider::Protocol;

            use super::{
                foreign::{Broker, Foreign},
                place::Place,
                support::habits::Habits,
            };

            pub(crate) struct Kind;

            impl Broker for Kind {
                const TITLE: &'static str = $title;

                fn place() -> &'static Place {
                    static PLACE: Place = Place::new(stringify!($name));
                    &PLACE
                }

                fn habits(version: [u32; 2], protocol: Protocol) -> Habits {
                    $habits(version, protocol)
                }
            }

            crate::all_scenarios!(super::Foreign<super::Kind>);
        }
    };
}

broker!(mosquitto, "Mosquitto", super::mosquitto_habits);
broker!(rabbitmq, "RabbitMQ", super::rabbitmq_habits);
broker!(activemq, "ActiveMQ Classic", super::activemq_habits);
broker!(ejabberd, "ejabberd", super::ejabberd_habits);
broker!(nats, "NATS", super::nats_habits);
broker!(aedes, "aedes", super::aedes_habits);

fn mosquitto_habits(_: [u32; 2], _: Protocol) -> Habits {
    // 2.0.11 just closes. Its database is written once a second.
    Habits { says_taken_over: false, keeps_acks_in_a_crash: false, ..Habits::default() }
}

fn rabbitmq_habits(version: [u32; 2], protocol: Protocol) -> Habits {
    let is_v5 = protocol == Protocol::V5;
    Habits {
        speaks: if is_v5 && version < [3, 13] { Speaks::Closes } else { Speaks::Yes },
        qos_granted_max: QoS::AtLeastOnce,
        qos2: if is_v5 { Qos2::Announced } else { Qos2::PubAck },
        finds_retained_by_wildcard: false,
        qos0_offline: Qos0Offline::Kept,
        overlap: Overlap::PerQueue,
        knows_repeated_qos2: false,
        keeps_acks_in_a_crash: false,
        // Its database writes seconds late: the queue of a session may be there, and what is bound to it not.
        keeps_subscriptions_in_a_crash: false,
        odd_topic: |topic| match topic {
            "odd/a.b" => {
                Oddity::Becomes("odd/a/b", "a topic with a dot arrives with a slash there")
            }
            "odd/a*b" => {
                Oddity::Becomes("odd/a+b", "a topic with an asterisk arrives with a plus there")
            }
            _ => Oddity::None,
        },
        shares: if is_v5 { Shares::NotOffered } else { Shares::AsTopic },
        ..Habits::default()
    }
}

fn activemq_habits(_: [u32; 2], protocol: Protocol) -> Habits {
    Habits {
        // To a CONNECT of 5.0 without a name it would answer.
        speaks: if protocol == Protocol::V5 { Speaks::Closes } else { Speaks::Yes },
        // Two of its threads race: under load 19 of 2,400 refused connections were closed without a CONNACK.
        always_says_refused: false,
        says_session_present: false,
        qos0_offline: Qos0Offline::Kept,
        keeps_order_offline: false,
        overlap: Overlap::PerFilter,
        knows_repeated_qos2: false,
        // Its journal may not have the last acknowledgement when it is killed.
        keeps_acks_in_a_crash: false,
        dollar_topic: DollarTopic::Lost,
        shares: Shares::AsTopic,
        ..Habits::default()
    }
}

fn ejabberd_habits(_: [u32; 2], protocol: Protocol) -> Habits {
    let is_v5 = protocol == Protocol::V5;
    Habits {
        speaks: if protocol == Protocol::V31 { Speaks::Refuses } else { Speaks::Yes },
        qos0_offline: Qos0Offline::KeptBehindOthers,
        // In 5.0 each copy says which subscription it is for.
        overlap: if is_v5 { Overlap::OneEach } else { Overlap::PerFilter },
        dollar_topic: if is_v5 { DollarTopic::Refused } else { DollarTopic::Lost },
        shares: if is_v5 { Shares::NotOffered } else { Shares::Closes },
        ..Habits::default()
    }
}

fn nats_habits(version: [u32; 2], protocol: Protocol) -> Habits {
    let common = Habits {
        speaks: match protocol {
            Protocol::V31 => Speaks::Closes,
            Protocol::V5 => Speaks::Refuses,
            _ => Speaks::Yes,
        },
        overlap: Overlap::PerFilter,
        odd_topic: |topic| match topic {
            "odd/a b" => Oddity::Closes("a topic with a space ends the connection"),
            _ => Oddity::None,
        },
        shares: Shares::AsTopic,
        ..Habits::default()
    };
    if version >= [2, 10] {
        return common;
    }
    Habits {
        qos_granted_max: QoS::AtLeastOnce,
        qos2: Qos2::Closes,
        odd_topic: |topic| match topic {
            "odd/a.b" => Oddity::Closes("a topic with a dot ends the connection"),
            "odd/a b" => Oddity::Closes("a topic with a space ends the connection"),
            _ => Oddity::None,
        },
        ..common
    }
}

fn aedes_habits(_: [u32; 2], protocol: Protocol) -> Habits {
    Habits {
        speaks: if protocol == Protocol::V5 { Speaks::Refuses } else { Speaks::Yes },
        keeps_order_offline: false,
        overlap: Overlap::OneAtQos0,
        knows_repeated_qos2: false,
        shares: Shares::AsTopic,
        ..Habits::default()
    }
}
