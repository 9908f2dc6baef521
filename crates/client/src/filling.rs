//! Large payloads on their way to the session: read on a thread of their own into a spool, then published.
//!
//! ```text
//! publisher --starts--> thread --may I?---------> driver: checks head and length, begins a spool
//!                       thread --pieces---------> spool
//!                       thread --publish--------> driver: the message names the spool
//! ```

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    thread,
};

use postrider_proto::{
    Payload, SpoolId,
    wire::{Properties, Publish},
};
use postrider_store::SideDoor;

use crate::{
    Event, PublishError, Source, SourceError,
    answer::{Gone, answer},
    blocking::wait::wait,
    command::{Command, PublishCommand, SpaceCommand},
    lock::lock,
    mailbox::{Closed, Ticket},
    shared::{Handle, Shared},
    slot::PublishAnswer,
    subscription::send,
};

/// A payload of at least so many bytes goes to a spool.
pub(crate) const SPOOL_ABOVE: u64 = 1 << 20;

/// A publication whose payload has yet to be read.
#[derive(Debug)]
pub(crate) struct Filling {
    /// The session lives until the message is in its queue.
    pub(crate) handle: Arc<Handle>,
    pub(crate) head: Publish,
    /// Of PUBREL.
    pub(crate) release: Option<Box<Properties>>,
    pub(crate) source: Source,
    pub(crate) answer: PublishAnswer,
}

/// A spool that was begun for a payload.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) id: SpoolId,
    pub(crate) door: SideDoor,
}

/// Keeps a spool. The driver hears of its end at once, not when it has something else to do.
#[derive(Debug)]
pub(crate) struct SpoolHold {
    id: Option<SpoolId>,
    shared: Arc<Shared>,
}

impl Filling {
    /// Starts to read. What goes wrong goes to whoever waits for the publication.
    pub(crate) fn start(self) {
        // Should there be no thread, the way back to the publisher must not go with the closure.
        let here = Arc::new(Mutex::new(Some(self)));
        let there = Arc::clone(&here);
        let started =
            thread::Builder::new().name("postrider-payload".to_owned()).spawn(move || {
                let filling = lock(&there).take();
                if let Some(filling) = filling {
                    filling.run();
                }
            });
        let Err(error) = started else { return };
        if let Some(filling) = lock(&here).take() {
            let error = SourceError::Unreadable(format!("no thread to read it: {error}"));
            fail(&filling.handle.0, filling.answer, error.into());
        }
    }

    fn run(self) {
        let Self { handle, head, release, source, answer } = self;
        let shared = &handle.0;
        match read(shared, &head, source) {
            Ok((payload, hold)) => {
                let mut command = PublishCommand::new(head, payload, Some(answer));
                command.release = release;
                let (cost, mut ticket) = (command.cost(), Ticket::default());
                let mut command = Some(Command::Publish(command));
                let sent = wait(poll_fn(|cx| {
                    shared.mailbox.poll_send(cx, &mut ticket, &mut command, cost)
                }));
                if let Err(Closed(Command::Publish(PublishCommand {
                    answer: Some(answer), ..
                }))) = sent
                {
                    fail(shared, answer, PublishError::Over(shared.end()));
                }
                drop(hold);
            }
            Err(error) => fail(shared, answer, error),
        }
    }
}

/// Reads a payload to where it can be published from.
fn read(
    shared: &Arc<Shared>,
    head: &Publish,
    source: Source,
) -> Result<(Payload, Option<SpoolHold>), PublishError> {
    let mut source = source.open()?;
    let len = source.len;
    let Some(space) = space(shared, head, len)? else {
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        source.read(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), PublishError>(())
        })?;
        return Ok((Payload::Bytes(bytes.into()), None));
    };
    let Space { id, door } = space;
    let number = id.number();
    let hold = SpoolHold::new(id.clone(), shared);
    source.read(|piece| match shared.over() {
        Some(end) => Err(PublishError::Over(end)),
        None => door.append(number, piece).map_err(PublishError::Spool),
    })?;
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    Ok((Payload::Spooled { id, len }, Some(hold)))
}

/// Asks the driver whether a payload of this length can be published, and for a spool if it is large.
fn space(shared: &Shared, head: &Publish, len: u64) -> Result<Option<Space>, PublishError> {
    let (answer, answered) = answer();
    let command = SpaceCommand { head: head.clone(), len, answer };
    let over = |Gone| PublishError::Over(shared.end());
    wait(async {
        send(shared, Command::Space(Box::new(command))).await.map_err(over)?;
        answered.wait().await.map_err(over)?
    })
}

fn fail(shared: &Shared, answer: PublishAnswer, error: PublishError) {
    if let Some(error) = answer.done(Err(error)) {
        shared.tell(&Event::PublishFailed { number: 0, error });
    }
}

impl SpoolHold {
    pub(crate) fn new(id: SpoolId, shared: &Arc<Shared>) -> Self {
        Self { id: Some(id), shared: Arc::clone(shared) }
    }
}

impl Drop for SpoolHold {
    fn drop(&mut self) {
        drop(self.id.take());
        self.shared.mailbox.nudge();
    }
}
