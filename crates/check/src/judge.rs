//! Plays cases and says how they went.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use postrider_net::{Address, Dial, DialError, dial_with};
use postrider_wire::{Publish, Version};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Case, Surprise,
    actor::{Actor, PATIENCE, patient},
    case::{Deed, Message, Step},
    hello::{Client, Hello},
    line::{self, Ids},
    raw::Fill,
};

/// How a case went.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Number of the step that surprised, from 1, and the surprise; `None` if all went as it must.
    pub surprise: Option<(usize, Surprise)>,
    /// What a broker should do and this one did not.
    pub remarks: Vec<String>,
}

/// Opens a connection and closes it again: no case can pass where that fails. Of `how` the timeout counts for nothing.
///
/// # Errors
/// Why the broker cannot be reached.
pub async fn reach(address: &Address, how: &Dial) -> Result<(), DialError> {
    dial_with(&address.endpoint, &patient(how)).await.map(drop)
}

/// Plays many cases, several at once because some wait for time to pass, and tells each verdict in the order of the
/// plays. Of `how` the timeout counts for nothing.
pub async fn judge_all(
    address: &Address,
    how: &Dial,
    plays: Vec<(Case, Version)>,
    mut tell: impl FnMut(&Case, Version, &Verdict),
) {
    let mut waiting = plays.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut done = BTreeMap::new();
    let mut next = 0;
    loop {
        while running.len() < AT_ONCE
            && let Some((number, (case, version))) = waiting.next()
        {
            let (address, how, case) = (address.clone(), how.clone(), Arc::new(case));
            running.spawn(async move {
                let verdict = judge(&address, &how, &case, version).await;
                (number, case, version, verdict)
            });
        }
        match running.join_next().await {
            None => return,
            Some(Ok((number, case, version, verdict))) => {
                done.insert(number, (case, version, verdict));
            }
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
        while let Some((case, version, verdict)) = done.remove(&next) {
            tell(&case, version, &verdict);
            next += 1;
        }
    }
}

/// Plays a case against a broker in one version. Topics, client ids and share names of two plays never meet: `%` in
/// a case stands for a word of this play alone.
pub async fn judge(address: &Address, how: &Dial, case: &Case, version: Version) -> Verdict {
    static PLAYS: AtomicU32 = AtomicU32::new(0);
    let number = PLAYS.fetch_add(1, Ordering::Relaxed);
    let mut stage = Stage {
        address,
        how,
        version,
        word: word(std::process::id().wrapping_mul(PLAYS_MAX).wrapping_add(number)),
        run: format!("c{:x}x{number:x}", std::process::id()),
        client_ids: BTreeMap::new(),
        actors: BTreeMap::new(),
        ids: Ids::new(),
        is_over: false,
        remarks: Vec::new(),
    };
    for (index, step) in case.steps(version).enumerate() {
        if let Err(surprise) = stage.play(step).await {
            return Verdict { surprise: Some((index + 1, surprise)), remarks: stage.remarks };
        }
        if stage.is_over {
            break;
        }
    }
    Verdict { surprise: None, remarks: stage.remarks }
}

struct Stage<'a> {
    address: &'a Address,
    how: &'a Dial,
    version: Version,
    word: String,
    run: String,
    client_ids: BTreeMap<char, String>,
    actors: BTreeMap<char, Actor>,
    ids: Ids,
    /// Whether the rest of the play is not played.
    is_over: bool,
    remarks: Vec<String>,
}

impl Stage<'_> {
    async fn play(&mut self, step: &Step) -> Result<(), Surprise> {
        let Some(&name) = step.actors.first() else { return Ok(()) };
        match &step.deed {
            Deed::Open => self.open(name, self.version).await,
            Deed::Connect(hello) => self.connect(name, hello).await,
            Deed::Hello(hello) => self.hello(name, hello).await,
            Deed::Drop => {
                let actor = self.actors.remove(&name).ok_or_else(|| missing(name))?;
                actor.hang_up().await
            }
            Deed::Leave => {
                let mut actor = self.actors.remove(&name).ok_or_else(|| missing(name))?;
                actor.send(&[0xe0, 0]).await;
                actor.closed().await
            }
            Deed::One(message) => self.one(&step.actors, message).await,
            Deed::Expect(lines) => self.expect(name, lines).await,
            Deed::Perhaps(lines) => match self.expect(name, lines).await {
                Err(Surprise::Closed(_)) => {
                    self.is_over = true;
                    Ok(())
                }
                other => other,
            },
            Deed::Ends(_) | Deed::Rejects(_) | Deed::Overrun(_) => {
                let remark = self.end(name, &step.deed).await?;
                self.remarks.extend(remark);
                Ok(())
            }
            Deed::Hex(_)
            | Deed::Send(_)
            | Deed::Publish(_)
            | Deed::Receive(_)
            | Deed::Copies { .. }
            | Deed::Subscribe { .. }
            | Deed::Unsubscribe(_)
            | Deed::Bytes(_)
            | Deed::Comes(_)
            | Deed::Closed
            | Deed::Quiet
            | Deed::Still(_)
            | Deed::Aliases(_) => self.act(name, &step.deed).await,
        }
    }

    /// What an actor does on its open connection.
    async fn act(&mut self, name: char, deed: &Deed) -> Result<(), Surprise> {
        let actor = self.actors.get_mut(&name).ok_or_else(|| missing(name))?;
        let named = |text: &str| text.replace('%', &self.word);
        let fill = Fill {
            level: actor.version.level(),
            has_properties: actor.version.has_properties(),
            word: &self.word,
            ids: &self.ids,
        };
        match deed {
            Deed::Hex(raw) => actor.send(&raw.bytes(&fill).map_err(Surprise::Play)?).await,
            Deed::Send(raw) => actor.send(&raw.packets(&fill).map_err(Surprise::Play)?).await,
            Deed::Bytes(rows) => {
                let rows: Result<Vec<_>, _> = rows.iter().map(|row| row.bytes(&fill)).collect();
                actor.bytes(&rows.map_err(Surprise::Play)?).await?;
            }
            Deed::Comes(raw) => {
                actor.bytes(&[raw.packets(&fill).map_err(Surprise::Play)?]).await?;
            }
            Deed::Publish(message) => actor.publish(&named(&message.topic), message).await?,
            Deed::Receive(message) => actor.receive(&named(&message.topic), message).await?,
            Deed::Copies { message, count, identifiers } => {
                copies(actor, &named(&message.topic), message, *count, identifiers).await?;
            }
            Deed::Subscribe { filter, options, identifier } => {
                actor.subscribe(&named(filter), *options, *identifier).await?;
            }
            Deed::Unsubscribe(filter) => actor.unsubscribe(&named(filter)).await?,
            Deed::Closed => actor.closed().await?,
            Deed::Quiet => actor.quiet().await?,
            Deed::Still(time) => actor.still(*time).await?,
            Deed::Aliases(topic) => actor.aliases(&named(topic)).await?,
            Deed::Open
            | Deed::Connect(_)
            | Deed::Hello(_)
            | Deed::Drop
            | Deed::Leave
            | Deed::One(_)
            | Deed::Expect(_)
            | Deed::Perhaps(_)
            | Deed::Ends(_)
            | Deed::Rejects(_)
            | Deed::Overrun(_) => {}
        }
        Ok(())
    }

    async fn expect(&mut self, name: char, lines: &[String]) -> Result<(), Surprise> {
        let actor = self.actors.get_mut(&name).ok_or_else(|| missing(name))?;
        let lines: Vec<_> = lines.iter().map(|line| line.replace('%', &self.word)).collect();
        actor.expect(&lines, &mut self.ids).await
    }

    /// Returns a remark on how the connection ended.
    async fn end(&mut self, name: char, deed: &Deed) -> Result<Option<String>, Surprise> {
        let actor = self.actors.get_mut(&name).ok_or_else(|| missing(name))?;
        if let Deed::Overrun(topic) = deed {
            actor.overrun(&topic.replace('%', &self.word)).await
        } else if let Deed::Rejects(reasons) = deed {
            actor.rejects(reasons).await
        } else if let Deed::Ends(reasons) = deed {
            actor.ends(reasons).await
        } else {
            Ok(None)
        }
    }

    async fn open(&mut self, name: char, version: Version) -> Result<(), Surprise> {
        let actor = Actor::open(&self.address.endpoint, self.how, version).await?;
        self.actors.insert(name, actor);
        Ok(())
    }

    async fn connect(&mut self, name: char, hello: &Hello) -> Result<(), Surprise> {
        let version = if hello.is_old { Version::V311 } else { self.version };
        self.open(name, version).await?;
        self.hello(name, hello).await?;
        let expected = match hello.presence {
            Some(true) => "CONNACK session_present Success*",
            Some(false) => "CONNACK Success*",
            None => "CONNACK*Success*",
        };
        let actor = self.actors.get_mut(&name).ok_or_else(|| missing(name))?;
        actor.expect(&[expected.to_owned()], &mut Ids::new()).await?;
        let assigned =
            actor.connack.as_ref().and_then(|it| it.properties.assigned_client_identifier());
        if let Some(assigned) = assigned {
            self.client_ids.insert(name, assigned.to_string());
        }
        Ok(())
    }

    async fn hello(&mut self, name: char, hello: &Hello) -> Result<(), Surprise> {
        let own = || format!("{}{name}", self.run);
        let client_id = match &hello.client {
            Client::Own => self.client_ids.get(&name).cloned().unwrap_or_else(own),
            Client::Of(other) => {
                self.client_ids.get(other).cloned().ok_or_else(|| missing(*other))?
            }
            Client::Named(id) => id.replace('%', &self.word),
        };
        self.client_ids.insert(name, client_id.clone());
        let actor = self.actors.get_mut(&name).ok_or_else(|| missing(name))?;
        let credentials = &self.address.credentials;
        let bytes = hello.packet(actor.version, &client_id, credentials, &self.word);
        actor.hello(hello, &bytes).await;
        Ok(())
    }

    /// One of several actors gets the message, and the others get nothing.
    async fn one(&mut self, names: &[char], message: &Message) -> Result<(), Surprise> {
        let topic = message.topic.replace('%', &self.word);
        let deadline = Instant::now() + PATIENCE;
        let taker = 'found: loop {
            for name in names {
                let actor = self.actors.get_mut(name).ok_or_else(|| missing(*name))?;
                if let Some(packet) = actor.glance().await? {
                    actor.accept(&topic, message, packet).await?;
                    break 'found *name;
                }
            }
            if Instant::now() > deadline {
                let expected = format!("{} at one of several", line::message(&topic, message));
                return Err(Surprise::Silence { expected, seconds: PATIENCE.as_secs() });
            }
        };
        for name in names.iter().filter(|name| **name != taker).chain([&taker]) {
            let actor = self.actors.get_mut(name).ok_or_else(|| missing(*name))?;
            actor.quiet().await?;
        }
        Ok(())
    }
}

/// A message in one copy at the highest QoS with all identifiers, or in `count` copies with one identifier each.
async fn copies(
    actor: &mut Actor,
    topic: &str,
    message: &Message,
    count: usize,
    identifiers: &[u32],
) -> Result<(), Surprise> {
    let mut all = Vec::new();
    match actor.next(&line::message(topic, message)).await? {
        Some(postrider_wire::Packet::Publish(publish)) => all.push(publish),
        Some(other) => {
            let expected = line::message(topic, message);
            return Err(Surprise::Packet { expected, got: other.to_string() });
        }
        None => return Err(Surprise::Closed(line::message(topic, message))),
    }
    all.extend(actor.pending().await?);
    let mut found: Vec<u32> = Vec::new();
    for publish in &all {
        let own: Vec<_> = publish.properties.subscription_identifiers().collect();
        if all.len() > 1 && own.len() > 1 {
            return Err(Surprise::Copies("several copies with several identifiers".to_owned()));
        }
        found.extend(own);
    }
    let is_highest = |publish: &Publish| publish.qos == message.qos;
    let is_same =
        |publish: &Publish| line::topic(publish) == topic && publish.payload == message.payload;
    found.sort_unstable();
    let is_right = (all.len() == 1 || all.len() == count)
        && all.iter().any(is_highest)
        && all.iter().all(is_same)
        && found == identifiers;
    if !is_right {
        let lines: Vec<_> = all.iter().map(line::of_publish).collect();
        let lines = lines.join(", ");
        return Err(Surprise::Copies(format!("{lines} with identifiers {found:?}")));
    }
    for publish in &all {
        actor.finish(publish).await?;
    }
    Ok(())
}

fn missing(name: char) -> Surprise {
    Surprise::Play(format!("actor {name} is not on stage"))
}

/// Four letters or digits for a number.
fn word(number: u32) -> String {
    let digit = |place: u32| char::from_digit(number / 36_u32.pow(place) % 36, 36).unwrap_or('0');
    (0..4).map(digit).collect()
}

/// Plays at once: most of them wait for an answer or for time to pass.
const AT_ONCE: usize = 16;
/// Plays of one process before words repeat those of the next.
const PLAYS_MAX: u32 = 4096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_differ_and_have_one_length() {
        let words: BTreeSet<_> = (0..5000).map(word).collect();
        assert_eq!(words.len(), 5000);
        assert!(words.iter().all(|word| word.len() == 4));
    }
}
