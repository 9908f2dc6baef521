//! How records lie in an engine: a row each, a block per commit, or blocks first and rows later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::engine::{Change, Each, Engine, Outcome, end_of};

pub const NAMES: [&str; 3] = ["rows", "blocks", "folded"];

pub fn wrap(layout: &str, engine: Box<dyn Engine>) -> Outcome<Box<dyn Engine>> {
    Ok(match layout {
        "rows" => engine,
        "blocks" => Box::new(Blocks::open(engine)?),
        "folded" => Box::new(Folded::open(engine)?),
        _ => return Err(format!("no layout {layout}").into()),
    })
}

fn encode(batch: &[Change]) -> Vec<u8> {
    let mut out = Vec::new();
    for change in batch {
        let (kind, key, value) = match change {
            Change::Put(key, value) => (1, key, &value[..]),
            Change::Cut(key) => (0, key, &[][..]),
        };
        out.push(kind);
        out.extend((key.len() as u32).to_be_bytes());
        out.extend((value.len() as u32).to_be_bytes());
        out.extend(key);
        out.extend(value);
    }
    out
}

fn decode(mut bytes: &[u8]) -> Vec<Change> {
    let mut out = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let key = u32::from_be_bytes(head[1..5].try_into().unwrap()) as usize;
        let value = u32::from_be_bytes(head[5..9].try_into().unwrap()) as usize;
        let (key, rest) = rest.split_at(key);
        let (value, rest) = rest.split_at(value);
        bytes = rest;
        out.push(match head[0] {
            1 => Change::Put(key.to_vec(), value.to_vec()),
            _ => Change::Cut(key.to_vec()),
        });
    }
    out
}

/// Every commit is one row; an index of all keys in memory says which block holds which. Blocks go, oldest first, when
/// nothing in them is alive.
struct Blocks {
    engine: Box<dyn Engine>,
    index: BTreeMap<Vec<u8>, u64>,
    alive: VecDeque<u64>,
    first: u64,
}

impl Blocks {
    fn open(engine: Box<dyn Engine>) -> Outcome<Self> {
        let mut blocks = Self { engine, index: BTreeMap::new(), alive: VecDeque::new(), first: 0 };
        let mut found = Vec::new();
        blocks.engine.scan(b"", b"", &mut |key, value| {
            found.push((u64::from_be_bytes(key.try_into().unwrap()), decode(value)));
            true
        })?;
        blocks.first = found.first().map_or(0, |(number, _)| *number);
        for (_, batch) in &found {
            blocks.apply(batch);
        }
        Ok(blocks)
    }

    fn apply(&mut self, batch: &[Change]) {
        let number = self.first + self.alive.len() as u64;
        self.alive.push_back(0);
        for change in batch {
            match change {
                Change::Put(key, _) => {
                    let old = self.index.insert(key.clone(), number);
                    self.count(old, -1);
                    self.count(Some(number), 1);
                }
                Change::Cut(prefix) => {
                    let gone: Vec<_> = self
                        .index
                        .range(prefix.clone()..end_of(prefix))
                        .map(|(key, _)| key.clone())
                        .collect();
                    for key in gone {
                        let old = self.index.remove(&key);
                        self.count(old, -1);
                    }
                }
            }
        }
    }

    fn count(&mut self, block: Option<u64>, by: i64) {
        if let Some(block) = block {
            let alive = &mut self.alive[(block - self.first) as usize];
            *alive = alive.wrapping_add_signed(by);
        }
    }
}

impl Engine for Blocks {
    fn commit(&mut self, batch: &[Change], is_synced: bool) -> Outcome {
        let number = self.first + self.alive.len() as u64;
        let mut changes = vec![Change::Put(number.to_be_bytes().to_vec(), encode(batch))];
        self.apply(batch);
        while self.alive.len() > 1 && self.alive.front() == Some(&0) {
            changes.push(Change::Cut(self.first.to_be_bytes().to_vec()));
            self.first += 1;
            self.alive.pop_front();
        }
        self.engine.commit(&changes, is_synced)
    }

    fn read(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let Some(number) = self.index.get(key) else { return Ok(None) };
        let block = self.engine.read(&number.to_be_bytes())?.ok_or("a block is missing")?;
        Ok(decode(&block).into_iter().rev().find_map(|change| match change {
            Change::Put(found, value) if found == key => Some(value),
            Change::Put(..) | Change::Cut(_) => None,
        }))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Outcome {
        let mut last = None;
        let mut values = BTreeMap::new();
        for (key, number) in self.index.range(after.max(prefix).to_vec()..) {
            if key == after {
                continue;
            }
            if last != Some(*number) {
                last = Some(*number);
                let block = self.engine.read(&number.to_be_bytes())?.ok_or("a block is missing")?;
                values.clear();
                for change in decode(&block) {
                    if let Change::Put(key, value) = change {
                        values.insert(key, value);
                    }
                }
            }
            if !key.starts_with(prefix) || !each(key, values.get(key).ok_or("a record is missing")?)
            {
                break;
            }
        }
        Ok(())
    }

    fn verify(&mut self) -> Outcome {
        self.engine.verify()
    }
}

/// Every commit is one row first. What is alive of them when they grow past a bound is folded into rows of its own, in
/// one commit; what was put and cut in between never becomes a row.
struct Folded {
    engine: Box<dyn Engine>,
    puts: BTreeMap<Vec<u8>, Vec<u8>>,
    cuts: BTreeSet<Vec<u8>>,
    bytes: usize,
    first: u64,
    next: u64,
}

const FOLD_BYTES: usize = 16 << 20;

impl Folded {
    fn open(engine: Box<dyn Engine>) -> Outcome<Self> {
        let mut folded = Self {
            engine,
            puts: BTreeMap::new(),
            cuts: BTreeSet::new(),
            bytes: 0,
            first: 0,
            next: 0,
        };
        let mut found = Vec::new();
        folded.engine.scan(b"B", b"", &mut |key, value| {
            found.push((u64::from_be_bytes(key[1..].try_into().unwrap()), decode(value)));
            true
        })?;
        folded.first = found.first().map_or(0, |(number, _)| *number);
        folded.next = found.last().map_or(0, |(number, _)| *number + 1);
        for (_, batch) in &found {
            folded.apply(batch);
        }
        Ok(folded)
    }

    fn apply(&mut self, batch: &[Change]) {
        for change in batch {
            match change {
                Change::Put(key, value) => {
                    self.puts.insert(key.clone(), value.clone());
                }
                Change::Cut(prefix) => {
                    while let Some(key) =
                        self.puts.range(prefix.clone()..).next().map(|(key, _)| key.clone())
                        && key.starts_with(prefix)
                    {
                        self.puts.remove(&key);
                    }
                    self.cuts.insert(prefix.clone());
                }
            }
        }
    }

    fn fold(&mut self) -> Outcome {
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.cuts) {
            let mut row = vec![b'R'];
            row.extend(key);
            changes.push(Change::Cut(row));
        }
        for (key, value) in std::mem::take(&mut self.puts) {
            let mut row = vec![b'R'];
            row.extend(key);
            changes.push(Change::Put(row, value));
        }
        for number in self.first..self.next {
            changes.push(Change::Cut(block_key(number)));
        }
        self.first = self.next;
        self.bytes = 0;
        self.engine.commit(&changes, false)
    }
}

fn block_key(number: u64) -> Vec<u8> {
    let mut key = vec![b'B'];
    key.extend(number.to_be_bytes());
    key
}

impl Engine for Folded {
    fn commit(&mut self, batch: &[Change], is_synced: bool) -> Outcome {
        let block = encode(batch);
        self.bytes += block.len();
        self.engine.commit(&[Change::Put(block_key(self.next), block)], is_synced)?;
        self.next += 1;
        self.apply(batch);
        if self.bytes > FOLD_BYTES { self.fold() } else { Ok(()) }
    }

    fn read(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        if let Some(value) = self.puts.get(key) {
            return Ok(Some(value.clone()));
        }
        if (0..=key.len()).any(|len| self.cuts.contains(&key[..len])) {
            return Ok(None);
        }
        let mut row = vec![b'R'];
        row.extend(key);
        self.engine.read(&row)
    }

    fn scan(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Outcome {
        let mut young = self
            .puts
            .range(after.max(prefix).to_vec()..)
            .filter(|(key, _)| *key != after)
            .peekable();
        let (mut row, mut row_after) = (vec![b'R'], vec![b'R']);
        row.extend(prefix);
        row_after.extend(after);
        let mut goes_on = true;
        self.engine.scan(&row, &row_after, &mut |key, value| {
            let key = &key[1..];
            while goes_on
                && let Some((young_key, young_value)) =
                    young.next_if(|(young, _)| &young[..] <= key)
            {
                goes_on = each(young_key, young_value);
                if young_key == key {
                    return goes_on;
                }
            }
            if goes_on && !(0..=key.len()).any(|len| self.cuts.contains(&key[..len])) {
                goes_on = each(key, value);
            }
            goes_on
        })?;
        while goes_on && let Some((key, value)) = young.next_if(|(key, _)| key.starts_with(prefix))
        {
            goes_on = each(key, value);
        }
        Ok(())
    }

    fn verify(&mut self) -> Outcome {
        self.engine.verify()
    }
}
