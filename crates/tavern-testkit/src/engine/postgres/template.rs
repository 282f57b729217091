//! A data directory as `initdb` makes it, made once per machine: it takes longer than most tests.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::data;
use super::owner::Owner;
use super::programs::Programs;
use crate::engine::program;

/// With a superuser `postgres`, in UTF-8, sorted by bytes.
const INITDB: &str = "-U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions";

/// Makes `to` a fresh data directory.
///
/// # Errors
///
/// If `initdb` fails, or the copy.
pub(super) fn copy(programs: &Programs, to: &Path, owner: Owner) -> io::Result<()> {
    data::copy(&get(programs, owner)?, to, owner)
}

/// The template's directory. Tests of other processes that want it meanwhile wait.
fn get(programs: &Programs, owner: Owner) -> io::Result<PathBuf> {
    let cache = program::cache().unwrap_or_else(|| std::env::temp_dir().join("tavern"));
    fs::create_dir_all(&cache)?;
    let initdb = programs.get("initdb")?;
    let output = run(Command::new(&initdb).arg("--version"))?;
    let name = format!("{output} {INITDB}");
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let template = cache.join(&name);
    // The lock ends with whoever holds it. It stays: one that took its place would be another.
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !template.is_dir() {
        // The cache is often in a home that no other user may enter.
        let place = tempfile::tempdir()?;
        owner.give(place.path())?;
        let made = place.path().join("data");
        let mut command = owner.command(&initdb);
        command.args(INITDB.split(' ')).arg("-D").arg(&made).current_dir(place.path());
        run(&mut command)?;
        // Moved there last: what was cut off looks like nothing complete.
        let new = cache.join(format!("{name}.new"));
        data::clear(&new)?;
        data::copy(&made, &new, Owner::Ourselves)?;
        fs::rename(&new, &template)?;
    }
    Ok(template)
}

/// Runs the program to its end, and returns what it said.
///
/// # Errors
///
/// If it fails, with its words.
pub(super) fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let program = command.get_program().display();
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}: {text}", output.status)))
}
