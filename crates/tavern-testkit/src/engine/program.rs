//! Where the programs of engines are.

use std::env;
use std::io;
use std::path::PathBuf;

/// The path of the program `name`; `package` says in the error what brings it.
///
/// # Errors
///
/// If it is on this machine in neither place.
pub(super) fn find(name: &str, package: &str) -> io::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let bin = cache().map(|dir| dir.join("bin"));
    let found = bin.into_iter().chain(env::split_paths(&path)).map(|dir| dir.join(name));
    found.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        let text = format!("there is no `{name}` on this machine: install {package}");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// What is kept between tests; `scripts/install-deps` puts programs that have no package for the
/// system into `bin` there.
pub(super) fn cache() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("tavern"))
}

#[cfg(test)]
mod tests;
