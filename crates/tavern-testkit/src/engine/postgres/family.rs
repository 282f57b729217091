//! A process and those that come from it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::engine::deadline::Deadline;

/// A line of the system's table of processes.
#[derive(Debug, Clone, Copy)]
struct Process {
    id: i32,
    parent: i32,
    /// `T`: stopped; `Z`: dead.
    state: char,
}

/// The processes that come from the process `ancestor`, without itself: each of Postgres's is in a
/// group of its own, which no one signal reaches.
///
/// # Errors
///
/// If the system does not say.
pub(super) fn descendants(ancestor: u32) -> io::Result<Vec<i32>> {
    let table = table()?;
    let mut family: HashSet<i32> = i32::try_from(ancestor).into_iter().collect();
    loop {
        let before = family.len();
        let children = table.iter().filter(|process| family.contains(&process.parent));
        let children: Vec<i32> = children.map(|process| process.id).collect();
        family.extend(children);
        if family.len() == before {
            family.retain(|id| u32::try_from(*id) != Ok(ancestor));
            return Ok(family.into_iter().collect());
        }
    }
}

/// Sends all of them a signal. Those that have ended need none.
pub(super) fn signal(processes: &[i32], signal: Signal) {
    for process in processes.iter().filter_map(|id| Pid::from_raw(*id)) {
        let _ = kill_process(process, signal);
    }
}

/// Waits until each of them stands still or has ended.
///
/// # Errors
///
/// If that takes too long.
pub(super) async fn stand_still(processes: &[i32]) -> io::Result<()> {
    wait("all of an engine's processes to stand still", processes, &['T', 't', 'Z', 'X']).await
}

/// Waits until all of them have ended.
///
/// # Errors
///
/// If that takes too long.
pub(super) async fn ended(processes: &[i32]) -> io::Result<()> {
    wait("the end of all of an engine's processes", processes, &['Z', 'X']).await
}

async fn wait(what: &str, processes: &[i32], states: &[char]) -> io::Result<()> {
    let mut deadline = Deadline::new(what);
    loop {
        let table = table()?;
        let others = table.iter().filter(|process| processes.contains(&process.id));
        let others: Vec<&Process> =
            others.filter(|process| !states.contains(&process.state)).collect();
        if others.is_empty() {
            return Ok(());
        }
        deadline.saw(format!("{others:?}"));
        deadline.tick().await?;
    }
}

fn table() -> io::Result<Vec<Process>> {
    if !Path::new("/proc/self/stat").exists() {
        let output = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        return Ok(text.lines().filter_map(|line| process(line, [0, 1, 2])).collect());
    }
    let mut table = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            // One that has ended meanwhile is no loss.
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // Its name, in brackets, may have anything in it.
            let text = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            let line = format!("{}{text}", entry.file_name().display());
            table.extend(process(&line, [0, 2, 1]));
        }
    }
    Ok(table)
}

/// Reads a line that has the id, the parent and the state in these places.
fn process(line: &str, [id, parent, state]: [usize; 3]) -> Option<Process> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse().ok();
    let state = fields.get(state)?.chars().next()?;
    Some(Process { id: number(id)?, parent: number(parent)?, state })
}
