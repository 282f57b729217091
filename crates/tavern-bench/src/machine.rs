//! What the figures were measured on.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::time::Instant;

use crate::pairs::median;

/// Facts about the machine, as far as it tells them.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    memory: String,
    kernel: String,
    load: String,
    file_system: String,
    /// What makes a commit durable: where it costs little, all else of a commit shows.
    sync: Option<Duration>,
}

impl Machine {
    /// This machine, with files under `directory`.
    pub(crate) fn look(directory: &Path) -> Self {
        Self {
            cores: cores(),
            processor: field("/proc/cpuinfo", "model name"),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: line("/proc/sys/kernel/osrelease"),
            load: line("/proc/loadavg"),
            file_system: file_system(directory).unwrap_or_else(unknown),
            sync: sync(directory).ok(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, memory, kernel, load, file_system, sync } = self;
        let sync = sync.map_or_else(unknown, |sync| format!("{sync:.0?}"));
        let build = if cfg!(debug_assertions) { "DEBUG: do not compare" } else { "release" };
        writeln!(f, "{cores} cores of {processor}, {memory}, Linux {kernel}, load {load}")?;
        let sqlite = rusqlite::version();
        writeln!(f, "files on {file_system}, fsync {sync}, SQLite {sqlite}, build {build}")
    }
}

/// The cores this process may use.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn line(file: &str) -> String {
    fs::read_to_string(file).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map_or_else(unknown, |(_, value)| value.trim().to_owned())
}

/// The device and type of the file system that holds `directory`.
fn file_system(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let (device, _, kind) =
        mounts.filter(|(_, at, _)| directory.starts_with(at)).max_by_key(|(_, at, _)| at.len())?;
    Some(format!("{kind} ({device})"))
}

/// How long it takes to have a page more of a file on the disk.
fn sync(directory: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::new();
    for _ in 0..15 {
        let start = Instant::now();
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(times)))
}
