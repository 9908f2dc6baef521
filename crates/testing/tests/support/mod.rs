//! One list of scenarios, run against any broker, with both faces of the client and both versions of MQTT.

pub(crate) mod client;
#[allow(dead_code, reason = "each test program has some brokers, and so some of the habits")]
pub(crate) mod habits;
pub(crate) mod inbox;
pub(crate) mod losses;
pub(crate) mod report;
pub(crate) mod scenarios;
pub(crate) mod setting;
pub(crate) mod topics;

pub(crate) use self::setting::{Face, Server};

/// Makes one test of each scenario, face and version against a kind of server.
#[macro_export]
macro_rules! scenarios {
    ($server:ty: $($scenario:ident),* $(,)?) => {$(
        mod $scenario {
            use postrider::Protocol;

            use $crate::support::{Face, scenarios, setting};

            fn run(face: Face, protocol: Protocol) {
                setting::play::<$server>(
                    stringify!($scenario),
                    face,
                    protocol,
                    scenarios::$scenario,
                );
            }

            #[test]
            fn async_v311() {
                run(Face::Async, Protocol::V311);
            }

            #[test]
            fn async_v5() {
                run(Face::Async, Protocol::V5);
            }

            #[test]
            fn blocking_v311() {
                run(Face::Blocking, Protocol::V311);
            }

            #[test]
            fn blocking_v5() {
                run(Face::Blocking, Protocol::V5);
            }
        }
    )*};
}

/// The list.
#[macro_export]
macro_rules! all_scenarios {
    ($server:ty) => {
        $crate::scenarios! {
            $server:
            message_of_each_qos_arrives,
            message_numbers_rise_and_are_zero_at_qos_0,
            lower_of_published_and_granted_qos_is_delivered,
            retained_message_reaches_a_late_subscriber_and_is_cleared,
            offline_messages_reach_a_persistent_session,
            second_connection_takes_the_session_over,
            will_is_published_on_abort,
            will_is_not_published_on_disconnect,
            overlapping_filters_each_get_one_copy,
            two_streams_on_one_filter_share_it,
            message_whose_answer_is_lost_is_sent_again,
            message_lost_on_its_way_comes_again,
            idle_connection_is_kept_by_pings,
            large_payloads_arrive_whole,
            killed_broker_is_found_again,
            wrong_credentials_are_refused,
            one_filter_is_unsubscribed,
            all_filters_are_unsubscribed,
            disconnect_flushes_and_is_final,
            verbs_work_inside_a_callback,
            odd_topics_arrive_as_they_were_sent,
            topic_with_a_dollar_is_one_like_others,
            shared_subscription_gives_each_message_to_one,
        }

        mod version_3_1 {
            use postrider::Protocol;

            use $crate::support::{Face, scenarios, setting};

            /// 3.1 differs from 3.1.1 in its CONNECT only.
            #[test]
            fn message_of_each_qos_arrives() {
                setting::play::<$server>(
                    "message_of_each_qos_arrives",
                    Face::Async,
                    Protocol::V31,
                    scenarios::message_of_each_qos_arrives,
                );
            }
        }
    };
}
