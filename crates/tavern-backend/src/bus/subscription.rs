//! One topic, as other nodes publish it: the contract's `Subscribe` and `Unsubscribe`.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::dispatch::Dispatch;
use super::queue::Queue;
use super::{Bus, Shared};
use crate::{Error, Invalid, MessageEnvelope, Result, Topic, TopicFilter};

/// What other nodes published on one topic since the subscription, in the log's order.
///
/// Between two messages nothing was lost, or there is a [`Received::Gap`]. Up to 1,024 messages
/// wait for a slow reader. It ends, after what is waiting, when the topic is unsubscribed, the bus
/// is closed or its last handle is dropped. Dropping it ends the interest.
#[derive(Debug)]
pub struct Subscription {
    topic: Topic,
    queue: Arc<Queue>,
    dispatch: Arc<Dispatch>,
}

/// What a [`Subscription`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A message of another node.
    Message(MessageEnvelope),
    /// Here messages may be missing. A broker would read them from history.
    Gap(Missed),
}

/// Why messages may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// The reader was too slow: so many messages were dropped.
    Overflow {
        /// How many.
        messages: u64,
    },
    /// The log goes on behind entries that were not pushed.
    Hole,
    /// The link was lost and is back.
    LinkLost,
    /// There is a message that this version cannot read.
    Undecodable,
    /// Several of these.
    Unknown,
}

impl Subscription {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The next message or gap; `None` once the subscription has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Received> {
        std::future::poll_fn(|context| self.queue.poll(context)).await
    }
}

impl Stream for Subscription {
    type Item = Received;
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received>> {
        self.queue.poll(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.dispatch.leave(&self.topic, &self.queue);
    }
}

impl Bus {
    /// Subscribes to what *other* nodes publish on one topic, and resolves once that is confirmed:
    /// what they publish from then on arrives. Every subscription gets everything, also a second
    /// one for the same topic; the interest ends with the last.
    ///
    /// The first call takes the node's [feed](Bus::feed), which then belongs to this handle and its
    /// clones. A node with a broker subscribes at the broker.
    ///
    /// # Errors
    ///
    /// [`Error::FeedTaken`] if a broker has the feed; else as
    /// [`Backend::subscribe`](crate::Backend::subscribe).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is left of a subscription whose future is dropped.
    ///
    /// ```
    /// use tavern_backend::{Bus, MemoryBackend, MessageEnvelope, Received, Topic};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tavern_backend::Result<()> {
    /// let (a, b) = MemoryBackend::pair();
    /// let (a, b) = (Bus::new(a), Bus::new(b));
    /// let mut orders = b.subscribe("orders").await?;
    ///
    /// let paid = MessageEnvelope::new(Topic::new("orders")?, "paid");
    /// a.publish(paid.clone()).await?;
    ///
    /// assert_eq!(orders.recv().await, Some(Received::Message(paid)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn subscribe<T>(&self, topic: T) -> Result<Subscription>
    where
        T: TryInto<Topic>,
        T::Error: Into<Invalid>,
    {
        let topic = topic.try_into().map_err(Into::into)?;
        self.start()?;
        let dispatch = Arc::clone(&self.shared.dispatch);
        let queue = Arc::new(Queue::default());
        // Before the interest is confirmed: nothing that is pushed after it finds nobody.
        dispatch.join(&topic, &queue)?;
        let subscription = Subscription { topic, queue, dispatch };
        let filter = TopicFilter::from(&subscription.topic);
        let head = {
            let _ordered = self.shared.interest.lock().await;
            self.shared.backend.subscribe(&[filter]).await?
        };
        subscription.dispatch.confirm(head, &subscription.queue);
        Ok(subscription)
    }

    /// Ends all subscriptions of this handle and its clones to one topic.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]. While the backend is unavailable the subscriptions end all the same, and
    /// the interest is taken out when it is back.
    ///
    /// # Cancel safety
    ///
    /// The subscriptions end whether or not the future is dropped; the interest follows.
    pub async fn unsubscribe(&self, topic: &Topic) -> Result<()> {
        if self.shared.dispatch.is_closed() {
            return Err(Error::Closed);
        }
        self.shared.dispatch.end(topic);
        match self.shared.withdraw().await {
            Err(Error::Closed) => Err(Error::Closed),
            // The topics stay noted, and the task that withdraws tries again.
            _ => Ok(()),
        }
    }

    /// Starts the tasks of [`Dispatch`], once.
    fn start(&self) -> Result<()> {
        let Shared { dispatch, tasks, .. } = &*self.shared;
        dispatch.start(|| {
            let feed = self.feed()?;
            let token = tasks.token().clone();
            tasks.spawn(Arc::clone(dispatch).run(feed, self.node(), token.clone()));
            let shared = Arc::downgrade(&self.shared);
            tasks.spawn(Arc::clone(dispatch).withdraw(shared, token));
            Ok(())
        })
    }
}

impl Shared {
    /// Takes out the interest in topics that nobody is subscribed to any more.
    pub(super) async fn withdraw(&self) -> Result<()> {
        let _ordered = self.interest.lock().await;
        // Only now, under the lock: who subscribed since has joined, or waits for the lock.
        let mut unused = Unused { topics: self.dispatch.take_unused(), dispatch: &self.dispatch };
        if unused.topics.is_empty() {
            return Ok(());
        }
        let filters: Vec<_> = unused.topics.iter().map(TopicFilter::from).collect();
        self.backend.unsubscribe(&filters).await?;
        unused.topics.clear();
        Ok(())
    }
}

/// Topics to withdraw, noted again if that fails or its future is dropped half-way.
struct Unused<'a> {
    topics: HashSet<Topic>,
    dispatch: &'a Dispatch,
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if !self.topics.is_empty() {
            self.dispatch.note(std::mem::take(&mut self.topics));
        }
    }
}
