//! SUBACK and UNSUBACK.

use crate::script::accepted;

const UNSUBSCRIBE: &str = "C a2 { 0001 [ ] =test/subscribe }";

fn subscribe(qos: u8) -> String {
    format!("C 82 {{ 0001 [ ] =test/subscribe {qos:02x} }}")
}

/// v3.1.1 [MQTT-3.8.1-1] [MQTT-3.8.3-1] [MQTT-3.8.3-3], v5 [MQTT-3.8.1-1] [MQTT-3.8.3-1] [MQTT-3.8.3-2]: whatever QoS
/// is granted; messages may come before the answer, and at any QoS.
#[tokio::test]
async fn suback_is_taken() {
    let cases = [
        "S 90 { 0001 [ ] 00 }",
        "S 90 { 0001 [ ] 01 }",
        "S 90 { 0001 [ ] 02 }",
        "S 90 { 0001 [ ] 80 }",
        "B 90 { 0001 [ ] 00 }",
        "alive; alive",
        "S 90 { 0002 [ ] 00 }; S 90 { 0001 [ ] 00 }",
        "S 90 { 0001 [ ] 00 }; S 90 { 0001 [ ] 00 }",
        "S 32 { =test/subscribe 0001 [ ] 'x }; C 40 { 0001 }; S 90 { 0001 [ ] 00 }",
        "S 90 { 0001 [ ] 00 } 32 { =test/subscribe 0001 [ ] 'x }; C 40 { 0001 }",
        "S 90 { 0001 [ ] 00 }; S 34 { =test/subscribe 0001 [ ] 'x }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }",
        "S 90 { 0001 [ ] 00 }; S 30 { =test/subscribe [ ] 'x }; S 31 { =test/subscribe [ ] }",
        "S 90 { 0001 [ ] 80 }; S 32 { =test/subscribe 0001 [ ] 'x }; C 40 { 0001 }",
    ];
    for qos in 0..=2 {
        let command = format!("subscribe-{qos}");
        accepted("345", &command).after(&subscribe(qos)).play(&cases).await;
    }
}

#[tokio::test]
async fn suback_may_refuse_with_a_reason() {
    let codes = ["83", "87", "8f", "91", "97", "9e", "a1", "a2"];
    let mut cases: Vec<_> = codes.map(|code| format!("S 90 {{ 0001 00 {code} }}")).into();
    cases.push("S 90 { 0001 [ 1f =no 26 =k =v 26 =k =v ] 87 }".to_owned());
    accepted("5", "subscribe-1").after(&subscribe(1)).play(&cases).await;
}

/// v3.1.1 [MQTT-2.2.2-2] [MQTT-4.8.0-1], v5 [MQTT-2.1.3-1] [MQTT-3.8.4-6] [MQTT-3.9.3-2].
#[tokio::test]
async fn wrong_subacks_end_it() {
    let mut cases: Vec<_> =
        (0x91..=0x9f).map(|first| format!("S {first:02x} {{ 0001 [ ] 00 }}; end 81")).collect();
    cases.extend(
        [
            ("90 { }", "81"),
            ("90 { 00 }", "81"),
            ("90 { 0000 [ ] 00 }", "81"),
            ("90 { 0001 [ ] }", "82"),
            ("90 { 0001 [ ] 0000 }", "82"),
            ("90 { 0001 [ ] 000102 }", "82"),
            ("90 { 0001 [ ] 03 }", "81"),
            ("90 { 0001 [ ] 7f }", "81"),
            ("90 { 0001 [ ] ff }", "81"),
            ("90 { 0001 [ ] 04 }", "82"),
            ("90 { 0001 [ ] 10 }", "82"),
            ("90 { 0001 [ ] 11 }", "82"),
            ("90 { 0001 [ ] 84 }", "82"),
            ("90 { 0001 [ ] 92 }", "82"),
            // The answer to something else.
            ("b0 { 0001 [ ] 5:00 }", "82"),
        ]
        .map(|(packet, end)| format!("S {packet}; end {end}")),
    );
    accepted("345", "subscribe-1").after(&subscribe(1)).play(&cases).await;
    let cases = ["81", "83", "87", "8f"].map(|code| format!("S 90 {{ 0001 {code} }}; end"));
    accepted("34", "subscribe-1").after(&subscribe(1)).play(&cases).await;
    accepted("5", "subscribe-1").after(&subscribe(1)).play(&strange("90")).await;
}

/// v3.1.1 [MQTT-3.10.1-1] [MQTT-3.10.3-1] [MQTT-3.10.3-2], v5 [MQTT-3.10.1-1] [MQTT-3.10.3-1] [MQTT-3.10.3-2].
#[tokio::test]
async fn unsuback_is_taken() {
    let cases = [
        "S b0 { 0001 [ ] 5:00 }",
        "B b0 { 0001 [ ] 5:00 }",
        "S b0 { 0001 [ ] 5:11 }",
        "alive; alive",
        "S b0 { 0002 [ ] 5:00 }; S b0 { 0001 [ ] 5:00 }",
        "S b0 { 0001 [ ] 5:00 }; S b0 { 0001 [ ] 5:00 }",
        "S 32 { =test/subscribe 0001 [ ] 'x }; C 40 { 0001 }; S b0 { 0001 [ ] 5:00 }",
    ];
    accepted("345", "unsubscribe").after(UNSUBSCRIBE).play(&cases).await;
    let mut cases: Vec<_> =
        ["80", "83", "87", "8f", "91"].map(|code| format!("S b0 {{ 0001 00 {code} }}")).into();
    cases.push("S b0 { 0001 [ 1f =no 26 =k =v 26 =k =v ] 87 }".to_owned());
    accepted("5", "unsubscribe").after(UNSUBSCRIBE).play(&cases).await;
}

/// v3.1.1 [MQTT-2.2.2-2] [MQTT-4.8.0-1], v5 [MQTT-2.1.3-1] [MQTT-3.11.3-2].
#[tokio::test]
async fn wrong_unsubacks_end_it() {
    let mut cases: Vec<_> =
        (0xb1..=0xbf).map(|first| format!("S {first:02x} {{ 0001 [ ] 5:00 }}; end 81")).collect();
    cases.extend(
        [
            ("b0 { }", "81"),
            ("b0 { 00 }", "81"),
            ("b0 { 0000 [ ] 5:00 }", "81"),
            ("b0 { 0001 5:02 5:26 34:00 }", "81"),
            ("90 { 0001 [ ] 00 }", "82"),
        ]
        .map(|(packet, end)| format!("S {packet}; end {end}")),
    );
    accepted("345", "unsubscribe").after(UNSUBSCRIBE).play(&cases).await;
    let mut cases = strange("b0");
    cases.extend(
        [
            ("b0 { 0001 }", "81"),
            ("b0 { 0001 00 }", "82"),
            ("b0 { 0001 00 0000 }", "82"),
            ("b0 { 0001 00 01 }", "82"),
            ("b0 { 0001 00 10 }", "82"),
            ("b0 { 0001 00 97 }", "82"),
            ("b0 { 0001 00 92 }", "82"),
            ("b0 { 0001 00 05 }", "81"),
            ("b0 { 0001 00 ff }", "81"),
        ]
        .map(|(packet, end)| format!("S {packet}; end {end}")),
    );
    accepted("5", "unsubscribe").after(UNSUBSCRIBE).play(&cases).await;
}

/// Properties that are wrong.
fn strange(first: &str) -> Vec<String> {
    let cases = [
        ("1f =a 1f =b", "82"),
        ("0b 01", "81"),
        ("11 00000001", "81"),
        ("1f 0001 00", "81"),
        ("26 =k", "81"),
        ("7f 00", "81"),
    ];
    cases.map(|(it, end)| format!("S {first} {{ 0001 [ {it} ] 00 }}; end {end}")).into()
}
