//! The suite on one engine that all cases share, as it takes seconds to start: a namespace each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use tavern_redis::RedisConfig;
use tavern_testkit::cases::{Case, all};
use tavern_testkit::{Rig, play};

/// Plays all cases: first those that leave the engine alone, some at once on the first of `engines`,
/// then, after `calm_is_over`, those that make it fail, one after the other on each engine.
///
/// # Panics
///
/// If one fails, naming all that do.
pub(crate) fn play_all<E: Sync, R: Rig>(
    engines: &[E],
    at_once: usize,
    rig: impl Fn(&E, Namespace) -> R + Sync,
    calm_is_over: impl FnOnce(),
) {
    let (alone, together): (Vec<_>, Vec<_>) = all().into_iter().partition(hurts);
    let count = alone.len() + together.len();
    let failed = Mutex::new(Vec::new());
    let play_one = |case: Case, engine: &E, may_hurt| {
        let name = case.name.replace("::", "-");
        let rig = || rig(engine, Namespace { name, may_hurt });
        let playing = || play(rig, |stage| async move { case.run(stage).await });
        if let Err(panic) = catch_unwind(AssertUnwindSafe(playing)) {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref().copied()).unwrap_or("?");
            failed.lock().unwrap().push(format!("{}: {said}", case.name));
        }
    };
    let play_each = |cases: Vec<Case>, engines: Vec<&E>, may_hurt| {
        let queue = Mutex::new(cases.into_iter());
        std::thread::scope(|scope| {
            for engine in engines {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap().next();
                        let Some(case) = next else { return };
                        play_one(case, engine, may_hurt);
                    }
                });
            }
        });
    };
    play_each(together, vec![&engines[0]; at_once], false);
    calm_is_over();
    play_each(alone, engines.iter().collect(), true);
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} cases fail:\n{}", failed.len(), failed.join("\n"));
}

/// Whether a case restarts or rewinds the engine: nothing else may use it then.
fn hurts(case: &Case) -> bool {
    let name = case.name;
    name.starts_with("fork::")
        || name.starts_with("rewind::")
        || name.ends_with("restart_of_all_processes")
}

/// Where a case plays.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    may_hurt: bool,
}

impl Namespace {
    /// One of a test of its own.
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), may_hurt: true }
    }

    /// The key that says where in a cluster the namespace lies.
    pub(crate) fn key(&self) -> String {
        format!("{{tavern:{}}}:meta", self.name)
    }

    /// Where others keep the engine busy, an answer may take a while.
    pub(crate) fn patient(&self, mut config: RedisConfig) -> RedisConfig {
        if !self.may_hurt {
            config.timeout = Duration::from_secs(10);
        }
        config
    }

    /// Before the engine is made to fail.
    ///
    /// # Panics
    ///
    /// If others use it.
    pub(crate) fn check_alone(&self) {
        assert!(self.may_hurt, "{} does not leave the engine alone: see `hurts`", self.name);
    }
}
