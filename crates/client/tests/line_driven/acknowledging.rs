//! Answers to the client's own messages.

use crate::script::accepted;

const QOS_1: &str = "C 32 { =test/publish 0001 [ ] 'message }";
const QOS_2: &str = "C 34 { =test/publish 0001 [ ] 'message }";
const RELEASED: &str = "C 34 { =test/publish 0001 [ ] 'message }; S 50 { 0001 }; C 62 { 0001 }";

/// Codes that PUBACK and PUBREC may have besides success.
const FAILURES: [&str; 7] = ["80", "83", "87", "90", "91", "97", "99"];
/// Codes that neither may have, and the code that fits.
const STRANGERS: [(&str, &str); 8] = [
    ("01", "82"),
    ("02", "82"),
    ("11", "82"),
    ("8b", "82"),
    ("92", "82"),
    ("9b", "82"),
    ("05", "81"),
    ("ff", "81"),
];

/// v3.1.1 [MQTT-4.3.2-1], v5 [MQTT-4.3.2-3] [MQTT-4.4.0-1]: and nothing is sent again on this connection.
#[tokio::test]
async fn puback_completes_qos_1() {
    let cases = [
        "S 40 { 0001 }",
        "S 40 { 0001 }; S 40 { 0001 }",
        "alive; S 40 { 0001 }",
        "B 40 { 0001 }",
        // Late or never is no fault.
        "alive; alive",
        // One that nobody waits for.
        "S 40 { 0002 }; S 40 { ffff }; S 40 { 0001 }",
        // Server and client count on their own.
        "S 34 { =a 0001 [ ] }; C 50 { 0001 }; S 40 { 0001 }; S 62 { 0001 }; C 70 { 0001 }",
    ];
    accepted("345", "publish-1").after(QOS_1).play(&cases).await;
    let mut cases: Vec<_> = ["00", "00 00", "10", "10 00", "00 [ 1f =ok 26 =k =v 26 =k =v ]"]
        .map(|form| format!("S 40 {{ 0001 {form} }}"))
        .into();
    cases.extend(FAILURES.map(|code| format!("S 40 {{ 0001 {code} }}")));
    cases.extend(FAILURES.map(|code| format!("S 40 {{ 0001 {code} [ 1f =no 26 =k =v ] }}")));
    accepted("5", "publish-1").after(QOS_1).play(&cases).await;
}

/// v3.1.1 [MQTT-2.2.2-2], v5 [MQTT-2.1.3-1] [MQTT-3.4.2-1].
#[tokio::test]
async fn wrong_pubacks_end_it() {
    let mut cases: Vec<_> =
        (0x41..=0x4f).map(|first| format!("S {first:02x} {{ 0001 }}; end 81")).collect();
    cases.extend(malformed("40"));
    // Not the answer to QoS 1.
    cases.extend(["S 50 { 0001 }; end 82", "S 70 { 0001 }; end 82"].map(str::to_owned));
    accepted("345", "publish-1").after(QOS_1).play(&cases).await;
    let mut cases = strange("40");
    cases.push("S 50 { 0001 87 }; end 82".to_owned());
    cases.extend(STRANGERS.map(|(code, end)| format!("S 40 {{ 0001 {code} }}; end {end}")));
    accepted("5", "publish-1").after(QOS_1).play(&cases).await;
}

/// v3.1.1 [MQTT-4.3.3-1] [MQTT-2.3.1-6], v5 [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-2.2.1-5]
/// [MQTT-3.6.1-1] [MQTT-3.6.2-1].
#[tokio::test]
async fn pubrec_and_pubcomp_complete_qos_2() {
    let cases = [
        "S 50 { 0001 }; C 62 { 0001 }; S 70 { 0001 }",
        "B 50 { 0001 }; C 62 { 0001 }; B 70 { 0001 }",
        "S 50 { 0001 }; C 62 { 0001 }; S 50 { 0001 }; C 62 { 0001 }; S 70 { 0001 }",
        "S 50 { 0001 }; C 62 { 0001 }; S 70 { 0001 }; S 70 { 0001 }",
        "S 50 { 0001 }; C 62 { 0001 }; alive; alive",
        "alive; S 50 { 0001 }; C 62 { 0001 }; alive; S 70 { 0001 }",
        "S 70 { 0002 }; S 40 { 0002 }; S 50 { 0001 }; C 62 { 0001 }; S 70 { 0009 }; S 70 { 0001 }",
        // The exchange of the other direction has the same identifier.
        "S 34 { =a 0001 [ ] }; C 50 { 0001 }; S 50 { 0001 }; C 62 { 0001 }; S 62 { 0001 }; C 70 { 0001 }; \
         S 70 { 0001 }",
        // The identifier is free again.
        "S 50 { 0001 }; C 62 { 0001 }; S 70 { 0001 }; S 50 { 0001 }; C 62 { 0001 5:92 }; S 70 { 0001 }",
    ];
    accepted("345", "publish-2").after(QOS_2).play(&cases).await;
    let mut cases: Vec<_> = ["00", "00 00", "10", "10 00", "00 [ 1f =ok 26 =k =v 26 =k =v ]"]
        .map(|form| format!("S 50 {{ 0001 {form} }}; C 62 {{ 0001 }}; S 70 {{ 0001 {form} }}"))
        .into();
    cases.retain(|case| !case.contains("70 { 0001 10"));
    cases.push("S 50 { 0001 10 }; C 62 { 0001 }; S 70 { 0001 }".to_owned());
    for form in ["92", "92 00", "92 [ 1f =gone ]"] {
        cases.push(format!("S 50 {{ 0001 }}; C 62 {{ 0001 }}; S 70 {{ 0001 {form} }}"));
    }
    accepted("5", "publish-2").after(QOS_2).play(&cases).await;
}

/// v5 [MQTT-4.3.3-4] [MQTT-4.4.0-2]: no PUBREL, and no PUBLISH again.
#[tokio::test]
async fn a_refusing_pubrec_ends_the_exchange() {
    let mut cases: Vec<_> = FAILURES.map(|code| format!("S 50 {{ 0001 {code} }}")).into();
    cases.extend(FAILURES.map(|code| format!("S 50 {{ 0001 {code} [ 1f =no ] }}; alive")));
    accepted("5", "publish-2").after(QOS_2).play(&cases).await;
}

/// RabbitMQ answers QoS 2 of 3.1.1 with PUBACK: delivered, as at QoS 1.
#[tokio::test]
async fn puback_for_qos_2_is_tolerated() {
    accepted("345", "publish-2").after(QOS_2).play(&["S 40 { 0001 }; alive"]).await;
}

/// v3.1.1 [MQTT-2.2.2-2], v5 [MQTT-2.1.3-1] [MQTT-3.5.2-1] [MQTT-3.7.2-1].
#[tokio::test]
async fn wrong_pubrecs_and_pubcomps_end_it() {
    let mut cases: Vec<_> =
        (0x51..=0x5f).map(|first| format!("S {first:02x} {{ 0001 }}; end 81")).collect();
    cases.extend(malformed("50"));
    cases.push("S 70 { 0001 }; end 82".to_owned());
    accepted("345", "publish-2").after(QOS_2).play(&cases).await;
    let mut cases = strange("50");
    cases.extend(STRANGERS.map(|(code, end)| format!("S 50 {{ 0001 {code} }}; end {end}")));
    accepted("5", "publish-2").after(QOS_2).play(&cases).await;

    let mut cases: Vec<_> =
        (0x71..=0x7f).map(|first| format!("S {first:02x} {{ 0001 }}; end 81")).collect();
    cases.extend(malformed("70"));
    cases.push("S 40 { 0001 }; end 82".to_owned());
    accepted("345", "publish-2").after(RELEASED).play(&cases).await;
    let mut cases = strange("70");
    let codes =
        [("10", "82"), ("80", "82"), ("91", "82"), ("87", "82"), ("05", "81"), ("ff", "81")];
    cases.extend(codes.map(|(code, end)| format!("S 70 {{ 0001 {code} }}; end {end}")));
    accepted("5", "publish-2").after(RELEASED).play(&cases).await;
}

/// v5 section 4.3.3: acknowledgements for what the client does not know.
#[tokio::test]
async fn unknown_acknowledgements_are_no_fault() {
    let cases = [
        "S 40 { 0001 }",
        "S 70 { 0001 }",
        "S 50 { 0001 }; C 62 { 0001 5:92 }; S 70 { 0001 5:92 }",
        "S 50 { ffff }; C 62 { ffff 5:92 }; S 70 { ffff }",
        "S 90 { 0001 [ ] 00 }",
        "S b0 { 0001 [ ] 5:00 }",
    ];
    accepted("345", "").play(&cases).await;
    let sent = "C 30 { =test/publish [ ] 'message }";
    accepted("345", "publish-0").after(sent).play(&cases).await;
    accepted("5", "").play(&["S 50 { 0001 87 }", "S 40 { 0001 87 }", "S 70 { 0001 92 }"]).await;
}

/// Forms that are wrong at every level.
fn malformed(first: &str) -> Vec<String> {
    ["{ }", "{ 00 }", "{ 0000 }", "{ 0001 34:00 5:00 5:01 }", "{ 0001 34:0000 5:00 5:00 5:00 }"]
        .map(|rest| format!("S {first} {rest}; end 81"))
        .into()
}

/// Properties that are wrong.
fn strange(first: &str) -> Vec<String> {
    let cases = [
        ("1f =a 1f =b", "82"),
        ("11 00000001", "81"),
        ("23 0001", "81"),
        ("1c =x", "81"),
        ("1f 0001 00", "81"),
        ("1f 0009 'abc", "81"),
        ("26 =k", "81"),
        ("7f 00", "81"),
    ];
    cases.map(|(it, end)| format!("S {first} {{ 0001 00 [ {it} ] }}; end {end}")).into()
}
