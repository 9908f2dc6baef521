//! What clients may not publish.

use postrider_proto::wire::{Packet, Property, ReasonCode};

use crate::world::{ack, each, each_v5, id, publish_packet};

/// v3.1.1 [MQTT-3.3.5-2], v5 section 4.7.2: clients do not publish to the server's topics; 5.0 is told.
#[test]
fn server_topics_are_the_servers() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("$SYS/#", 2), ("$SYS", 2)]);
        world.connect("b");
        let answer = if world.is_v5() { ReasonCode::NotAuthorized } else { ReasonCode::Success };
        for topic in ["$SYS/broker/uptime", "$SYS", "$SYS/"] {
            assert_eq!(world.publish("b", topic, "x", 0), ReasonCode::Success);
            assert_eq!(world.publish("b", topic, "x", 1), answer);
            assert_eq!(world.publish("b", topic, "x", 2), answer);
            world.retain("b", topic, "x", 1);
        }
        assert!(world.messages("a").is_empty());
        assert!(!world.is_closed("b"));
        world.connect("late");
        world.subscribe("late", &[("$SYS/#", 2)]);
        assert!(world.messages("late").is_empty());
    });
}

/// Other topics that begin with `$` are ordinary ones.
#[test]
fn other_dollar_topics_are_ordinary() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("$aws/#", 0), ("$SYSTEM", 0)]);
        world.connect("b");
        world.publish("b", "$aws/things", "x", 1);
        world.publish("b", "$SYSTEM", "y", 1);
        assert_eq!(world.messages("a"), ["$aws/things=x q0", "$SYSTEM=y q0"]);
    });
}

/// v5 [MQTT-4.3.3-9] [MQTT-3.1.2-29]: after a refusing PUBREC the exchange is over and the id is new; the refusal says no
/// more than its code.
#[test]
fn refused_exchange_is_over() {
    each_v5(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 2)]);
        world.connect_as("b", |connect| {
            connect.properties.push(Property::RequestProblemInformation(false));
        });
        world.set_answering("b", false);
        world.send("b", &publish_packet("$SYS/x", "no", 2, 5));
        assert_eq!(world.received("b"), ["PUBREC id=5 NotAuthorized"]);
        world.send("b", &publish_packet("t", "yes", 2, 5));
        assert_eq!(world.received("b"), ["PUBREC id=5 Success"]);
        assert_eq!(world.messages("a"), ["t=yes q2"]);
        world.send("b", &Packet::PubRel(ack(id(5))));
        assert_eq!(world.received("b"), ["PUBCOMP id=5 Success"]);
    });
}
