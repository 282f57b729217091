//! Who wakes processes that were stopped by a test that is dead.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A process that wakes others when this one has ended, however: what is stopped would stay for
/// ever, whatever signal says that it should end. Dropped, it lets them be.
#[derive(Debug)]
pub(super) struct Warden(Child);

impl Warden {
    /// Watches over these processes.
    ///
    /// # Errors
    ///
    /// If there is no shell.
    pub(super) fn new(processes: &[i32]) -> io::Result<Self> {
        let mut command = Command::new("sh");
        // The pipe that it reads from ends with this process.
        command.args(["-c", "read -r _; kill -s CONT \"$@\"", "sh"]);
        command.args(processes.iter().map(i32::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Who ends all of a test's group does not end it.
        command.process_group(0);
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        // After SIGKILL the wait is short. It is over before anyone is stopped again.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
