//! Publishing.

use std::sync::Arc;

use tavern_backend::{Invalid, MessageEnvelope, Topic};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Broker;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::frame::Frame;
use crate::outcome::Outcome;
use crate::publisher::Job;
use crate::ring::Arrival;

impl Broker {
    /// Publishes `event` to `topic`.
    ///
    /// Messages of one node are stored in the order in which they were accepted. Nothing is
    /// dropped behind an `Ok`: see [`Outcome`] for what each one promises.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::TooLarge`], [`Error::IdConflict`]: the message is refused.
    /// [`Error::SpoolFull`]: try later. [`Error::Closed`]: the broker is closing.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the message may be published even if the future is dropped.
    pub async fn publish(
        &self,
        topic: impl TryInto<Topic, Error: Into<Invalid>> + Send,
        event: impl Into<Event> + Send,
    ) -> Result<Outcome> {
        let topic = topic.try_into().map_err(Into::into)?;
        let envelope = event.into().into_envelope(topic)?;
        self.publish_envelope(envelope).await
    }

    /// Publishes an envelope. See [`Broker::publish`].
    ///
    /// # Errors
    ///
    /// As [`Broker::publish`].
    ///
    /// # Cancel safety
    ///
    /// As [`Broker::publish`].
    pub async fn publish_envelope(&self, envelope: MessageEnvelope) -> Result<Outcome> {
        self.submit(envelope).await?.await.unwrap_or(Err(Error::Closed))
    }

    /// Publishes several messages, in order, and answers for each of them. One that is refused
    /// does not keep the others back.
    ///
    /// # Cancel safety
    ///
    /// Once polled, any of the messages may be published even if the future is dropped.
    pub async fn publish_all(&self, envelopes: Vec<MessageEnvelope>) -> Vec<Result<Outcome>> {
        let mut replies = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            replies.push(self.submit(envelope).await);
        }
        let mut outcomes = Vec::with_capacity(replies.len());
        for reply in replies {
            outcomes.push(match reply {
                Ok(reply) => reply.await.unwrap_or(Err(Error::Closed)),
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    /// Puts a message into the publisher's queue.
    async fn submit(
        &self,
        envelope: MessageEnvelope,
    ) -> Result<oneshot::Receiver<Result<Outcome>>> {
        let node = &self.shared.node;
        if envelope.topic.is_reserved() {
            let reason = "topics that begin with `$` belong to Tavern itself";
            return Err(Invalid::new("topic", reason).into());
        }
        let (size, max) = (envelope.data.len(), node.bus.info().max_payload);
        if size > max {
            return Err(Error::TooLarge { size, max });
        }
        let retention = node.retention();
        let live = retention.is_some_and(|retention| retention.of(&envelope.topic).is_live());
        let accepted = Instant::now();
        let (reply, answer) = oneshot::channel();
        let job = Job { envelope, live, accepted, reply };
        let permit = self.shared.jobs.reserve().await.map_err(|_| Error::Closed)?;
        if live {
            // Local life goes on whatever becomes of the backend.
            let expires = job.envelope.ttl.map(|ttl| node.clock.now().after(ttl));
            let frame = Arc::new(Frame::live(job.envelope.clone(), expires));
            node.ring.append([Arrival::Live(frame)]);
        }
        permit.send(job);
        Ok(answer)
    }
}
