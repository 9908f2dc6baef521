//! What a client asks of its driver, in the order in which it must happen.

use super::{Client, Output, Phase};
use crate::{SpoolOutput, Time};

impl Client {
    /// The next output.
    pub fn poll_output(&mut self) -> Output {
        // A record may name a spool: what is appended comes before records, what is dropped behind them.
        while let Some(output) = self.spools.poll_output() {
            match output {
                SpoolOutput::Append(..) => return Output::Spool(output),
                SpoolOutput::Drop(_) => self.dropped.push_back(output),
            }
        }
        if let Some((seq, record)) = self.journal.poll_record() {
            let mut rest = self.journal.poll_rest(seq);
            if rest.is_empty() {
                return Output::Store(seq, record);
            }
            rest.insert(0, record);
            return Output::StoreBatch(seq, rest);
        }
        if let Some(output) = self.dropped.pop_front() {
            return Output::Spool(output);
        }
        if let Some(request) = self.session.poll_page() {
            return Output::Page(request);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if self.has_news() {
            return Output::Transmit;
        }
        if core::mem::take(&mut self.must_hang_up) {
            return Output::Hangup;
        }
        if core::mem::take(&mut self.must_dial)
            && let Some(plan) = self.plan.clone()
        {
            return Output::Dial(plan);
        }
        Output::Wait(self.deadline())
    }

    /// Whether there is output that the driver was not told of.
    fn has_news(&mut self) -> bool {
        let Some(link) = &self.link else { return false };
        let waiting = link.outbox().len();
        let produced = self.consumed + waiting;
        waiting > 0 && core::mem::replace(&mut self.announced, produced) != produced
    }

    fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Waiting(at) => Some(at),
            Phase::Opening | Phase::Open => {
                let link = self.link.as_ref().and_then(|link| link.deadline());
                link.into_iter()
                    .chain(self.operations.deadline())
                    .chain(self.session.deadline())
                    .min()
            }
            Phase::AtRest | Phase::Dialing | Phase::Ready | Phase::Over => None,
        }
    }
}
