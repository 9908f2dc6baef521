//! Lengths of lengths: what is as long as it may be, and where a length gets another byte.

use std::fmt::Write;

/// Remaining lengths on both sides of the places where one more byte is needed.
const REMAINING: [usize; 6] = [127, 128, 16_383, 16_384, 2_097_151, 2_097_152];
/// Topic `s/WORD` behind its length.
const TOPIC_BYTES: usize = 2 + 6;

pub(super) fn text() -> String {
    let mut text = String::new();
    for remaining in REMAINING {
        for level in 0..3_usize {
            // The identifier, and in 5.0 the length of the properties.
            let id = if level == 0 { 0 } else { 2 };
            let (old, new) = (remaining - TOPIC_BYTES - id, remaining - TOPIC_BYTES - id - 1);
            let id = if level == 0 { "" } else { "00 07" };
            let first = 0x30 | level << 1;
            let mut case = format!(
                "## a PUBLISH at QoS {level} with a remaining length of {remaining}\n\
                 v5 [MQTT-1.5.5-1] [MQTT-3.3.4-1] v3.1.1 [MQTT-3.3.4-1] [MQTT-4.5.0-1]\n\
                 A connect\nB connect\nB subscribe s/% {level}\n\
                 3: A send {first:02x} \"s/%\" {id} 'x'*{old}\n\
                 5: A send {first:02x} \"s/%\" {id} [ ] 'x'*{new}\n"
            );
            if level > 0 {
                case.push_str(if level == 1 {
                    "A expect PUBACK id=7 Success\n"
                } else {
                    "A expect PUBREC id=7 Success\nA send 62 00 07\nA expect PUBCOMP id=7 Success\n"
                });
            }
            let id = if level == 0 { "" } else { " id=$b" };
            case.push_str(&format!(
                "3: B expect PUBLISH \"s/%\" qos={level}{id} {old}B\n\
                 5: B expect PUBLISH \"s/%\" qos={level}{id} {new}B\n"
            ));
            write(&case, &mut text);
        }
    }
    for case in LONGEST {
        write(case, &mut text);
    }
    text
}

/// The longest of everything.
const LONGEST: [&str; 12] = [
    "## a topic of 65,535 bytes
v5 [MQTT-4.7.3-3] [MQTT-3.3.2-1] v3.1.1 [MQTT-4.7.3-3] [MQTT-3.3.2-1]
A connect
A send 82 00 01 [ ] \"%\\x78\\x78\\x78/#\" 00
A expect SUBACK id=1 [Success]
A send 30 ff ff '%xxx/' 'y'*65527 [ ] 'm'
A expect PUBLISH \"%xxx/*y\" qos=0 1B
",
    "## a topic filter of 65,535 bytes
v5 [MQTT-4.7.3-3] [MQTT-3.8.4-1] v3.1.1 [MQTT-4.7.3-3] [MQTT-3.8.4-1]
A connect
A send 82 00 01 [ ] ff ff '%' 'y'*65531 00
A expect SUBACK id=1 [Success]
A send 30 ff ff '%' 'y'*65531 [ ] 'm'
A expect PUBLISH \"%y*y\" qos=0 1B
A send a2 00 02 [ ] ff ff '%' 'y'*65531
A expect UNSUBACK id=2 *
A quiet
",
    "## a client id of 65,535 bytes is taken or refused by name
v5 [MQTT-3.1.3-5] [MQTT-3.1.3-8] v3.1.1 [MQTT-3.1.3-5] [MQTT-3.1.3-9]
A open
A send 10 \"MQTT\" $level 02 00 3c [ ] ff ff '%' 'y'*65531
A expect CONNACK Success* | CONNACK ClientIdentifierNotValid*
",
    "## a user name and a password of 65,535 bytes
v5 [MQTT-3.1.2-17] [MQTT-3.1.2-19] v3.1.1 [MQTT-3.1.2-19] [MQTT-3.1.2-21]
A open
A send 10 \"MQTT\" $level c2 00 3c [ ] \"up%\" ff ff 'u'*65535 ff ff ff*65535
A expect CONNACK Success* | CONNACK BadUserNameOrPassword* | CONNACK NotAuthorized*
",
    "## a will of 65,535 bytes
v5 [MQTT-3.1.2-8] v3.1.1 [MQTT-3.1.2-8]
B connect
B subscribe w/% 0
A open
A send 10 \"MQTT\" $level 06 00 3c [ ] \"wl%\" [ ] \"w/%\" ff ff 'm'*65535
A expect CONNACK Success*
A drop
B expect PUBLISH \"w/%\" qos=0 65535B
",
    "## a will without a payload
v5 [MQTT-3.1.2-8] v3.1.1 [MQTT-3.1.2-8]
B connect
B subscribe w/% 0
A connect will=w/%
A drop
B receive w/% 0
",
    "## an empty PUBLISH
v5 [MQTT-3.3.4-1] v3.1.1 [MQTT-3.3.4-1]
A connect
A subscribe e/% 2
A publish e/% 0
A receive e/% 0
A publish e/% 1
A receive e/% 1
A publish e/% 2
A receive e/% 2
",
    "## a User Property of 65,535 bytes in name and value
v5 [MQTT-3.3.2-17]
A connect
A subscribe u/% 0
A send 30 \"u/%\" [ 26 ff ff 'n'*65535 ff ff 'v'*65535 ] 'm'
A expect PUBLISH \"u/%\" qos=0 1B {UserProperty=\"n*n\":\"v*v\"}
",
    "## properties of 16,384 bytes and more
v5 [MQTT-3.3.2-17] [MQTT-3.3.2-16]
A connect
A subscribe u/% 0
A send 30 \"u/%\" [ 09 3f fd ff*16381 ] 'm'
A expect PUBLISH \"u/%\" qos=0 1B {CorrelationData=16381B}
A send 30 \"u/%\" [ 09 ff ff ff*65535 ] 'm'
A expect PUBLISH \"u/%\" qos=0 1B {CorrelationData=65535B}
",
    "## the largest Subscription Identifier
v5 [MQTT-3.3.4-3]
A connect
A subscribe i/% 0 id=268435455
A publish i/% 0 x
A expect PUBLISH \"i/%\" qos=0 1B {SubscriptionIdentifier=268435455}
",
    "## the largest packet identifier
v5 [MQTT-2.2.1-5] [MQTT-2.2.1-6] v3.1.1 [MQTT-2.3.1-6] [MQTT-2.3.1-7]
A connect
A send 82 ff ff [ ] \"p/%\" 00
A expect SUBACK id=65535 [Success]
A send a2 ff ff [ ] \"p/%\"
A expect UNSUBACK id=65535 *
A send 32 \"p/%\" ff ff [ ]
A expect PUBACK id=65535 Success | PUBACK id=65535 NoMatchingSubscribers
A send 34 \"p/%\" ff ff [ ]
A expect PUBREC id=65535 Success | PUBREC id=65535 NoMatchingSubscribers
A send 62 ff ff
A expect PUBCOMP id=65535 Success
",
    "## a SUBSCRIBE of 1,000 filters has one answer
v5 [MQTT-3.8.4-5] [MQTT-3.8.4-6] v3.1.1 [MQTT-3.8.4-4] [MQTT-3.8.4-5]
A connect
A send 82 00 01 [ ] ( \"m/%\" 00 \"n/%/+\" 01 )*500
A comes 90 00 01 [ ] ( 00 01 )*500
A quiet
",
];

fn write(case: &str, text: &mut String) {
    writeln!(text, "{case}").expect("a String takes every text");
}
