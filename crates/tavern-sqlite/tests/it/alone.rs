//! A test in a process of its own, in which it may do what the others must not feel.

use std::path::Path;
use std::process::Command;

const ALONE: &str = "TAVERN_SQLITE_TEST_ALONE";

/// What the process is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given {
    /// Mounts that nobody else sees, and that go with it: see [`Disk`].
    Mounts,
    /// That a write beyond the largest size of a file is an error, and not the end.
    Limits,
}

/// In the process that was started for it: true. Else starts that process, with the calling test
/// of the full name `test`, waits for its success, and returns false.
pub(crate) fn alone(test: &str, given: Given) -> bool {
    if std::env::var(ALONE).is_ok_and(|alone| alone == test) {
        return true;
    }
    let mut command = match given {
        Given::Mounts => own_mounts(),
        Given::Limits => {
            let mut command = Command::new("sh");
            command.args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"]);
            command
        }
    };
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
    let output = command.env(ALONE, test).env("RUST_BACKTRACE", "0").output().unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
    false
}

/// As root, or as who counts as root among mounts of its own.
fn own_mounts() -> Command {
    let probe = tempfile::tempdir().unwrap();
    for how in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(how);
            command
        };
        let tried = unshare().args(["mount", "-t", "tmpfs", "tavern"]).arg(probe.path()).output();
        if tried.is_ok_and(|output| output.status.success()) {
            return unshare();
        }
    }
    panic!(
        "this test fills and locks a small file system of its own, and may not mount one: install \
         util-linux (`unshare`, `mount`), and run it as root or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; \
         a container needs --cap-add SYS_ADMIN)"
    );
}

/// A small file system of this process, given by [`Given::Mounts`].
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    /// One of `size` bytes, as mount(8) takes them.
    pub(crate) fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tavern"], dir.path());
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// `ro` or `rw`; no file on it may be open for writing. `bind` changes the mount only, which
    /// who is root among mounts of its own may do as well.
    pub(crate) fn remount(&self, mode: &str) {
        mount(&["-o", &format!("remount,bind,{mode}")], self.path());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a connection of a test that failed may still be open. What stays mounted goes
        // with the process.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(args: &[&str], at: &Path) {
    let output = Command::new("mount").args(args).arg(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
