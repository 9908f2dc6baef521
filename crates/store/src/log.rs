//! The log: what was written since the rows were last synced, block by block.
//!
//! There are two sheets. Blocks are appended to one of them, while what is in the other goes into the rows; then they
//! change places. A sheet is written over, and seldom grows: a file that grows makes every sync a journal's commit.

use std::{fs, io, io::IoSlice, path::Path, sync::Arc};

use bytes::Bytes;

use crate::{
    StoreError,
    block::{self, End, Salt},
    folder::SHEET_FILES,
    layer::Layer,
    sheet::Sheet,
};

pub(crate) type Sheets = [Arc<dyn Sheet>; 2];

/// Bytes by which a sheet grows at least and at most.
const GROWTH_MIN: usize = 64 << 10;
const GROWTH_MAX: usize = 1 << 20;

static ZEROS: [u8; GROWTH_MIN] = [0; GROWTH_MIN];

#[derive(Debug)]
pub(crate) struct Log {
    salt: Salt,
    sheets: Sheets,
    /// Bytes that are there in each sheet.
    lens: [usize; 2],
    /// The sheet that is appended to, and the place of the next block in it.
    current: usize,
    at: usize,
    /// The last block appended, and the last one certainly synced.
    number: u64,
    synced: u64,
    /// The last block in the other sheet.
    before: u64,
}

impl Log {
    /// An empty log that goes on behind block `number`, which is in the rows with all before.
    pub(crate) fn begin(sheets: Sheets, salt: Salt, number: u64) -> io::Result<Self> {
        for sheet in &sheets {
            sheet.clear()?;
        }
        let (lens, synced, before) = ([0, 0], number, number);
        Ok(Self { salt, sheets, lens, current: 0, at: 0, number, synced, before })
    }

    /// Hands a block to the operating system.
    pub(crate) fn append(&mut self, body: &[Bytes]) -> io::Result<()> {
        let end = End { number: self.number + 1, synced: self.synced };
        let (head, tail) = block::frame(end, self.salt, body);
        let mut parts = vec![IoSlice::new(&head)];
        parts.extend(body.iter().map(|part| IoSlice::new(part)));
        parts.push(IoSlice::new(&tail));
        let block_len: usize = parts.iter().map(|part| part.len()).sum();
        let behind = self.at + block_len;
        let current = self.current;
        let (Some(sheet), Some(len)) = (self.sheets.get(current), self.lens.get_mut(current))
        else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if behind > *len {
            let growth = (*len).clamp(GROWTH_MIN, GROWTH_MAX);
            let new_len = behind.next_multiple_of(growth);
            let mut left = new_len - behind;
            while left > 0 {
                let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
                parts.push(IoSlice::new(zeros));
                left -= zeros.len();
            }
            *len = new_len;
        }
        sheet.write(self.at as u64, &mut parts)?;
        self.at = behind;
        self.number += 1;
        Ok(())
    }

    /// What must be synced, so that all blocks are up to the last one: sheets by the names of their files.
    pub(crate) fn unsynced(&self) -> Vec<(&'static str, Arc<dyn Sheet>)> {
        let named = |at: usize| SHEET_FILES.get(at).copied().zip(self.sheets.get(at).cloned());
        let mut sheets = Vec::new();
        sheets.extend(named(1 - self.current).filter(|_| self.synced < self.before));
        sheets.extend(named(self.current).filter(|_| self.synced < self.number));
        sheets
    }

    /// The name of the file that is appended to.
    pub(crate) fn file(&self) -> &'static str {
        SHEET_FILES.get(self.current).copied().unwrap_or_default()
    }

    /// The sheet that is appended to.
    pub(crate) fn current(&self) -> Option<Arc<dyn Sheet>> {
        self.sheets.get(self.current).cloned()
    }

    /// All blocks up to this one are on the disk, here or in the rows.
    pub(crate) fn note_synced(&mut self, number: u64) {
        self.synced = self.synced.max(number);
    }

    /// Goes on in the other sheet, all of whose blocks are in the rows.
    pub(crate) fn turn(&mut self) {
        debug_assert!(self.synced >= self.before, "a sheet is written over too early");
        self.before = self.number;
        self.current = 1 - self.current;
        self.at = 0;
    }

    /// Empties it: all of it is in the rows.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.sheets.iter().try_for_each(|sheet| sheet.clear())
    }

    /// The number of the last block.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of the blocks in the current sheet.
    pub(crate) fn bytes(&self) -> usize {
        self.at
    }
}

/// What a log held.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) layer: Layer,
    /// The last block that is in the layer or the rows.
    pub(crate) number: u64,
    /// Blocks were lost in a power cut that had been written, though not synced.
    pub(crate) has_lost: bool,
}

/// Reads what a log holds beyond block `applied`. `is_same_run`: the operating system is the one that it was handed to,
/// so that all of it must be there.
pub(crate) fn recover(
    store: &Path,
    sheets: &[Bytes; 2],
    salt: Salt,
    applied: u64,
    is_same_run: bool,
) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered { number: applied, ..Recovered::default() };
    let mut chains = sheets.each_ref().map(|sheet| chain(sheet, salt));
    chains.sort_by_key(|chain| chain.first().map_or(0, |(number, _)| *number));
    for (number, body) in chains.into_iter().flatten() {
        if number == recovered.number + 1 {
            let applied = recovered.layer.apply(&body);
            applied.map_err(|_| StoreError::corrupt(store, "a block of the log is no batch"))?;
            recovered.number = number;
        }
    }
    for end in sheets.iter().flat_map(|sheet| block::ends(sheet, salt)) {
        let must_be_there = if is_same_run { end.number } else { end.synced };
        if must_be_there > recovered.number {
            let what = format!("block {} of the log is damaged", recovered.number + 1);
            return Err(StoreError::corrupt(store, what));
        }
        recovered.has_lost |= end.number > recovered.number;
    }
    Ok(recovered)
}

/// Blocks from the beginning of a sheet, as long as their numbers rise by one: what follows is older.
fn chain(sheet: &Bytes, salt: Salt) -> Vec<(u64, Bytes)> {
    let (mut rest, mut chain) = (sheet.clone(), Vec::<(u64, Bytes)>::new());
    while let Some((number, body, len)) = block::first(&rest, salt) {
        if chain.last().is_some_and(|(last, _)| number != last + 1) {
            break;
        }
        chain.push((number, body));
        rest = rest.slice(len.min(rest.len())..);
    }
    chain
}

/// Keeps a copy of a damaged log: `PATH.damaged-N`, of both sheets behind each other. Returns where it is.
pub(crate) fn set_aside(path: &Path, sheets: &[Bytes; 2]) -> io::Result<std::path::PathBuf> {
    let mut at = 1_u32;
    loop {
        let aside = path.with_extension(format!("damaged-{at}"));
        if !aside.try_exists()? {
            fs::write(&aside, sheets.concat())?;
            return Ok(aside);
        }
        at += 1;
    }
}
