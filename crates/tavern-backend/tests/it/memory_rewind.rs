//! A log that loses its tail behind the backs of its nodes.

use tavern_backend::{Append, Backend, MemoryBackend, Place, Position};

use crate::fixture::{arrived, batch, filter, message, publish, read, seqs, store, with_id};

async fn filled(entries: u64) -> (MemoryBackend, MemoryBackend) {
    let (a, b) = MemoryBackend::pair();
    for n in 1..=entries {
        store(&a, message("t", &n.to_string())).await;
    }
    (a, b)
}

async fn head(node: &MemoryBackend) -> Position {
    node.head().await.unwrap().position
}

#[tokio::test]
async fn the_next_append_opens_a_new_epoch_and_a_read_never_does() {
    let (a, b) = filled(100).await;
    let old = head(&a).await;
    a.engine().rewind(95);
    read(&b, &[], 0).await;
    b.subscribe(&[filter("t")]).await.unwrap();
    b.publish(Append { known: Some(old), publications: Vec::new() }).await.unwrap();
    assert_eq!(head(&a).await, Position::new(old.epoch, 95));

    assert_eq!(store(&a, message("t", "new")).await, 96);
    let told = a.head().await.unwrap();
    assert_ne!(told.position.epoch, old.epoch);
    let fork = told.lineage.forks[0];
    assert_eq!((fork.parent, fork.at, fork.lost_through), (old.epoch, 95, 95));
    assert_eq!(told.lineage.locate(old, 96), Place::Beyond { fork: 95 });

    let page = read(&b, &[], 94).await;
    assert_eq!(seqs(&page), [95, 96]);
    assert!(page.entries.iter().all(|e| e.position.epoch == page.epoch), "all count in one epoch");
    assert_eq!(page.entries[1].envelope().data.as_str(), "new");
}

#[tokio::test]
async fn who_has_seen_more_says_so_in_the_append_that_opens_the_epoch_or_later() {
    for later in [false, true] {
        let (a, b) = filled(100).await;
        let old = head(&a).await;
        a.engine().rewind(95);
        let mut append = batch(&a, &[message("t", "")]);
        if later {
            a.publish(append).await.unwrap();
            b.publish(Append { known: Some(old), publications: Vec::new() }).await.unwrap();
        } else {
            append.known = Some(old);
            a.publish(append).await.unwrap();
        }
        let told = b.head().await.unwrap();
        assert_eq!(told.lineage.forks[0].lost_through, 100, "{later}");
        let below = Position::new(old.epoch, 94);
        assert_eq!(told.lineage.locate(below, 96), Place::At { seq: 94, lost: Some(95) });
    }
}

#[tokio::test]
async fn keys_and_ids_of_the_lost_tail_are_free_again() {
    let (a, _b) = filled(1).await;
    let kept = batch(&a, &[with_id(message("t", "k"), "kept")]);
    let lost = batch(&a, &[with_id(message("t", "l"), "lost")]);
    a.publish(kept.clone()).await.unwrap();
    a.publish(lost.clone()).await.unwrap();
    a.engine().rewind(2);
    let find = async |id: &str| a.find(&message("t", "").lane(), &id.try_into().unwrap()).await;
    assert_eq!((find("kept").await.unwrap(), find("lost").await.unwrap()), (Some(2), None));
    let again = a.publish(lost).await.unwrap();
    assert!(matches!(&again[0], tavern_backend::Published::Stored(p) if p.seq == 3), "{again:?}");
    let again = a.publish(kept).await.unwrap();
    let epoch = head(&a).await.epoch;
    assert_eq!(again, [tavern_backend::Published::Duplicate(Position::new(epoch, 2))]);
}

#[tokio::test]
async fn the_feed_goes_on_in_the_new_epoch() {
    let (a, b) = filled(3).await;
    let mut feed = b.feed().unwrap();
    b.subscribe(&[filter("t")]).await.unwrap();
    arrived(&mut feed).await;
    a.engine().rewind(1);
    publish(&a, message("t", "new")).await;
    publish(&a, message("u", "other")).await;
    let epoch = head(&a).await.epoch;
    let mut events = feed.recv().await.unwrap();
    events.extend(feed.recv().await.unwrap());
    assert!(
        matches!(&events[..], [
            tavern_backend::FeedEvent::Entry(entry),
            tavern_backend::FeedEvent::Skip { epoch: skipped, from: 3, to: 3 },
        ] if entry.position == Position::new(epoch, 2) && *skipped == epoch),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_rewind_keeps_floors_that_may_over_report_and_never_under_report() {
    let (a, _b) = filled(300).await;
    // 256 are kept: 1–44 are gone.
    a.engine().rewind(40);
    let page = read(&a, &[], 0).await;
    assert_eq!((seqs(&page), page.head), (vec![], 40));
    assert_eq!(page.floors.iter().map(|f| f.seq).collect::<Vec<_>>(), [40]);
    a.engine().rewind(0);
    let page = read(&a, &[], 0).await;
    assert_eq!((page.floors.len(), page.head), (0, 0));
    assert_eq!(store(&a, message("t", "1")).await, 1);
}
