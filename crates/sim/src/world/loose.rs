//! What may be lost where a link or a store does not wait for the sync.

use super::World;
use crate::{
    disk::{Fall, Wreck},
    script::Who,
};

impl World {
    /// A store lost records, of which some may have been promised: to clients in the modes `process` and `memory`, but
    /// to no others.
    pub(super) fn loosen(&mut self, who: Who, fall: Fall, wreck: Wreck) {
        let clients = match who {
            Who::Client(client) => client..client + 1,
            Who::Broker => 0..self.clients.len(),
        };
        for client in clients {
            let is_memory = who == Who::Broker && self.is_memory(client);
            let is_promised = wreck.lost_handed > 0 && self.script.is_unsynced(who, client);
            if !is_memory && !is_promised {
                continue;
            }
            debug_assert!(is_memory || fall == Fall::PowerCut, "a kill loses nothing handed over");
            self.counts.note(match (who, is_memory) {
                (Who::Broker, true) => "loose: memory, by a crash of the broker",
                (Who::Broker, false) => "loose: process, by a power cut of the broker",
                (Who::Client(_), _) => "loose: process, by a power cut of the client",
            });
            let talk = &mut self.talks[client];
            talk.is_loose = true;
            talk.presence.forget();
            self.model.loosen(client);
        }
    }

    fn is_memory(&self, client: usize) -> bool {
        self.script.clients[client].durability == postrider_proto::Durability::Memory
    }
}
