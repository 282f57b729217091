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
    /// Its write-ahead log.
    pub(crate) wal: FileId,
    /// The process that wrote it.
    pub(crate) pid: u32,
}

const MAGIC: u64 = u64::from_be_bytes(*b"TVFENCE1");
const WORDS: usize = 9;

impl Fence {
    /// Reads it; `None` if there is none, or none that can be trusted.
    pub(crate) fn read(file: &File) -> std::io::Result<Option<Self>> {
        let mut bytes = [0; WORDS * 8];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut words = [0_u64; WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_be_bytes(chunk.try_into().unwrap_or_default());
        }
        let [magic, epoch, seq, db_dev, db_ino, wal_dev, wal_ino, pid, sum] = words;
        if magic != MAGIC || sum != fnv(&[&bytes[..(WORDS - 1) * 8]]) {
            return Ok(None);
        }
        Ok(Some(Self {
            position: Position::new(Epoch::from_u64(epoch), seq),
            db: FileId { dev: db_dev, ino: db_ino },
            wal: FileId { dev: wal_dev, ino: wal_ino },
            pid: u32::try_from(pid).unwrap_or(0),
        }))
    }

    pub(crate) fn write(&self, file: &File) -> std::io::Result<()> {
        let words = [
            MAGIC,
            self.position.epoch.to_u64(),
            self.position.seq,
            self.db.dev,
            self.db.ino,
            self.wal.dev,
            self.wal.ino,
            u64::from(self.pid),
        ];
        let mut bytes = Vec::with_capacity(WORDS * 8);
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes.extend(fnv(&[&bytes]).to_be_bytes());
        file.write_all_at(&bytes, 0)
    }
}
