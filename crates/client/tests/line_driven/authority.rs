//! Packets that only a client may send, pings, and AUTH.

use crate::script::{accepted, greeted};

/// v3.1.1 [MQTT-4.8.0-1], v5 section 4.13.
#[tokio::test]
async fn packets_of_clients_end_it() {
    let packets = [
        "10 { =MQTT 5:05 34:04 02 003c [ ] =x }",
        "82 { 0001 [ ] =a 00 }",
        "a2 { 0001 [ ] =a }",
        "c0 00",
    ];
    let cases = packets.map(|packet| {
        [
            format!("S {packet}; end 82"),
            format!("alive; B {packet}; end 82"),
            // What comes before it is answered, what comes behind it is not.
            format!(
                "S 32 {{ =a 0001 [ ] }} {packet} 32 {{ =a 0002 [ ] }}; C 40 {{ 0001 }}; end 82"
            ),
        ]
    });
    accepted("345", "").play(cases.as_flattened()).await;
}

/// One that nobody asked for is no fault.
#[tokio::test]
async fn pingresp_is_tolerated() {
    accepted("345", "").play(&["S d0 00", "S d0 00 d0 00; alive; S d0 00"]).await;
}

/// v3.1.1 [MQTT-2.2.2-2], v5 [MQTT-2.1.3-1].
#[tokio::test]
async fn malformed_pings_end_it() {
    let mut cases: Vec<_> =
        (0xd1..=0xdf).map(|first| format!("S {first:02x} 00; end 81")).collect();
    cases.push("S d0 { 00 }; end 81".to_owned());
    cases.push("S c1 00; end 81".to_owned());
    accepted("345", "").play(&cases).await;
}

/// v5 [MQTT-4.12.0-6] [MQTT-4.12.0-7] [MQTT-3.15.1-1]: there is no AUTH without a method in CONNECT.
#[tokio::test]
async fn auth_ends_it() {
    let cases = [
        "S f0 00; end 82",
        "S f0 { 00 }; end 82",
        "S f0 { 00 [ ] }; end 82",
        "S f0 { 18 [ ] }; end 82",
        "S f0 { 18 [ 15 =SCRAM ] }; end 82",
        "S f0 { 18 [ 15 =SCRAM 16 =data 1f =x 26 =k =v ] }; end 82",
        "S f0 { 19 [ 15 =SCRAM ] }; end 82",
        "S f0 { 01 [ 15 =SCRAM ] }; end 82",
        "S f0 { ff [ 15 =SCRAM ] }; end 81",
        "S f1 { 18 [ 15 =SCRAM ] }; end 81",
        "S ff 00; end 81",
    ];
    accepted("5", "").play(&cases).await;
    greeted("5", "publish-1").play(&cases).await;
}
