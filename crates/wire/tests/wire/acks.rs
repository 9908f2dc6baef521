//! PUBACK, PUBREC, PUBREL, PUBCOMP.

use postrider_wire::Version::{V5, V31, V311};

use crate::script::{ALL, V3, check, decodes, fails};

/// v5 [MQTT-2.2.1-5] v3.1.1 [MQTT-2.3.1-6] [MQTT-3.6.1-1]
#[test]
fn short_form_means_success() {
    for version in ALL {
        check(version, "40 02 00 07", "PUBACK id=7 Success");
        check(version, "50 02 00 07", "PUBREC id=7 Success");
        check(version, "62 02 ff ff", "PUBREL id=65535 Success");
        check(version, "70 02 01 00", "PUBCOMP id=256 Success");
    }
}

/// v5 [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
#[test]
fn code_without_properties() {
    check(V5, "40 03 00 07 10", "PUBACK id=7 NoMatchingSubscribers");
    check(V5, "50 03 00 07 97", "PUBREC id=7 QuotaExceeded");
    check(V5, "62 03 00 07 92", "PUBREL id=7 PacketIdentifierNotFound");
    check(V5, "70 03 00 07 92", "PUBCOMP id=7 PacketIdentifierNotFound");
}

/// Several brokers spell out what may be left out; it is the same packet.
#[test]
fn long_forms_are_tolerated() {
    decodes(V5, "40 03 00 07 00", "PUBACK id=7 Success");
    decodes(V5, "40 04 00 07 00 00", "PUBACK id=7 Success");
    decodes(V5, "50 04 00 07 10 00", "PUBREC id=7 NoMatchingSubscribers");
    decodes(V5, "62 04 00 07 00 00", "PUBREL id=7 Success");
    decodes(V5, "70 04 00 07 92 00", "PUBCOMP id=7 PacketIdentifierNotFound");
}

/// v5 [MQTT-3.4.2-2] [MQTT-3.4.2-3]: both texts may stand there.
#[test]
fn properties_of_acks() {
    for (first, name) in [("40", "PUBACK"), ("50", "PUBREC")] {
        check(
            V5,
            &format!("{first} ( 00 07 80 ( 1f <why> 26 <a> <b> ) )"),
            &format!(
                "{name} id=7 UnspecifiedError {{ReasonString=\"why\" UserProperty=\"a\":\"b\"}}"
            ),
        );
    }
    check(V5, "62 ( 00 07 00 ( 1f <why> ) )", "PUBREL id=7 Success {ReasonString=\"why\"}");
    check(V5, "70 ( 00 07 00 ( 26 <a> <> ) )", "PUBCOMP id=7 Success {UserProperty=\"a\":\"\"}");
}

/// v5 [MQTT-2.2.1-5] v3.1.1 [MQTT-2.3.1-6]
#[test]
fn packet_id_0_is_malformed() {
    fails(V5, "40 02 00 00", "0x81 at 2 MQTT-2.2.1-5 PacketId");
    fails(V5, "40 03 00 00 10", "0x81 at 2 MQTT-2.2.1-5 PacketId");
    for version in V3 {
        fails(version, "62 02 00 00", "0x81 at 2 MQTT-2.3.1-6 PacketId");
    }
}

/// v5 [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]: a code of another packet, a code
/// of none.
#[test]
fn codes_out_of_place() {
    fails(V5, "40 03 00 07 92", "0x82 at 4 MQTT-3.4.2-1 Reason(146)");
    fails(V5, "50 03 00 07 01", "0x82 at 4 MQTT-3.5.2-1 Reason(1)");
    fails(V5, "62 03 00 07 10", "0x82 at 4 MQTT-3.6.2-1 Reason(16)");
    fails(V5, "70 03 00 07 80", "0x82 at 4 MQTT-3.7.2-1 Reason(128)");
    fails(V5, "40 03 00 07 03", "0x81 at 4 MQTT-3.4.2-1 Reason(3)");
    fails(V5, "40 03 00 07 ff", "0x81 at 4 MQTT-3.4.2-1 Reason(255)");
}

/// v5 [MQTT-2.1.3-1] [MQTT-3.6.1-1] v3.1.1 [MQTT-2.2.2-2] [MQTT-3.6.1-1]
#[test]
fn flags_are_fixed() {
    fails(V5, "41", "0x81 at 0 MQTT-2.1.3-1 Flags");
    fails(V5, "60", "0x81 at 0 MQTT-3.6.1-1 Flags");
    fails(V5, "6a", "0x81 at 0 MQTT-3.6.1-1 Flags");
    fails(V311, "52", "0x81 at 0 MQTT-2.2.2-2 Flags");
    fails(V311, "6a", "0x81 at 0 MQTT-3.6.1-1 Flags");
    fails(V31, "63", "0x81 at 0 MQTT-3.6.1-1 Flags");
}

/// In 3.1 PUBREL, SUBSCRIBE and UNSUBSCRIBE carry QoS 1, and DUP when they are sent again.
#[test]
fn old_packets_may_have_dup() {
    decodes(V31, "6a 02 00 07", "PUBREL id=7 Success");
    decodes(V31, "8a ( 00 01 <a> 01 )", "SUBSCRIBE id=1 \"a\"=1");
    decodes(V31, "aa ( 00 01 <a> )", "UNSUBSCRIBE id=1 \"a\"");
}

/// v5 [MQTT-4.13.1-1] v3.1.1 [MQTT-4.8.0-1]
#[test]
fn lengths_are_exact() {
    fails(V5, "40 00", "0x81 at 2 MQTT-4.13.1-1 Truncated");
    fails(V5, "40 01 00", "0x81 at 2 MQTT-4.13.1-1 Truncated");
    fails(V5, "40 05 00 07 00 00 00", "0x81 at 6 MQTT-4.13.1-1 TrailingBytes");
    fails(V5, "40 04 00 07 00 01", "0x81 at 5 MQTT-4.13.1-1 Truncated");
    for version in V3 {
        fails(version, "40 03 00 07 00", "0x81 at 4 MQTT-4.8.0-1 TrailingBytes");
        fails(version, "62 01 00", "0x81 at 2 MQTT-4.8.0-1 Truncated");
    }
}
