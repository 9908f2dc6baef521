//! What clients may not publish.

use postrider_proto::wire::ReasonCode;

use crate::world::each;

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
