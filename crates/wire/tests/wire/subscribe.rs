//! SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK.

use postrider_wire::Version::{V5, V311};

use crate::script::{ALL, V3, check, fails};

/// v5 [MQTT-3.8.1-1] [MQTT-3.8.3-1] v3.1.1 [MQTT-3.8.1-1] [MQTT-3.8.3-1]
#[test]
fn filters_with_their_qos() {
    for version in V3 {
        check(version, "82 06 00 01 00 01 61 00", "SUBSCRIBE id=1 \"a\"=0");
        let line = "SUBSCRIBE id=10 \"a/+\"=2 \"#\"=1";
        check(version, "82 0c 00 0a 00 03 61 2f 2b 02 00 01 23 01", line);
    }
    check(V5, "82 07 00 01 00 00 01 61 00", "SUBSCRIBE id=1 \"a\"=0");
}

/// v5 section 3.8.3.1: No Local, Retain As Published, Retain Handling.
#[test]
fn subscription_options() {
    check(
        V5,
        "82 ( 00 01 ( 0b 80 01 26 <n> <v> ) <a> 2e <b> 10 <c> 21 )",
        "SUBSCRIBE id=1 \"a\"=2,no_local,retain_as_published,retain_handling=2 \
         \"b\"=0,retain_handling=1 \"c\"=1,retain_handling=2 \
         {SubscriptionIdentifier=128 UserProperty=\"n\":\"v\"}",
    );
}

/// v5 [MQTT-3.8.3-5] v3.1.1 [MQTT-3.8.3-4]
#[test]
fn reserved_option_bits() {
    for byte in ["40", "80", "c1"] {
        let script = format!("82 ( 00 01 00 <a> {byte} )");
        fails(V5, &script, "0x81 at 8 MQTT-3.8.3-5 ReservedBits");
    }
    for byte in ["04", "08", "10", "20", "40", "80"] {
        let script = format!("82 ( 00 01 <a> {byte} )");
        for version in V3 {
            fails(version, &script, "0x81 at 7 MQTT-3.8.3-4 ReservedBits");
        }
    }
}

/// v5 section 3.8.3.1: QoS 3 and Retain Handling 3 are protocol errors. v3.1.1 [MQTT-3.8.3-4].
#[test]
fn values_3_of_the_options() {
    fails(V5, "82 ( 00 01 00 <a> 03 )", "0x82 at 8 MQTT-4.13.1-1 QoS");
    fails(V5, "82 ( 00 01 00 <a> 30 )", "0x82 at 8 MQTT-4.13.1-1 ReservedBits");
    fails(V311, "82 ( 00 01 <a> 03 )", "0x81 at 7 MQTT-3.8.3-4 QoS");
}

/// v5 [MQTT-3.8.3-4]
#[test]
fn no_local_on_a_shared_filter() {
    fails(V5, "82 ( 00 01 00 <$share/g/a> 04 )", "0x82 at 17 MQTT-3.8.3-4 SharedNoLocal");
    check(V5, "82 ( 00 01 00 <$share/g/a> 01 )", "SUBSCRIBE id=1 \"$share/g/a\"=1");
    check(V5, "82 ( 00 01 00 <$shared/a> 04 )", "SUBSCRIBE id=1 \"$shared/a\"=0,no_local");
}

/// v5 [MQTT-3.8.3-2] [MQTT-3.10.3-2] v3.1.1 [MQTT-3.8.3-3] [MQTT-3.10.3-2]
#[test]
fn at_least_one_filter() {
    fails(V5, "82 03 00 01 00", "0x82 at 5 MQTT-3.8.3-2 Empty");
    fails(V311, "82 02 00 01", "0x82 at 4 MQTT-3.8.3-3 Empty");
    fails(V5, "a2 03 00 01 00", "0x82 at 5 MQTT-3.10.3-2 Empty");
    fails(V311, "a2 02 00 01", "0x82 at 4 MQTT-3.10.3-2 Empty");
}

/// v5 [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2] [MQTT-4.7.3-2]
/// v3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1] [MQTT-4.7.3-2]
#[test]
fn ill_formed_filters() {
    let v5 = |filter| format!("82 ( 00 01 00 <{filter}> 00 )");
    fails(V5, &v5("a/#/b"), "0x81 at 9 MQTT-4.7.1-1 Filter");
    fails(V5, &v5("a#"), "0x81 at 8 MQTT-4.7.1-1 Filter");
    fails(V5, &v5("a+"), "0x81 at 8 MQTT-4.7.1-2 Filter");
    fails(V5, &v5("a/+b"), "0x81 at 9 MQTT-4.7.1-2 Filter");
    fails(V5, &v5(""), "0x81 at 7 MQTT-4.7.3-1 Filter");
    fails(V5, &v5("$share/a"), "0x81 at 7 MQTT-4.8.2-1 Filter");
    fails(V5, &v5("$share//x"), "0x81 at 7 MQTT-4.8.2-1 Filter");
    fails(V5, &v5("$share/a+/x"), "0x81 at 7 MQTT-4.8.2-2 Filter");
    fails(V5, &v5("$share/a/"), "0x81 at 16 MQTT-4.8.2-2 Filter");
    fails(V5, &v5("$share/a/x#"), "0x81 at 17 MQTT-4.7.1-1 Filter");
    let v311 = |filter| format!("a2 ( 00 01 <{filter}> )");
    fails(V311, &v311("#/a"), "0x81 at 6 MQTT-4.7.1-2 Filter");
    fails(V311, &v311("+a"), "0x81 at 6 MQTT-4.7.1-3 Filter");
    fails(V311, &v311("$share/x"), "0x81 at 6 MQTT-4.8.0-1 Filter");
    fails(V5, "82 ( 00 01 00 00 02 'a' 00 00 )", "0x81 at 8 MQTT-1.5.4-2 Text");
    fails(V311, "a2 ( 00 01 00 01 c0 )", "0x81 at 6 MQTT-1.5.3-1 Text");
}

/// v5 [MQTT-2.2.1-3] v3.1.1 [MQTT-2.3.1-1]
#[test]
fn packet_id_0_is_malformed() {
    fails(V5, "82 ( 00 00 00 <a> 00 )", "0x81 at 2 MQTT-2.2.1-3 PacketId");
    fails(V311, "a2 ( 00 00 <a> )", "0x81 at 2 MQTT-2.3.1-1 PacketId");
    fails(V5, "90 ( 00 00 00 00 )", "0x81 at 2 MQTT-2.2.1-6 PacketId");
    fails(V311, "b0 ( 00 00 )", "0x81 at 2 MQTT-2.3.1-7 PacketId");
}

/// v5 [MQTT-4.13.1-1] v3.1.1 [MQTT-4.8.0-1]
#[test]
fn a_filter_without_its_options() {
    fails(V5, "82 ( 00 01 00 <a> )", "0x81 at 8 MQTT-4.13.1-1 Truncated");
    fails(V311, "82 ( 00 01 <a> 00 00 )", "0x81 at 8 MQTT-4.8.0-1 Truncated");
}

/// v5 [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-3.8.4-6] [MQTT-2.2.1-6]
#[test]
fn sub_ack_of_5_0() {
    check(V5, "90 04 00 01 00 00", "SUBACK id=1 [Success]");
    check(
        V5,
        "90 ( 00 01 ( 1f <no> ) 00 01 02 80 8f 9e )",
        "SUBACK id=1 [Success GrantedQoS1 GrantedQoS2 UnspecifiedError TopicFilterInvalid \
         SharedSubscriptionsNotSupported] {ReasonString=\"no\"}",
    );
    fails(V5, "90 04 00 01 00 03", "0x81 at 5 MQTT-3.9.3-2 Reason(3)");
    fails(V5, "90 05 00 01 00 00 11", "0x82 at 6 MQTT-3.9.3-2 Reason(17)");
    fails(V5, "90 03 00 01 00", "0x82 at 5 MQTT-3.8.4-6 Empty");
}

/// v3.1.1 [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-3.8.4-5] [MQTT-2.3.1-7]
#[test]
fn sub_ack_of_3() {
    for version in V3 {
        let line = "SUBACK id=1 [Success GrantedQoS1 GrantedQoS2 UnspecifiedError]";
        check(version, "90 06 00 01 00 01 02 80", line);
        fails(version, "90 03 00 01 03", "0x81 at 4 MQTT-3.9.3-2 Reason(3)");
        fails(version, "90 04 00 01 00 87", "0x82 at 5 MQTT-3.9.3-2 Reason(135)");
        fails(version, "90 02 00 01", "0x82 at 4 MQTT-3.8.4-5 Empty");
    }
}

/// v5 [MQTT-3.10.1-1] [MQTT-3.10.3-1] v3.1.1 [MQTT-3.10.1-1] [MQTT-3.10.3-1]
#[test]
fn unsubscribe_lists_filters() {
    for version in V3 {
        check(version, "a2 05 00 02 00 01 61", "UNSUBSCRIBE id=2 \"a\"");
        check(version, "a2 ( 00 02 <a/#> <b> )", "UNSUBSCRIBE id=2 \"a/#\" \"b\"");
    }
    check(
        V5,
        "a2 ( 00 02 ( 26 <n> <v> ) <$share/g/#> )",
        "UNSUBSCRIBE id=2 \"$share/g/#\" {UserProperty=\"n\":\"v\"}",
    );
}

/// v5 [MQTT-3.11.3-1] [MQTT-3.11.3-2] v3.1.1 [MQTT-3.10.4-4] [MQTT-2.3.1-7]: only 5.0 has codes.
#[test]
fn unsub_ack_of_each_version() {
    for version in V3 {
        check(version, "b0 02 00 02", "UNSUBACK id=2 []");
        fails(version, "b0 03 00 02 00", "0x81 at 4 MQTT-4.8.0-1 TrailingBytes");
    }
    check(
        V5,
        "b0 06 00 02 00 00 11 87",
        "UNSUBACK id=2 [Success NoSubscriptionExisted NotAuthorized]",
    );
    fails(V5, "b0 03 00 02 00", "0x82 at 5 MQTT-3.11.3-2 Empty");
    fails(V5, "b0 04 00 02 00 01", "0x82 at 5 MQTT-3.11.3-2 Reason(1)");
    for version in ALL {
        assert!(crate::script::decode(version, "b0 01 00").is_err());
    }
}
