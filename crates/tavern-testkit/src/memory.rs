//! The rig of the memory backend.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tavern_backend::{Error, MemoryBackend, MemoryConfig, MemoryEngine, Result, Retention};

use crate::Rig;

/// A log in this process. Its engine has nothing to restart, so that a restart ends its nodes only.
#[derive(Debug, Default)]
pub struct MemoryRig {
    /// Guards who is the first.
    log: Mutex<Option<(MemoryEngine, u64)>>,
}

impl MemoryRig {
    /// A rig without a log: the first node makes it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn log(&self) -> MutexGuard<'_, Option<(MemoryEngine, u64)>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rig for MemoryRig {
    type Backend = MemoryBackend;

    async fn open(&self, retention: Retention) -> Result<MemoryBackend> {
        let config = MemoryConfig::default().with_retention(retention).with_max_payload(64 << 10);
        let mut log = self.log();
        let (engine, _) = log.get_or_insert_with(|| (MemoryEngine::new(config), 0));
        Ok(engine.node())
    }

    async fn restart(&self) -> Result<()> {
        Ok(())
    }

    async fn checkpoint(&self) -> Result<()> {
        match &mut *self.log() {
            Some((engine, checkpoint)) => *checkpoint = engine.head().seq,
            None => return Err(Error::config("there is no log yet")),
        }
        Ok(())
    }

    async fn rewind(&self) -> Result<()> {
        match &*self.log() {
            Some((engine, checkpoint)) => engine.rewind(*checkpoint),
            None => return Err(Error::config("there is no log yet")),
        }
        Ok(())
    }
}
