//! Being told what streams are told.

use tavern_backend::{Invalid, TopicFilter};

use super::Broker;
use crate::delivery::{Gap, Reconnected};
use crate::error::Result;
use crate::hooks::Call;
use crate::subscription::StreamHandle;

impl Broker {
    /// Calls `callback` whenever a stream of this node is told a gap that concerns a topic that
    /// `filter` matches: why, which topics, and from where on are in the [`Gap`]; the stream itself
    /// can be [sent to](StreamHandle::send). A gap of several topics is one call.
    ///
    /// There may be any number of callbacks, registered at any time, in any task; each is called,
    /// in the order of their registration, until the broker is closed. They run on the task that
    /// polls the stream, before the client has the event: they must be quick and must not block. A
    /// panic in one is caught and logged, and the stream goes on.
    ///
    /// A callback that holds the broker keeps it from ending by itself; [`Broker::close`] drops all
    /// callbacks.
    ///
    /// ```
    /// use tavern_broker::{Broker, Delivery, Event, GapReason};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tavern_broker::Error> {
    /// let broker = Broker::builder().build()?;
    /// broker.on_gap("orders/**", |gap, stream| {
    ///     tracing::warn!(reason = gap.reason.as_str(), ?stream, "a client missed orders");
    ///     // A client that is gone meanwhile is told again when it comes back.
    ///     let _ = stream.send(Event::new("reload the list of orders").event("notice"));
    /// })?;
    ///
    /// let mut orders = broker.subscribe(["orders/*"]).resume("an id from long ago").open()?;
    /// let Some(Delivery::Gap(gap)) = orders.recv().await else { panic!("a gap") };
    /// assert_eq!(gap.reason, GapReason::UnknownId);
    /// let Some(Delivery::Direct(notice)) = orders.recv().await else { panic!("the notice") };
    /// assert_eq!(notice.data.as_str(), "reload the list of orders");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`](crate::Error::Invalid) for a filter that is refused;
    /// [`Error::Closed`](crate::Error::Closed) once the broker is closed: nothing will be called.
    pub fn on_gap(
        &self,
        filter: impl TryInto<TopicFilter, Error: Into<Invalid>>,
        callback: impl Fn(&Gap, &StreamHandle) + Send + Sync + 'static,
    ) -> Result<()> {
        let filter = filter.try_into().map_err(Into::into)?;
        self.shared.node.hooks.add(filter, Call::Gap(Box::new(callback)))
    }

    /// Calls `callback` whenever a stream that follows a topic that `filter` matches has been
    /// resumed and its replay ends, with a gap or without: how much was
    /// [missed](Reconnected::missed) and delivered is in the [`Reconnected`]. A stream that begins
    /// anew is no resume; a stream cut off before its replay ended has not been resumed.
    ///
    /// For the rest as [`Broker::on_gap`]. It is about clients; for the backend see
    /// [`Bus::on_reconnect`](tavern_backend::Bus::on_reconnect).
    ///
    /// # Errors
    ///
    /// As [`Broker::on_gap`].
    pub fn on_reconnected(
        &self,
        filter: impl TryInto<TopicFilter, Error: Into<Invalid>>,
        callback: impl Fn(&Reconnected, &StreamHandle) + Send + Sync + 'static,
    ) -> Result<()> {
        let filter = filter.try_into().map_err(Into::into)?;
        self.shared.node.hooks.add(filter, Call::Reconnected(Box::new(callback)))
    }
}
