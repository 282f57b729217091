use std::time::Duration;

use tavern_backend::{Bus, MemoryBackend};
use tokio::task::{coop, yield_now};
use tokio::time::timeout;

use crate::{Broker, Delivery, Outcome, Subscription};

const PATIENCE: Duration = Duration::from_secs(10);
/// What tokio lets a task do before it makes it wait for the others.
const TURN: usize = 128;

async fn next(subscription: &mut Subscription) -> Delivery {
    timeout(PATIENCE, subscription.recv()).await.unwrap().unwrap()
}

/// Begins a turn and uses up so much of it.
async fn use_up(budget: usize) {
    yield_now().await;
    for _ in 0..budget {
        coop::consume_budget().await;
    }
}

#[tokio::test]
async fn nothing_is_lost_where_a_turn_ends_while_the_stream_opens() {
    let backend = MemoryBackend::new();
    let other = Broker::builder().bus(Bus::new(backend.fork())).build().unwrap();
    let broker = Broker::builder().bus(Bus::new(backend)).build().unwrap();
    let mut stored = Vec::new();
    for n in 0..200 {
        match other.publish("news", n.to_string()).await.unwrap() {
            Outcome::Stored(cursor) => stored.push(cursor),
            outcome => panic!("stored was expected, not {outcome:?}"),
        }
    }
    for used in 0..TURN {
        use_up(used).await;
        let mut fresh = broker.subscribe(["news"]).open().unwrap();
        assert!(matches!(next(&mut fresh).await, Delivery::Cursor(_)), "after {used}");

        // From history: the other topic's interest is new to the node every time.
        let topics = ["news".to_owned(), format!("other/{used}")];
        let mut back = broker.subscribe(topics).resume(stored[9]).open().unwrap();
        use_up(used).await;
        for n in 10..200 {
            match next(&mut back).await {
                Delivery::Message(message) => assert_eq!(message.data().as_str(), n.to_string()),
                delivery => panic!("{n} was expected after {used}, not {delivery:?}"),
            }
        }
        assert!(matches!(next(&mut back).await, Delivery::Reconnected(end) if end.complete));
    }
    broker.close().await;
    other.close().await;
}

#[tokio::test]
async fn who_asks_for_no_delivery_at_a_time_gets_one_and_does_not_spin() {
    let broker = Broker::builder().bus(Bus::new(MemoryBackend::new())).build().unwrap();
    let mut stream = broker.subscribe(["news"]).open().unwrap();
    assert!(matches!(next(&mut stream).await, Delivery::Cursor(_)));
    // Behind the opening, where it reads the ring.
    let mut out = Vec::new();
    for n in 0..4 {
        broker.publish("news", n.to_string()).await.unwrap();
    }
    // On a thread of its own: one that spins never gives it back.
    let (answer, answered) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let many = stream.recv_many(&mut out, 0).await;
            let shared = stream.recv_shared(0).await.len();
            answer.send((many, shared))
        })
    });
    let patience = tokio::task::spawn_blocking(move || answered.recv_timeout(PATIENCE));
    assert_eq!(patience.await.unwrap(), Ok((1, 1)));
    broker.close().await;
}
