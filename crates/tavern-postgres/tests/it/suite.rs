//! The suite on one server that all cases share, as it takes a second to start: a namespace each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use tavern_testkit::cases::{Case, all};
use tavern_testkit::{Rig, play};

/// Plays every `of`-th case from `part` on: first those that leave the server alone, some at once,
/// then those that make it fail, one after the other.
///
/// # Panics
///
/// If one fails, naming all that do.
pub(crate) fn play_part<R: Rig>(
    (part, of): (usize, usize),
    at_once: usize,
    rig: impl Fn(String) -> R + Sync,
) {
    let cases = all().into_iter().skip(part).step_by(of);
    let (alone, together): (Vec<_>, Vec<_>) = cases.partition(hurts);
    let count = alone.len() + together.len();
    assert!(count > 20, "there are cases");
    let failed = Mutex::new(Vec::new());
    let play_each = |cases: Vec<Case>, at_once: usize| {
        let queue = Mutex::new(cases.into_iter());
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap().next();
                        let Some(case) = next else { return };
                        let name = case.name;
                        let playing = || {
                            play(
                                || rig(name.to_owned()),
                                |stage| async move { case.run(stage).await },
                            )
                        };
                        if let Err(panic) = catch_unwind(AssertUnwindSafe(playing)) {
                            let said = panic.downcast_ref::<String>().map(String::as_str);
                            let said =
                                said.or_else(|| panic.downcast_ref().copied()).unwrap_or("?");
                            failed.lock().unwrap().push(format!("{name}: {said}"));
                        }
                    }
                });
            }
        });
    };
    play_each(together, at_once);
    play_each(alone, 1);
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} cases fail:\n{}", failed.len(), failed.join("\n"));
}

/// Whether a case restarts or rewinds the server: nothing else may use it then.
fn hurts(case: &Case) -> bool {
    let name = case.name;
    name.starts_with("fork::")
        || name.starts_with("rewind::")
        || name.ends_with("restart_of_all_processes")
}
