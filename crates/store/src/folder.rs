//! The folder of a store: what lies where, whose it is, and its format.

use std::{
    collections::hash_map::RandomState,
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher, Hasher},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::{StoreError, block::Salt};

/// The newest format this program knows, and the only one it writes. See `docs/format.md`.
pub(crate) const FORMAT: u64 = 2;

/// The oldest one that it reads.
const FORMAT_MIN: u64 = 1;

/// The format that had a tail where there is a log.
const FORMAT_WITH_TAIL: u64 = 1;

const FORMAT_FILE: &str = "format";
const FORMAT_WORDS: &str = "postrider store, format ";
const LOCK_FILE: &str = "lock";
const LOG_FILE: &str = "log";
/// The files of the log.
pub(crate) const SHEET_FILES: [&str; 2] = ["log-0", "log-1"];
/// The file of the rows.
pub(crate) const ROWS_FILE: &str = "records.redb";
/// Bytes by which the database knows its file.
const ROWS_MAGIC_LEN: u64 = 9;
const SPOOLS_FOLDER: &str = "spools";
const TAIL_FILE: &str = "tail";

/// The folder, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The one it has; `None` if it is new.
    format: Option<u64>,
    lock: File,
}

impl Folder {
    /// Locks the folder of a store, or prepares an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        if path.exists() && !path.is_dir() {
            return Err(StoreError::NotAStore(path.to_owned()));
        }
        let io = |error: io::Error| StoreError::io(path, &error);
        fs::create_dir_all(path).map_err(io)?;
        let is_new = !path.join(FORMAT_FILE).try_exists().map_err(io)?;
        if is_new && !is_blank(path).map_err(io)? {
            return Err(StoreError::NotAStore(path.to_owned()));
        }
        let lock = lock(path)?;
        let mut folder = Self { path: path.to_owned(), format: None, lock };
        if !is_new {
            folder.format = Some(folder.read_format()?);
            if !folder.rows().try_exists().map_err(io)? {
                return Err(StoreError::corrupt(path, format!("{ROWS_FILE} is missing")));
            }
        }
        fs::create_dir_all(folder.spools()).map_err(io)?;
        Ok(folder)
    }

    /// Empties rows that somebody was making who died over it: their first bytes are written last. No owner had them.
    pub(crate) fn forget_unmade(&self, rows: &File) -> io::Result<()> {
        let mut first = Vec::new();
        rows.take(ROWS_MAGIC_LEN).read_to_end(&mut first)?;
        if self.format.is_none() && first.iter().all(|byte| *byte == 0) {
            rows.set_len(0)
        } else {
            Ok(())
        }
    }

    /// Says on the disk that this is a store of our format, if it does not yet. Called when all else is in place.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        if self.format == Some(FORMAT) {
            return Ok(());
        }
        let write = || {
            let new = self.path.join("format.new");
            let mut file = File::create(&new)?;
            writeln!(file, "{FORMAT_WORDS}{FORMAT}")?;
            file.sync_all()?;
            fs::rename(new, self.path.join(FORMAT_FILE))?;
            sync_folder(&self.path)?;
            self.path.parent().map_or(Ok(()), sync_folder)
        };
        let deed = format!("{FORMAT_FILE} cannot be written");
        write().map_err(|error| StoreError::io_at(&self.path, &deed, &error))?;
        self.format = Some(FORMAT);
        Ok(())
    }

    pub(crate) fn rows(&self) -> PathBuf {
        self.path.join(ROWS_FILE)
    }

    pub(crate) fn spools(&self) -> PathBuf {
        self.path.join(SPOOLS_FOLDER)
    }

    /// The files of the log.
    pub(crate) fn sheets(&self) -> [PathBuf; 2] {
        SHEET_FILES.map(|name| self.path.join(name))
    }

    /// What copies of a damaged log are named after.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG_FILE)
    }

    /// The tail of an older store, if it may have one.
    pub(crate) fn tail(&self) -> Option<PathBuf> {
        (self.format == Some(FORMAT_WITH_TAIL)).then(|| self.path.join(TAIL_FILE))
    }

    /// Removes the tail: the rows hold its blocks.
    pub(crate) fn drop_tail(&self) -> Result<(), StoreError> {
        match fs::remove_file(self.path.join(TAIL_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io(&self.path, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn read_format(&self) -> Result<u64, StoreError> {
        let bytes = fs::read(self.path.join(FORMAT_FILE))
            .map_err(|error| StoreError::io(&self.path, &error))?;
        let text = str::from_utf8(&bytes).ok();
        let found =
            text.and_then(|text| text.strip_prefix(FORMAT_WORDS)?.strip_suffix('\n')?.parse().ok());
        match found {
            Some(found @ FORMAT_MIN..=FORMAT) => Ok(found),
            Some(found) if found > FORMAT => {
                Err(StoreError::Newer { path: self.path.clone(), found, known: FORMAT })
            }
            Some(_) | None => {
                Err(StoreError::corrupt(&self.path, format!("{FORMAT_FILE} names no format")))
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // In so many words: a process that is being started at this moment has a copy of the file for a while.
        drop(self.lock.unlock());
    }
}

/// Renames the folder of a store, so that a new one can be opened in its place. Returns where it is.
pub(crate) fn quarantine(path: &Path) -> Result<PathBuf, StoreError> {
    let io = |error: io::Error| StoreError::io(path, &error);
    if !path.is_dir() || !path.join(FORMAT_FILE).try_exists().map_err(io)? {
        return Err(StoreError::NotAStore(path.to_owned()));
    }
    // Released before the renaming, which some systems refuse for what is open.
    lock(path)?.unlock().map_err(io)?;
    let mut at = 1_u32;
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".corrupt-{at}"));
        let aside = path.with_file_name(name);
        if !aside.try_exists().map_err(io)? {
            fs::rename(path, &aside).map_err(io)?;
            path.parent().map_or(Ok(()), sync_folder).map_err(io)?;
            return Ok(aside);
        }
        at += 1;
    }
}

/// Syncs the names in a folder. Where folders cannot be opened, the system does it by itself.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if cfg!(unix) { File::open(here)?.sync_all() } else { Ok(()) }
}

/// Names this run of the operating system; empty if it has no name.
pub(crate) fn boot() -> Vec<u8> {
    fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// The same as a number; 0 if it has no name.
pub(crate) fn run(boot: &[u8]) -> u128 {
    let text = str::from_utf8(boot).unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

/// A number that nobody outside can know.
pub(crate) fn salt() -> Salt {
    Salt(RandomState::new().build_hasher().finish())
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK_FILE))
        .map_err(|error| StoreError::io(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::io(path, &error)),
    }
}

/// Whether nothing is in a folder but what the making of a store that was interrupted left.
fn is_blank(path: &Path) -> io::Result<bool> {
    let [one, other] = SHEET_FILES;
    let ours = [LOCK_FILE, one, other, ROWS_FILE, SPOOLS_FOLDER, TAIL_FILE, "format.new"];
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !ours.iter().any(|ours| name == **ours) {
            return Ok(false);
        }
    }
    Ok(true)
}
