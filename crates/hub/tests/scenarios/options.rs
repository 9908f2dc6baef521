//! Subscription options of 5.0.

use postrider_proto::wire::{RetainHandling, SubscribeOptions};

use crate::world::{each, each_v5, options};

fn handling(retain_handling: RetainHandling) -> SubscribeOptions {
    SubscribeOptions { retain_handling, ..options(1) }
}

/// v5 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]: sent / sent / not; on a repeat sent / not / not.
#[test]
fn retain_handling() {
    each_v5(|world| {
        world.connect("b");
        world.retain("b", "t", "kept", 1);
        let cases = [
            (RetainHandling::Send, true, true),
            (RetainHandling::SendIfNew, true, false),
            (RetainHandling::DoNotSend, false, false),
        ];
        for (retain_handling, first, again) in cases {
            world.connect("a");
            for is_sent in [first, again] {
                world.subscribe_as("a", &[("t", handling(retain_handling))], None);
                let expected: &[&str] = if is_sent { &["t=kept q1 retain"] } else { &[] };
                assert_eq!(world.messages("a"), expected, "{retain_handling:?}");
            }
            world.unsubscribe("a", &["t"]);
            world.subscribe_as("a", &[("t", handling(retain_handling))], None);
            assert_eq!(world.messages("a").is_empty(), !first, "after UNSUBSCRIBE it is new again");
        }
    });
}

/// v5 [MQTT-3.3.1-10]: a subscription that was kept with its session is not new.
#[test]
fn kept_subscription_is_not_new() {
    each_v5(|world| {
        world.connect("b");
        world.retain("b", "t", "kept", 1);
        world.resume("a");
        world.subscribe_as("a", &[("t", handling(RetainHandling::SendIfNew))], None);
        assert_eq!(world.messages("a").len(), 1);
        world.cut("a");
        world.resume("a");
        world.subscribe_as("a", &[("t", handling(RetainHandling::SendIfNew))], None);
        assert!(world.messages("a").is_empty());
    });
}

/// v5 [MQTT-3.3.1-12] [MQTT-3.3.1-13]: live messages keep RETAIN only for who asked for it.
#[test]
fn retain_as_published() {
    each_v5(|world| {
        for (name, retain_as_published) in [("plain", false), ("exact", true)] {
            world.connect(name);
            let options = SubscribeOptions { retain_as_published, ..options(0) };
            world.subscribe_as(name, &[("t", options)], None);
        }
        world.connect("b");
        world.retain("b", "t", "1", 0);
        world.publish("b", "t", "2", 0);
        assert_eq!(world.messages("plain"), ["t=1 q0", "t=2 q0"]);
        assert_eq!(world.messages("exact"), ["t=1 q0 retain", "t=2 q0"]);
        for retain_as_published in [false, true] {
            world.connect("late");
            let options = SubscribeOptions { retain_as_published, ..options(0) };
            world.subscribe_as("late", &[("t", options)], None);
            assert_eq!(world.messages("late"), ["t=1 q0 retain"], "on subscribe it is always set");
        }
    });
}

/// v5 section 3.8.3.1: the identifier goes along with retained messages too.
#[test]
fn identifier_goes_with_retained_messages() {
    each_v5(|world| {
        world.connect("b");
        world.retain("b", "t", "kept", 0);
        world.connect("a");
        world.subscribe_as("a", &[("t", options(0))], Some(7));
        assert_eq!(world.messages("a"), ["t=kept q0 retain ids=7"]);
    });
}

/// Options and identifiers are part of the session.
#[test]
fn options_outlive_the_link() {
    each_v5(|world| {
        world.resume("a");
        let exact = SubscribeOptions { retain_as_published: true, ..options(2) };
        world.subscribe_as("a", &[("t", exact)], Some(9));
        world.cut("a");
        if world.setup.is_durable {
            world.restart(world.setup.hubs);
        }
        world.connect("b");
        world.retain("b", "t", "away", 2);
        world.resume("a");
        world.retain("b", "t", "back", 2);
        assert_eq!(world.messages("a"), ["t=away q2 retain ids=9", "t=back q2 retain ids=9"]);
    });
}

/// v3.1.1 [MQTT-3.3.1-9]: subscribers of 3.1.1 get RETAIN=0 live.
#[test]
fn live_messages_are_not_retained() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 1)]);
        world.connect("b");
        world.retain("b", "t", "x", 1);
        assert_eq!(world.messages("a"), ["t=x q1"]);
    });
}
