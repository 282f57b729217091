//! What becomes of a publication.

use std::time::Duration;

use tavern_backend::{
    Append, Backend, Error, Keep, MemoryBackend, MemoryConfig, Origin, Published, Rejection,
    Retention,
};
use tokio::time::advance;

use crate::fixture::{batch, message, publish, read, scoped, seqs, store, stored, with_id};

fn keeping_one(config: MemoryConfig) -> MemoryBackend {
    let keep = Keep::new(1, Duration::ZERO);
    MemoryBackend::with_config(config.with_retention(Retention::default().with_default(keep)))
}

#[track_caller]
fn duplicate(published: &Published, seq: u64) {
    assert!(
        matches!(published, Published::Duplicate(position) if position.seq == seq),
        "{published:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_a_duplicate_for_five_minutes_also_when_its_entry_is_gone() {
    let a = keeping_one(MemoryConfig::default().with_dedup_window(Duration::ZERO));
    let first = batch(&a, &[message("t", "1")]);
    assert_eq!(stored(&a.publish(first.clone()).await.unwrap()[0]), 1);
    for n in 2..=3 {
        assert_eq!(store(&a, message("t", "")).await, n);
    }
    advance(Duration::from_secs(299)).await;
    duplicate(&a.fork().publish(first.clone()).await.unwrap()[0], 1);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(stored(&a.publish(first).await.unwrap()[0]), 4);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_sending_the_same_keys_again() {
    let a = MemoryBackend::new();
    a.cable().lose_answers(1);
    let append = batch(&a, &[message("t", "1"), message("u", "2")]);
    let error = a.publish(append.clone()).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    let settled = a.publish(append).await.unwrap();
    duplicate(&settled[0], 1);
    duplicate(&settled[1], 2);
    assert_eq!(seqs(&read(&a, &[], 0).await), [1, 2]);
}

#[tokio::test]
async fn a_key_twice_in_a_batch_is_stored_once() {
    let a = MemoryBackend::new();
    let mut append = batch(&a, &[message("t", "1"), message("u", "2")]);
    append.publications.push(append.publications[0].clone());
    let published = a.publish(append).await.unwrap();
    assert_eq!((stored(&published[0]), stored(&published[1])), (1, 2));
    duplicate(&published[2], 1);
}

#[tokio::test]
async fn an_id_is_unique_in_its_lane_and_free_in_another() {
    let a = keeping_one(MemoryConfig::default());
    assert_eq!(store(&a, with_id(message("t", "x"), "1")).await, 1);
    duplicate(&publish(&a, with_id(message("t", "x"), "1")).await, 1);
    assert_eq!(store(&a, with_id(message("u", "x"), "1")).await, 2);
    assert_eq!(store(&a, with_id(scoped("t", "s", "x"), "1")).await, 3);
    // The entry is trimmed; its id stays taken, and the log still tells the messages apart.
    assert_eq!(store(&a, message("t", "y")).await, 4);
    duplicate(&publish(&a, with_id(message("t", "x"), "1")).await, 1);
    for other in [message("t", "z"), {
        let mut named = message("t", "x");
        named.event = Some("named".try_into().unwrap());
        named
    }] {
        match publish(&a, with_id(other, "1")).await {
            Published::Rejected(Rejection::IdConflict { id, position }) => {
                assert_eq!((id.as_str(), position.seq), ("1", 1));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(a.head().await.unwrap().position.seq, 4);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_free_again_when_its_entry_is_gone_and_the_window_has_passed() {
    let window = Duration::from_secs(60);
    let a = keeping_one(MemoryConfig::default().with_id_window(window));
    let id = "1".try_into().unwrap();
    let lane = message("t", "").lane();
    store(&a, with_id(message("t", "x"), "1")).await;
    advance(10 * window).await;
    duplicate(&publish(&a, with_id(message("t", "x"), "1")).await, 1);
    assert_eq!(a.find(&lane, &id).await.unwrap(), Some(1), "as long as the entry is kept");
    store(&a, message("t", "y")).await;
    assert_eq!(a.find(&lane, &id).await.unwrap(), None);
    assert_eq!(store(&a, with_id(message("t", "z"), "1")).await, 3);
    assert_eq!(a.find(&lane, &id).await.unwrap(), Some(3));
    assert_eq!(a.find(&scoped("t", "s", "").lane(), &id).await.unwrap(), None);
    assert_eq!(a.find(&lane, &"2".try_into().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn one_message_that_is_refused_does_not_stop_the_batch() {
    let a = MemoryBackend::with_config(MemoryConfig::default().with_max_payload(3));
    let published =
        a.publish(batch(&a, &[message("t", "abc"), message("t", "abcd"), message("t", "")])).await;
    let published = published.unwrap();
    assert_eq!((stored(&published[0]), stored(&published[2])), (1, 2));
    assert_eq!(published[1], Published::Rejected(Rejection::TooLarge { size: 4, max: 3 }));
}

#[tokio::test]
async fn an_append_of_nothing_takes_no_seq() {
    let a = MemoryBackend::new();
    let known = a.head().await.unwrap().position;
    let nothing = Append { known: Some(known), publications: Vec::new() };
    assert_eq!(a.publish(nothing).await.unwrap(), []);
    assert_eq!(a.head().await.unwrap().position, known);
}

#[tokio::test]
async fn the_key_stays_with_the_entry() {
    let a = MemoryBackend::new();
    let mut append = batch(&a, &[message("t", "")]);
    let key = Origin { node: a.info().node, counter: 77 };
    append.publications[0].key = key;
    a.publish(append).await.unwrap();
    assert_eq!(read(&a, &[], 0).await.entries[0].record.origin, key);
}
