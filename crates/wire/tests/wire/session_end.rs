//! PINGREQ, PINGRESP, DISCONNECT, AUTH.

use postrider_wire::Version::{V5, V311};

use crate::script::{ALL, V3, check, decodes, fails};

/// v5 [MQTT-3.12.4-1] v3.1.1 [MQTT-3.12.4-1]: two bytes each.
#[test]
fn pings_have_no_body() {
    for version in ALL {
        check(version, "c0 00", "PINGREQ");
        check(version, "d0 00", "PINGRESP");
    }
    fails(V5, "c0 01 00", "0x81 at 2 MQTT-4.13.1-1 TrailingBytes");
    fails(V311, "d0 02 00 00", "0x81 at 2 MQTT-4.8.0-1 TrailingBytes");
}

/// v3.1.1 [MQTT-3.14.1-1]
#[test]
fn disconnect_of_3_has_no_body() {
    for version in V3 {
        check(version, "e0 00", "DISCONNECT Success");
        fails(version, "e0 01 00", "0x81 at 2 MQTT-4.8.0-1 TrailingBytes");
        fails(version, "e2 00", "0x81 at 0 MQTT-3.14.1-1 Flags");
    }
}

/// v5 [MQTT-3.14.2-1]: nothing, a code, or code and properties.
#[test]
fn disconnect_of_5_0() {
    check(V5, "e0 00", "DISCONNECT Success");
    check(V5, "e0 01 04", "DISCONNECT DisconnectWithWill");
    check(V5, "e0 01 8e", "DISCONNECT SessionTakenOver");
    check(V5, "e0 ( 00 ( 11 00 00 00 3c ) )", "DISCONNECT Success {SessionExpiryInterval=60}");
    check(
        V5,
        "e0 ( 9c ( 1c <other:1883> 1f <full> ) )",
        "DISCONNECT UseAnotherServer {ServerReference=\"other:1883\" ReasonString=\"full\"}",
    );
    decodes(V5, "e0 01 00", "DISCONNECT Success");
    decodes(V5, "e0 02 00 00", "DISCONNECT Success");
    fails(V5, "e0 01 01", "0x82 at 2 MQTT-3.14.2-1 Reason(1)");
    fails(V5, "e0 01 05", "0x81 at 2 MQTT-3.14.2-1 Reason(5)");
    fails(V5, "e0 03 00 00 00", "0x81 at 4 MQTT-4.13.1-1 TrailingBytes");
}

/// v5 [MQTT-3.15.2-1]: the codes; v5 section 3.15.2.2.2: a method unless the packet is empty.
#[test]
fn auth_has_a_method() {
    check(V5, "f0 00", "AUTH Success");
    check(
        V5,
        "f0 ( 18 ( 15 <SCRAM> 16 00 01 00 ) )",
        "AUTH ContinueAuthentication {AuthenticationMethod=\"SCRAM\" AuthenticationData=1B}",
    );
    check(V5, "f0 ( 19 ( 15 <m> ) )", "AUTH ReAuthenticate {AuthenticationMethod=\"m\"}");
    let missing = "0x82 at 2 MQTT-4.13.1-1 MissingProperty(21)";
    fails(V5, "f0 01 18", missing);
    fails(V5, "f0 02 18 00", missing);
    fails(V5, "f0 02 00 00", missing);
    fails(V5, "f0 ( 18 ( 16 00 01 00 ) )", "0x82 at 4 MQTT-4.13.1-1 MissingProperty(21)");
    fails(V5, "f0 ( 87 ( 15 <m> ) )", "0x82 at 2 MQTT-3.15.2-1 Reason(135)");
    fails(V5, "f0 ( 20 ( 15 <m> ) )", "0x81 at 2 MQTT-3.15.2-1 Reason(32)");
}
