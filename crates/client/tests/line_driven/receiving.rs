//! PUBLISH and PUBREL from the server.

use crate::script::accepted;

/// v3.1.1 [MQTT-3.3.4-1] [MQTT-4.3.2-2] [MQTT-4.5.0-2] [MQTT-2.3.1-6] [MQTT-1.5.3-3],
/// v5 [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.2-5] [MQTT-4.5.0-2] [MQTT-2.2.1-5] [MQTT-3.4.2-1] [MQTT-1.5.4-3]: every
/// message is acknowledged as its QoS asks, though nobody subscribed to it.
#[tokio::test]
async fn messages_are_acknowledged() {
    let cases = [
        "S 30 { =a [ ] 'x }",
        "S 31 { =a [ ] 'x }",
        "S 30 { =a [ ] }",
        "S 31 { =a [ ] }",
        "S 30 { =/ [ ] 'x }",
        "S 30 { =$SYS/x [ ] 'x }",
        "S 30 { 0006 efbbbf 'abc [ ] 'x }",
        "S 30 { 0004 f09f9880 [ ] 'x }",
        "S 32 { =a 0001 [ ] 'x }; C 40 { 0001 }",
        "S 33 { =a ffff [ ] }; C 40 { ffff }",
        "S 3a { =a 0001 [ ] 'x }; C 40 { 0001 }",
        "S 32 { =a 0001 [ ] 'x }; C 40 { 0001 }; S 3a { =a 0001 [ ] 'x }; C 40 { 0001 }",
        "S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }",
        "S 3d { =a 0001 [ ] 'x }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }",
        "S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }",
    ];
    accepted("345", "").play(&cases).await;
}

/// v3.1.1 [MQTT-4.3.3-2] [MQTT-4.1.0-1] [MQTT-4.1.0-2],
/// v5 [MQTT-4.1.0-1] [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12] [MQTT-3.5.2-1] [MQTT-3.7.2-1].
#[tokio::test]
async fn exactly_once_is_answered_at_every_stage() {
    let cases = [
        "S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }; S 3c { =a 0001 [ ] 'x }; C 50 { 0001 }; \
         S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }; \
         S 62 { 0001 }; C 70 { 0001 5:92 }; S 34 { =b 0001 [ ] 'new }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }",
        "S 62 { 0007 }; C 70 { 0007 5:92 }",
        "S 62 { ffff }; C 70 { ffff 5:92 }",
        // A QoS 1 message may have the id of one at QoS 2 that is released.
        "S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }; S 32 { =a 0001 [ ] }; C 40 { 0001 }",
    ];
    accepted("345", "").play(&cases).await;
}

#[tokio::test]
async fn pubrel_has_several_forms() {
    let open = "S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }";
    let forms = ["00", "00 00", "92", "92 00", "00 [ 1f =why 26 =k =v 26 =k =v ]"];
    let cases = forms.map(|form| format!("S 62 {{ 0001 {form} }}; C 70 {{ 0001 }}"));
    accepted("5", "").after(open).play(&cases).await;
}

/// v3.1.1 [MQTT-2.2.2-2] [MQTT-3.6.1-1], v5 [MQTT-3.6.1-1] [MQTT-3.6.2-1] [MQTT-2.1.3-1].
#[tokio::test]
async fn wrong_pubrels_end_it() {
    let open = "S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }";
    let flags = (0x60..=0x6f).filter(|first| ![0x62, 0x6a].contains(first));
    let mut cases: Vec<_> =
        flags.map(|first| format!("S {first:02x} {{ 0001 }}; end 81")).collect();
    cases.extend(
        [
            "62 { }",
            "62 { 00 }",
            "62 { 0000 }",
            "62 { 0001 5:00 5:01 34:00 }",
            "62 { 0001 34:0000 5:00 5:00 5:00 }",
        ]
        .map(|packet| format!("S {packet}; end 81")),
    );
    accepted("345", "").after(open).play(&cases).await;
    accepted("45", "").after(open).play(&["S 6a { 0001 }; end 81"]).await;
    // In 3.1 a repeated PUBREL has DUP set.
    accepted("3", "").after(open).play(&["S 6a { 0001 }; C 70 { 0001 }"]).await;
    let codes =
        [("01", "82"), ("10", "82"), ("80", "82"), ("91", "82"), ("05", "81"), ("ff", "81")];
    let cases = codes.map(|(code, end)| format!("S 62 {{ 0001 {code} }}; end {end}"));
    accepted("5", "").after(open).play(&cases).await;
    let properties = [("1f =a 1f =b", "82"), ("11 00000001", "81"), ("23 0001", "81")];
    let cases = properties.map(|(it, end)| format!("S 62 {{ 0001 00 [ {it} ] }}; end {end}"));
    accepted("5", "").after(open).play(&cases).await;
}

/// v3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-3.3.1-4] [MQTT-2.3.1-1] [MQTT-4.7.3-1],
/// v5 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.3.1-4] [MQTT-3.3.2-1] [MQTT-4.7.3-1].
#[tokio::test]
async fn malformed_messages_end_it() {
    let packets = [
        // QoS 3.
        "36 { =a 0001 [ ] 'x }",
        "37 { =a 0001 [ ] 'x }",
        "3e { =a 0001 [ ] 'x }",
        "3f { =a 0001 [ ] 'x }",
        "36 { =a [ ] 'x }",
        // Identifiers.
        "32 { =a 0000 [ ] 'x }",
        "34 { =a 0000 [ ] 'x }",
        "32 { =a }",
        "34 { =a 00 }",
        // Topics that are cut.
        "30 { }",
        "30 { 00 }",
        "30 { 0001 }",
        "30 { 0005 'abc }",
        "32 { ffff 'abc }",
        // Topics that are no text.
        "30 { 0001 00 [ ] 'x }",
        "30 { 0003 'a 00 'b [ ] 'x }",
        "30 { 0001 ff [ ] 'x }",
        "30 { 0001 80 [ ] 'x }",
        "30 { 0002 c328 [ ] 'x }",
        "30 { 0002 c080 [ ] 'x }",
        "30 { 0003 eda080 [ ] 'x }",
        "30 { 0003 edbfbf [ ] 'x }",
        "30 { 0003 e28228 [ ] 'x }",
        "30 { 0004 f4908080 [ ] 'x }",
        "30 { 0005 f888808080 [ ] 'x }",
        "32 { 0002 c328 0001 [ ] 'x }",
    ];
    accepted("345", "").play(&packets.map(|packet| format!("S {packet}; end 81"))).await;
    let empty = ["30 { 0000 [ ] 'x }", "32 { 0000 0001 [ ] 'x }"];
    accepted("345", "").play(&empty.map(|packet| format!("S {packet}; end 82"))).await;
}

/// v3.1.1 [MQTT-3.3.1-2], v5 [MQTT-3.3.1-2]: older servers set DUP at QoS 0, which harms nobody.
#[tokio::test]
async fn dup_at_qos_0_is_malformed_in_v5() {
    accepted("34", "").play(&["S 38 { =a 'x }", "S 39 { =a 'x }"]).await;
    accepted("5", "").play(&["S 38 { =a 00 'x }; end 81", "S 39 { =a 00 'x }; end 81"]).await;
}

/// v3.1.1 [MQTT-3.3.2-2], v5 [MQTT-3.3.2-2]: RabbitMQ does it when its own topics hold such characters, and the
/// standard asks nobody to close.
#[tokio::test]
async fn wildcards_in_topics_are_tolerated() {
    let cases = [
        "S 30 { =a/+ [ ] 'x }",
        "S 32 { =# 0001 [ ] 'x }; C 40 { 0001 }",
        "S 34 { =a#b+c 0001 [ ] 'x }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }",
    ];
    accepted("345", "").play(&cases).await;
}

/// v5 [MQTT-3.3.2-7] [MQTT-3.3.2-10]: all from 1 to the 10 that CONNECT announced; they end with the connection.
#[tokio::test]
async fn topic_aliases_are_handled() {
    let mut cases = vec![
        "S 32 { =a 0001 [ 23 0001 ] 'x }; C 40 { 0001 }; S 32 { 0000 0002 [ 23 0001 ] 'x }; C 40 { 0002 }; \
         S 34 { =b 0003 [ 23 0001 ] 'x }; C 50 { 0003 }; S 34 { 0000 0004 [ 23 0001 ] }; C 50 { 0004 }"
            .to_owned(),
        "S 30 { =a [ 23 0001 ] 'x }; S 30 { 0000 [ 23 0002 ] 'x }; end 82".to_owned(),
        // The mapping of the case before is not there.
        "S 30 { 0000 [ 23 0001 ] 'x }; end 82".to_owned(),
    ];
    let all = |topic: &str| {
        let sent = (1..=10).map(|alias| format!("30 {{ {topic} [ 23 {alias:04x} ] 'x }}"));
        sent.collect::<Vec<_>>().join(" ")
    };
    cases.push(format!("S {} {}", all("=a/b"), all("0000")));
    accepted("5", "").play(&cases).await;
}

/// v5 [MQTT-3.3.2-8] [MQTT-3.3.2-11].
#[tokio::test]
async fn aliases_that_were_not_offered_end_it() {
    let cases = ["0000", "000b", "0100", "ffff"].map(|alias| {
        [
            format!("S 30 {{ =a [ 23 {alias} ] 'x }}; end 94"),
            format!("S 32 {{ 0000 0001 [ 23 {alias} ] 'x }}; end 94"),
        ]
    });
    accepted("5", "").play(cases.as_flattened()).await;
}

/// v5 [MQTT-3.3.2-13] [MQTT-3.3.2-19] [MQTT-4.3.3-13].
#[tokio::test]
async fn legal_properties_are_kept() {
    let properties = [
        "01 00",
        "01 01",
        "02 00000000",
        "02 ffffffff",
        "03 =text/plain",
        "03 0000",
        "08 =reply/to",
        "08 =/",
        "09 0000",
        "09 0003 00ff80",
        "0b 01",
        "0b ffffff7f",
        "0b 01 0b 8001 0b 01 0b 02",
        "26 =k =v 26 =k =v 26 0000 0000",
        "01 01 02 0000000a 03 =c 08 =r 09 =d 0b 07 23 000a 26 =k =v",
    ];
    let cases = properties.map(|it| format!("S 32 {{ =a 0001 [ {it} ] 'x }}; C 40 {{ 0001 }}"));
    accepted("5", "").play(&cases).await;
    // One that is expired is acknowledged, too.
    let expired = "S 34 { =a 0001 [ 02 00000000 ] }; C 50 { 0001 }; S 62 { 0001 }; C 70 { 0001 }";
    accepted("5", "").play(&[expired]).await;
    // Whether the payload is text as it says need not be checked.
    accepted("5", "").play(&["S 32 { =a 0001 [ 01 01 ] ff }; C 40 { 0001 }"]).await;
}

/// v5 [MQTT-3.3.2-14] [MQTT-1.5.7-1] [MQTT-1.5.5-1].
#[tokio::test]
async fn illegal_properties_end_it() {
    let protocol_errors = [
        "01 00 01 00",
        "02 00000001 02 00000001",
        "03 =x 03 =x",
        "08 =x 08 =x",
        "09 =x 09 =x",
        "23 0001 23 0001",
        "0b 00",
        "0b 01 0b 00",
        "08 =a/+",
        "08 =#",
    ];
    let malformed = [
        "00 00",
        "01 02",
        "11 00000001",
        "12 =x",
        "13 0001",
        "15 =x",
        "16 =x",
        "17 01",
        "18 00000001",
        "19 01",
        "1a =x",
        "1c =x",
        "1f =x",
        "21 0001",
        "22 0001",
        "24 01",
        "25 01",
        "27 00000100",
        "28 01",
        "29 01",
        "2a 01",
        "2b 00",
        "08 0000",
        "7f 00",
        "8b00 01",
        "0b ffffffff01",
        "0b 8100",
        "0b 80",
        "01",
        "02 0000",
        "03 0005 'abc",
        "03 0002 c328",
        "08 0001 00",
        "26 =k",
        "26 =k 0001 ff",
        "26 0001 ff =v",
    ];
    let with = |end| move |it: &str| format!("S 32 {{ =a 0001 [ {it} ] 'x }}; end {end}");
    let mut cases: Vec<_> = protocol_errors.into_iter().map(with("82")).collect();
    cases.extend(malformed.into_iter().map(with("81")));
    cases.extend(
        [
            "S 30 { =a }; end 81",
            "S 30 { =a 01 }; end 81",
            "S 30 { =a 03 01 00 }; end 81",
            "S 30 { =a 01 01 00 }; end 81",
            "S 30 { =a 8000 'x }; end 81",
            "S 30 { =a ffffffff7f 'x }; end 81",
        ]
        .map(str::to_owned),
    );
    accepted("5", "").play(&cases).await;
}

/// v5 [MQTT-3.3.4-9] [MQTT-3.3.4-10]: at, under and over the 1,024 that CONNECT announced. v3.1.1 knows no such limit.
#[tokio::test]
async fn receive_maximum_holds_for_the_server() {
    let publish = |id: u32| format!("34 {{ =a {id:04x} [ ] }}");
    let full = |last: u32| {
        let sent: Vec<_> = (1..=last).map(publish).collect();
        let answers: Vec<_> = (1..=last).map(|id| format!("C 50 {{ {id:04x} }}")).collect();
        format!("S {}; {}", sent.join(" "), answers.join("; "))
    };
    let repeat = publish(1);
    let cases = [
        format!("{}; S {}; end 93", full(1024), publish(1025)),
        format!("{}; S 32 {{ =a 2000 [ ] }}; end 93", full(1024)),
        format!(
            "{}; S 30 {{ =a [ ] }}; S {repeat}; C 50 {{ 0001 }}; S 62 {{ 0400 }}; C 70 {{ 0400 }}",
            full(1024)
        ),
        full(1023),
    ];
    accepted("5", "").clean(&[1]).play(&cases).await;
    accepted("34", "").clean(&[1]).play(&[full(1025)]).await;
}

/// v3.1.1 [MQTT-4.6.0-2] [MQTT-4.6.0-3], v5 [MQTT-4.6.0-2] [MQTT-4.6.0-3].
#[tokio::test]
async fn acknowledgements_come_in_order() {
    let ids = [9, 3, 700, 1, 65_535, 2, 4096, 5];
    let sent: Vec<_> = ids.map(|id| format!("32 {{ =a {id:04x} [ ] 'x }}")).into();
    let acks: Vec<_> = ids.map(|id| format!("C 40 {{ {id:04x} }}")).into();
    let mut cases = vec![format!("S {}; {}", sent.join(" "), acks.join("; "))];
    let sent: Vec<_> = ids.map(|id| format!("34 {{ =a {id:04x} [ ] 'x }}")).into();
    let recs: Vec<_> = ids.map(|id| format!("C 50 {{ {id:04x} }}")).into();
    let rels: Vec<_> = ids.map(|id| format!("62 {{ {id:04x} }}")).into();
    let comps: Vec<_> = ids.map(|id| format!("C 70 {{ {id:04x} }}")).into();
    let (sent, rels) = (sent.join(" "), rels.join(" "));
    let (recs, comps) = (recs.join("; "), comps.join("; "));
    cases.push(format!("S {sent}; {recs}; S {rels}; {comps}"));
    cases.push(format!("B {sent}; {recs}; B {rels}; {comps}"));
    accepted("345", "").play(&cases).await;
}

/// At the limits of the standard's fields: 65,535 bytes each.
#[tokio::test]
async fn long_fields_are_taken() {
    let long = format!("ffff {}", "61".repeat(65_535));
    let topic = [format!("S 32 {{ {long} 0001 [ ] 'x }}; C 40 {{ 0001 }}")];
    accepted("345", "").play(&topic).await;
    let cases = [
        format!(
            "S 32 {{ =a 0001 [ 03 {long} 08 {long} 09 {long} 26 {long} {long} ] }}; C 40 {{ 0001 }}"
        ),
        format!("S 32 {{ =a 0001 [ {} ] 'x }}; C 40 {{ 0001 }}", "26 =k =v ".repeat(5_000)),
    ];
    accepted("5", "").clean(&[1]).play(&cases).await;
}

/// A server must not use an identifier for two messages at once; behind PUBREL it is free.
#[tokio::test]
async fn one_identifier_in_both_exchanges_confuses_nothing() {
    let open = "S 34 { =a 0001 [ ] 'x }; C 50 { 0001 }";
    let cases = [
        "S 32 { =a 0001 [ ] 'y }; either",
        "S 62 { 0001 } 32 { =a 0001 [ ] 'y }; C 70 { 0001 }; C 40 { 0001 }",
    ];
    accepted("345", "").after(open).play(&cases).await;
}

/// One that is held in memory, and one above the threshold of a spool.
#[tokio::test]
async fn large_messages_are_acknowledged() {
    let cases = [128, 200_000, 1_500_000].map(|len| {
        let payload = "ab".repeat(len);
        format!("S 32 {{ =a 0001 [ ] {payload} }}; C 40 {{ 0001 }}")
    });
    accepted("345", "").clean(&[1]).play(&cases).await;
}
