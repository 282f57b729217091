//! What the application is told of gaps and resumes, and what it can answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tavern_backend::{Cursor, Keep, MemoryEngine, Retention};
use tavern_broker::{
    Broker, Delivery, Error, Event, Gap, GapReason, Reconnected, StreamHandle, Subscription,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kit::{
    LIMIT, broker, broker_with, config, engine, gap, message, next, open, opened, reconnected,
    silence, store,
};

/// What callbacks were told, in order.
#[derive(Debug, Clone)]
struct Told<T>(Arc<Mutex<Vec<(T, StreamHandle)>>>);

impl<T: Clone + Send + 'static> Told<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn callback(&self) -> impl Fn(&T, &StreamHandle) + Send + Sync + 'static {
        let told = Arc::clone(&self.0);
        move |what, stream| told.lock().unwrap().push((what.clone(), stream.clone()))
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    #[track_caller]
    fn only(&self) -> (T, StreamHandle) {
        let told = self.0.lock().unwrap();
        assert_eq!(told.len(), 1, "calls");
        told[0].clone()
    }
}

fn gaps(broker: &Broker, filter: &str) -> Told<Gap> {
    let told = Told::new();
    broker.on_gap(filter, told.callback()).unwrap();
    told
}

fn resumes(broker: &Broker, filter: &str) -> Told<Reconnected> {
    let told = Told::new();
    broker.on_reconnected(filter, told.callback()).unwrap();
    told
}

/// A node whose log keeps two entries a lane, of which `t` has had five; the cursor of the first.
async fn trimmed() -> (MemoryEngine, Broker, Cursor) {
    let engine = engine(Retention::default().with_default(Keep::new(2, Duration::ZERO)));
    let broker = broker(&engine);
    let first = store(&broker, "t", "1").await;
    for n in 2..=5 {
        store(&broker, "t", n.to_string()).await;
    }
    (engine, broker, first)
}

/// A node whose log has three entries of `t`; their cursors.
async fn three() -> (MemoryEngine, Broker, [Cursor; 3]) {
    let engine = engine(Retention::default());
    let broker = broker(&engine);
    let first = store(&broker, "t", "1").await;
    let second = store(&broker, "t", "2").await;
    let third = store(&broker, "t", "3").await;
    (engine, broker, [first, second, third])
}

fn back(broker: &Broker, topic: &str, last: Cursor) -> Subscription {
    broker.subscribe([topic]).resume(last).open().unwrap()
}

/// Reads a resumed stream to the end of its replay.
async fn replayed(stream: &mut Subscription) -> Reconnected {
    loop {
        if let Delivery::Reconnected(end) = next(stream).await {
            return end;
        }
    }
}

/// A resumed stream of `t` whose replay has ended, and the handle that a callback was given.
async fn handed(broker: &Broker, last: Cursor) -> (Subscription, StreamHandle) {
    let told = resumes(broker, "t");
    let mut stream = back(broker, "t", last);
    replayed(&mut stream).await;
    (stream, told.only().1)
}

async fn direct(stream: &mut Subscription) -> String {
    match next(stream).await {
        Delivery::Direct(direct) => direct.data.as_str().to_owned(),
        other => panic!("what was sent to this stream was expected, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_application_is_told_of_a_gap_with_its_topics_id_and_reason() {
    let (_engine, broker, first) = trimmed().await;
    let told = gaps(&broker, "t");
    let mut stream = back(&broker, "t", first);
    let client = gap(&mut stream).await;
    let (gap, handle) = told.only();
    assert_eq!(gap, client);
    assert_eq!((gap.reason, gap.topics), (GapReason::Trimmed, vec!["t".to_owned()]));
    assert_eq!(gap.last_event_id, first.to_string());
    assert_eq!(handle.filters().len(), 1);
    assert_eq!((handle.filters()[0].as_str(), handle.scope()), ("t", None));
}

#[tokio::test(start_paused = true)]
async fn each_of_several_callbacks_is_told_of_a_gap_in_the_order_of_registration() {
    let (_engine, broker, first) = trimmed().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    for (n, filter) in ["t", "**", "*"].into_iter().enumerate() {
        let order = Arc::clone(&order);
        broker.on_gap(filter, move |_, _| order.lock().unwrap().push(n)).unwrap();
    }
    replayed(&mut back(&broker, "t", first)).await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_gap_where_there_is_none() {
    let (_engine, broker, first) = trimmed().await;
    let (missed, elsewhere) = (gaps(&broker, "t"), gaps(&broker, "u/**"));
    opened(&mut broker.subscribe(["t"]).open().unwrap()).await;
    let mut empty = broker.subscribe(["t"]).resume("").open().unwrap();
    let (_, here) = (opened(&mut empty).await, empty.cursor().unwrap());
    replayed(&mut back(&broker, "t", here)).await;
    assert_eq!(missed.len(), 0);
    replayed(&mut back(&broker, "t", first)).await;
    assert_eq!((missed.len(), elsewhere.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_a_pattern_concerns_every_topic_it_may_match() {
    let (_engine, broker, _) = three().await;
    let (there, elsewhere) = (gaps(&broker, "orders/7"), gaps(&broker, "news"));
    let mut stream = broker.subscribe(["orders/*"]).resume("unknown").open().unwrap();
    assert_eq!(gap(&mut stream).await.topics, ["orders/*"]);
    assert_eq!((there.len(), elsewhere.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_application_is_told_of_a_gap_that_a_connected_client_meets() {
    let (engine, broker, _) = three().await;
    let told = gaps(&broker, "t");
    let (mut stream, _) = open(&broker, &["t"]).await;
    // The log loses its tail; the next publish opens another epoch.
    engine.rewind(2);
    store(&broker, "t", "anew").await;
    assert_eq!(gap(&mut stream).await.reason, GapReason::Epoch);
    assert_eq!(told.only().0.reason, GapReason::Epoch);
}

#[tokio::test(start_paused = true)]
async fn the_application_is_told_of_a_resume_with_its_figures() {
    let (_engine, broker, [first, ..]) = three().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    store(&broker, "t", "4").await;
    let told = resumes(&broker, "t");
    let end = replayed(&mut back(&broker, "t", first)).await;
    let (reconnected, handle) = told.only();
    assert_eq!(reconnected, end);
    assert_eq!((reconnected.missed(), reconnected.delivered, reconnected.dropped), (3, 3, 0));
    // The first that it missed is five seconds old, the last is new.
    let behind = reconnected.behind.unwrap();
    assert!((5..6).contains(&behind.as_secs()), "{behind:?}");
    assert_eq!(handle.filters()[0].as_str(), "t");
}

#[tokio::test(start_paused = true)]
async fn what_a_maximum_leaves_out_counts_as_missed() {
    let (engine, writer, [first, ..]) = three().await;
    for n in 4..=20 {
        store(&writer, "t", n.to_string()).await;
    }
    let mut config = config();
    config.max_replay = Some(3);
    let broker = broker_with(&engine, config);
    let told = resumes(&broker, "t");
    replayed(&mut back(&broker, "t", first)).await;
    let (reconnected, _) = told.only();
    assert_eq!((reconnected.missed(), reconnected.delivered, reconnected.dropped), (19, 3, 16));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_anew_is_no_resume() {
    let (_engine, broker, _) = three().await;
    let told = resumes(&broker, "**");
    for start in [broker.subscribe(["t"]), broker.subscribe(["t"]).resume("")] {
        let mut stream = start.open().unwrap();
        opened(&mut stream).await;
        silence(&mut stream).await;
    }
    let mut oldest = broker.subscribe(["t"]).from_oldest().open().unwrap();
    for _ in 0..3 {
        message(&mut oldest).await;
    }
    opened(&mut oldest).await;
    assert_eq!(told.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_resume_with_a_gap_is_told_as_both_and_has_missed_what_is_still_there() {
    let (_engine, broker, first) = trimmed().await;
    let (missed, resumed) = (gaps(&broker, "t"), resumes(&broker, "t"));
    replayed(&mut back(&broker, "t", first)).await;
    assert_eq!((missed.len(), resumed.only().0.missed()), (1, 2));

    let resumed = resumes(&broker, "t");
    replayed(&mut broker.subscribe(["t"]).resume("unknown").open().unwrap()).await;
    let (unknown, _) = resumed.only();
    assert_eq!((missed.len(), unknown.missed(), unknown.behind), (2, 0, None));
    assert!(!unknown.complete);
}

#[tokio::test(start_paused = true)]
async fn a_resume_at_the_end_of_the_log_has_missed_nothing() {
    let (_engine, broker, [.., last]) = three().await;
    let told = resumes(&broker, "t");
    replayed(&mut back(&broker, "t", last)).await;
    let (reconnected, _) = told.only();
    assert_eq!((reconnected.missed(), reconnected.behind), (0, None));
    assert!(reconnected.complete);
}

#[tokio::test(start_paused = true)]
async fn each_of_several_callbacks_is_told_of_a_resume_and_none_of_another_topic() {
    let (_engine, broker, [first, ..]) = three().await;
    let told = [(); 3].map(|()| resumes(&broker, "t"));
    let elsewhere = resumes(&broker, "u");
    replayed(&mut back(&broker, "t", first)).await;
    assert_eq!(told.map(|told| told.len()), [1, 1, 1]);
    assert_eq!(elsewhere.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_callback_sends_arrives_on_that_stream_alone_and_in_its_place() {
    let (_engine, broker, first) = trimmed().await;
    let (mut other, _) = open(&broker, &["t"]).await;
    broker.on_gap("t", |_, stream| stream.send(Event::new("gap").event("note")).unwrap()).unwrap();
    broker.on_reconnected("t", |_, stream| stream.send("welcome back").unwrap()).unwrap();
    let mut stream = back(&broker, "t", first);
    gap(&mut stream).await;
    let delivery = next(&mut stream).await;
    assert_eq!(&delivery.encode()[..], b"event: note\ndata: gap\n\n");
    assert_eq!(delivery.cursor(), None);
    for n in 4..=5 {
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
    }
    reconnected(&mut stream).await;
    assert_eq!(direct(&mut stream).await, "welcome back");
    silence(&mut stream).await;
    silence(&mut other).await;
}

#[tokio::test(start_paused = true)]
async fn a_handle_kept_for_later_reaches_a_stream_that_waits_until_it_is_gone() {
    let (_engine, broker, [first, ..]) = three().await;
    let (mut stream, handle) = handed(&broker, first).await;
    assert!(handle.is_open());
    let mut reading = JoinSet::new();
    reading.spawn(async move { (direct(&mut stream).await, stream) });
    // Time passes only while all wait: it does by now.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let before = Instant::now();
    handle.send("later").unwrap();
    let (said, mut stream) = reading.join_next().await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "nobody woke it");
    assert_eq!(said, "later");

    // Before a message that is shared with another subscriber, too.
    let (_other, _) = open(&broker, &["t"]).await;
    handle.send("before").unwrap();
    store(&broker, "t", "4").await;
    let mut batch = Vec::new();
    while batch.len() < 2 {
        let shared = tokio::time::timeout(LIMIT, stream.recv_shared(10)).await.unwrap();
        assert!(!shared.is_empty());
        batch.extend(shared.iter().cloned());
    }
    assert!(matches!(&batch[..], [Delivery::Direct(_), Delivery::Message(_)]), "{batch:?}");

    drop(stream);
    assert!(!handle.is_open());
    assert!(matches!(handle.send("nobody is there"), Err(Error::StreamEnded)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_sent_a_bounded_number() {
    let (engine, _, [first, ..]) = three().await;
    let mut config = config();
    config.direct_events = 2;
    let broker = broker_with(&engine, config);
    let (mut stream, handle) = handed(&broker, first).await;
    handle.send("1").unwrap();
    handle.send("2").unwrap();
    let over = handle.send("3");
    assert!(matches!(&over, Err(e @ Error::StreamBusy) if e.is_transient()), "{over:?}");
    assert_eq!(direct(&mut stream).await, "1");
    assert_eq!(direct(&mut stream).await, "2");
    handle.send("4").unwrap();
    assert_eq!(direct(&mut stream).await, "4");
}

#[tokio::test(start_paused = true)]
async fn what_means_nothing_to_one_stream_is_refused() {
    let (_engine, broker, [first, ..]) = three().await;
    let (mut stream, handle) = handed(&broker, first).await;
    let event = || Event::new("x");
    let ttl = event().ttl(Duration::from_secs(1));
    for event in [event().id("7"), event().scope("s"), ttl, event().event("tavern-cursor")] {
        let refused = handle.send(event.clone());
        assert!(matches!(refused, Err(Error::Invalid(_))), "{event:?}: {refused:?}");
    }
    let max = broker.bus().info().max_payload;
    let over = handle.send("x".repeat(max + 1));
    assert!(matches!(over, Err(Error::TooLarge { size, .. }) if size == max + 1), "{over:?}");
    silence(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_broker_closes_arrives_and_nothing_after_it() {
    let (_engine, broker, [first, ..]) = three().await;
    let (mut stream, handle) = handed(&broker, first).await;
    handle.send("last").unwrap();
    broker.close().await;
    assert_eq!(direct(&mut stream).await, "last");
    assert!(matches!(next(&mut stream).await, Delivery::Closing(_)));
    assert!(matches!(handle.send("after the end"), Err(Error::StreamEnded)));
    assert!(stream.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_closed_broker_takes_no_callback_and_lets_go_of_those_it_had() {
    let (_engine, broker, _) = three().await;
    let holder = Arc::new(());
    let held = (Arc::clone(&holder), broker.clone());
    broker.on_gap("t", move |_, _| assert_eq!(Arc::strong_count(&held.0), 0)).unwrap();
    broker.close().await;
    assert_eq!(Arc::strong_count(&holder), 1, "a callback is still held");
    assert!(matches!(broker.on_gap("t", |_, _| {}), Err(Error::Closed)));
    assert!(matches!(broker.on_reconnected("t", |_, _| {}), Err(Error::Closed)));
    assert!(matches!(broker.on_gap("a//b", |_, _| {}), Err(Error::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_ends_neither_the_stream_nor_the_callbacks_behind_it() {
    let (_engine, broker, first) = trimmed().await;
    broker.on_gap("t", |_, _| panic!("the application's mistake")).unwrap();
    let told = gaps(&broker, "t");
    let mut stream = back(&broker, "t", first);
    assert!(!replayed(&mut stream).await.complete);
    assert_eq!(told.len(), 1);
    store(&broker, "t", "6").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "6");
}

#[tokio::test(start_paused = true)]
async fn a_callback_may_use_the_broker() {
    let (_engine, broker, first) = trimmed().await;
    let (inner, late) = (broker.clone(), Told::new());
    let registered = late.clone();
    let callback = move |_: &Gap, _: &StreamHandle| {
        inner.on_reconnected("t", registered.callback()).unwrap();
        assert_eq!(inner.status().subscribers, 1);
        drop(inner.subscribe(["t"]).open().unwrap());
    };
    broker.on_gap("t", callback).unwrap();
    replayed(&mut back(&broker, "t", first)).await;
    assert_eq!(late.len(), 1);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_are_registered_while_streams_resume() {
    let (_engine, broker, [first, ..]) = three().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let mut all = JoinSet::new();
    for _ in 0..10 {
        let (registering, calls) = (broker.clone(), Arc::clone(&calls));
        all.spawn(async move {
            let count = move |_: &Reconnected, _: &StreamHandle| {
                calls.fetch_add(1, Ordering::Relaxed);
            };
            registering.on_reconnected("t", count).unwrap();
        });
        let resuming = broker.clone();
        all.spawn(async move {
            assert_eq!(replayed(&mut back(&resuming, "t", first)).await.missed(), 2);
        });
    }
    all.join_all().await;
    // None was lost: the next resume is told to all ten.
    calls.store(0, Ordering::Relaxed);
    replayed(&mut back(&broker, "t", first)).await;
    assert_eq!(calls.load(Ordering::Relaxed), 10);
}
