//! Strings: UTF-8 and its edges.

use bytes::Bytes;
use postrider_wire::{ClientId, Filter, FilterError, Text, TextError, Topic, TopicError};

use crate::script::{ALL, check, fails};

/// v5 [MQTT-1.5.4-1] v3.1.1 [MQTT-1.5.3-1]: surrogates, overlong forms, cut forms, values above
/// U+10FFFF.
#[test]
fn what_is_not_utf8() {
    let cases: [(&[u8], usize); 12] = [
        (b"\xed\xa0\x80", 0),             // U+D800
        (b"ab\xed\xbf\xbf", 2),           // U+DFFF
        (b"\xed\xa0\x81\xed\xb0\x80", 0), // a surrogate pair in CESU-8
        (b"\xc0\x80", 0),                 // U+0000 in two bytes
        (b"a\xc1\xbf", 1),                // overlong, two bytes
        (b"\xe0\x80\xaf", 0),             // overlong '/'
        (b"\xf0\x80\x80\xaf", 0),         // overlong '/' in four
        (b"\xf4\x90\x80\x80", 0),         // U+110000
        (b"abc\xe2\x82", 3),              // ends too early
        (b"\x80", 0),                     // a continuation alone
        (b"\xff\xfe", 0),                 // never in UTF-8
        (b"0123456789\xfe", 10),          // behind the first word
    ];
    for (bytes, at) in cases {
        let found = Text::from_bytes(Bytes::copy_from_slice(bytes));
        assert_eq!(found, Err(TextError::NotUtf8(at)), "{bytes:x?}");
        let found = Topic::from_bytes(Bytes::copy_from_slice(bytes));
        assert_eq!(found, Err(TopicError::Text(TextError::NotUtf8(at))));
        let found = Filter::from_bytes(Bytes::copy_from_slice(bytes));
        assert_eq!(found, Err(FilterError::Text(TextError::NotUtf8(at))));
    }
}

/// v5 [MQTT-1.5.4-2] [MQTT-4.7.3-2] v3.1.1 [MQTT-1.5.3-2] [MQTT-4.7.3-2]: at every place of a
/// string.
#[test]
fn nul_is_found_everywhere() {
    for len in 1..40 {
        for at in 0..len {
            let mut bytes = vec![b'x'; len];
            bytes[at] = 0;
            assert_eq!(Text::from_bytes(Bytes::from(bytes.clone())), Err(TextError::Nul(at)));
            let found = Topic::from_bytes(Bytes::from(bytes));
            assert_eq!(found, Err(TopicError::Text(TextError::Nul(at))));
        }
    }
    assert_eq!(Text::new("a\0"), Err(TextError::Nul(1)));
    assert_eq!(Text::new("\u{e9}\0"), Err(TextError::Nul(2)));
}

/// v5 [MQTT-4.7.0-1] v3.1.1 [MQTT-4.7.1-1]: the check looks at eight bytes at a time and must miss
/// none.
#[test]
fn wildcards_are_found_everywhere() {
    for wildcard in [b'+', b'#'] {
        for len in 1..40 {
            for at in 0..len {
                let mut bytes = vec![b'x'; len];
                bytes[at] = wildcard;
                let found = Topic::from_bytes(Bytes::from(bytes));
                assert_eq!(found, Err(TopicError::Wildcard(at)));
            }
        }
    }
}

/// Neighbours of `+`, `#` and U+0000 are ordinary characters, alone and next to one another.
#[test]
fn neighbours_are_not_mistaken() {
    let ordinary: Vec<u8> = (1..=127).filter(|byte| !matches!(byte, b'+' | b'#')).collect();
    let text = Bytes::from(ordinary.clone());
    assert!(Topic::from_bytes(text).is_ok());
    for first in &ordinary {
        for second in &ordinary {
            for len in [2, 3, 8, 9] {
                let mut bytes = vec![*first; len];
                bytes[len - 1] = *second;
                assert!(Topic::from_bytes(Bytes::from(bytes)).is_ok(), "{first} {second}");
            }
        }
    }
    for text in ["\u{a3}\u{ab}", "\u{ab}aaaaaaa", "\u{12b}\u{123}", "\u{100}", "\u{10ffff}"] {
        assert!(Topic::new(text).is_ok(), "{text}");
    }
}

/// v5 [MQTT-1.5.4-3] v3.1.1 [MQTT-1.5.3-3]: U+FEFF is a character, first or later.
#[test]
fn byte_order_mark_is_kept() {
    for version in ALL {
        let none = if version.has_properties() { "00" } else { "" };
        check(
            version,
            &format!("30 ( 00 07 ef bb bf 'a' ef bb bf {none} )"),
            "PUBLISH \"\\u{feff}a\\u{feff}\" qos=0 0B",
        );
    }
    assert_eq!(Text::new("\u{feff}").expect("a text").as_bytes(), [0xef, 0xbb, 0xbf]);
}

/// v5 section 1.5.4: control characters and non-characters may stand; a receiver is free to take
/// them.
#[test]
fn discouraged_characters_pass() {
    for text in
        ["\u{1}", "\u{1f}", "\u{7f}", "\u{80}", "\u{9f}", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"]
    {
        let text = Text::new(text).expect("allowed");
        assert_eq!(Text::from_bytes(text.bytes().clone()), Ok(text));
    }
}

/// v5 [MQTT-4.7.3-3] v3.1.1 [MQTT-4.7.3-3]: at the limit and above it.
#[test]
fn strings_have_a_longest_length() {
    let longest = "x".repeat(65_535);
    let longer = "x".repeat(65_536);
    assert!(Topic::new(&longest).is_ok());
    assert!(Filter::new(&longest).is_ok());
    assert_eq!(Topic::new(&longer), Err(TopicError::Text(TextError::TooLong(65_536))));
    assert_eq!(Filter::new(&longer), Err(FilterError::Text(TextError::TooLong(65_536))));
    assert_eq!(ClientId::new(&longer), Err(TextError::TooLong(65_536)));
    for version in ALL {
        let none = if version.has_properties() { "00" } else { "" };
        let script = format!("30 ( <{longest}> {none} )");
        check(version, &script, &format!("PUBLISH \"{longest}\" qos=0 0B"));
    }
}

/// v5 [MQTT-1.5.4-1] [MQTT-1.5.4-2] v3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2]: in packets, with the
/// place.
#[test]
fn bad_strings_in_packets() {
    use postrider_wire::Version::{V5, V31, V311};
    fails(V5, "30 ( 00 03 'a/' ff 00 )", "0x81 at 6 MQTT-1.5.4-1 Text");
    fails(V5, "30 ( 00 03 'a' 00 'b' 00 )", "0x81 at 5 MQTT-1.5.4-2 Text");
    fails(V311, "30 ( 00 03 ed a0 80 )", "0x81 at 4 MQTT-1.5.3-1 Text");
    fails(V31, "30 ( 00 02 'a' 00 )", "0x81 at 5 MQTT-1.5.3-2 Text");
}

/// Equality and order are those of the bytes; comparison with a string needs no conversion.
#[test]
fn texts_compare_as_bytes() {
    let text = |text| Text::new(text).expect("a text");
    assert!(text("a") < text("b"));
    assert!(text("Z") < text("a"));
    assert_ne!(text("\u{e9}"), text("e\u{301}"));
    assert_eq!(text("x"), "x");
    assert_eq!(text("caf\u{e9}").as_str(), "caf\u{e9}");
    assert_eq!(format!("{} {:?}", text("a b"), text("a b")), "a b \"a b\"");
}
