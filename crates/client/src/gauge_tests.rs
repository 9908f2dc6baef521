//! The gauge of a stream, by itself. Not in its own file, which the model checker compiles with other atomics.

use crate::{
    gauge::{Fill, Gauge},
    mailbox::Room,
};

/// At, under and over both bounds.
#[test]
fn bounds_are_in_messages_and_in_bytes() {
    let gauge = Gauge::new(Room { count: 2, bytes: 10 });
    gauge.add(100);
    assert_eq!(gauge.fill(), Fill::Flooded);
    assert!(!gauge.is_over(), "one message of any size is taken");
    gauge.remove(100);
    assert_eq!(gauge.fill(), Fill::Room);
    gauge.add(1);
    assert_eq!(gauge.fill(), Fill::Room);
    gauge.add(1);
    assert_eq!((gauge.fill(), gauge.is_over()), (Fill::Full, false));
    gauge.add(1);
    assert!(gauge.is_over());
    gauge.remove(1);
    gauge.add(9);
    gauge.remove(1);
    assert_eq!((gauge.held(), gauge.is_over()), (2, false));
    gauge.add(1);
    gauge.remove(1);
    assert!(!gauge.is_over());
    gauge.add(10);
    assert!(gauge.is_over());
}

#[test]
fn a_nudge_comes_once_when_half_is_free() {
    let gauge = Gauge::new(Room { count: 4, bytes: 100 });
    (0..4).for_each(|_| gauge.add(1));
    assert!(!gauge.remove(1), "nobody waits");
    assert!(!gauge.watch());
    assert!(gauge.remove(1));
    assert!(!gauge.remove(1), "it was told");
    assert!(gauge.watch());
}
