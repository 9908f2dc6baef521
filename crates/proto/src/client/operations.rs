//! SUBSCRIBE and UNSUBSCRIBE that wait for their turn or their answer.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::mem;

use postrider_wire::{
    EncodeError, Filter, Packet, PacketId, Properties, Property, ReasonCode, RetainHandling,
    Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe,
};

use super::{Client, Event, Failure, OperationError, OperationId, Phase};
use crate::{Gate, Limits, Session, Time};

/// What is asked of the server.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// By the program. `mark` is a subscription identifier that is left out where the server takes none.
    Subscribe { filters: Vec<SubscribeFilter>, properties: Properties, mark: Option<u32> },
    /// By ourselves, since the server lost the session; gone with the link.
    Resubscribe { filters: Vec<SubscribeFilter>, properties: Properties },
    /// By the program.
    Unsubscribe { filters: Vec<Filter>, properties: Properties },
}

/// The operations that are not answered.
#[derive(Debug)]
pub(super) struct Operations {
    /// Most operations of the program at once; stops it from filling the memory while there is no connection.
    count_max: u32,
    timeout_ms: u64,
    last: u64,
    /// In the order in which they were asked for.
    pending: BTreeMap<u64, Operation>,
    // Link: reset by suspend.
    /// What is on the wire. `None` for an operation that was given up: its id is busy until the answer comes.
    by_packet: BTreeMap<PacketId, Option<u64>>,
    deadlines: BTreeSet<(Time, u64)>,
}

#[derive(Debug)]
struct Operation {
    request: Request,
    /// Milliseconds left to wait while connected.
    left_ms: u64,
    /// Its id and deadline, once it is on the wire.
    sent: Option<(PacketId, Time)>,
}

impl Request {
    /// The event that says that it failed.
    pub(super) fn failed(&self, id: OperationId, failure: Failure) -> Event {
        match self {
            Self::Subscribe { .. } | Self::Resubscribe { .. } => {
                Event::Subscribed(id, Err(failure))
            }
            Self::Unsubscribe { .. } => Event::Unsubscribed(id, Err(failure)),
        }
    }

    /// Retained messages are sent for new subscriptions only. Spec: v5 [MQTT-3.3.1-10].
    fn spare_retained(&mut self) {
        let (Self::Subscribe { filters, .. } | Self::Resubscribe { filters, .. }) = self else {
            return;
        };
        for line in filters {
            let handling = &mut line.options.retain_handling;
            if *handling == RetainHandling::Send {
                *handling = RetainHandling::SendIfNew;
            }
        }
    }

    /// The same without what it can do without, as far as a server with these limits does not take that: identifiers that
    /// the program did not ask for now, and for what is subscribed again all properties, and not to have retained messages
    /// again.
    fn fitted(&self, limits: &Limits) -> Self {
        let mut request = self.clone();
        match &mut request {
            Self::Subscribe { properties, mark, .. } => {
                if let Some(mark) = mark.take().filter(|_| limits.has_subscription_ids) {
                    properties.push(Property::SubscriptionIdentifier(mark));
                }
            }
            Self::Resubscribe { filters, properties } => {
                properties.retain(|property| {
                    limits.has_subscription_ids
                        || !matches!(property, Property::SubscriptionIdentifier(_))
                });
                if !limits.has_properties {
                    *properties = Properties::new();
                    filters.iter_mut().for_each(|line| {
                        let handling = &mut line.options.retain_handling;
                        if *handling == RetainHandling::SendIfNew {
                            *handling = RetainHandling::Send;
                        }
                    });
                }
            }
            Self::Unsubscribe { .. } => {}
        }
        request
    }

    /// The identifier that may be left out.
    pub(super) fn mark(&self) -> Option<u32> {
        match self {
            Self::Subscribe { mark, .. } => *mark,
            Self::Resubscribe { .. } | Self::Unsubscribe { .. } => None,
        }
    }

    fn is_internal(&self) -> bool {
        matches!(self, Self::Resubscribe { .. })
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Subscribe { filters, .. } | Self::Resubscribe { filters, .. } => {
                filters.is_empty()
            }
            Self::Unsubscribe { filters, .. } => filters.is_empty(),
        }
    }

    /// What the server announced that it does not offer.
    fn lacks(&self, limits: &Limits) -> Option<&'static str> {
        match self {
            Self::Subscribe { filters, properties, .. }
            | Self::Resubscribe { filters, properties } => {
                if properties.subscription_identifier().is_some() && !limits.has_subscription_ids {
                    return Some("subscription identifiers");
                }
                if !properties.is_empty() && !limits.has_properties {
                    return Some("properties");
                }
                filters.iter().find_map(|line| lacks(line, limits))
            }
            Self::Unsubscribe { properties, .. } => {
                (!properties.is_empty() && !limits.has_properties).then_some("properties")
            }
        }
    }

    fn packet(self, packet_id: PacketId) -> Packet {
        match self {
            Self::Subscribe { filters, properties, .. }
            | Self::Resubscribe { filters, properties } => {
                Packet::Subscribe(Subscribe { packet_id, properties, filters })
            }
            Self::Unsubscribe { filters, properties } => {
                Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters })
            }
        }
    }

    fn filters(&self) -> impl Iterator<Item = &Filter> {
        let (lines, names): (&[SubscribeFilter], &[Filter]) = match self {
            Self::Subscribe { filters, .. } | Self::Resubscribe { filters, .. } => (filters, &[]),
            Self::Unsubscribe { filters, .. } => (&[], filters),
        };
        lines.iter().map(|line| &line.filter).chain(names)
    }
}

/// What the server does not offer of one line of a SUBSCRIBE.
fn lacks(line: &SubscribeFilter, limits: &Limits) -> Option<&'static str> {
    let plain = SubscribeOptions { qos: line.options.qos, ..SubscribeOptions::default() };
    if !limits.has_shared && line.filter.is_shared() {
        Some("shared subscriptions")
    } else if !limits.has_wildcards && line.filter.has_wildcard() {
        Some("wildcard subscriptions")
    } else if !limits.has_properties && line.options != plain {
        Some("subscription options")
    } else {
        None
    }
}

impl Operations {
    pub(super) fn new(count_max: u32, timeout_ms: u64) -> Self {
        Self {
            count_max,
            timeout_ms,
            last: 0,
            pending: BTreeMap::new(),
            by_packet: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// The answer with this packet id came: frees the id and gives back what was asked, unless nobody waits for it.
    pub(super) fn answered(
        &mut self,
        packet_id: PacketId,
        session: &mut Session,
    ) -> Option<(OperationId, Request)> {
        let id = self.by_packet.remove(&packet_id)?;
        session.free_id(packet_id);
        let id = id?;
        let operation = self.pending.remove(&id)?;
        if let Some((_, deadline)) = operation.sent {
            self.deadlines.remove(&(deadline, id));
        }
        Some((OperationId(id), operation.request))
    }

    /// Keeps an operation whose answer was no good.
    pub(super) fn put_back(&mut self, id: OperationId, request: Request) {
        let operation = Operation { request, left_ms: self.timeout_ms, sent: None };
        self.pending.insert(id.0, operation);
    }

    /// The link ended: what was on the wire waits to be sent again, with the time it has left.
    pub(super) fn suspend(&mut self, session: &mut Session, now: Time) {
        for packet_id in mem::take(&mut self.by_packet).into_keys() {
            session.free_id(packet_id);
        }
        self.deadlines.clear();
        self.pending.retain(|_, operation| !operation.request.is_internal());
        for operation in self.pending.values_mut() {
            if let Some((_, deadline)) = operation.sent.take() {
                operation.left_ms = deadline.ms_since(now);
            }
        }
    }

    /// Takes all operations of the program out.
    pub(super) fn drain(&mut self) -> Vec<(OperationId, Request)> {
        self.deadlines.clear();
        let pending = mem::take(&mut self.pending).into_iter();
        let of_program = pending.filter(|(_, operation)| !operation.request.is_internal());
        of_program.map(|(id, operation)| (OperationId(id), operation.request)).collect()
    }

    /// When the first of them has waited too long.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Whether no operation of the program waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.values().all(|operation| operation.request.is_internal())
    }

    /// Whether one of our own waits.
    pub(super) fn has_internal(&self) -> bool {
        self.pending.values().any(|operation| operation.request.is_internal())
    }

    fn add(&mut self, request: Request) -> OperationId {
        self.last += 1;
        let operation = Operation { request, left_ms: self.timeout_ms, sent: None };
        self.pending.insert(self.last, operation);
        OperationId(self.last)
    }

    /// The next operation behind `after` that is not on the wire.
    fn next_unsent(&self, after: u64) -> Option<u64> {
        let mut behind = self.pending.range(after + 1..);
        behind.find(|(_, operation)| operation.sent.is_none()).map(|(id, _)| *id)
    }

    fn is_full(&self) -> bool {
        let of_program =
            self.pending.values().filter(|operation| !operation.request.is_internal()).count();
        of_program >= self.count_max as usize
    }
}

impl Client {
    /// What the server does not offer of a line that [`Client::subscribe`] would be given; `None` also without a connection,
    /// when nobody knows.
    #[must_use]
    pub fn server_lacks(&self, line: &SubscribeFilter) -> Option<&'static str> {
        self.limits().and_then(|limits| lacks(line, limits))
    }

    pub(super) fn start_operation(
        &mut self,
        request: Request,
        now: Time,
    ) -> Result<OperationId, OperationError> {
        if self.phase == Phase::Over {
            return Err(OperationError::Over);
        }
        if request.is_empty() {
            return Err(OperationError::Empty);
        }
        let limits = self.limits();
        if let Some(what) = limits.and_then(|limits| request.fitted(limits).lacks(limits)) {
            return Err(OperationError::NotOffered(what));
        }
        if self.operations.is_full() {
            return Err(OperationError::TooMany(self.operations.count_max));
        }
        let id = self.operations.add(request);
        self.send_operations(now);
        Ok(id)
    }

    /// Writes what is not on the wire yet, in order, as far as there are ids.
    pub(super) fn send_operations(&mut self, now: Time) {
        let Some(limits) = self.limits().copied().filter(|_| self.may_operate()) else { return };
        let mut after = 0;
        while let Some(id) = self.operations.next_unsent(after) {
            after = id;
            if !self.send_operation(id, &limits, now) {
                return;
            }
        }
    }

    /// Asks again for what the server's session lacks, or may lack: then what is retained must not come again if it does
    /// not.
    pub(super) fn resubscribe(&mut self, limits: &Limits, may_have: bool) {
        let pending = self.operations.pending.values().map(|operation| &operation.request);
        // One that this server does not take changes nothing there.
        let taken = pending.filter(|request| request.fitted(limits).lacks(limits).is_none());
        let covered = taken.flat_map(Request::filters).collect();
        let requests = self.subscriptions.requests(&covered, limits.packet_size_max);
        for mut request in requests {
            if may_have && limits.has_properties {
                request.spare_retained();
            }
            self.operations.add(request);
        }
    }

    /// Gives up what has waited too long.
    pub(super) fn expire_operations(&mut self, now: Time) {
        while let Some((deadline, id)) = self.operations.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.operations.deadlines.pop_first();
            let Some(operation) = self.operations.pending.remove(&id) else { continue };
            if let Some((packet_id, _)) = operation.sent {
                // The answer may still come, so the id must not be used for something else.
                self.operations.by_packet.insert(packet_id, None);
            }
            let failure = Failure::TimedOut(self.operations.timeout_ms);
            self.events.push_back(operation.request.failed(OperationId(id), failure));
        }
    }

    /// Writes one operation. False if no packet id is free.
    fn send_operation(&mut self, id: u64, limits: &Limits, now: Time) -> bool {
        let Some(operation) = self.operations.pending.get_mut(&id) else { return true };
        let Some(link) = &mut self.link else { return false };
        let request = operation.request.fitted(limits);
        if let Some(what) = request.lacks(limits) {
            self.fail_operation(id, Failure::NotOffered(what));
            return true;
        }
        let Some(packet_id) = self.session.take_id() else { return false };
        match link.send(&request.packet(packet_id), Gate::default()) {
            Ok(()) => {
                let deadline = now.plus_ms(operation.left_ms);
                operation.sent = Some((packet_id, deadline));
                self.operations.by_packet.insert(packet_id, Some(id));
                if !operation.request.is_internal() {
                    self.operations.deadlines.insert((deadline, id));
                }
            }
            Err(error) => {
                self.session.free_id(packet_id);
                self.fail_operation(
                    id,
                    match error {
                        EncodeError::TooLarge { .. } => Failure::TooLarge,
                        EncodeError::NotInVersion(what) | EncodeError::Invalid(what) => {
                            Failure::NotOffered(what)
                        }
                        _ => Failure::NotOffered("this operation"),
                    },
                );
            }
        }
        true
    }

    /// An operation cannot be sent.
    fn fail_operation(&mut self, id: u64, failure: Failure) {
        let Some(operation) = self.operations.pending.remove(&id) else { return };
        if !operation.request.is_internal() {
            self.events.push_back(operation.request.failed(OperationId(id), failure));
            return;
        }
        let filters: Vec<Filter> = operation.request.filters().cloned().collect();
        for filter in filters {
            self.forget(&filter);
            let reason = ReasonCode::ImplementationSpecificError;
            if let Some(answers) = &mut self.resubscriptions {
                answers.push((filter.clone(), reason));
            }
            self.events.push_back(Event::SubscriptionLost { filter, reason });
        }
    }
}
