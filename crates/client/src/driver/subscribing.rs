//! SUBSCRIBE, with one filter or several, and the verdict of each.

use std::{
    collections::HashSet,
    ops::Bound::{Excluded, Unbounded},
};

use postrider_proto::{
    client::{Failure, OperationError, OperationId},
    wire::{Filter, Properties, Property, QoS, ReasonCode, SubAck, SubscribeFilter},
};

use super::{
    Driver,
    commands::Operation,
    refusal::{subscribe_failure, subscribe_refusal, subscription_refused},
};
use crate::{
    SessionEnd, StreamEnd, SubscribeError,
    answer::Answer,
    command::{Granted, SubscribeCommand},
    dispatch::{Attached, Wanted},
};

/// One SUBSCRIBE.
#[derive(Debug)]
pub(super) struct Asking {
    lines: Vec<Asked>,
    properties: Properties,
    /// An identifier that the program did not ask for.
    mark: Option<u32>,
}

/// One line of it.
#[derive(Debug)]
struct Asked {
    stream: u64,
    line: SubscribeFilter,
    answer: Answer<Result<Granted, SubscribeError>>,
}

impl Asking {
    pub(super) fn refuse(self, end: &SessionEnd) {
        for asked in self.lines {
            asked.answer.give(Err(SubscribeError::Over(end.clone())));
        }
    }
}

impl Driver {
    /// Subscribes with one SUBSCRIBE for each identifier that the filters need: with one, unless they overlap.
    pub(super) fn subscribe(&mut self, command: SubscribeCommand) {
        let SubscribeCommand { lines, identifier, properties } = command;
        let can_identify = self.limits.is_some_and(|limits| limits.has_subscription_ids);
        if !self.operations.is_empty() {
            self.begin_again(&lines.iter().map(|line| &line.line.filter).collect());
        }
        let (mut streams, mut answers) = (Vec::new(), Vec::new());
        for line in lines {
            answers.push((line.queue.id, line.answer));
            streams.push((line.line, line.queue));
        }
        let Attached { own, others } = self.dispatch.attach(streams, identifier, can_identify);
        for other in others {
            self.identify(other);
        }
        let mut packets: Vec<(Option<u32>, Vec<Asked>)> = Vec::new();
        for (wanted, (stream, answer)) in own.into_iter().zip(answers) {
            let Wanted { filter, options, identifier } = wanted;
            let asked = Asked { stream, line: SubscribeFilter { filter, options }, answer };
            match packets.iter_mut().find(|(other, _)| *other == identifier) {
                Some((_, lines)) => lines.push(asked),
                None => packets.push((identifier, vec![asked])),
            }
        }
        for (mut mark, lines) in packets {
            let mut properties = properties.clone();
            if let Some(given) = mark.take_if(|mark| identifier == Some(*mark)) {
                properties.push(Property::SubscriptionIdentifier(given));
            }
            self.ask(Asking { lines, properties, mark });
        }
    }

    /// Asks for what the server offers, as far as that is known, and refuses the rest.
    fn ask(&mut self, asking: Asking) {
        let Asking { lines, properties, mark } = asking;
        let mut offered = Vec::with_capacity(lines.len());
        for asked in lines {
            match self.machine.server_lacks(&asked.line) {
                Some(what) => self.turn_down(asked, OperationError::NotOffered(what)),
                None => offered.push(asked),
            }
        }
        if offered.is_empty() {
            return;
        }
        let lines = offered.iter().map(|asked| asked.line.clone()).collect();
        match self.machine.subscribe_marked(lines, properties.clone(), mark, self.now) {
            Ok(id) => {
                let asking = Asking { lines: offered, properties, mark };
                self.operations.insert(id, Operation::Subscribe(asking));
            }
            Err(error) => {
                offered.into_iter().for_each(|asked| self.turn_down(asked, error.clone()));
            }
        }
    }

    /// Subscribes again to a filter that another one has come to overlap, with an identifier.
    fn identify(&mut self, wanted: Wanted) {
        let Wanted { filter, options, identifier } = wanted;
        let (lines, none) = (vec![SubscribeFilter { filter, options }], Properties::new());
        // Refused or not, it stays subscribed; what tells copies apart is then the topic alone.
        if let Err(error) = self.machine.subscribe_marked(lines, none, identifier, self.now) {
            tracing::debug!(server = %self.server, ?error, "no identifier for a filter");
        }
    }

    pub(super) fn handle_subscribed(&mut self, id: OperationId, result: Result<SubAck, Failure>) {
        let Some(Operation::Subscribe(asking)) = self.operations.remove(&id) else { return };
        match result {
            Ok(suback) => {
                let properties = suback.properties;
                // The machine takes no answer with more codes or fewer. Spec: v5 [MQTT-3.8.4-6].
                for (asked, reason) in asking.lines.into_iter().zip(suback.reasons) {
                    self.decide(asked, reason, properties.clone());
                }
            }
            Err(failure @ (Failure::TooLarge | Failure::NotOffered(_)))
                if asking.lines.len() > 1 =>
            {
                self.ask_in_parts(id, asking, &failure);
            }
            Err(failure) => {
                for asked in asking.lines {
                    self.fail(asked, failure.clone());
                }
            }
        }
    }

    /// A SUBSCRIBE that was never sent, for one of its filters or for its size, is tried again without that filter, or in
    /// halves.
    fn ask_in_parts(&mut self, id: OperationId, asking: Asking, failure: &Failure) {
        // What was unsubscribed behind it must not be subscribed then.
        let later = self.operations.range((Excluded(id), Unbounded)).map(|(_, later)| later);
        let gone: HashSet<&Filter> = later.flat_map(Operation::unsubscribed).collect();
        let is_gone = |asked: &Asked| gone.contains(&asked.line.filter);
        let (gone, mut lines): (Vec<_>, Vec<_>) = asking.lines.into_iter().partition(is_gone);
        for asked in gone {
            self.fail(asked, failure.clone());
        }
        let (properties, mark) = (asking.properties, asking.mark);
        if *failure == Failure::TooLarge {
            let rest = lines.split_off(lines.len() / 2);
            self.ask(Asking { lines, properties: properties.clone(), mark });
            self.ask(Asking { lines: rest, properties, mark });
        } else {
            self.ask(Asking { lines, properties, mark });
        }
    }

    fn decide(&mut self, asked: Asked, reason: ReasonCode, properties: Properties) {
        if let Some(qos) = QoS::from_bits(reason.byte()) {
            return asked.answer.give(Ok(Granted { qos, properties }));
        }
        let filter = asked.line.filter.as_str().to_owned();
        self.give_up(asked, subscription_refused(filter, reason, properties));
    }

    fn fail(&mut self, asked: Asked, failure: Failure) {
        let error = subscribe_failure(failure, &asked.line.filter, self.end_or_ours());
        self.give_up(asked, error);
    }

    fn turn_down(&mut self, asked: Asked, error: OperationError) {
        let error = subscribe_refusal(error, &asked.line.filter, self.shared.end());
        self.give_up(asked, error);
    }

    fn give_up(&mut self, asked: Asked, error: SubscribeError) {
        if let Some(filter) = self.dispatch.detach(asked.stream, StreamEnd::Refused) {
            self.dispatch.forget(&filter);
        }
        asked.answer.give(Err(error));
    }
}
