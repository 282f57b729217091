//! Processes that end with this one, however it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::engine::daemon::Daemon;
use crate::engine::program;

type Order = (Command, PathBuf, SyncSender<io::Result<Daemon>>);

/// Starts `program` with `arguments` in `dir`. On Linux the system kills it when this process is
/// killed, which runs no destructor; elsewhere it would stay.
///
/// # Errors
///
/// If it does not start.
pub(super) fn spawn(program: &Path, arguments: &[&Path], dir: &Path) -> io::Result<Daemon> {
    let mut command = if cfg!(target_os = "linux") {
        let mut command = Command::new(program::find("setpriv", "the Debian package util-linux")?);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(arguments).current_dir(dir);
    let (answer, answers) = sync_channel(1);
    let order = (command, dir.join("server.log"), answer);
    let gone = |_| io::Error::other("the thread that starts engines is gone");
    starter().send(order).map_err(|_| gone(()))?;
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
