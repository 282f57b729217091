use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Tasks;

/// A task that ends some turns after it is told to, and whether it has.
fn slow(tasks: &Tasks) -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let (token, flag) = (tasks.token().clone(), Arc::clone(&ended));
    tasks.spawn(async move {
        token.cancelled().await;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        flag.store(true, Ordering::Relaxed);
    });
    ended
}

#[tokio::test]
async fn close_waits_for_every_task() {
    let tasks = Tasks::new();
    let ended = [slow(&tasks), slow(&tasks)];
    tasks.close().await;
    assert!(ended.iter().all(|ended| ended.load(Ordering::Relaxed)));
    tasks.close().await;
}

#[tokio::test]
async fn the_last_clone_to_go_tells_them_to_end() {
    let tasks = Tasks::new();
    let token = tasks.token().clone();
    let clone = tasks.clone();
    drop(tasks);
    assert!(!token.is_cancelled());
    drop(clone);
    assert!(token.is_cancelled());
}
