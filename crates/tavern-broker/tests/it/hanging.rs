//! A backend that does not answer: it holds up who asked, and nothing else; and who stops waiting
//! leaves nothing behind.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tavern_backend::{Backend, Bus, Error, Keep, MemoryEngine, Retention, Tasks};
use tavern_broker::{Broker, BrokerConfig, Delivery, Outcome};
use tokio::time::Instant;

use crate::faulty::Faulty;
use crate::kit::{
    LIMIT, broker, config, engine, message, next, open, opened, reconnected, silence, store,
};

/// Longer than anything that waits here may take.
const LONG: Duration = Duration::from_secs(60 * 60);

fn faulty(backend: Faulty, config: BrokerConfig) -> Broker {
    Broker::builder().bus(Bus::new(backend)).config(config).build().unwrap()
}

fn news() -> MemoryEngine {
    engine(Retention::default())
}

/// Waits until nothing holds what `held` points to.
#[track_caller]
fn let_go(held: &Weak<()>) -> impl Future<Output = ()> {
    let here = std::panic::Location::caller();
    async move {
        let gone = async {
            while held.upgrade().is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let gone = tokio::time::timeout(LIMIT, gone).await;
        assert!(gone.is_ok(), "somebody still holds the backend: {here}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_dropped_while_it_asks_the_log_holds_its_backend_no_longer() {
    let engine = news();
    for wait in [10, 40, 55, 60, 75, 120] {
        let here = Arc::new(());
        let held = Arc::downgrade(&here);
        let backend = Faulty::new(&engine).head(move |inner, ()| {
            let _held = &here;
            async move {
                tokio::time::sleep(Duration::from_millis(30)).await;
                inner.head().await
            }
        });
        let broker = faulty(backend, config());
        tokio::time::sleep(Duration::from_millis(wait)).await;
        drop(broker);
        let_go(&held).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_nobody_waits_for_any_more_ends() {
    let engine = news();
    let first = store(&broker(&engine), "t", "1").await;
    let (here, reading) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
    let (held, reads) = (Arc::downgrade(&here), Arc::clone(&reading));
    let backend = Faulty::new(&engine).read(move |inner, query| {
        let _held = &here;
        let first = reads.fetch_add(1, SeqCst) == 0;
        async move {
            if first {
                pending::<()>().await;
            }
            inner.read(query).await
        }
    });
    let mut config = config();
    config.repair_patience = Duration::MAX;
    let broker = faulty(backend, config);
    store(&broker, "t", "2").await;
    let mut impatient = broker.subscribe(["t"]).resume(first).open().unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(1), impatient.recv()).await;
    assert!(gone.is_err(), "{gone:?}");
    drop(impatient);

    // The next one has its page read, instead of waiting for an answer that nobody hears.
    let mut next = broker.subscribe(["t"]).resume(first).open().unwrap();
    assert_eq!(message(&mut next).await.data().as_str(), "2");
    reconnected(&mut next).await;
    drop((next, broker));
    let_go(&held).await;
}

#[tokio::test(start_paused = true)]
async fn one_question_that_is_never_answered_holds_up_nothing_for_good() {
    let engine = news();
    let first = store(&broker(&engine), "t", "1").await;
    let (heads, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let backend = Faulty::new(&engine)
        .head(move |inner, ()| {
            let hangs = heads.fetch_add(1, SeqCst) == 3;
            async move {
                if hangs {
                    pending::<()>().await;
                }
                inner.head().await
            }
        })
        .read(move |inner, query| {
            let hangs = reads.fetch_add(1, SeqCst) == 0;
            async move {
                if hangs {
                    pending::<()>().await;
                }
                inner.read(query).await
            }
        });
    let broker = faulty(backend, config());
    store(&broker, "t", "2").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut stream = broker.subscribe(["t"]).open().unwrap();
    opened(&mut stream).await;
    let mut resumed = broker.subscribe(["t"]).resume(first).open().unwrap();
    assert_eq!(message(&mut resumed).await.data().as_str(), "2");
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_backend_that_never_confirms_interest() {
    let backend = Faulty::new(&news()).subscribe(|_, _| pending());
    let broker = faulty(backend, config());
    let _stream = broker.subscribe(["t"]).open().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let closed = tokio::time::timeout(LONG, broker.close()).await;
    assert!(closed.is_ok(), "still closing");
}

#[tokio::test(start_paused = true)]
async fn a_node_goes_on_closing_when_nobody_waits_for_it_any_more() {
    let backend = Faulty::new(&news()).publish(|_, _| pending());
    let broker = faulty(backend, config());
    let (mut stream, _) = open(&broker, &["t"]).await;
    let (publisher, tasks) = (broker.clone(), Tasks::new());
    tasks.spawn(async move { drop(publisher.publish("t", "1").await) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let impatient = tokio::time::timeout(Duration::from_millis(200), broker.close()).await;
    assert!(impatient.is_err(), "there is something to wait for");
    let end = async { while stream.recv().await.is_some() {} };
    assert!(tokio::time::timeout(LONG, end).await.is_ok(), "the stream is still open");
    let again = tokio::time::timeout(LONG, broker.close()).await;
    assert!(again.is_ok(), "who asks again waits for the rest");
}

#[tokio::test(start_paused = true)]
async fn times_may_be_as_long_as_they_like() {
    let mut config = config();
    for time in [
        &mut config.linger,
        &mut config.probe_interval,
        &mut config.repair_delay,
        &mut config.repair_patience,
        &mut config.publish_patience,
        &mut config.spool_age,
        &mut config.close_drain,
        &mut config.close_spread,
        &mut config.open_patience,
    ] {
        *time = Duration::MAX;
    }
    let broker = Broker::builder().bus(Bus::new(news().node())).config(config).build().unwrap();
    let (mut stream, _) = open(&broker, &["t"]).await;
    store(&broker, "t", "x").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "x");
    broker.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_begin_yet_opens_degraded_and_carries_live_topics() {
    let live = Retention::default().with_rule("live/**".try_into().unwrap(), Keep::live());
    let engine = engine(live);
    let backend = Faulty::new(&engine).subscribe(|inner, filters| async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        inner.subscribe(&filters).await
    });
    let mut config = config();
    config.open_patience = Duration::from_secs(3);
    let broker = faulty(backend, config);
    let began = Instant::now();
    let mut stream = broker.subscribe(["live/t", "t"]).open().unwrap();
    let Delivery::Degraded(degraded) = next(&mut stream).await else { panic!("degraded") };
    assert_eq!(degraded.since.as_secs(), 3);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert!(matches!(broker.publish("live/t", "x").await, Ok(Outcome::Live)));
    assert_eq!(message(&mut stream).await.data().as_str(), "x");
    let Delivery::Recovered(recovered) = next(&mut stream).await else { panic!("recovered") };
    assert_eq!(recovered.since.as_secs(), 10);
    opened(&mut stream).await;
    store(&broker, "t", "y").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "y");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_log_that_says_nothing_opens_degraded() {
    let backend = Faulty::new(&news()).head(|_, ()| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Err(Error::unavailable("out of order"))
    });
    let broker = faulty(backend, config());
    let mut stream = broker.subscribe(["t"]).open().unwrap();
    assert!(matches!(next(&mut stream).await, Delivery::Degraded(_)));
    silence(&mut stream).await;
}
