//! UNSUBSCRIBE, of one filter or of all.

use std::{collections::HashSet, mem};

use postrider_proto::{
    client::{Failure, OperationId},
    wire::{Filter, Properties, UnsubAck},
};

use super::{
    Driver,
    commands::Operation,
    refusal::{unsubscribe_failure, unsubscribe_refusal, unsubscribe_refused},
};
use crate::{
    SessionEnd, StreamEnd, UnsubscribeError, answer::Answer, builder::OPERATIONS_MAX,
    command::UnsubscribeCommand,
};

/// Filters being unsubscribed, in parts that fit into one packet each.
#[derive(Debug)]
pub(super) struct Leaving {
    /// On their way.
    filters: Vec<Filter>,
    /// Their streams, which end with the answer.
    streams: Vec<u64>,
    /// Still to come.
    rest: Vec<Filter>,
    /// Those on their way that were subscribed again since: they are left out if their packet must go in parts.
    again: HashSet<Filter>,
    /// Most filters in one packet.
    most: usize,
    /// What each packet says.
    properties: Properties,
    /// The first thing that went wrong.
    error: Option<UnsubscribeError>,
    /// Properties of the answers so far.
    answered: Properties,
    answer: Option<Answered>,
}

type Answered = Answer<Result<Properties, UnsubscribeError>>;

/// Filters in one UNSUBSCRIBE.
const FILTERS_PER_PACKET: usize = 200;

impl Leaving {
    fn new(filters: Vec<Filter>, properties: Properties, answer: Option<Answered>) -> Self {
        Self {
            filters: Vec::new(),
            streams: Vec::new(),
            rest: filters,
            again: HashSet::new(),
            most: FILTERS_PER_PACKET,
            properties,
            error: None,
            answered: Properties::new(),
            answer,
        }
    }

    /// On their way, and still to come.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.filters.iter().chain(&self.rest)
    }

    pub(super) fn refuse(self, end: &SessionEnd) {
        if let Some(answer) = self.answer {
            answer.give(Err(UnsubscribeError::Over(end.clone())));
        }
    }

    /// The part on its way does not fit: it goes in halves.
    fn halve(&mut self) {
        self.most = self.filters.len() / 2;
        let again = mem::take(&mut self.again);
        self.filters.retain(|filter| !again.contains(filter));
        self.filters.append(&mut self.rest);
        self.rest = mem::take(&mut self.filters);
    }

    /// Leaves out what is subscribed again: a part that is still to come would end the new subscription, which takes the
    /// place of the old one. Gives the filters back that were not subscribed again before.
    fn leave_out(&mut self, again: &HashSet<&Filter>) -> Vec<Filter> {
        let (mut left_out, rest): (Vec<_>, Vec<_>) =
            mem::take(&mut self.rest).into_iter().partition(|filter| again.contains(filter));
        self.rest = rest;
        for filter in &self.filters {
            if again.contains(filter) && self.again.insert(filter.clone()) {
                left_out.push(filter.clone());
            }
        }
        left_out
    }

    /// The first filter that the server did not unsubscribe.
    fn refused(&self, unsuback: &UnsubAck) -> Option<UnsubscribeError> {
        let mut pairs = self.filters.iter().zip(&unsuback.reasons);
        let (filter, reason) = pairs.find(|(_, reason)| reason.is_error())?;
        let filter = filter.as_str().to_owned();
        Some(unsubscribe_refused(filter, *reason, unsuback.properties.clone()))
    }
}

impl Driver {
    pub(super) fn unsubscribe(&mut self, command: UnsubscribeCommand) {
        let UnsubscribeCommand { filters, properties, answer } = command;
        let filters = filters.unwrap_or_else(|| self.all_filters());
        self.unsubscribe_next(Leaving::new(filters, properties, Some(answer)));
    }

    /// Ends the streams of filters that are being unsubscribed and are now subscribed again.
    pub(super) fn begin_again(&mut self, filters: &HashSet<&Filter>) {
        for operation in self.operations.values_mut() {
            let Operation::Unsubscribe(leaving) = operation else { continue };
            for filter in leaving.leave_out(filters) {
                for stream in self.dispatch.streams(&filter) {
                    self.dispatch.detach(stream, StreamEnd::Unsubscribed);
                }
            }
        }
    }

    /// Every filter that the server or a stream knows of.
    fn all_filters(&self) -> Vec<Filter> {
        let mut filters: Vec<Filter> =
            self.machine.subscriptions().map(|line| line.filter.clone()).collect();
        let known: HashSet<Filter> = filters.iter().cloned().collect();
        filters.extend(self.dispatch.filters().filter(|filter| !known.contains(*filter)).cloned());
        filters
    }

    pub(super) fn drop_stream(&mut self, stream: u64, answer: Option<Answered>) {
        let filters = self.dispatch.detach(stream, StreamEnd::Unsubscribed).into_iter().collect();
        self.unsubscribe_next(Leaving::new(filters, Properties::new(), answer));
    }

    /// Unsubscribes filters whose last stream was too slow; in a later turn if too much waits for an answer.
    pub(super) fn unsubscribe_orphans(&mut self) {
        if self.operations.len() >= OPERATIONS_MAX as usize {
            return;
        }
        let filters = self.dispatch.take_orphans();
        if !filters.is_empty() {
            tracing::warn!(server = %self.server, "a stream was too slow and is unsubscribed");
            self.unsubscribe_next(Leaving::new(filters, Properties::new(), None));
            self.drain();
        }
    }

    /// Sends the next part, or answers if there is none.
    fn unsubscribe_next(&mut self, mut leaving: Leaving) {
        let behind = leaving.rest.split_off(leaving.rest.len().min(leaving.most));
        leaving.filters = mem::replace(&mut leaving.rest, behind);
        leaving.again.clear();
        if leaving.filters.is_empty() {
            if let Some(answer) = leaving.answer {
                answer.give(leaving.error.map_or(Ok(leaving.answered), Err));
            }
            return;
        }
        leaving.streams =
            leaving.filters.iter().flat_map(|filter| self.dispatch.streams(filter)).collect();
        let (filters, properties) = (leaving.filters.clone(), leaving.properties.clone());
        match self.machine.unsubscribe(filters, properties, self.now) {
            Ok(id) => {
                self.operations.insert(id, Operation::Unsubscribe(Box::new(leaving)));
            }
            Err(error) => {
                if let Some(answer) = leaving.answer {
                    answer.give(Err(unsubscribe_refusal(&error, self.shared.end())));
                }
            }
        }
    }

    pub(super) fn handle_unsubscribed(
        &mut self,
        id: OperationId,
        result: Result<UnsubAck, Failure>,
    ) {
        let Some(Operation::Unsubscribe(mut leaving)) = self.operations.remove(&id) else { return };
        let error = match result {
            Ok(unsuback) => {
                unsuback.properties.iter().for_each(|it| leaving.answered.push(it.clone()));
                leaving.refused(&unsuback)
            }
            Err(Failure::TooLarge) if leaving.filters.len() > 1 => {
                leaving.halve();
                return self.unsubscribe_next(*leaving);
            }
            Err(failure) => {
                let filter = leaving.filters.first().map(Filter::to_string).unwrap_or_default();
                Some(unsubscribe_failure(failure, filter, self.end_or_ours()))
            }
        };
        for stream in mem::take(&mut leaving.streams) {
            self.dispatch.detach(stream, StreamEnd::Unsubscribed);
        }
        for filter in mem::take(&mut leaving.filters) {
            self.dispatch.forget(&filter);
        }
        if leaving.error.is_none() {
            leaving.error = error;
        }
        self.unsubscribe_next(*leaving);
    }
}
