//! DISCONNECT from the server, and connections that end.

use crate::script::{accepted, greeted};

/// v5 [MQTT-4.13.2-1]: the client closes, and has nothing to say to it.
#[tokio::test]
async fn disconnect_ends_it() {
    let codes = [
        "00", "80", "81", "82", "83", "87", "89", "8b", "8c", "8d", "8e", "8f", "90", "93", "94",
        "95", "96", "97", "98", "99", "9a", "9b", "9c", "9d", "9e", "9f", "a0", "a1", "a2",
    ];
    let mut cases: Vec<_> = codes.map(|code| format!("S e0 {{ {code} }}; end")).into();
    cases.extend(
        [
            "S e0 00; end",
            "S e0 { 00 00 }; end",
            "S e0 { 8b 00 }; end",
            "S e0 { 9c [ 1c =other 1f =moved 26 =k =v 26 =k =v ] }; end",
            "B e0 { 8b [ 1f =bye ] }; end",
            // What comes before it is answered, what comes behind it is not.
            "S 32 { =a 0001 [ ] } e0 { 8b } 32 { =a 0002 [ ] }; C 40 { 0001 }; end",
        ]
        .map(str::to_owned),
    );
    accepted("5", "").play(&cases).await;
    let sent = "C 34 { =test/publish 0001 [ ] 'message }";
    accepted("5", "publish-2").after(sent).play(&["S e0 { 98 }; end"]).await;
}

/// v5 [MQTT-3.14.1-1] [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2].
#[tokio::test]
async fn wrong_disconnects_end_it_with_a_reason() {
    let mut cases: Vec<_> =
        (0xe1..=0xef).map(|first| format!("S {first:02x} 00; end 81")).collect();
    cases.extend(
        [
            ("01", "82"),
            ("10", "82"),
            ("18", "82"),
            ("84", "82"),
            ("92", "82"),
            ("05", "81"),
            ("ff", "81"),
            ("00 [ 11 00000000 ]", "82"),
            ("8b [ 11 ffffffff ]", "82"),
            ("00 [ 1f =a 1f =a ]", "82"),
            ("00 [ 1c =a 1c =a ]", "82"),
            ("00 [ 13 0001 ]", "81"),
            ("00 [ 23 0001 ]", "81"),
            ("00 [ 7f 00 ]", "81"),
            ("00 [ 1f 0001 00 ]", "81"),
            ("00 01", "81"),
            ("00 00 00", "81"),
        ]
        .map(|(rest, end)| format!("S e0 {{ {rest} }}; end {end}")),
    );
    accepted("5", "").play(&cases).await;
}

/// v5 section 3.14.2.1: a code that only a client may send is the end all the same.
#[tokio::test]
async fn disconnect_with_will_from_a_server_ends_it() {
    accepted("5", "").play(&["S e0 { 04 }; end"]).await;
}

/// v3.1.1 [MQTT-4.8.0-1]: a server of 3.x has no DISCONNECT.
#[tokio::test]
async fn disconnect_in_v3_ends_it() {
    accepted("34", "").play(&["S e0 00; end", "S e0 { 00 }; end", "S e1 00; end"]).await;
}

/// A server that goes away is an end like others, wherever it happens.
#[tokio::test]
async fn a_server_may_leave_at_every_stage() {
    for (command, stages) in [
        (
            "",
            &["close", "S 32 { =a 0001 [ ] }; close", "S 34 { =a 0001 [ ] }; C 50 { 0001 }; close"]
                [..],
        ),
        ("publish-0", &["close", "C 30 { =test/publish [ ] 'message }; close"]),
        ("publish-1", &["close", "C 32 { =test/publish 0001 [ ] 'message }; close"]),
        (
            "publish-2",
            &[
                "close",
                "C 34 { =test/publish 0001 [ ] 'message }; close",
                "C 34 { =test/publish 0001 [ ] 'message }; S 50 { 0001 }; C 62 { 0001 }; close",
            ],
        ),
        ("subscribe-1", &["close", "C 82 { 0001 [ ] =test/subscribe 01 }; close"]),
        ("unsubscribe", &["close", "C a2 { 0001 [ ] =test/subscribe }; close"]),
    ] {
        accepted("345", command).play(stages).await;
        let resets: Vec<_> = stages.iter().map(|stage| stage.replace("close", "reset")).collect();
        accepted("345", command).play(&resets).await;
    }
    greeted("345", "publish-1").play(&["close", "reset", "S 20; reset"]).await;
}
