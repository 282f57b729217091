//! One process of an engine.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal};

use super::deadline::Deadline;

/// A process that ends with this value. What it says goes to a file.
///
/// It belongs to no runtime: an engine outlives the runtimes of the nodes that use it.
#[derive(Debug)]
pub(super) struct Daemon {
    id: u32,
    /// Guards against two that wait for its end at once.
    child: Mutex<Child>,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command`, its output appended to the file `log`.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(super) fn spawn(command: &mut Command, log: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn()?;
        Ok(Self { id: child.id(), child: Mutex::new(child), log: log.to_owned() })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// If the system cannot say.
    pub(super) fn ended(&self) -> io::Result<Option<ExitStatus>> {
        // Nothing panics under this lock.
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        // Asked first, so that the id cannot be another process's by now.
        if self.ended()?.is_some() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the engine is not running"));
        }
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        rustix::process::kill_process(id.ok_or(io::ErrorKind::NotFound)?, signal)?;
        Ok(())
    }

    /// Sends a signal that ends it, and waits until it has ended; fine if it had.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub(super) async fn end(&self, signal: Signal) -> io::Result<()> {
        if self.ended()?.is_none() {
            self.signal(signal)?;
        }
        let deadline = Deadline::new("the end of an engine's process");
        while self.ended()?.is_none() {
            deadline.tick().await?;
        }
        Ok(())
    }

    /// Sends a signal that ends it, and waits right here until it has ended: only for one that ends
    /// soon after this signal, whatever it does.
    pub(super) fn finish(&self, signal: Signal) {
        // One that has ended gets none.
        let _ = self.signal(signal);
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }

    /// The last lines of what it said.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may be dead already. After SIGKILL, which a stopped process obeys, too, the wait is
        // short; without it the process would stay as a zombie.
        let _ = child.kill();
        let _ = child.wait();
    }
}
