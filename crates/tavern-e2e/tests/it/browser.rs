//! An `EventSource` of a real browser, on hubs that come and go.

mod engine;
mod reconnect;

use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) use engine::Engine;

/// A running browser, with a profile of its own. Dropping it kills all of its processes.
#[derive(Debug)]
pub(crate) struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    /// Visits `page`.
    ///
    /// # Panics
    ///
    /// If the browser is not installed.
    pub(crate) fn visit(engine: Engine, page: &str) -> Self {
        let profile = tempfile::Builder::new().prefix("tavern-browser-").tempdir().unwrap();
        let program = installed(engine);
        engine.prepare(profile.path());
        let log = std::fs::File::create(profile.path().join("log")).unwrap();
        // `setpriv` ends the browser with this process, however this process ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(engine.flags(profile.path()))
            .arg(page)
            // It keeps what it writes, caches and crash reports among it, to its profile.
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("DISPLAY")
            .env("MOZ_CRASHREPORTER_DISABLE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("setpriv starts");
        Self { child, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Not reaped yet, so the number is still its own. An error means that it is gone already.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The program, which a test never does without.
fn installed(engine: Engine) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = engine.names();
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{} is not installed; run scripts/install-deps", names[0]))
}
