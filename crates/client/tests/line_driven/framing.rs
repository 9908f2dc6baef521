//! Fixed headers, and how bytes are cut.

use crate::script::{accepted, greeted};

/// v3.1.1 [MQTT-4.8.0-1], v5 section 2.1.2: type 0, and type 15 before 5.0.
#[tokio::test]
async fn reserved_types_end_it() {
    let cases: Vec<_> = (0x00..=0x0f).map(|first| format!("S {first:02x} 00; end 81")).collect();
    accepted("345", "").play(&cases).await;
    let cases: Vec<_> = (0xf0..=0xff).map(|first| format!("S {first:02x} 00; end")).collect();
    accepted("34", "").play(&cases).await;
}

/// v5 [MQTT-1.5.5-1], v3.1.1 section 2.2.3: at most four bytes, and in 5.0 the shortest form.
#[tokio::test]
async fn remaining_lengths_are_checked() {
    let long = ["30 ffffffff01", "30 8080808000", "40 8280808000 0001", "d0 8080808000"];
    accepted("345", "").play(&long.map(|packet| format!("S {packet}; end 81"))).await;
    let padded = ["d0 8000", "d0 808000", "d0 80808000", "40 8200 0001", "30 8300 0001 'a"];
    accepted("5", "").play(&padded.map(|packet| format!("S {packet}; end 81"))).await;
    accepted("34", "").play(&padded.map(|packet| format!("S {packet}"))).await;
}

/// The border between one byte and two, and two and three.
#[tokio::test]
async fn lengths_of_several_bytes_are_read() {
    let cases =
        [119, 120, 121, 122, 123, 124, 125, 126, 16_376, 16_379, 16_380, 16_383].map(|len| {
            let payload = "00".repeat(len);
            format!("S 32 {{ =a 0001 [ ] {payload} }}; C 40 {{ 0001 }}")
        });
    accepted("345", "").play(&cases).await;
}

/// Where TCP cuts says nothing. v5 [MQTT-4.2.0-1], v3.1.1 [MQTT-7.1.2-1].
#[tokio::test]
async fn bytes_may_be_cut_anywhere() {
    let packets = "32 { =a 0001 [ 26 =k =v ] 'x } d0 00 34 { =b 0002 [ ] } 62 { 0002 } 30 { =c [ ] '1234 } 40 { 0009 }";
    let answers = "C 40 { 0001 }; C 50 { 0002 }; C 70 { 0002 }";
    let cases = ["S", "B"].map(|how| format!("{how} {packets}; {answers}"));
    accepted("345", "").play(&cases).await;
    let many = "32 { =a 0001 [ ] 'x } ".repeat(500);
    let acks = "C 40 { 0001 }; ".repeat(500);
    accepted("345", "").clean(&[1]).play(&[format!("S {many}; {acks}")]).await;
}

#[tokio::test]
async fn half_a_packet_is_no_packet() {
    let packet = "32 { =topic 0001 [ ] 'payload } ".to_owned();
    let halves =
        ["32", "32 ff", "32 13 00", "32 13 0005 'to", "32 40 0005 'topic 0001 00 'pay", "20", "e0"];
    let mut cases = halves.map(|half| format!("S {half}; close")).to_vec();
    cases.extend(halves.map(|half| format!("S {half}; quiet")));
    // What is whole is answered.
    cases.push(format!("S {packet} 32 40 0005 'top; C 40 {{ 0001 }}; quiet"));
    // One that announces much and sends little costs nothing.
    cases.push("S 32 ffffff7f 0005 'topic 0001; quiet".to_owned());
    cases.push("S 30 ffffff7f 0005 'topic 5:00 'some; close".to_owned());
    accepted("345", "").play(&cases).await;
}

/// The first fault is the end, whatever follows in the same segment.
#[tokio::test]
async fn nothing_behind_a_fault_is_answered() {
    let faults = ["00 00", "36 { =a 0001 [ ] }", "41 { 0001 }", "30 ffffffff01"];
    let cases = faults.map(|fault| {
        let good = |id| format!("34 {{ =a {id} [ ] 'x }}");
        format!("S {} {fault} {}; C 50 {{ 0001 }}; end 81", good("0001"), good("0002"))
    });
    accepted("345", "").play(&cases).await;
}

/// Whatever it is, the client goes on with the connection or ends it, and takes the next line.
#[tokio::test]
async fn no_first_byte_confuses_it() {
    for rest in ["00", "02 0001", "04 0001 'a 00", "05 0001 'a 0001", "06 0001 'a 0001 00"] {
        let cases: Vec<_> =
            (0..=0xff).map(|first| format!("S {first:02x} {rest}; either")).collect();
        accepted("345", "").clean(&[1]).play(&cases).await;
        greeted("345", "").clean(&[1]).play(&cases).await;
    }
}

/// Good packets of 5.0 with every property, cut at every byte behind the fixed header, whose length fits.
#[tokio::test]
async fn no_cut_confuses_it() {
    let texts = "1f 0003 'why 26 0001 'k 0001 'v";
    let packets = [
        ("32", "0001 'a 0001 1f 01 00 02 00000001 03 0001 'c 08 0001 'r 09 0001 'd 0b 01 23 0001 'payload".to_owned()),
        ("40", format!("0001 00 0d {texts}")),
        ("50", format!("0001 00 0d {texts}")),
        ("62", format!("0001 00 0d {texts}")),
        ("70", format!("0001 00 0d {texts}")),
        ("90", format!("0001 0d {texts} 00")),
        ("b0", format!("0001 0d {texts} 00")),
        ("e0", format!("8b 0d {texts}")),
        ("f0", format!("18 13 15 0003 'how {texts}")),
    ];
    let mut cases = Vec::new();
    for (first, body) in &packets {
        let body: Vec<_> = body.split_whitespace().flat_map(bytes).collect();
        for len in 0..=body.len() {
            let cut: String = body.iter().take(len).map(|byte| format!("{byte:02x}")).collect();
            cases.push(format!("S {first} {{ {cut} }}; either"));
        }
    }
    accepted("345", "").clean(&[1]).play(&cases).await;
    accepted("345", "publish-2").clean(&[0]).play(&cases).await;
    accepted("345", "subscribe-2").clean(&[0]).play(&cases).await;
    let connack = "00 00 19 11 00000001 21 0001 22 0001 24 01 25 01 27 00001000 2a 01 13 0000";
    let connack: Vec<_> = connack.split_whitespace().flat_map(bytes).collect();
    let cut = |len| connack.iter().take(len).map(|byte| format!("{byte:02x}")).collect::<String>();
    let cases: Vec<_> =
        (0..=connack.len()).map(|len| format!("S 20 {{ {} }}; either", cut(len))).collect();
    greeted("345", "publish-1").clean(&[0]).play(&cases).await;
}

/// The bytes of one token of hexadecimal digits, or of `'text`.
fn bytes(token: &str) -> Vec<u8> {
    if let Some(text) = token.strip_prefix('\'') {
        return text.into();
    }
    let digits = token.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("ASCII"));
    digits.map(|two| u8::from_str_radix(two, 16).expect("digits")).collect()
}
