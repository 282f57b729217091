//! Whose a Postgres is.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The user whose processes and files a Postgres is. Root, as which none runs, becomes `postgres`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Ourselves,
    Other { user: u32, group: u32 },
}

impl Owner {
    /// Who it has to be here.
    ///
    /// # Errors
    ///
    /// If root has no user `postgres`, or that one may not enter the directory for temporary files.
    pub(super) fn find() -> io::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        for dir in env::temp_dir().ancestors() {
            if fs::metadata(dir)?.mode() & 0o001 == 0 {
                let dir = dir.display();
                let text = format!("the user postgres may not enter {dir}: set another TMPDIR");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
        Ok(Self::Other { user: id("-u")?, group: id("-g")? })
    }

    /// A command that runs `program` as this user, with nothing from our environment that could
    /// tell it of another server.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.dress(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// Lets `command` run as this user.
    pub(super) fn dress(self, command: &mut Command) {
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // The messages are read.
        command.env("LC_ALL", "C");
        // No passwords or certificates of whoever runs the test.
        command.env("HOME", "/nonexistent");
        if let Self::Other { user, group } = self {
            command.uid(user).gid(group);
        }
    }

    /// Gives the file or directory to this user.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { user, group } => chown(path, Some(user), Some(group)),
        }
    }
}

/// The number that `id` says of the user `postgres`.
fn id(what: &str) -> io::Result<u32> {
    let output = Command::new("id").args([what, "postgres"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        let text = "root cannot run Postgres, and there is no user postgres: install the Debian \
                    package postgresql, which makes it";
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}
