//! Sends the messages of one publisher, within window and credit.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use postrider_wire::{
    PACKET_SIZE_MAX, Packet, PacketId, Properties, PublishHead, QoS, Topic, encode_publish,
};

use crate::{BenchError, Plan, credit::Credit, peer::Peer};

/// One publisher at work.
pub(crate) struct Publisher {
    pub(crate) peer: Peer,
    pub(crate) credit: Rc<Credit>,
    pub(crate) number: u32,
    pub(crate) topic: Topic,
    pub(crate) window: u16,
    sent: u32,
    open: u16,
    id: u16,
    payload: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new(
        peer: Peer,
        credit: Rc<Credit>,
        number: u32,
        topic: Topic,
        plan: &Plan,
        receive_maximum: u16,
    ) -> Self {
        let window = plan.window.min(receive_maximum).max(1);
        let payload = vec![b'.'; plan.size as usize];
        Self { peer, credit, number, topic, window, sent: 0, open: 0, id: 0, payload }
    }

    /// Sends everything and waits for the last acknowledgement.
    pub(crate) async fn run(mut self, plan: &Plan, start: Instant) -> Result<Self, BenchError> {
        poll_fn(|context| self.poll(plan, start, context)).await?;
        Ok(self)
    }

    fn poll(
        &mut self,
        plan: &Plan,
        start: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BenchError>> {
        loop {
            while let Some(packet) = self.peer.next()? {
                self.answered(&packet)?;
            }
            // Before the credit is looked at: a report in between must not be missed.
            self.credit.wait(context);
            self.fill(plan, start)?;
            let is_flushed = self.peer.poll_flush(context)?.is_ready();
            if is_flushed && self.sent == plan.messages && self.open == 0 {
                return Poll::Ready(Ok(()));
            }
            if is_flushed && self.may_send(plan) {
                continue;
            }
            if self.peer.poll_fill(context)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn may_send(&self, plan: &Plan) -> bool {
        let has_window = plan.qos == QoS::AtMostOnce || self.open < self.window;
        let is_near = self.sent < self.credit.slowest().saturating_add(plan.ahead);
        self.sent < plan.messages && has_window && is_near
    }

    fn fill(&mut self, plan: &Plan, start: Instant) -> Result<(), BenchError> {
        let none = Properties::new();
        while self.may_send(plan) && self.peer.output.len() < BATCH_BYTES {
            let packet_id = (plan.qos > QoS::AtMostOnce).then(|| self.next_id()).flatten();
            let head = PublishHead {
                dup: false,
                qos: plan.qos,
                retain: false,
                topic: Some(&self.topic),
                packet_id,
                properties: &none,
            };
            stamp(&mut self.payload, self.number, self.sent, start);
            let (version, out) = (self.peer.version, &mut self.peer.output);
            encode_publish(head, plan.size, version, PACKET_SIZE_MAX, out)?;
            out.extend_from_slice(&self.payload);
            self.sent += 1;
            self.open += u16::from(packet_id.is_some());
        }
        Ok(())
    }

    /// Identifiers count up and wrap; with at most 65,535 open and acknowledgements in order none is busy.
    fn next_id(&mut self) -> Option<PacketId> {
        self.id = self.id.checked_add(1).unwrap_or(1);
        PacketId::new(self.id)
    }

    fn answered(&mut self, packet: &Packet) -> Result<(), BenchError> {
        if let Packet::PubAck(ack) | Packet::PubComp(ack) = packet
            && !ack.reason.is_error()
        {
            self.open = self.open.saturating_sub(1);
            return Ok(());
        }
        if let Packet::PubRec(ack) = packet
            && !ack.reason.is_error()
        {
            let mut release = ack.clone();
            release.reason = postrider_wire::ReasonCode::Success;
            return self.peer.put(&Packet::PubRel(release));
        }
        Err(self.peer.surprised(packet))
    }
}

/// Writes publisher, sequence number and microseconds since the start into the front of a payload.
fn stamp(payload: &mut [u8], publisher: u32, sequence: u32, start: Instant) {
    let now = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    if let Some(front) = payload.first_chunk_mut::<{ Plan::SIZE_MIN as usize }>() {
        front[0..4].copy_from_slice(b"bnch");
        front[4..8].copy_from_slice(&publisher.to_be_bytes());
        front[8..12].copy_from_slice(&sequence.to_be_bytes());
        front[12..20].copy_from_slice(&now.to_be_bytes());
    }
}

/// Reads what [`stamp`] wrote: publisher, sequence number, microseconds.
pub(crate) fn read_stamp(payload: &[u8]) -> Option<(u32, u32, u64)> {
    let front = payload.first_chunk::<{ Plan::SIZE_MIN as usize }>()?;
    let number = |from: usize| front.get(from..from + 4)?.try_into().ok().map(u32::from_be_bytes);
    let time = front.get(12..20)?.try_into().ok().map(u64::from_be_bytes)?;
    (front.starts_with(b"bnch")).then_some((number(4)?, number(8)?, time))
}

/// Output above which a publisher flushes before it encodes more.
const BATCH_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back() {
        let mut payload = vec![0; 64];
        stamp(&mut payload, 3, 77, Instant::now());
        let (publisher, sequence, _) = read_stamp(&payload).unwrap();
        assert_eq!((publisher, sequence), (3, 77));
        assert_eq!(read_stamp(b"something else altogether"), None);
        assert_eq!(read_stamp(b"bnch"), None);
    }
}
