//! The suite as tests: one for each case.

use std::future::Future;
use std::time::Duration;

use crate::wait::within;
use crate::{Rig, Stage};

/// Makes one `#[test]` of each case, in a module for each group, on a fresh [`Rig`] each.
///
/// The argument is an expression that gives the rig; it is evaluated inside a runtime, anew for
/// every case.
///
/// ```no_run
/// # mod example {
/// use tavern_testkit::MemoryRig;
///
/// tavern_testkit::conformance!(MemoryRig::new());
/// # }
/// ```
#[macro_export]
macro_rules! conformance {
    ($rig:expr) => {
        $crate::__cases!($crate::__conformance_tests, ($rig));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($rig:expr) $($module:ident { $($case:ident,)* })*) => {$(
        mod $module {
            #[allow(unused_imports, reason = "the rig may be named by its full path")]
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::play(|| $rig, $crate::cases::$module::$case);
                }
            )*
        }
    )*};
}

/// Plays a case in a runtime of its own, and closes all nodes afterwards.
///
/// # Panics
///
/// If the case fails, or takes longer than a minute.
pub fn play<R, F>(rig: impl FnOnce() -> R, case: impl FnOnce(Stage) -> F)
where
    R: Rig,
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let stage = Stage::new(rig());
        let played = tokio::time::timeout(LONGEST, case(stage.clone())).await;
        assert!(played.is_ok(), "the case takes longer than {LONGEST:?}");
        within("all nodes close", stage.close()).await;
    });
}

const LONGEST: Duration = Duration::from_secs(60);
