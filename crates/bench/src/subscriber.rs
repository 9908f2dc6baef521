//! Receives, acknowledges and counts the messages of one publisher.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use postrider_wire::{
    Ack, Filter, Packet, Properties, Publish, QoS, ReasonCode, Subscribe, SubscribeFilter,
    SubscribeOptions,
};

use crate::{BenchError, Plan, credit::Credit, peer::Peer, publisher::read_stamp, tally::Tally};

/// One subscriber at work.
pub(crate) struct Subscriber {
    peer: Peer,
    credit: Rc<Credit>,
    index: usize,
    publisher: u32,
    pub(crate) tally: Tally,
}

impl Subscriber {
    /// Subscribes to `filter`; the granted QoS must be the plan's.
    pub(crate) async fn new(
        mut peer: Peer,
        credit: Rc<Credit>,
        index: usize,
        publisher: u32,
        filter: Filter,
        plan: &Plan,
    ) -> Result<Self, BenchError> {
        let packet_id = postrider_wire::PacketId::new(1)
            .ok_or_else(|| BenchError::Plan("packet id 1 is not 0".into()))?;
        let options = SubscribeOptions { qos: plan.qos, ..SubscribeOptions::default() };
        let filters = vec![SubscribeFilter { filter, options }];
        let subscribe = Subscribe { packet_id, properties: Properties::new(), filters };
        let answer = peer.ask(&Packet::Subscribe(subscribe)).await?;
        let granted = ReasonCode::granted(plan.qos);
        let is_granted =
            matches!(&answer, Packet::SubAck(ack) if ack.reasons.first() == Some(&granted));
        if !is_granted {
            return Err(peer.surprised(&answer));
        }
        let tally = Tally::new(plan.messages)
            .map_err(|source| BenchError::Plan(format!("no histogram: {source}")))?;
        Ok(Self { peer, credit, index, publisher, tally })
    }

    /// Receives until every message has come. What has come is in [`Subscriber::tally`] at any time.
    pub(crate) async fn run(&mut self, plan: &Plan, start: Instant) -> Result<(), BenchError> {
        poll_fn(|context| self.poll(plan, start, context)).await
    }

    fn poll(
        &mut self,
        plan: &Plan,
        start: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BenchError>> {
        loop {
            let before = self.tally.distinct;
            while let Some(packet) = self.peer.next()? {
                self.received(&packet, start)?;
            }
            if self.tally.distinct != before {
                self.credit.report(self.index, self.tally.distinct);
            }
            let is_flushed = self.peer.poll_flush(context)?.is_ready();
            if is_flushed && self.tally.distinct == plan.messages {
                return Poll::Ready(Ok(()));
            }
            if self.peer.poll_fill(context)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn received(&mut self, packet: &Packet, start: Instant) -> Result<(), BenchError> {
        if let Packet::Publish(publish) = packet {
            return self.count(publish, start);
        }
        if let Packet::PubRel(ack) = packet {
            return self.peer.put(&Packet::PubComp(plain(ack)));
        }
        Err(self.peer.surprised(packet))
    }

    fn count(&mut self, publish: &Publish, start: Instant) -> Result<(), BenchError> {
        let now = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let stamp = read_stamp(&publish.payload).filter(|(from, _, _)| *from == self.publisher);
        let is_ours = stamp.is_some_and(|(_, sequence, sent)| {
            self.tally.count(sequence, now.saturating_sub(sent))
        });
        if !is_ours {
            return Err(self.peer.surprised(&Packet::Publish(publish.clone())));
        }
        let ack = publish.packet_id.map(|packet_id| Ack {
            packet_id,
            reason: ReasonCode::Success,
            properties: Properties::new(),
        });
        match (publish.qos, ack) {
            (QoS::AtLeastOnce, Some(ack)) => self.peer.put(&Packet::PubAck(ack)),
            (QoS::ExactlyOnce, Some(ack)) => self.peer.put(&Packet::PubRec(ack)),
            (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _) => Ok(()),
        }
    }
}

/// The same identifier, success, no properties.
fn plain(ack: &Ack) -> Ack {
    Ack { packet_id: ack.packet_id, reason: ReasonCode::Success, properties: Properties::new() }
}
