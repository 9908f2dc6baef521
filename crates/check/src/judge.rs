//! Plays one case and says how it went.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use postrider_net::Address;
use postrider_wire::{Packet, Version};

use crate::{Case, Step, Surprise, actor::Actor, case::Deed};

/// How a case went.
#[derive(Debug)]
pub struct Verdict {
    /// Number of the step that surprised, from 1, and the surprise; `None` if all went as it should.
    pub surprise: Option<(usize, Surprise)>,
}

/// Plays a case against a broker in one version. Topics, client ids and share names of two plays never meet: `%` in
/// a case stands for a word of this play alone.
pub async fn judge(address: &Address, case: &Case, version: Version) -> Verdict {
    static PLAYS: AtomicU32 = AtomicU32::new(0);
    let number = PLAYS.fetch_add(1, Ordering::Relaxed);
    let mut stage = Stage {
        address,
        version,
        // Two characters, so that lengths in raw bytes stay what they are.
        word: format!("{:02x}", number % 256),
        run: format!("c{:x}{number:x}", std::process::id()),
        actors: BTreeMap::new(),
    };
    for (index, step) in case.steps(version).enumerate() {
        if let Err(surprise) = stage.play(step).await {
            return Verdict { surprise: Some((index + 1, surprise)) };
        }
    }
    Verdict { surprise: None }
}

struct Stage<'a> {
    address: &'a Address,
    version: Version,
    word: String,
    run: String,
    actors: BTreeMap<char, Actor>,
}

impl Stage<'_> {
    async fn play(&mut self, step: &Step) -> Result<(), Surprise> {
        let client_id = format!("{}{}", self.run, step.actor);
        match &step.deed {
            Deed::Open => {
                let actor = Actor::open(self.address, self.version).await?;
                self.actors.insert(step.actor, actor);
                return Ok(());
            }
            Deed::Connect { is_resuming } => {
                let mut actor = Actor::open(self.address, self.version).await?;
                actor.connect(self.address, &client_id, *is_resuming).await?;
                let start = if *is_resuming { "CONNACK" } else { "CONNACK Success" };
                actor.expect(&format!("{start}*")).await?;
                self.actors.insert(step.actor, actor);
                return Ok(());
            }
            Deed::Drop => {
                self.actors.remove(&step.actor);
                return Ok(());
            }
            Deed::ConnectAgain
            | Deed::Hex(_)
            | Deed::Publish { .. }
            | Deed::Subscribe { .. }
            | Deed::Expect(_)
            | Deed::Closed
            | Deed::Quiet => {}
        }
        let Some(actor) = self.actors.get_mut(&step.actor) else {
            return Err(Surprise::Play(format!("actor {} is not on stage", step.actor)));
        };
        let named = |text: &str| text.replace('%', &self.word);
        match &step.deed {
            Deed::ConnectAgain => actor.connect(self.address, &client_id, false).await,
            Deed::Hex(bytes) => {
                let bytes = with_word(bytes, self.word.as_bytes());
                actor.send_bytes(&bytes).await;
                Ok(())
            }
            Deed::Publish { topic, qos, retain, payload } => {
                actor.publish(&named(topic), *qos, *retain, payload).await
            }
            Deed::Subscribe { filter, qos } => actor.subscribe(&named(filter), *qos).await,
            Deed::Expect(line) => actor.expect(&named(line)).await,
            Deed::Closed => actor.closed().await,
            Deed::Quiet => {
                actor.send(&Packet::PingReq).await?;
                actor.expect("PINGRESP").await
            }
            Deed::Open | Deed::Connect { .. } | Deed::Drop => Ok(()),
        }
    }
}

/// Puts the word of this play in the place of each `%%` in raw bytes, which has the same length.
fn with_word(bytes: &[u8], word: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut from = 0;
    while let Some(at) = out.get(from..).and_then(|rest| rest.windows(2).position(|w| w == b"%%")) {
        let at = from + at;
        if let Some(place) = out.get_mut(at..at + 2) {
            place.copy_from_slice(word);
        }
        from = at + 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_play_keeps_lengths() {
        assert_eq!(with_word(b"\x00\x04a/%%x%", b"0f"), b"\x00\x04a/0fx%");
    }
}
