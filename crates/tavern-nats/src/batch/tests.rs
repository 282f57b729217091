use tavern_backend::{Epoch, Error, MessageEnvelope, NodeId, Position, Topic};
use tokio::time::Instant;

use super::*;

fn key(counter: u64) -> Origin {
    Origin { node: NodeId::from_u64(1), counter }
}

fn stored(seq: u64) -> Published {
    Published::Stored(Position::new(Epoch::from_u64(1), seq))
}

/// A batch of three of which `leaving` have left.
fn batch(leaving: usize) -> (Batch, oneshot::Receiver<Result<Vec<Published>>>) {
    let (reply, answer) = oneshot::channel();
    let publications = (0..3).map(|n| {
        let envelope = MessageEnvelope::new(Topic::new("t").unwrap(), "data");
        Publication { key: key(n), envelope, accepted: Instant::now() }
    });
    let mut batch = Batch::new(publications.collect(), reply);
    for slot in 0..leaving {
        let publication = batch.publications.pop_front().unwrap();
        assert_eq!(batch.slot(), slot);
        batch.left(slot, publication.key.counter);
    }
    (batch, answer)
}

/// How it ends, and which of its messages may come again.
fn end(
    batch: (Batch, oneshot::Receiver<Result<Vec<Published>>>),
    failure: Option<&Failure>,
) -> (&'static str, Vec<u64>) {
    let mut unsettled = Unsettled::default();
    let (batch, mut answer) = batch;
    batch.note(&mut unsettled);
    batch.answer(failure);
    let word = match answer.try_recv().unwrap() {
        Ok(published) => {
            assert_eq!(published.len(), 3);
            "done"
        }
        Err(Error::OutcomeUnknown { .. }) => "unknown",
        Err(Error::Unavailable { .. }) => "unavailable",
        Err(error) => panic!("{error:?}"),
    };
    (word, (0..3).filter(|n| unsettled.get(key(*n)).is_some()).collect())
}

#[test]
fn what_never_left_was_not_stored() {
    let cut = Failure::of_link("cut").in_doubt();
    assert_eq!(end(batch(0), Some(&cut)), ("unavailable", vec![]));
}

#[test]
fn what_is_on_its_way_is_in_doubt_whatever_became_of_others() {
    let cut = Failure::of_link("cut");
    assert_eq!(end(batch(2), Some(&cut)), ("unknown", vec![0, 1]));

    let mut refused = batch(2);
    refused.0.refuse(0, Failure::nobody());
    assert_eq!(end(refused, Some(&cut)), ("unknown", vec![1]), "one was refused");

    let mut answered = batch(2);
    answered.0.refuse(0, Failure::nobody());
    answered.0.give(1, stored(1));
    assert_eq!(end(answered, Some(&Failure::nobody())), ("unknown", vec![1]), "one is stored");
}

#[test]
fn what_was_refused_was_not_stored() {
    let mut refused = batch(1);
    refused.0.refuse(0, Failure::nobody());
    assert_eq!(end(refused, Some(&Failure::nobody())), ("unavailable", vec![]));

    let mut doubtful = batch(1);
    doubtful.0.refuse(0, Failure::strange("a publish").in_doubt());
    assert_eq!(end(doubtful, Some(&Failure::nobody())), ("unknown", vec![0]));
}

#[test]
fn all_answers_are_there_before_it_is_done() {
    let (mut all, mut answer) = batch(3);
    for slot in 0..3 {
        assert!(!all.is_done());
        all.give(slot, stored(1));
    }
    assert!(all.is_done());
    all.answer(Some(&Failure::nobody()));
    assert_eq!(answer.try_recv().unwrap().unwrap().len(), 3);
}
