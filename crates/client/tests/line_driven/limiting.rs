//! Properties of CONNACK, and what follows from them.

use crate::script::greeted;

/// Those that a CONNACK may have, each with a value at its limit.
const LEGAL: [&str; 22] = [
    "11 00000000",
    "11 ffffffff",
    "12 =assigned",
    "13 0000",
    "13 ffff",
    "1a =info",
    "1c =other:1883",
    "1f =welcome",
    "1f 0000",
    "21 0001",
    "21 ffff",
    "22 0000",
    "22 ffff",
    "24 00",
    "24 01",
    "25 00",
    "27 00000100",
    "27 ffffffff",
    "28 00",
    "29 00",
    "2a 00",
    "26 =k =v 26 =k =v 26 0000 0000",
];

/// v5 [MQTT-1.5.4-3] too: U+FEFF is a character like others.
#[tokio::test]
async fn legal_properties_are_kept() {
    let mut cases: Vec<_> = LEGAL.map(|property| format!("S 20 {{ 00 00 [ {property} ] }}")).into();
    cases.push(
        "S 20 { 00 00 [ 2a 01 29 01 28 01 27 00100000 26 =k =v 25 01 24 01 22 000a 21 0014 1f =hi 1c =x 1a =y \
         13 003c 12 =id 11 00000000 26 =k =w ] }"
            .to_owned(),
    );
    cases.push("S 20 { 00 00 [ 1f 0006 efbbbf 'abc ] }".to_owned());
    greeted("5", "").play(&cases).await;
}

/// Only User Property may stand twice. Spec: v5 section 2.2.2.2.
#[tokio::test]
async fn repeated_properties_end_it() {
    let single = LEGAL.iter().filter(|property| !property.starts_with("26"));
    let cases: Vec<_> = single
        .map(|property| format!("S 20 {{ 00 00 [ {property} {property} ] }}; end 82"))
        .collect();
    greeted("5", "").play(&cases).await;
}

#[tokio::test]
async fn misplaced_and_unknown_properties_end_it() {
    let misplaced = [
        "00 00",
        "01 00",
        "02 00000001",
        "03 =x",
        "04 00",
        "08 =x",
        "09 =x",
        "0b 01",
        "14 00",
        "17 01",
        "18 00000001",
        "19 01",
        "23 0001",
        "2b 00",
        "7f 00",
        "ff01 00",
        "9100 00000000",
    ];
    let cases = misplaced.map(|property| format!("S 20 {{ 00 00 [ {property} ] }}; end 81"));
    greeted("5", "").play(&cases).await;
}

/// v5 [MQTT-4.12.0-6]: a method that nobody asked for is wrong, too.
#[tokio::test]
async fn values_that_are_not_allowed_end_it() {
    let wrong = [
        "21 0000",
        "24 02",
        "24 03",
        "24 ff",
        "25 02",
        "27 00000000",
        "28 02",
        "29 02",
        "2a ff",
        "15 =SCRAM",
        "15 =SCRAM 16 =data",
        "16 =data",
    ];
    let cases = wrong.map(|property| format!("S 20 {{ 00 00 [ {property} ] }}; end 82"));
    greeted("5", "publish-1").play(&cases).await;
}

/// v5 [MQTT-3.2.2-11].
#[tokio::test]
async fn maximum_qos_is_obeyed() {
    let limited = |qos| format!("S 20 {{ 00 00 [ 24 {qos} ] }}");
    let unsent = [format!("{}; alive; alive", limited("00"))];
    greeted("5", "publish-1").play(&unsent).await;
    greeted("5", "publish-2").play(&unsent).await;
    let unsent = [format!("{}; alive; alive", limited("01"))];
    greeted("5", "publish-2").play(&unsent).await;
    let sent = [format!("{}; C 30 {{ =test/publish [ ] 'message }}", limited("00"))];
    greeted("5", "publish-0").play(&sent).await;
    let sent = "C 32 { =test/publish 0001 [ ] 'message }; S 40 { 0001 }";
    greeted("5", "publish-1").play(&[format!("{}; {sent}", limited("01"))]).await;
    // It is about PUBLISH of the client only.
    let asked = "C 82 { 0001 [ ] =test/subscribe 02 }; S 90 { 0001 [ ] 00 }; S 34 { =test/subscribe 0009 [ ] 'x }; \
        C 50 { 0009 }";
    greeted("5", "subscribe-2").play(&[format!("{}; {asked}", limited("00"))]).await;
}

/// v5 [MQTT-3.2.2-15]: at, under and over the size of the packet.
#[tokio::test]
async fn maximum_packet_size_is_obeyed() {
    for (command, size, packet) in [
        ("publish-0", 24, "30 { =test/publish [ ] 'message }"),
        ("publish-1", 26, "32 { =test/publish 0001 [ ] 'message }"),
        ("publish-2", 26, "34 { =test/publish 0001 [ ] 'message }"),
        ("subscribe-1", 22, "82 { 0001 [ ] =test/subscribe 01 }"),
        ("unsubscribe", 21, "a2 { 0001 [ ] =test/subscribe }"),
    ] {
        let limited = |size: u32| format!("S 20 {{ 00 00 [ 27 {size:08x} ] }}");
        let cases = [
            format!("{}; C {packet}", limited(size + 1)),
            format!("{}; C {packet}", limited(size)),
            format!("{}; alive; alive", limited(size - 1)),
            format!("{}; alive; alive", limited(4)),
        ];
        greeted("5", command).play(&cases).await;
    }
}

/// v5 [MQTT-3.14.2-3]: the text of a DISCONNECT is left out where it does not fit.
#[tokio::test]
async fn disconnect_fits_the_maximum_packet_size() {
    let cases = ["S 20 { 00 00 [ 27 00000004 ] }; S c0 00; end 82"];
    greeted("5", "").play(&cases).await;
}

/// v5 [MQTT-3.2.2-17] [MQTT-3.2.2-18] [MQTT-3.3.2-9]: the client numbers its topics where the server takes it and the
/// packet has room for it.
#[tokio::test]
async fn topic_alias_maximum_is_obeyed() {
    let numbered = "C 34 { =test/publish 0001 [ 23 0001 ] 'message }";
    let plain = "C 34 { =test/publish 0001 [ ] 'message }";
    let cases = [
        format!("S 20 {{ 00 00 [ 22 ffff ] }}; {numbered}"),
        format!("S 20 {{ 00 00 [ 22 0001 ] }}; {numbered}"),
        format!("S 20 {{ 00 00 [ 22 0000 ] }}; {plain}"),
        format!("S 20 {{ 00 00 [ 22 000a 27 0000001d ] }}; {numbered}"),
        format!("S 20 {{ 00 00 [ 22 000a 27 0000001c ] }}; {plain}"),
        "S 20 { 00 00 [ 22 000a 27 00000019 ] }; alive; alive".to_owned(),
    ];
    greeted("5", "publish-2").play(&cases).await;
}

/// v5 [MQTT-3.2.2-14] [MQTT-3.3.4-7] [MQTT-4.9.0-1]: the commands ask for nothing that a server may exclude, and one
/// message is within any receive maximum.
#[tokio::test]
async fn other_limits_are_obeyed() {
    let plain = "C 32 { =test/publish 0001 [ ] 'message }; S 40 { 0001 }";
    let limits = ["25 00", "22 0000", "21 0001", "28 00 29 00 2a 00"];
    let cases = limits.map(|limit| format!("S 20 {{ 00 00 [ {limit} ] }}; {plain}"));
    greeted("5", "publish-1").play(&cases).await;
    let asked = "C 82 { 0001 [ ] =test/subscribe 01 }; S 90 { 0001 [ ] 01 }";
    let cases = limits.map(|limit| format!("S 20 {{ 00 00 [ {limit} ] }}; {asked}"));
    greeted("5", "subscribe-1").play(&cases).await;
}

/// v5 [MQTT-3.1.2-20] [MQTT-3.1.2-21] [MQTT-3.2.2-21]: pings come in time, and a server that does not answer is left.
#[tokio::test]
async fn server_keep_alive_is_kept() {
    // One second would leave a busy machine too little time to answer.
    let cases = ["S 20 { 00 00 [ 13 0002 ] }; C c0 00; S d0 00; C c0 00; left"];
    greeted("5", "").clean(&[1]).play(&cases).await;
}

/// v5 [MQTT-3.3.4-8] [MQTT-4.9.0-3]: a full window holds back nothing but PUBLISH.
#[tokio::test]
async fn a_full_window_holds_back_no_answer() {
    let cases = [
        "S 34 { =a 0001 [ ] }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }; S 40 { 0001 }",
        "alive; alive; S d0 00; S 40 { 0001 87 }; alive",
    ];
    let full = "S 20 { 00 00 [ 21 0001 ] }; C 32 { =test/publish 0001 [ ] 'message }";
    greeted("5", "publish-1").after(full).play(&cases).await;
}
