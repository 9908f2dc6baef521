//! A window that was full: messages leave several at a time, acknowledgements may come so, and none waits for long.

use postrider_proto::{
    SessionConfig, Time,
    client::ClientConfig,
    wire::{AckKind, ReasonCode, Version},
};

use crate::desk::{Desk, Q0, Q1, VERSIONS, config};

const WINDOW: u16 = 32;

/// A client whose window is full, and five messages that wait.
fn full(version: Version) -> Desk {
    let session = SessionConfig {
        flights_max: WINDOW,
        flights_max_unannounced: WINDOW,
        ..SessionConfig::default()
    };
    let mut desk = Desk::new(ClientConfig { session, ..config(version) });
    desk.client.connect(desk.now);
    desk.open();
    desk.accept(false);
    for _ in 0..WINDOW + 5 {
        desk.publish(Q1, "a").unwrap();
    }
    let sent = desk.log().iter().filter(|line| line.contains("PUBLISH")).count();
    assert_eq!(sent, usize::from(WINDOW));
    // For a while acknowledgements may come together.
    assert_eq!((desk.client.awaited_len(), desk.deadline), (4 * 4, Some(desk.now.plus_ms(2))));
    desk.wake();
    assert_eq!(desk.client.awaited_len(), 0);
    assert_eq!(desk.deadline, None, "a place must be free before anything can wait for others");
    desk
}

fn puback(desk: &mut Desk, id: u16) {
    desk.ack(AckKind::PubAck, id, ReasonCode::Success);
}

fn lines(desk: &mut Desk) -> Vec<String> {
    let mut lines = desk.log();
    lines.retain(|line| line.contains("PUBLISH"));
    lines
}

#[test]
fn messages_leave_together_once_an_eighth_of_the_window_is_free() {
    for version in VERSIONS {
        let mut desk = full(version);
        for id in 1..=3 {
            puback(&mut desk, id);
            assert_eq!(desk.client.awaited_len(), 4 * (4 - u32::from(id)));
        }
        desk.publish(Q0, "now").unwrap();
        assert_eq!(lines(&mut desk), ["> PUBLISH q0 now"]);
        puback(&mut desk, 4);
        let together = [33, 34, 35, 36].map(|id| format!("> PUBLISH {id} q1 a"));
        assert_eq!(lines(&mut desk), together);
        assert_eq!((desk.client.awaited_len(), desk.deadline), (16, Some(desk.now.plus_ms(2))));
    }
}

#[test]
fn a_message_waits_a_millisecond_for_others() {
    for version in VERSIONS {
        let mut desk = full(version);
        puback(&mut desk, 1);
        assert_eq!(desk.deadline, Some(desk.now.plus_ms(1)));
        desk.wake();
        assert_eq!(lines(&mut desk), ["> PUBLISH 33 q1 a"]);
        desk.wake();
        assert_eq!((desk.client.awaited_len(), desk.deadline), (0, None));
    }
}

/// What waited is gone, but the driver was told of the time.
#[test]
fn nothing_is_left_to_wait_for_after_a_cut() {
    for version in VERSIONS {
        let mut desk = full(version);
        puback(&mut desk, 1);
        let Some(Time(_)) = desk.deadline else { panic!("something waits") };
        desk.cut_and_open();
        assert_eq!(desk.client.awaited_len(), 0);
        desk.accept(true);
        let again = lines(&mut desk).len();
        assert_eq!(again, usize::from(WINDOW), "31 again, and one that has waited");
    }
}
