//! Two senders, one taker: nothing is lost, nothing comes twice, nobody sleeps for ever.

use std::{collections::VecDeque, future::poll_fn};

use loom::{future::block_on, sync::Arc, thread};

use crate::{
    mailbox::{Closed, Mail, Mailbox, Room, Taken, Ticket},
    model,
};

impl Mail for u32 {
    fn number(&mut self, _: &mut u64, _: bool) {}

    fn is_patient(&self) -> bool {
        *self < PRESSING
    }
}

/// The first value that is not patient.
const PRESSING: u32 = 10;

/// Room for one value: the second sender has to wait.
const NARROW: Room = Room { count: 1, bytes: 100 };
const WIDE: Room = Room { count: 10, bytes: 100 };

/// Waits for room, as a verb does.
fn send(mailbox: &Mailbox<u32>, value: u32) -> Result<(), Closed<u32>> {
    let (mut ticket, mut value) = (Ticket::default(), Some(value));
    block_on(poll_fn(|cx| mailbox.poll_send(cx, &mut ticket, &mut value, 1)))
}

/// Waits for something, as the driver does.
fn take(mailbox: &Mailbox<u32>) -> (Taken, VecDeque<u32>) {
    let mut into = VecDeque::new();
    let taken = block_on(poll_fn(|cx| mailbox.poll_take(cx, &mut into)));
    (taken, into)
}

#[test]
fn what_two_senders_send_through_a_narrow_mailbox_comes_once() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new(NARROW));
        let senders: Vec<_> = [1, 2].map(|value| sender(&mailbox, vec![value])).into();
        let mut came = taken(&mailbox, 2);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        came.sort_unstable();
        assert_eq!(came, [1, 2]);
    });
}

#[test]
fn what_one_sender_sends_through_a_narrow_mailbox_comes_in_its_order() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new(NARROW));
        let sender = sender(&mailbox, vec![1, 2, 3]);
        assert_eq!(taken(&mailbox, 3), [1, 2, 3]);
        sender.join().unwrap();
    });
}

fn sender(mailbox: &Arc<Mailbox<u32>>, values: Vec<u32>) -> thread::JoinHandle<()> {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || {
        values.into_iter().for_each(|value| assert_eq!(send(&mailbox, value), Ok(())));
    })
}

/// Takes until so many came.
fn taken(mailbox: &Mailbox<u32>, count: usize) -> Vec<u32> {
    let mut came = Vec::new();
    while came.len() < count {
        let (_, values) = take(mailbox);
        assert!(values.len() <= 1, "no more than there is room for");
        came.extend(values);
    }
    came
}

/// A forced value, a nudge and the end of the last handle: the taker hears of each.
#[test]
fn a_nudge_a_forced_value_and_the_last_handle_wake_the_taker() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new(WIDE));
        let forcing = Arc::clone(&mailbox);
        let forcer = thread::spawn(move || assert_eq!(forcing.force(1, 1), Ok(())));
        let leaving = Arc::clone(&mailbox);
        let leaver = thread::spawn(move || leaving.abandon());
        let (mut came, mut is_abandoned) = (Vec::new(), false);
        while came.is_empty() || !is_abandoned {
            let (taken, values) = take(&mailbox);
            is_abandoned |= taken.is_abandoned;
            came.extend(values);
        }
        forcer.join().unwrap();
        leaver.join().unwrap();
        assert_eq!(came, [1]);
    });
}

/// A taker that can do with nudges only, because its last batch is not done.
#[test]
fn a_taker_that_leaves_the_values_hears_nudges() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new(WIDE));
        let sending = Arc::clone(&mailbox);
        let sender = thread::spawn(move || {
            assert_eq!(sending.force(1, 1), Ok(()));
            sending.nudge();
        });
        block_on(poll_fn(|cx| mailbox.poll_nudge(cx)));
        sender.join().unwrap();
        assert_eq!(mailbox.close(), [1]);
    });
}

/// And it hears of a value that presses, whether that has its place or waits for one.
#[test]
fn a_taker_that_leaves_the_values_hears_of_one_that_presses() {
    for room in [NARROW, WIDE] {
        model(move || {
            let mailbox = Arc::new(Mailbox::new(room));
            assert_eq!(mailbox.force(1, 1), Ok(()));
            let sender = sender(&mailbox, vec![PRESSING]);
            let heard = block_on(poll_fn(|cx| mailbox.poll_nudge(cx)));
            assert!(heard.is_pressing);
            let mut came = Vec::new();
            while came.len() < 2 {
                let (taken, values) = take(&mailbox);
                assert!(taken.is_pressing || !values.contains(&PRESSING));
                came.extend(values);
            }
            sender.join().unwrap();
            assert_eq!(came, [1, PRESSING]);
        });
    }
}

/// Whoever waits for room when the driver ends gets the value back; what was taken in is handed out. None is lost.
#[test]
fn a_mailbox_that_closes_gives_every_value_to_somebody() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new(NARROW));
        let senders: Vec<_> = [1, 2]
            .into_iter()
            .map(|value| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || match send(&mailbox, value) {
                    Ok(()) => None,
                    Err(Closed(value)) => Some(value),
                })
            })
            .collect();
        let mut all: Vec<u32> = mailbox.close().into();
        all.extend(senders.into_iter().filter_map(|sender| sender.join().unwrap()));
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}
