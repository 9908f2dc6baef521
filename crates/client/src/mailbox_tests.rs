//! The mailbox, by itself. Not in its own file, which the model checker compiles with other locks.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::mailbox::{Closed, Mail, Mailbox, Room, Taken, Ticket};

/// The first value that is not patient.
const PRESSING: u32 = 10_000;
/// What takes a number.
const NUMBERED: u32 = 1000;

impl Mail for u32 {
    fn number(&mut self, next: &mut u64, is_sure: bool) {
        if *self == NUMBERED {
            *self += Self::try_from(*next).unwrap() + if is_sure { 100 } else { 0 };
            *next += 1;
        }
    }

    fn is_patient(&self) -> bool {
        *self < PRESSING
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn send(mailbox: &Mailbox<u32>, waker: &Waker, value: u32, bytes: usize) -> bool {
    let mut ticket = Ticket::default();
    let mut value = Some(value);
    let mut cx = Context::from_waker(waker);
    mailbox.poll_send(&mut cx, &mut ticket, &mut value, bytes).is_ready()
}

fn take(mailbox: &Mailbox<u32>, waker: &Waker) -> Poll<Vec<u32>> {
    let mut into = VecDeque::new();
    let poll = mailbox.poll_take(&mut Context::from_waker(waker), &mut into);
    poll.map(|_| into.into_iter().collect())
}

#[test]
fn a_sender_waits_while_the_count_is_reached_and_is_woken_by_a_take() {
    let mailbox = Mailbox::new(Room { count: 2, bytes: 100 });
    let (woken, sender) = counted();
    let (_, taker) = counted();
    assert!(send(&mailbox, &sender, 1, 1));
    assert!(send(&mailbox, &sender, 2, 1));
    assert!(!send(&mailbox, &sender, 3, 1));
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    assert_eq!(take(&mailbox, &taker), Poll::Ready(vec![1, 2]));
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(send(&mailbox, &sender, 3, 1));
}

#[test]
fn a_sender_waits_while_the_bytes_are_reached_but_one_value_of_any_size_passes() {
    let mailbox = Mailbox::new(Room { count: 10, bytes: 100 });
    let (_, waker) = counted();
    assert!(send(&mailbox, &waker, 1, 1000));
    assert!(!send(&mailbox, &waker, 2, 1));
    assert_eq!(take(&mailbox, &waker), Poll::Ready(vec![1]));
    assert!(send(&mailbox, &waker, 2, 60));
    assert!(send(&mailbox, &waker, 3, 40));
    assert!(!send(&mailbox, &waker, 4, 1));
}

#[test]
fn a_forced_value_passes_the_bounds() {
    let mailbox = Mailbox::new(Room { count: 1, bytes: 1 });
    let (_, waker) = counted();
    assert!(send(&mailbox, &waker, 1, 1));
    assert!(!mailbox.is_overfull());
    assert_eq!(mailbox.force(2, 1), Ok(()));
    assert!(mailbox.is_overfull());
    assert_eq!(take(&mailbox, &waker), Poll::Ready(vec![1, 2]));
}

/// Nor without a bound of bytes.
#[test]
fn forced_values_fill_it_by_their_bytes_too() {
    let mailbox = Mailbox::new(Room { count: 100, bytes: 10 });
    let (_, waker) = counted();
    assert!(send(&mailbox, &waker, 1, 10));
    for (value, bytes) in [(2, 50), (3, 0), (4, 10)] {
        assert_eq!(mailbox.force(value, bytes), Ok(()));
        assert!(!mailbox.is_overfull(), "at {value}: one may be of any size");
    }
    assert_eq!(mailbox.force(5, 1), Ok(()));
    assert!(mailbox.is_overfull());
    assert_eq!(take(&mailbox, &waker), Poll::Ready(vec![1, 2, 3, 4, 5]));
    assert!(!mailbox.is_overfull());
}

#[test]
fn the_taker_is_woken_once_per_batch() {
    let mailbox = Mailbox::new(Room { count: 10, bytes: 10 });
    let (_, sender) = counted();
    let (woken, taker) = counted();
    assert_eq!(take(&mailbox, &taker), Poll::Pending);
    for value in 0..5 {
        assert!(send(&mailbox, &sender, value, 1));
    }
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(take(&mailbox, &taker), Poll::Ready(vec![0, 1, 2, 3, 4]));
}

#[test]
fn a_nudge_wakes_a_taker_that_leaves_the_values() {
    let mailbox = Mailbox::new(Room { count: 10, bytes: 10 });
    let (woken, taker) = counted();
    assert!(send(&mailbox, &taker, 1, 1));
    let mut cx = Context::from_waker(&taker);
    assert_eq!(mailbox.poll_nudge(&mut cx), Poll::Pending);
    mailbox.abandon();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(
        mailbox.poll_nudge(&mut cx),
        Poll::Ready(Taken { is_abandoned: true, is_pressing: false })
    );
    assert_eq!(take(&mailbox, &taker), Poll::Ready(vec![1]));
}

#[test]
fn a_waiting_sender_polled_again_waits_once() {
    let mailbox = Mailbox::new(Room { count: 1, bytes: 10 });
    let (woken, waker) = counted();
    assert!(send(&mailbox, &waker, 1, 1));
    let (mut ticket, mut value) = (Ticket::default(), Some(2));
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(mailbox.poll_send(&mut cx, &mut ticket, &mut value, 1).is_pending());
    }
    assert_eq!(take(&mailbox, &waker), Poll::Ready(vec![1]));
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_closed_mailbox_gives_values_back() {
    let mailbox = Mailbox::new(Room { count: 1, bytes: 10 });
    let (woken, waker) = counted();
    assert!(send(&mailbox, &waker, 1, 1));
    assert!(!send(&mailbox, &waker, 2, 1));
    assert_eq!(mailbox.close(), [1]);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(mailbox.force(3, 1), Err(Closed(3)));
}

#[test]
fn numbers_have_the_order_of_places() {
    let mailbox = Mailbox::new(Room { count: 2, bytes: 10 });
    let (_, waker) = counted();
    mailbox.number_from(7);
    mailbox.set_taker_room(1);
    assert!(send(&mailbox, &waker, NUMBERED, 1));
    assert!(send(&mailbox, &waker, 1, 1));
    assert!(!send(&mailbox, &waker, NUMBERED, 1), "without a place it gets none");
    assert_eq!(mailbox.force(NUMBERED, 1), Ok(()));
    assert_eq!(take(&mailbox, &waker), Poll::Ready(vec![1107, 1, 1008]));
}
