//! A file of the log, as the log needs it: written ahead, synced, read as a whole.

use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io::{self, IoSlice, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// A file of the log.
pub(crate) trait Sheet: Debug + Send + Sync {
    /// All its bytes.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Makes it empty.
    fn clear(&self) -> io::Result<()>;

    /// Writes all parts behind each other from byte `at` on.
    fn write(&self, at: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Syncs what was written.
    fn sync(&self) -> io::Result<()>;
}

/// A sheet longer than this is not ours.
const SHEET_BYTES_MAX: u64 = 4 << 30;

/// Opens a sheet, and makes its file if it is not there.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

impl Sheet for File {
    fn read(&self) -> io::Result<Vec<u8>> {
        let len = self.metadata()?.len();
        if len > SHEET_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a file of the log is too long",
            ));
        }
        let mut bytes = Vec::new();
        let mut file = self;
        file.seek(SeekFrom::Start(0))?;
        file.take(len).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn clear(&self) -> io::Result<()> {
        // Only if it must be: what always is empty may not be a file.
        if self.metadata()?.len() > 0 { self.set_len(0) } else { Ok(()) }
    }

    fn write(&self, at: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut file = self;
        file.seek(SeekFrom::Start(at))?;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match file.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
