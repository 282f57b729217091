//! Processes that are killed, stopped, started at once, and that compete.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use rustix::process::Signal;
use tavern_backend::{Append, Backend, Error, Page, Published};

use crate::child::{Writer, be_a_writer, config, publication};
use crate::kit::{Dir, Node, message, origin, seqs, soon, texts, until};

#[tokio::test(flavor = "multi_thread")]
async fn writers_killed_at_any_moment_lose_nothing_that_was_acknowledged() {
    if be_a_writer().await {
        return;
    }
    let test = "processes::writers_killed_at_any_moment_lose_nothing_that_was_acknowledged";
    let dir = Dir::new();
    let node = Node::open(config(dir.db())).await;
    let mut all = Vec::new();
    for round in 0..6 {
        let mut writers =
            [0, 1].map(|n| Writer::spawn(test, &dir.db(), 100 + round * 2 + n, u64::MAX - 100));
        writers[0].wait_acked(fastrand::usize(1..200));
        for writer in &mut writers {
            writer.kill();
        }
        all.extend(writers);
        // The lock went with them.
        node.publish("mine", &format!("round {round}")).await;
    }
    let page = node.all().await;
    let places = dense(&page);
    assert!(all.iter().all(|writer| writer.id % 2 == 1 || !writer.acked.is_empty()));
    for writer in &all {
        for (counter, seq) in (1..).zip(&writer.acked) {
            let found = places.get(&format!("{}-{counter}", writer.id));
            assert_eq!(found, Some(seq), "what {} was told of {counter}", writer.id);
        }
        // The last batch may have been committed without an answer: all of it, or nothing.
        let own = texts(&page).iter().filter(|t| t.starts_with(&format!("{}-", writer.id))).count();
        let told = writer.acked.len();
        assert!(own == told || own == writer.sent, "{told} of {} were told: {own}", writer.sent);
        let publications = (1..=own as u64).map(|n| publication(origin(writer.id, n))).collect();
        let append = Append { known: None, publications };
        let answers = soon("a resend", node.backend.publish(append)).await.unwrap();
        for (counter, answer) in (1..).zip(answers) {
            let Published::Duplicate(position) = answer else { panic!("{counter}: {answer:?}") };
            assert_eq!(position.seq, places[&format!("{}-{counter}", writer.id)]);
        }
    }
    assert_eq!(node.all().await.entries, page.entries, "resends store nothing");
    assert!(node.backend.head().await.unwrap().lineage.forks.is_empty(), "nothing was lost");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_holder_of_the_lock_makes_publishes_fail_in_time() {
    if be_a_writer().await {
        return;
    }
    let test = "processes::a_stopped_holder_of_the_lock_makes_publishes_fail_in_time";
    let dir = Dir::new();
    let mut settings = config(dir.db());
    settings.lock_timeout = Duration::from_millis(700);
    let node = Node::open(settings).await;
    node.publish("t", "before").await;
    let mut writer = Writer::spawn(test, &dir.db(), 1, u64::MAX - 100);
    writer.wait_acked(10);
    stop_while_it_holds_the_lock(&writer, &dir);

    let begun = tokio::time::Instant::now();
    let answer = node.send(message("t", "meanwhile")).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(!node.backend.health().get().up);
    assert_eq!(texts(&node.all().await)[0], "before", "reading goes on");

    writer.signal(Signal::CONT);
    until("a publish is stored", async || node.send(message("t", "after")).await.ok()).await;
    let health = node.backend.health();
    until("the node is up", async || health.get().up.then_some(())).await;
    writer.kill();
    let page = node.all().await;
    let places = dense(&page);
    assert!(!places.contains_key("meanwhile"), "what was given up was not done");
    assert!(places.contains_key("after"));
    node.close().await;
}

/// Stops it at random moments until one was while it had the lock.
fn stop_while_it_holds_the_lock(writer: &Writer, dir: &Dir) {
    let lock = File::options().write(true).open(dir.path().join("log.db-lock")).unwrap();
    for _ in 0..10_000 {
        writer.signal(Signal::STOP);
        writer.wait_stopped();
        if lock.try_lock().is_err() {
            return;
        }
        lock.unlock().unwrap();
        writer.signal(Signal::CONT);
        std::thread::yield_now();
    }
    panic!("the writer never had the lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_create_the_log_at_once_share_one() {
    if be_a_writer().await {
        return;
    }
    let test = "processes::processes_that_create_the_log_at_once_share_one";
    for _ in 0..8 {
        create_at_once(test).await;
    }
}

async fn create_at_once(test: &str) {
    let dir = Dir::new();
    let gate = dir.path().join("gate");
    let held = File::create(&gate).unwrap();
    held.lock().unwrap();
    let mut writers: Vec<_> =
        (1..=6).map(|id| Writer::spawn_behind(test, &dir.db(), id, 30, Some(&gate))).collect();
    for writer in &mut writers {
        writer.wait_ready();
    }
    held.unlock().unwrap();
    for writer in &mut writers {
        writer.finish();
    }
    let node = Node::open(config(dir.db())).await;
    let page = node.all().await;
    let places = dense(&page);
    assert_eq!(places.len(), 180);
    for writer in &writers {
        assert_eq!(writer.acked.len(), 30);
        for (counter, seq) in (1..).zip(&writer.acked) {
            assert_eq!(places[&format!("{}-{counter}", writer.id)], *seq);
        }
    }
    assert!(node.backend.head().await.unwrap().lineage.forks.is_empty(), "one epoch");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_four_processes_get_their_turns() {
    if be_a_writer().await {
        return;
    }
    let test = "processes::writers_of_four_processes_get_their_turns";
    let dir = Dir::new();
    let mut writers: Vec<_> =
        (1..=4).map(|id| Writer::spawn(test, &dir.db(), id, u64::MAX - 100)).collect();
    for writer in &mut writers {
        writer.wait_acked(1);
    }
    let begun: Vec<_> = writers.iter_mut().map(Writer::drain).collect();
    let from = writers.iter().filter_map(|writer| writer.acked.last()).max().copied().unwrap();
    writers[0].wait_acked(begun[0] + 1000);
    let done: Vec<_> =
        writers.iter_mut().zip(&begun).map(|(writer, begun)| writer.drain() - begun).collect();
    let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
    assert!(least * 5 >= *most, "{done:?}");
    // Over a while even a lottery is fair. In a queue the turn passes on with nearly every commit,
    // which here has four messages in the mean; without one a writer goes on for dozens of them.
    let mut owners: Vec<(u64, u64)> = writers
        .iter()
        .flat_map(|writer| writer.acked.iter().map(|seq| (*seq, writer.id)))
        .filter(|(seq, _)| *seq > from)
        .collect();
    owners.sort_unstable();
    let turns = owners.chunk_by(|one, next| one.1 == next.1).count();
    assert!(owners.len() < turns * 15, "{} messages in {turns} turns", owners.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doorbell_of_a_killed_process_is_taken_away() {
    if be_a_writer().await {
        return;
    }
    let test = "processes::the_doorbell_of_a_killed_process_is_taken_away";
    let dir = Dir::new();
    let node = Node::open(config(dir.db())).await;
    let mut writer = Writer::spawn(test, &dir.db(), 1, u64::MAX - 100);
    writer.wait_acked(1);
    writer.kill();
    let bells = || {
        let list = std::fs::read_dir(dir.path().join("log.db-nodes")).unwrap();
        list.map(|bell| bell.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bells().len(), 2, "the killed one could not take it along");
    until("the bell is gone", async || {
        node.publish("t", "ring").await;
        (bells() == [node.backend.info().node.to_string()]).then_some(())
    })
    .await;
    node.close().await;
    assert!(bells().is_empty(), "one that closes does");
}

/// Where each text stands. Seqs are dense from 1, and no text is there twice.
fn dense(page: &Page) -> BTreeMap<String, u64> {
    let found = seqs(page);
    assert_eq!(found, (1..=page.head).collect::<Vec<_>>(), "dense");
    let places: BTreeMap<_, _> = texts(page).into_iter().map(str::to_owned).zip(found).collect();
    assert_eq!(places.len(), page.entries.len(), "each once");
    places
}
