use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, advance, timeout};

use super::HealthCell;

fn counting(cell: &HealthCell) -> Arc<AtomicU32> {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    cell.watch().on_up(move || _ = counter.fetch_add(1, Ordering::Relaxed));
    calls
}

#[tokio::test]
async fn callbacks_run_once_and_on_the_rising_edge_only() {
    let cell = HealthCell::down("not reached yet");
    let calls = counting(&cell);
    assert!(cell.set_up() && !cell.set_up());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(cell.set_down("gone") && !cell.set_down("gone") && !cell.set_down("still"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(cell.set_up());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(cell.watch().get().connects, 2);
}

#[tokio::test]
async fn a_backend_that_is_up_from_the_start_has_not_risen() {
    let cell = HealthCell::up();
    let calls = counting(&cell);
    assert!(!cell.set_up());
    assert_eq!((calls.load(Ordering::Relaxed), cell.watch().get().connects), (0, 1));
}

#[tokio::test]
async fn a_callback_that_panics_stops_neither_the_others_nor_the_next_time() {
    let cell = HealthCell::down("x");
    let before = counting(&cell);
    cell.watch().on_up(|| panic!("a user's bug"));
    let after = counting(&cell);
    for n in 1..=2 {
        assert!(cell.set_up());
        assert_eq!((before.load(Ordering::Relaxed), after.load(Ordering::Relaxed)), (n, n));
        cell.set_down("x");
    }
    // Neither is anything poisoned for who registers now.
    assert_eq!(counting(&cell).load(Ordering::Relaxed), 0);
    assert!(cell.set_up());
}

#[tokio::test]
async fn a_callback_may_look_at_the_health_and_register_another() {
    let cell = Arc::new(HealthCell::down("x"));
    let (seen, inside) = (Arc::new(AtomicU32::new(0)), Arc::clone(&cell));
    let up = Arc::clone(&seen);
    cell.watch().on_up(move || {
        let watch = inside.watch();
        up.fetch_add(u32::from(watch.get().up), Ordering::Relaxed);
        watch.on_up(|| {});
    });
    cell.set_up();
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn since_and_reason_tell_of_the_last_change() {
    let cell = HealthCell::up();
    let started = Instant::now();
    advance(Duration::from_secs(1)).await;
    cell.set_down("cable");
    advance(Duration::from_secs(1)).await;
    cell.set_down("switch");
    let health = cell.watch().get();
    assert_eq!(health.since, started + Duration::from_secs(1), "since it is down at all");
    assert_eq!(health.reason.as_deref(), Some("switch"));
    cell.set_up();
    let health = cell.watch().get();
    assert_eq!((health.since, health.reason), (started + Duration::from_secs(2), None));
}

#[tokio::test]
async fn closed_is_for_good() {
    let cell = HealthCell::up();
    let calls = counting(&cell);
    let mut watch = cell.watch();
    cell.set_closed();
    assert!(!cell.set_up() && !cell.set_down("late"));
    let health = watch.get();
    assert!(!health.up && health.closed);
    assert_eq!(health.reason.as_deref(), Some("closed"));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert!(!watch.wait_up().await);
}

#[tokio::test]
async fn waiting_ends_with_the_change() {
    let cell = HealthCell::down("x");
    let (mut up, mut changes) = (cell.watch(), cell.watch());
    let waits = timeout(Duration::from_millis(1), up.wait_up()).await;
    assert!(waits.is_err());
    cell.set_up();
    assert!(up.wait_up().await);
    assert!(changes.changed().await.is_some_and(|health| health.up));
    cell.set_down("y");
    assert!(changes.changed().await.is_some_and(|health| !health.up));
    drop(cell);
    assert!(changes.changed().await.is_none());
    let mut late = HealthCell::down("x").watch();
    assert!(!late.wait_up().await, "it is gone and never comes up");
}
