//! What the writers' lock file remembers of the log, outside of the database.
//!
//! A database that was restored from a backup in place looks like itself, only younger. The fence
//! tells: it holds the last position that was given out.
//!
//! It also holds which write-ahead log belongs to which database file. If another file is moved to
//! the database's path while the old one's write-ahead log still lies there, SQLite would play the
//! old log into the new file and damage it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use tavern_backend::{Epoch, Position};

use crate::number::fnv;
use crate::place::FileId;

/// Written under the lock, after each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fence {
    /// The last position given out.
    pub(crate) position: Position,
    /// The database file.
    pub(crate) db: FileId,
    /// Its write-ahead log, once there was one.
    pub(crate) wal: Option<FileId>,
    /// The process that wrote it.
    pub(crate) pid: u32,
}

/// Nine words: magic, epoch, seq, device and number of both files, process, checksum.
const V1: u64 = u64::from_be_bytes(*b"TVFENCE1");
/// Eleven: before the checksum stand the births of both files, 0 where they are not known.
const V2: u64 = u64::from_be_bytes(*b"TVFENCE2");
const WORDS: usize = 11;

impl Fence {
    /// Reads it; `None` if there is none, or none that can be trusted.
    pub(crate) fn read(file: &File) -> std::io::Result<Option<Self>> {
        let mut bytes = [0; WORDS * 8];
        let mut size = 0;
        while size < bytes.len() {
            match file.read_at(&mut bytes[size..], u64::try_from(size).unwrap_or(0)) {
                Ok(0) => break,
                Ok(more) => size += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut words = [0_u64; WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_be_bytes(chunk.try_into().unwrap_or_default());
        }
        let [magic, epoch, seq, db_dev, db_ino, wal_dev, wal_ino, pid, ..] = words;
        let (length, births) = match magic {
            V1 => (9, [0, 0]),
            V2 => (WORDS, [words[8], words[9]]),
            _ => return Ok(None),
        };
        if size < length * 8 || words[length - 1] != fnv(&[&bytes[..(length - 1) * 8]]) {
            return Ok(None);
        }
        let [db_birth, wal_birth] = births.map(|birth| Some(birth).filter(|birth| *birth > 0));
        let wal = FileId { dev: wal_dev, ino: wal_ino, birth: wal_birth };
        Ok(Some(Self {
            position: Position::new(Epoch::from_u64(epoch), seq),
            db: FileId { dev: db_dev, ino: db_ino, birth: db_birth },
            wal: Some(wal).filter(|wal| wal.ino > 0),
            pid: u32::try_from(pid).unwrap_or(0),
        }))
    }

    pub(crate) fn write(&self, file: &File) -> std::io::Result<()> {
        let words = [
            V2,
            self.position.epoch.to_u64(),
            self.position.seq,
            self.db.dev,
            self.db.ino,
            self.wal.map_or(0, |wal| wal.dev),
            self.wal.map_or(0, |wal| wal.ino),
            u64::from(self.pid),
            self.db.birth.unwrap_or(0),
            self.wal.and_then(|wal| wal.birth).unwrap_or(0),
        ];
        let mut bytes = Vec::with_capacity(WORDS * 8);
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes.extend(fnv(&[&bytes]).to_be_bytes());
        file.write_all_at(&bytes, 0)
    }
}

#[cfg(test)]
mod tests;
