//! CONNECT and CONNACK. The bytes of CONNECT are compared on every connection of every test.

use crate::script::{CONNACK, greeted};

const COMMANDS: [&str; 8] = [
    "",
    "publish-0",
    "publish-1",
    "publish-2",
    "subscribe-0",
    "subscribe-1",
    "subscribe-2",
    "unsubscribe",
];

/// v3.1.1 [MQTT-3.1.0-1] [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15] [MQTT-3.1.2-18] [MQTT-3.1.2-20] [MQTT-3.1.3-1]
/// [MQTT-3.1.3-3] [MQTT-3.1.3-4] [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-3.3.2-1] [MQTT-2.3.1-1]
/// [MQTT-2.3.1-2] [MQTT-2.3.1-5] [MQTT-2.2.2-1] [MQTT-3.8.3-3] [MQTT-3.10.3-2],
/// v5 [MQTT-3.1.0-1] [MQTT-3.1.2-1] [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-16] [MQTT-3.1.2-18] [MQTT-3.1.3-1]
/// [MQTT-3.1.3-3] [MQTT-3.1.3-4] [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-4.3.3-2]
/// [MQTT-3.3.2-1] [MQTT-2.2.1-2] [MQTT-2.2.1-3] [MQTT-2.1.3-1] [MQTT-2.2.2-1] [MQTT-3.8.3-2] [MQTT-3.10.3-2]
/// [MQTT-3.2.2-18] [MQTT-3.3.4-6]: one packet per command, and it is all there is.
#[tokio::test]
async fn commands_say_what_they_should() {
    for (command, packet) in COMMANDS.into_iter().zip([
        None,
        Some("30 { =test/publish [ ] 'message }"),
        Some("32 { =test/publish 0001 [ ] 'message }"),
        Some("34 { =test/publish 0001 [ ] 'message }"),
        Some("82 { 0001 [ ] =test/subscribe 00 }"),
        Some("82 { 0001 [ ] =test/subscribe 01 }"),
        Some("82 { 0001 [ ] =test/subscribe 02 }"),
        Some("a2 { 0001 [ ] =test/subscribe }"),
    ]) {
        let said = packet.map_or_else(String::new, |packet| format!("C {packet}"));
        greeted("345", command).play(&[format!("{CONNACK}; {said}")]).await;
    }
}

/// Nothing before CONNACK, even if that never comes.
#[tokio::test]
async fn commands_wait_for_connack() {
    for command in COMMANDS {
        greeted("345", command).play(&["quiet", "S 20; quiet", "close", "S 20; close"]).await;
    }
}

/// v3.1.1 [MQTT-3.2.2-1], v5 [MQTT-3.2.2-2] [MQTT-3.2.2-4].
#[tokio::test]
async fn session_present_needs_a_session() {
    let present = "S 20 { 01 00 [ ] }";
    greeted("345", "").clean(&[1]).play(&[format!("{present}; end 82")]).await;
    // The example never has state of a session before. In 5.0 that is the end; 3.x leaves it to the client.
    greeted("5", "publish-1").clean(&[0]).play(&[format!("{present}; end 82")]).await;
    greeted("34", "").clean(&[0]).play(&[present]).await;
}

/// v5 [MQTT-4.13.2-1], v3.1.1 section 3.2.2.3: a refusal is the end, without a word more.
#[tokio::test]
async fn refusals_end_it() {
    let cases: Vec<_> = (1..=5).map(|code| format!("S 20 {{ 00 {code:02x} }}; end")).collect();
    greeted("34", "publish-1").play(&cases).await;
    let refusals = [
        0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97,
        0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
    ];
    let mut cases: Vec<_> =
        refusals.map(|code| format!("S 20 {{ 00 {code:02x} [ ] }}; end")).into();
    cases.push("S 20 { 00 9c [ 1c =other:1883 1f =moved 26 =k =v 26 =k =v ] }; end".to_owned());
    // It is refused, whatever else is wrong with it.
    cases.push("S 20 { 01 87 [ ] }; end".to_owned());
    greeted("5", "publish-1").play(&cases).await;
    greeted("34", "").play(&["S 20 { 01 05 }; end"]).await;
    // A server that does not know 5.0 refuses it in the form of 3.1.1; nothing else may have that form.
    let cases: Vec<_> = (1..=5).map(|code| format!("S 20 {{ 00 {code:02x} }}; end")).collect();
    greeted("5", "").play(&cases).await;
    let cases = ["S 20 { 00 06 }; end 81", "S 20 { 01 01 }; end 82", "S 20 { 00 87 }; end 81"];
    greeted("5", "").play(&cases).await;
}

/// Codes that no CONNACK has.
#[tokio::test]
async fn unknown_codes_end_it() {
    let codes = [0x06, 0x07, 0x7f, 0x80, 0x84, 0xff];
    greeted("34", "").play(&codes.map(|code| format!("S 20 {{ 00 {code:02x} }}; end"))).await;
    let others = [0x01, 0x02, 0x04, 0x10, 0x18, 0x8b, 0x8d, 0x8e, 0x92, 0x93, 0xa0];
    let others = others.map(|code| format!("S 20 {{ 00 {code:02x} [ ] }}; end 82"));
    greeted("5", "").play(&others).await;
    let unknown = [0x03, 0x05, 0x7f, 0xa3, 0xff];
    let unknown = unknown.map(|code| format!("S 20 {{ 00 {code:02x} [ ] }}; end 81"));
    greeted("5", "").play(&unknown).await;
}

/// v3.1.1 [MQTT-2.2.2-2] [MQTT-4.8.0-1], v5 [MQTT-2.1.3-1] [MQTT-3.2.2-1].
#[tokio::test]
async fn malformed_connacks_end_it() {
    let mut cases: Vec<_> =
        (0x21..=0x2f).map(|first| format!("S {first:02x} {{ 00 00 [ ] }}; end 81")).collect();
    cases.extend([0x02, 0x03, 0x80, 0xff].map(|f| format!("S 20 {{ {f:02x} 00 [ ] }}; end 81")));
    cases.extend(
        [
            "S 20 { }; end 81",
            "S 20 { 00 }; end 81",
            "S 20 { 00 00 [ ] 00 }; end 81",
            "S 20 { 00 00 [ ] 'more }; end 81",
            "S 20 ffffffff; end 81",
            "S 20 ff ff ff 7f 00 00; close",
        ]
        .map(str::to_owned),
    );
    greeted("345", "publish-1").play(&cases).await;
    let cases = [
        "S 20 { 00 00 }; end 81",
        "S 20 { 00 00 01 }; end 81",
        "S 20 { 00 00 03 21 00 }; end 81",
        "S 20 { 00 00 02 21 0001 }; end 81",
        "S 20 { 00 00 ffffffff00 }; end 81",
        "S 20 { 00 00 8000 }; end 81",
        "S 20 83 00 00 00 00; end 81",
        "S 20 { 00 00 [ 1f 0005 'four ] }; end 81",
        "S 20 { 00 00 [ 1f 0002 c328 ] }; end 81",
        "S 20 { 00 00 [ 1f 0001 00 ] }; end 81",
        "S 20 { 00 00 [ 1f 0003 eda080 ] }; end 81",
        "S 20 { 00 00 [ 26 =k ] }; end 81",
        "S 20 { 00 00 [ 26 =k 0002 c0af ] }; end 81",
    ];
    greeted("5", "").play(&cases).await;
}

/// v5 [MQTT-3.2.0-1], v3.1.1 [MQTT-3.2.0-1]: CONNACK comes first, and once.
#[tokio::test]
async fn connack_comes_first_and_once() {
    let mut cases = Vec::new();
    for packet in [
        "10 { =MQTT 34:04 5:05 02 003c [ ] =x }",
        "30 { =a [ ] 'x }",
        "32 { =a 0001 [ ] 'x }",
        "34 { =a 0001 [ ] 'x }",
        "40 { 0001 }",
        "50 { 0001 }",
        "62 { 0001 }",
        "70 { 0001 }",
        "82 { 0001 [ ] =a 00 }",
        "90 { 0001 [ ] 00 }",
        "a2 { 0001 [ ] =a }",
        "b0 { 0001 [ ] 5:00 }",
        "c0 00",
        "d0 00",
    ] {
        cases.push(format!("S {packet}; end 82"));
        cases.push(format!("S {packet} 20 {{ 00 00 [ ] }}; end 82"));
    }
    for first in ["00", "0f"] {
        cases.push(format!("S {first} 00; end 81"));
    }
    cases.push(format!("{CONNACK}; {CONNACK}; end 82"));
    cases.push("S 20 { 00 00 [ ] } 20 { 00 00 [ ] }; end 82".to_owned());
    greeted("345", "").play(&cases).await;
}

/// v5 [MQTT-3.14.0-1]: a DISCONNECT before CONNACK is wrong, and the end in any case.
#[tokio::test]
async fn disconnect_instead_of_connack_ends_it() {
    greeted("34", "publish-1").play(&["S e0 00; end"]).await;
    greeted("5", "publish-1")
        .play(&["S e0 00; end", "S e0 { 8b }; end", "S e0 { 89 00 }; end"])
        .await;
}

#[tokio::test]
async fn connack_in_pieces_or_with_company_is_kept() {
    let first = "32 { =a 0001 [ ] 'x } 30 { =b [ ] 'y } 34 { =c 0002 [ ] 'z }";
    let cases = [
        "B 20 { 00 00 [ ] }".to_owned(),
        format!("S 20 {{ 00 00 [ ] }} {first}; C 40 {{ 0001 }}; C 50 {{ 0002 }}"),
        format!("B 20 {{ 00 00 [ ] }} {first}; C 40 {{ 0001 }}; C 50 {{ 0002 }}"),
    ];
    greeted("345", "").play(&cases).await;
    // ... and with what ends it at once.
    for (levels, cases) in [
        ("5", ["S 20 { 00 00 00 } e0 { 8b }; gone", "S 20 { 00 00 00 } e0 00; gone"]),
        ("345", ["S 20 { 00 00 [ ] } 00 00; gone", "S 20 { 00 00 [ ] } 36 { =a 0001 [ ] }; gone"]),
    ] {
        greeted(levels, "publish-1").play(&cases).await;
    }
    // 3.x does not ask for the shortest form of the length.
    greeted("34", "").play(&["S 20 8200 00 00", "S 20 82808000 00 00"]).await;
}

/// The example waits 10 s.
#[tokio::test]
async fn a_server_that_says_nothing_is_left() {
    greeted("5", "publish-1").clean(&[1]).play(&["end"]).await;
}

/// v3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.3-2], v5 [MQTT-3.1.2-4] [MQTT-3.1.3-2] [MQTT-3.3.2-7]: each line is a session of its
/// own; what the line before left open is not known to it, nor sent again.
#[tokio::test]
async fn nothing_is_left_of_the_line_before() {
    let open = "C 34 { =test/publish 0001 [ ] 'message }; S 34 { =a 0007 [ ] }; C 50 { 0007 }";
    let cases = [
        format!("{CONNACK}; {open}; close"),
        format!("{CONNACK}; {open}; S 50 {{ 0001 }}; C 62 {{ 0001 }}; close"),
        format!("{CONNACK}; {open}"),
        format!(
            "{CONNACK}; C 34 {{ =test/publish 0001 [ ] 'message }}; S 62 {{ 0007 }}; C 70 {{ 0007 5:92 }}"
        ),
    ];
    greeted("345", "publish-2").play(&cases).await;
}
