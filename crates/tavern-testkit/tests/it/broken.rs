//! Each case fails on a backend that is broken on purpose, and passes on the same one whole.

use std::collections::BTreeSet;
use std::time::Duration;

use tavern_testkit::cases::{self, Case};
use tavern_testkit::{Fault, MemoryRig, Stage, wait};
use tokio::task::JoinSet;

mod table;

/// How long a wait lasts here: what is broken is never going to come.
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn every_case_has_a_fault_that_it_must_notice() {
    let cases = cases::all().iter().map(|case| case.name).collect::<BTreeSet<_>>();
    let listed = table::NOTICED.iter().map(|(case, _)| *case);
    let excused = table::BEYOND_THE_BACKEND.iter().map(|(case, _)| *case);
    let listed = listed.chain(excused).collect::<BTreeSet<_>>();
    assert_eq!(cases, listed, "the table and the suite name the same cases");
}

#[test]
fn every_fault_is_noticed_by_some_case() {
    let used =
        table::NOTICED.iter().map(|(_, fault)| format!("{fault:?}")).collect::<BTreeSet<_>>();
    let all = Fault::ALL.iter().map(|fault| format!("{fault:?}")).collect::<BTreeSet<_>>();
    assert_eq!(used, all, "no fault goes unnoticed");
}

#[test]
fn every_case_fails_on_a_backend_broken_for_it() {
    // The panics of cases that must fail are no news.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let unnoticed = runtime.block_on(async {
        let (mut running, mut unnoticed) = (JoinSet::new(), Vec::new());
        let mut left = table::NOTICED.iter();
        loop {
            while running.len() < 12
                && let Some((name, fault)) = left.next()
            {
                let case = *cases::all().iter().find(|case| case.name == *name).unwrap();
                running.spawn(async move { (case, *fault, notices(case, *fault).await) });
            }
            match running.join_next().await {
                Some(Ok((_, _, true))) => {}
                Some(Ok((case, fault, false))) => unnoticed.push(format!("{case:?}: {fault:?}")),
                Some(Err(error)) => unnoticed.push(error.to_string()),
                None => return unnoticed,
            }
        }
    });
    runtime.shutdown_background();
    drop(std::panic::take_hook());
    assert!(unnoticed.is_empty(), "passed on a broken backend:\n{}", unnoticed.join("\n"));
}

/// Whether the case fails on a backend with this fault.
async fn notices(case: Case, fault: Fault) -> bool {
    let mut playing = JoinSet::new();
    playing.spawn(async move {
        let stage = Stage::new(MemoryRig::new()).broken_by(fault);
        wait::with_patience(PATIENCE, async {
            case.run(stage.clone()).await;
            stage.close().await;
        })
        .await;
    });
    let limit = tokio::time::timeout(Duration::from_secs(20), playing.join_next()).await;
    !matches!(limit, Ok(Some(Ok(()))))
}
