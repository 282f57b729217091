//! Processes that end with this one, however it ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::daemon::Daemon;
use super::program;

type Order = (Command, PathBuf, SyncSender<io::Result<Daemon>>);

/// A command that runs `program`. On Linux the system sends it the signal `end` (`KILL`, `QUIT`)
/// when this process is killed, which runs no destructor; elsewhere it would stay.
///
/// # Errors
///
/// If there is no `setpriv`, which tells the system so.
pub(super) fn command(program: &Path, end: &str) -> io::Result<Command> {
    let mut command = if cfg!(target_os = "linux") {
        let mut command = Command::new(program::find("setpriv", "the Debian package util-linux")?);
        command.args(["--pdeathsig", end, "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // A group of its own: what ends a test and all of its group, such as a runner's limit of time,
    // leaves this one to the signal. And the system wakes a group that stands still when the process
    // that started it ends, so it hears the signal.
    command.process_group(0);
    Ok(command)
}

/// Starts a [`command`], its output appended to the file `log`.
///
/// # Errors
///
/// If it does not start.
pub(super) fn spawn(command: Command, log: PathBuf) -> io::Result<Daemon> {
    let (answer, answers) = sync_channel(1);
    let gone = |_| io::Error::other("the thread that starts engines is gone");
    starter().send((command, log, answer)).map_err(|_| gone(()))?;
    answers.recv().map_err(|_| gone(()))?
}

/// The system means the death of the thread that started the process, and a test's threads die
/// before the test does. So one thread starts all, and never ends.
fn starter() -> &'static SyncSender<Order> {
    static STARTER: OnceLock<SyncSender<Order>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (sender, orders) = sync_channel::<Order>(1);
        thread::spawn(move || {
            for (mut command, log, answer) in orders {
                // Nobody waits for the answer any more only if the process ends.
                let _ = answer.send(Daemon::spawn(&mut command, &log));
            }
        });
        sender
    })
}
