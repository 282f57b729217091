//! The password file, as `libpq` reads it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The password of the first line that fits: host, port, database, user, password, each `*` for
/// any. The file is `given`, that of `PGPASSFILE`, or `~/.pgpass`.
///
/// # Errors
///
/// What is wrong with the file, for a person. That there is no `~/.pgpass` is not.
pub(super) fn password(given: Option<&Path>, config: &Config) -> Result<Option<String>, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = given.map(Path::to_owned).or_else(|| set("PGPASSFILE"));
    let by_name = named.is_some();
    let Some(path) = named.or_else(|| Some(set("HOME")?.join(".pgpass"))) else {
        return Ok(None);
    };
    let shown = path.display();
    let useless = |why: &str| format!("the password file {shown} is not used: {why}");
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => return Err(useless("it is not a file")),
        Ok(found) if others_may_read(&found) => {
            return Err(useless("others than its owner may read it (`chmod 600` it)"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && !by_name => return Ok(None),
        Err(error) => return Err(useless(&error.to_string())),
    }
    let text = fs::read_to_string(&path).map_err(|error| useless(&error.to_string()))?;
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.as_str(),
        _ => "localhost",
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    Ok(text.lines().find_map(|line| {
        let fields = fields(line)?;
        let wanted = [host, port.as_str(), database, user];
        let fits = fields.iter().zip(wanted).all(|(field, of)| field == "*" || field == of);
        fits.then(|| fields.get(4).cloned())?
    }))
}

#[cfg(unix)]
fn others_may_read(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_read(_: &fs::Metadata) -> bool {
    false
}

/// The fields of a line of a password file: `\` takes the next character as it is.
fn fields(line: &str) -> Option<Vec<String>> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut()?.push(chars.next()?),
            c => fields.last_mut()?.push(c),
        }
    }
    (fields.len() == 5).then_some(fields)
}
