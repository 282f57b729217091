//! A subscriber with expectations.

use tavern_backend::{Cursor, MessageEnvelope};
use tavern_broker::{
    Broker, Delivery, Gap, GapReason, Message, Outcome, Reconnected, Settled, Snapshot, Subscribe,
    Subscription, Truncated,
};

use crate::wait::within;

/// A subscriber with expectations: it fails the case where something else comes than it waits for.
#[derive(Debug)]
pub struct Client {
    subscription: Subscription,
}

/// What a resumed client gets before it is live.
#[derive(Debug, Default)]
pub struct Replay {
    /// The gaps, with how many messages had come before each.
    pub gaps: Vec<(usize, Gap)>,
    /// The snapshots.
    pub snapshots: Vec<Snapshot>,
    /// The messages.
    pub messages: Vec<Message>,
    /// What a replay that was too long told of itself.
    pub truncated: Option<Truncated>,
}

impl Replay {
    /// The data of the messages.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message.data().as_str()).collect()
    }

    /// Why there are gaps.
    #[must_use]
    pub fn reasons(&self) -> Vec<GapReason> {
        self.gaps.iter().map(|(_, gap)| gap.reason).collect()
    }
}

impl Client {
    /// Opens what was asked for.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[must_use]
    #[track_caller]
    pub fn open(subscribe: Subscribe) -> Self {
        Self { subscription: subscribe.open().expect("a subscription") }
    }

    /// Subscribes anew.
    #[must_use]
    #[track_caller]
    pub fn fresh(broker: &Broker, filters: &[&str]) -> Self {
        Self::open(broker.subscribe(filters.iter().copied()))
    }

    /// Subscribes anew within a scope.
    #[must_use]
    #[track_caller]
    pub fn scoped(broker: &Broker, filters: &[&str], scope: &str) -> Self {
        Self::open(broker.subscribe(filters.iter().copied()).scope(scope))
    }

    /// Comes back with a cursor.
    #[must_use]
    #[track_caller]
    pub fn resume(broker: &Broker, filters: &[&str], cursor: Cursor) -> Self {
        Self::open(broker.subscribe(filters.iter().copied()).resume(cursor))
    }

    /// Comes back with whatever a client may send.
    #[must_use]
    #[track_caller]
    pub fn resume_from(broker: &Broker, filters: &[&str], last_event_id: &[u8]) -> Self {
        Self::open(broker.subscribe(filters.iter().copied()).resume(last_event_id))
    }

    /// The next delivery, whatever it is; `None` at the end of the stream.
    #[track_caller]
    pub fn next(&mut self, what: &str) -> impl Future<Output = Option<Delivery>> + use<'_> {
        within(what, self.subscription.recv())
    }

    /// The opening cursor of a fresh subscription.
    ///
    /// # Panics
    ///
    /// If something else comes first.
    #[track_caller]
    pub fn opened(&mut self) -> impl Future<Output = Cursor> {
        within("the opening cursor", async {
            match self.subscription.recv().await {
                Some(Delivery::Cursor(cursor)) => cursor,
                other => panic!("the opening cursor, not {other:?}"),
            }
        })
    }

    /// The next message. Cursors and news of the backend may come before it, a gap may not.
    ///
    /// # Panics
    ///
    /// If something else comes.
    #[track_caller]
    pub fn message(&mut self) -> impl Future<Output = Message> {
        self.message_called("a message")
    }

    /// The data of the next `n` messages.
    ///
    /// # Panics
    ///
    /// If something else comes.
    #[track_caller]
    pub fn texts(&mut self, n: usize) -> impl Future<Output = Vec<String>> {
        let at = std::panic::Location::caller();
        async move {
            let mut texts = Vec::with_capacity(n);
            while texts.len() < n {
                let what =
                    format!("message {} of {n} ({at}), after {:?}", texts.len() + 1, texts.last());
                texts.push(self.message_called(&what).await.data().as_str().to_owned());
            }
            texts
        }
    }

    #[track_caller]
    fn message_called(&mut self, what: &str) -> impl Future<Output = Message> + use<'_> {
        let what_else = what.to_owned();
        within(what, async move {
            loop {
                match self.subscription.recv().await {
                    Some(Delivery::Message(message)) => return message,
                    Some(Delivery::Cursor(_) | Delivery::Degraded(_) | Delivery::Recovered(_)) => {}
                    other => panic!("{what_else}, not {other:?}"),
                }
            }
        })
    }

    /// The next gap. Cursors and news of the backend may come before it, a message may not.
    ///
    /// # Panics
    ///
    /// If something else comes.
    #[track_caller]
    pub fn gap(&mut self) -> impl Future<Output = Gap> {
        within("a gap", async {
            loop {
                match self.subscription.recv().await {
                    Some(Delivery::Gap(gap)) => return gap,
                    Some(Delivery::Cursor(_) | Delivery::Degraded(_) | Delivery::Recovered(_)) => {}
                    other => panic!("a gap, not {other:?}"),
                }
            }
        })
    }

    /// Everything up to the end of the replay.
    ///
    /// # Panics
    ///
    /// If the stream ends before.
    #[track_caller]
    pub fn replay(&mut self) -> impl Future<Output = (Replay, Reconnected)> {
        within("the end of the replay", async {
            let mut replay = Replay::default();
            loop {
                match self.subscription.recv().await {
                    Some(Delivery::Reconnected(reconnected)) => return (replay, reconnected),
                    Some(Delivery::Message(message)) => replay.messages.push(message),
                    Some(Delivery::Gap(gap)) => replay.gaps.push((replay.messages.len(), gap)),
                    Some(Delivery::Snapshot(snapshot)) => replay.snapshots.push(snapshot),
                    Some(Delivery::Truncated(truncated)) => replay.truncated = Some(truncated),
                    Some(Delivery::Cursor(_) | Delivery::Degraded(_) | Delivery::Recovered(_)) => {}
                    other => panic!("a replay, not {other:?} after {replay:?}"),
                }
            }
        })
    }

    /// The texts of a replay that must be complete, without any gap.
    ///
    /// # Panics
    ///
    /// If there is a gap, or it does not say that it is complete.
    #[track_caller]
    pub fn complete_replay(&mut self) -> impl Future<Output = Vec<String>> {
        let at = std::panic::Location::caller();
        let replaying = self.replay();
        async move {
            let (replay, reconnected) = replaying.await;
            assert!(replay.gaps.is_empty(), "{at}: no gap, not {:?}", replay.gaps);
            assert!(reconnected.complete, "{at}: a complete replay, not {reconnected:?}");
            let delivered = usize::try_from(reconnected.delivered).unwrap_or(usize::MAX);
            assert_eq!(delivered, replay.messages.len(), "{at}: what was delivered is counted");
            replay.texts().into_iter().map(ToOwned::to_owned).collect()
        }
    }

    /// The end of the stream, through whatever comes before it.
    #[track_caller]
    pub fn end(&mut self) -> impl Future<Output = Vec<Delivery>> {
        within("the end of the stream", async {
            let mut rest = Vec::new();
            while let Some(delivery) = self.subscription.recv().await {
                rest.push(delivery);
            }
            rest
        })
    }

    /// Where a client of this stream would resume now.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.subscription.cursor()
    }

    /// The stream itself.
    #[must_use]
    pub fn into_inner(self) -> Subscription {
        self.subscription
    }
}

/// Publishes a message that must end up in the log, at once or out of the spool.
///
/// # Panics
///
/// If it does not.
#[track_caller]
pub fn publish(broker: &Broker, envelope: MessageEnvelope) -> impl Future<Output = Cursor> + use<> {
    let at = std::panic::Location::caller();
    let broker = broker.clone();
    within("a publish", async move {
        match broker.publish_envelope(envelope).await {
            Ok(Outcome::Stored(cursor) | Outcome::Duplicate(cursor)) => cursor,
            Ok(Outcome::Spooled(mut ticket)) => match ticket.wait().await {
                Settled::Stored(cursor) | Settled::Duplicate(cursor) => cursor,
                other => panic!("{at}: stored in the end, not {other:?}"),
            },
            other => panic!("{at}: stored, not {other:?}"),
        }
    })
}

/// Publishes messages in order; all must end up in the log.
///
/// # Panics
///
/// If one does not.
#[track_caller]
pub fn publish_all(
    broker: &Broker,
    envelopes: Vec<MessageEnvelope>,
) -> impl Future<Output = Vec<Cursor>> + use<> {
    let at = std::panic::Location::caller();
    let broker = broker.clone();
    within("publishes", async move {
        let mut cursors = Vec::with_capacity(envelopes.len());
        for outcome in broker.publish_all(envelopes).await {
            cursors.push(match outcome {
                Ok(Outcome::Stored(cursor) | Outcome::Duplicate(cursor)) => cursor,
                Ok(Outcome::Spooled(mut ticket)) => match ticket.wait().await {
                    Settled::Stored(cursor) | Settled::Duplicate(cursor) => cursor,
                    other => panic!("{at}: stored in the end, not {other:?}"),
                },
                other => panic!("{at}: stored, not {other:?}"),
            });
        }
        cursors
    })
}
