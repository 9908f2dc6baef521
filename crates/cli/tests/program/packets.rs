//! What really goes over the wire: the program against a broker that plays a script and notes every packet.

use postrider_testing::{
    Received, Script, ScriptedBroker,
    wire::{
        Ack, ConnAck, Connect, Packet, PacketId, PacketType, Properties, Property, Publish, QoS,
        ReasonCode, RetainHandling, SubAck, Text, UnsubAck, Version,
    },
};

use crate::process::{Ended, Program, command_named, run};

#[test]
fn properties_of_every_packet_arrive() {
    let script = accept_with(Property::AuthenticationMethod(text("plain")))
        .expect(PacketType::Subscribe)
        .send(suback(1))
        .expect(PacketType::Unsubscribe)
        .send(unsuback(2))
        .closed();
    let line = "sub -t a -U b -E -i me --will-topic w --will-payload gone --will-qos 2 --will-retain \
                -D connect authentication-method plain -D connect authentication-data hush \
                -D connect maximum-packet-size 70000 -D connect receive-maximum 7 \
                -D connect request-problem-information 0 -D connect request-response-information 1 \
                -D connect session-expiry-interval 50 -D connect topic-alias-maximum 3 \
                -D connect user-property k connect -D will will-delay-interval 9 \
                -D will content-type text -D will correlation-data nr -D will message-expiry-interval 8 \
                -D will payload-format-indicator 1 -D will response-topic back \
                -D will user-property k will -D subscribe subscription-identifier 42 \
                -D subscribe user-property k subscribe -D unsubscribe user-property k unsubscribe \
                -D disconnect session-expiry-interval 60 -D disconnect user-property k disconnect";
    let (ended, packets) = play(script, line);
    ended.check_out(&[]);
    let [
        Packet::Connect(connect),
        Packet::Subscribe(subscribe),
        Packet::Unsubscribe(unsubscribe),
        last,
    ] = packets.as_slice()
    else {
        panic!("{packets:?}")
    };
    has(
        &connect.properties,
        &[
            Property::AuthenticationMethod(text("plain")),
            Property::AuthenticationData("hush".into()),
            Property::MaximumPacketSize(70_000),
            Property::ReceiveMaximum(7),
            Property::RequestProblemInformation(false),
            Property::RequestResponseInformation(true),
            Property::SessionExpiryInterval(50),
            Property::TopicAliasMaximum(3),
            user("connect"),
        ],
    );
    let will = connect.will.as_ref().unwrap();
    assert_eq!((will.topic.as_str(), will.payload.as_ref()), ("w", &b"gone"[..]));
    assert_eq!((will.qos, will.retain), (QoS::ExactlyOnce, true));
    let delay = [Property::WillDelayInterval(9), user("will")];
    has(&will.properties, &[&of_message("text")[..], &delay].concat());
    has(&subscribe.properties, &[Property::SubscriptionIdentifier(42), user("subscribe")]);
    has(&unsubscribe.properties, &[user("unsubscribe")]);
    let Packet::Disconnect(disconnect) = last else { panic!("{last:?}") };
    has(&disconnect.properties, &[Property::SessionExpiryInterval(60), user("disconnect")]);
}

#[test]
fn properties_of_a_message_arrive() {
    let script = Script::new().accept().expect(PacketType::Publish).closed();
    let line = "pub -t a -m x -r -D publish content-type text \
                -D publish correlation-data nr -D publish message-expiry-interval 8 \
                -D publish payload-format-indicator 1 -D publish response-topic back \
                -D publish user-property k publish";
    let (ended, packets) = play(script, line);
    ended.check_out(&[]);
    let publish = published(&packets);
    assert_eq!((publish.payload.as_ref(), publish.retain), (&b"x"[..], true));
    has(&publish.properties, &[&of_message("text")[..], &[user("publish")]].concat());
}

/// The client chooses topic aliases by itself, wherever the broker takes any.
#[test]
fn a_topic_alias_is_taken_where_the_broker_allows_one() {
    let line = "pub -t a -m x --repeat 2 -D publish topic-alias 5";
    for (script, aliases) in [
        (accept_with(Property::TopicAliasMaximum(5)), [Some(1), Some(1)]),
        (Script::new().accept(), [None, None]),
    ] {
        let script = script.expect(PacketType::Publish).expect(PacketType::Publish).closed();
        let (ended, packets) = play(script, line);
        ended.check_out(&[]);
        let [_, Packet::Publish(first), Packet::Publish(second), ..] = packets.as_slice() else {
            panic!("{packets:?}")
        };
        let came = [first, second].map(|publish| publish.properties.topic_alias().copied());
        assert_eq!(came, aliases);
        assert!(first.topic.is_some(), "{first:?}");
        assert_eq!(second.topic.is_none(), came[1].is_some(), "{second:?}");
    }
}

#[test]
fn a_request_carries_response_topic_and_correlation_data() {
    for (name, has_correlation) in [("rr", true), ("mosquitto_rr", false)] {
        let script = Script::new()
            .accept()
            .expect(PacketType::Subscribe)
            .send(suback(1))
            .expect(PacketType::Publish)
            .send_bytes(&b"\x30\x06\x00\x01e\x00hi"[..])
            .closed();
        let (ended, packets) = play(script, &format!("{name} -t ask -e e -m x"));
        ended.check_out(&["hi"]);
        let publish = published(&packets);
        has(&publish.properties, &[Property::ResponseTopic(text("e"))]);
        assert_eq!(publish.properties.correlation_data().is_some(), has_correlation, "{name}");
    }
}

#[test]
fn a_request_is_a_file_or_empty_and_its_response_not_retained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("question");
    std::fs::write(&path, "what?").unwrap();
    for (message, expected) in [(format!("-f {}", path.display()), "what?"), ("-n".to_owned(), "")]
    {
        let script = Script::new()
            .accept()
            .expect(PacketType::Subscribe)
            .send(suback(1))
            .expect(PacketType::Publish)
            // Retained, then not.
            .send_bytes(&b"\x31\x07\x00\x01e\x00old\x30\x07\x00\x01e\x00new"[..])
            .closed();
        let (ended, packets) = play(script, &format!("rr -t ask -e e -R {message}"));
        ended.check_out(&["new"]);
        assert_eq!(published(&packets).payload, expected, "{message}");
    }
    let broker = ScriptedBroker::start([Script::new().accept()]).unwrap();
    // All of standard input is read before anything is sent: here there is none.
    let ended = run(&["rr", "-t", "ask", "-e", "e", "-s", "-W", "1", "-L", broker.url()]);
    ended.check(27, &[]);
}

/// As mosquitto_sub does. A refusal is told with its filter.
#[test]
fn several_filters_go_in_one_subscribe() {
    for (second, line) in [
        (ReasonCode::GrantedQoS1, "sub -q 1 -t a -t b/+ -t a -C 2"),
        (ReasonCode::NotAuthorized, "sub -q 1 -t a -t b/+ -t a"),
    ] {
        let reasons = vec![ReasonCode::GrantedQoS1, second];
        let suback = SubAck { packet_id: id(1), properties: none(), reasons };
        let script = Script::new()
            .accept()
            .expect(PacketType::Subscribe)
            .send(Packet::SubAck(suback))
            .send_bytes(&b"\x30\x07\x00\x03b/1\x001\x30\x05\x00\x01a\x002"[..])
            .closed();
        let (ended, packets) = play(script, line);
        if second.is_error() {
            ended.check(135, &["'b/+'"]);
        } else {
            ended.check_out(&["1", "2"]);
        }
        let Some(Packet::Subscribe(subscribe)) = packets.get(1) else { panic!("{packets:?}") };
        let filters = subscribe.filters.iter().map(|line| line.filter.as_str());
        assert!(filters.eq(["a", "b/+"]), "{subscribe:?}");
    }
}

/// AWS IoT closes the connection for more.
#[test]
fn eight_filters_go_in_one_subscribe_at_most() {
    let topics: String = (1..=9).map(|topic| format!(" -t {topic}")).collect();
    let script = Script::new().accept().grant().grant().closed();
    let (ended, packets) = play(script, &format!("sub -q 1 -E{topics}"));
    ended.check_out(&[]);
    let lens = packets.iter().filter_map(|packet| {
        if let Packet::Subscribe(subscribe) = packet { Some(subscribe.filters.len()) } else { None }
    });
    assert!(lens.eq([8, 1]), "{packets:?}");
}

#[test]
fn a_session_expiry_and_what_begins_a_connection_arrive() {
    for (line, expected) in [
        ("-x -1", Some(u32::MAX)),
        ("-x 60", Some(60)),
        ("-x -1 -c -i me", Some(u32::MAX)),
        ("-c -i me", Some(u32::MAX)),
        ("", None),
    ] {
        let connect = connect(&format!("pub -t a -m x -V 5 {line}"));
        let expiry = connect.properties.session_expiry_interval().copied();
        assert_eq!(expiry.filter(|seconds| *seconds > 0), expected, "{line}");
        assert_eq!(connect.clean_start, !line.contains("-c"), "{line}");
    }
    let connect = connect("pub -t a -m x -V 5 -i me -u ann -P hush -k 17");
    assert_eq!((connect.client_id.as_str(), connect.keep_alive), ("me", 17));
    assert_eq!(connect.user_name.as_ref().map(Text::as_str), Some("ann"));
    assert_eq!(connect.password.as_deref(), Some(&b"hush"[..]));
}

#[test]
fn a_prefix_is_followed_by_the_number_of_the_process() {
    let broker = ScriptedBroker::start([Script::new().accept().closed()]).unwrap();
    let line = ["pub", "-t", "a", "-m", "x", "-I", "me-", "-L", broker.url()];
    let program = Program::start(&line);
    let expected = format!("me-{}", program.id());
    program.end().check_out(&[]);
    let received = broker.finish_blocking().unwrap();
    let Some(Received { packet: Packet::Connect(connect), .. }) = received.first() else {
        panic!("{received:?}")
    };
    assert_eq!(connect.client_id.as_str(), expected);
}

#[test]
fn each_name_has_its_version() {
    for (line, version) in [
        ("pub -t a -m x", Version::V5),
        ("pub -t a -m x -V 31", Version::V31),
        ("pub -t a -m x -V mqttv311", Version::V311),
        ("mosquitto_pub -t a -m x", Version::V311),
        ("mosquitto_pub -t a -m x -D publish content-type text", Version::V5),
        ("mosquitto_pub -t a -m x -V 5", Version::V5),
    ] {
        assert_eq!(connect(line).version, version, "{line}");
    }
}

#[test]
fn options_of_a_subscription_arrive() {
    for (options, expected) in [
        ("", RetainHandling::Send),
        ("--retain-handling always", RetainHandling::Send),
        ("--retain-handling new", RetainHandling::SendIfNew),
        ("--retain-handling never", RetainHandling::DoNotSend),
    ] {
        let script = Script::new().accept().expect(PacketType::Subscribe).send(suback(1)).closed();
        let line = format!("sub -t a/# -q 2 --retain-as-published -E {options}");
        let (ended, packets) = play(script, &line);
        ended.check_out(&[]);
        let Some(Packet::Subscribe(subscribe)) = packets.get(1) else { panic!("{packets:?}") };
        let [line] = subscribe.filters.as_slice() else { panic!("{subscribe:?}") };
        assert_eq!((line.filter.as_str(), line.options.qos), ("a/#", QoS::ExactlyOnce));
        assert!(line.options.retain_as_published);
        assert_eq!(line.options.retain_handling, expected, "{options}");
    }
}

/// Under Mosquitto's names its lines on standard output, otherwise our log on standard error.
#[test]
fn debug_tells_packets() {
    let ack = Ack { packet_id: id(1), reason: ReasonCode::Success, properties: none() };
    let script = Script::new().accept().expect(PacketType::Publish);
    let script = script.send(Packet::PubAck(ack)).closed();
    let (ended, _) = play(script, "mosquitto_pub -d -i me -t a/b -m hello -q 1 -r");
    ended.check_out(&[
        "Client me sending CONNECT",
        "Client me received CONNACK (0)",
        "Client me sending PUBLISH (d0, q1, r1, m1, 'a/b', ... (5 bytes))",
        "Client me received PUBACK (Mid: 1, RC:0)",
        "Client me sending DISCONNECT",
    ]);
    let script = Script::new().accept().expect(PacketType::Subscribe).send(suback(1));
    let script = script.send_bytes(&b"\x30\x05\x00\x01ahi"[..]).closed();
    let (mut ended, _) = play(script, "mosquitto_sub -d -i me -t a -C 1");
    // The message may be printed later than its packet is told.
    ended.out.sort();
    ended.check_out(&[
        "Client me received CONNACK (0)",
        "Client me received PUBLISH (d0, q0, r0, m0, 'a', ... (2 bytes))",
        "Client me received SUBACK",
        "Client me sending CONNECT",
        "Client me sending DISCONNECT",
        "Client me sending SUBSCRIBE (Mid: 1, Topic: a, QoS: 0, Options: 0x00)",
        "Subscribed (mid: 1): 0",
        "hi",
    ]);
    let script = Script::new().refuse(ReasonCode::NotAuthorized);
    let (ended, _) = play(script, "mosquitto_sub -d -i me -t a");
    ended.check(5, &["not authorized"]);
    assert_eq!(ended.out, ["Client me sending CONNECT", "Client me received CONNACK (5)"]);
    let (ended, _) =
        play(Script::new().accept().expect(PacketType::Publish).closed(), "pub -d -t a -m x");
    ended.check(0, &["DEBUG postrider", "connecting"]);
    assert!(ended.out.is_empty(), "{ended:?}");
}

#[test]
fn a_rejected_publish_is_a_failure_with_its_reason() {
    let refusal = |reason, why: &str| Ack {
        packet_id: id(1),
        reason,
        properties: [Property::ReasonString(text(why))].into_iter().collect(),
    };
    for name in ["pub", "mosquitto_pub"] {
        let ack = refusal(ReasonCode::QuotaExceeded, "come back tomorrow");
        let script = Script::new().accept().expect(PacketType::Publish).send(Packet::PubAck(ack));
        let (ended, _) = play(script.closed(), &format!("{name} -t a/b -m x -q 1 -V 5"));
        ended.check(151, &["error: 'a/b' was not published", "quota", "come back tomorrow"]);
        let ack = refusal(ReasonCode::NotAuthorized, "only for staff");
        let script = Script::new().accept().expect(PacketType::Publish).send(Packet::PubRec(ack));
        let (ended, _) = play(script.closed(), &format!("{name} -t a/b -m x -q 2 -V 5"));
        ended.check(135, &["error: 'a/b' was not published", "not authorized", "only for staff"]);
    }
}

#[test]
fn a_refused_subscription_and_a_goodbye_are_failures_with_their_reasons() {
    let refusal =
        SubAck { packet_id: id(1), properties: none(), reasons: vec![ReasonCode::NotAuthorized] };
    let script =
        Script::new().accept().expect(PacketType::Subscribe).send(Packet::SubAck(refusal)).closed();
    play(script, "sub -t secret/#").0.check(135, &["error: ", "secret/#", "not authorized"]);
    let script = Script::new().accept().expect(PacketType::Publish);
    // DISCONNECT with 0x98, administrative action.
    let script = script.send_bytes(&b"\xe0\x02\x98\x00"[..]).close();
    play(script, "pub -t a -m x -q 1").0.check(152, &["'a' was not published", "administrative"]);
    let granted = SubAck { packet_id: id(1), properties: none(), reasons: success() };
    // DISCONNECT with 0x8E, session taken over.
    let script = Script::new().accept().expect(PacketType::Subscribe).send(Packet::SubAck(granted));
    let script = script.send_bytes(&b"\xe0\x02\x8e\x00"[..]).close();
    play(script, "sub -t a").0.check(142, &["nothing more comes for 'a'", "same client id"]);
    let script = Script::new().refuse(ReasonCode::ServerBusy);
    play(script, "pub -t a -m x -V 5").0.check(137, &["error: ", "server busy"]);
    let script = Script::new().refuse(ReasonCode::ServerUnavailable);
    play(script, "pub -t a -m x -V 311").0.check(3, &["error: ", "server unavailable"]);
    let script = Script::new().refuse(ReasonCode::UnsupportedProtocolVersion);
    let (ended, _) = play(script, "pub -t a -m x -V 5");
    ended.check(132, &["choose another version, or -V auto"]);
}

/// What `auto` comes to is no concern of a script: the same refusal has the same status.
#[test]
fn a_session_that_falls_back_is_refused_with_the_codes_of_5_0() {
    let first = Script::new().refuse(ReasonCode::UnsupportedProtocolVersion);
    let second = Script::new().refuse(ReasonCode::NotAuthorized);
    let broker = ScriptedBroker::start([first, second]).unwrap();
    let ended = run(&["pub", "-L", broker.url(), "-t", "a", "-m", "x"]);
    ended.check(135, &["not authorized"]);
    let received = broker.finish_blocking().unwrap();
    let version = |it: &Received| {
        if let Packet::Connect(connect) = &it.packet { Some(connect.version) } else { None }
    };
    let versions: Vec<_> = received.iter().filter_map(version).collect();
    assert_eq!(versions, [Version::V5, Version::V311]);
}

/// A script that accepts with this property.
fn accept_with(property: Property) -> Script {
    let properties = [property].into_iter().collect();
    let connack = ConnAck { session_present: false, reason: ReasonCode::Success, properties };
    Script::new().expect(PacketType::Connect).send(Packet::ConnAck(connack))
}

/// Runs a line at a broker that plays a script; returns how it ended, and the packets that came.
fn play(script: Script, line: &str) -> (Ended, Vec<Packet>) {
    let broker = ScriptedBroker::start([script]).unwrap();
    let (name, rest) = line.split_once(' ').unwrap();
    let rest: Vec<_> = rest.split_whitespace().collect();
    let place = ["-L", broker.url()];
    let ended = match name.starts_with("mosquitto_") {
        true => Program::spawn(&mut command_named(name, &[&place, &rest[..]].concat())).end(),
        false => run(&[&[name], &place[..], &rest].concat()),
    };
    let received = broker.finish_blocking();
    let packets = received.unwrap_or_else(|error| panic!("{error}; {ended:?}"));
    (ended, packets.into_iter().map(|received| received.packet).collect())
}

/// The CONNECT of a line that publishes at QoS 0.
fn connect(line: &str) -> Connect {
    let (ended, packets) = play(Script::new().accept().expect(PacketType::Publish).closed(), line);
    ended.check_out(&[]);
    let Some(Packet::Connect(connect)) = packets.into_iter().next() else { panic!("no CONNECT") };
    *connect
}

fn published(packets: &[Packet]) -> &Publish {
    for packet in packets {
        if let Packet::Publish(publish) = packet {
            return publish;
        }
    }
    panic!("{packets:?}")
}

fn has(properties: &Properties, expected: &[Property]) {
    for property in expected {
        let found = properties.iter().filter(|found| *found == property).count();
        assert_eq!(found, 1, "{property:?} in {properties:?}");
    }
}

fn of_message(content_type: &str) -> [Property; 5] {
    [
        Property::ContentType(text(content_type)),
        Property::CorrelationData("nr".into()),
        Property::MessageExpiryInterval(8),
        Property::PayloadFormatIndicator(true.into()),
        Property::ResponseTopic(text("back")),
    ]
}

fn user(value: &str) -> Property {
    Property::UserProperty(text("k"), text(value))
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn none() -> Properties {
    Properties::default()
}

fn success() -> Vec<ReasonCode> {
    vec![ReasonCode::Success]
}

fn suback(packet: u16) -> Packet {
    Packet::SubAck(SubAck { packet_id: id(packet), properties: none(), reasons: success() })
}

fn unsuback(packet: u16) -> Packet {
    Packet::UnsubAck(UnsubAck { packet_id: id(packet), properties: none(), reasons: success() })
}
