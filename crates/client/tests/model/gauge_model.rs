//! A driver that stops reading for a full stream, and a reader that empties it: the driver goes on.

use loom::{
    sync::{Arc, Notify},
    thread,
};

use crate::{gauge::Gauge, mailbox::Room, model};

#[test]
fn a_driver_that_waits_for_room_is_nudged() {
    model(|| {
        let gauge = Arc::new(Gauge::new(Room { count: 2, bytes: 100 }));
        let bell = Arc::new(Notify::new());
        gauge.add(40);
        gauge.add(40);
        let (reading, ringing) = (Arc::clone(&gauge), Arc::clone(&bell));
        let reader = thread::spawn(move || {
            for _ in 0..2 {
                if reading.remove(40) {
                    ringing.notify();
                }
            }
        });
        // A nudge that does not come leaves this waiting for ever, which loom reports.
        while !gauge.watch() {
            bell.wait();
        }
        reader.join().unwrap();
        assert_eq!(gauge.held(), 0);
    });
}
