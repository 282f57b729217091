//! The site that the browsers visit: a page with an `EventSource`, and a record of what it saw.

use std::net::SocketAddr;

use axum::extract::State;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tavern_backend::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::patience::within;

/// The site. Its page tells it everything that the browser's `EventSource` reports.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    record: watch::Receiver<Vec<Seen>>,
    _tasks: Tasks,
}

/// Something that the page saw.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seen {
    /// Counts up from 0 on each page.
    n: usize,
    /// When it saw it, in milliseconds on the page's clock.
    pub(crate) at: f64,
    #[serde(flatten)]
    pub(crate) what: What,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum What {
    /// The stream is open.
    Open,
    /// The stream is cut. 0: the browser comes back by itself; 2: it has given up.
    Error { state: u8 },
    /// An event.
    Event { r#type: String, id: String, data: String },
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let (sender, record) = watch::channel(Vec::new());
        let site = Router::new()
            .route("/", get(async || Html(include_str!("collector/page.html"))))
            .route("/favicon.ico", get(async || ()))
            .route("/seen", post(collect))
            .with_state(sender);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let end = tasks.token().clone();
        tasks.spawn(async move {
            let serving = axum::serve(listener, site);
            tokio::select! {
                served = serving => served.unwrap(),
                () = end.cancelled() => {}
            }
        });
        Self { address, record, _tasks: tasks }
    }

    /// The origin of its page.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The page that follows `stream`.
    pub(crate) fn page(&self, stream: &str) -> String {
        let mut url = reqwest::Url::parse(&self.origin()).unwrap();
        url.query_pairs_mut().append_pair("stream", stream);
        url.into()
    }

    /// Everything so far.
    pub(crate) fn record(&self) -> Record {
        Record(self.record.borrow().clone())
    }

    /// Waits until the record is as wanted.
    ///
    /// # Panics
    ///
    /// After a while, or when the browser has given up.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&Record) -> bool + Send + Sync,
    ) -> Record {
        let mut record = self.record.clone();
        let waiting = async {
            loop {
                let now = Record(record.borrow_and_update().clone());
                if wanted(&now) {
                    return now;
                }
                let gave_up =
                    now.0.iter().any(|seen| matches!(seen.what, What::Error { state: 2 }));
                assert!(!gave_up, "the browser gave up before {what}: {now:#?}");
                record.changed().await.expect("the site is there");
            }
        };
        within(waiting, || format!("{what}; seen so far: {:#?}", self.record())).await
    }
}

async fn collect(State(record): State<watch::Sender<Vec<Seen>>>, Json(batch): Json<Vec<Seen>>) {
    record.send_modify(|record| {
        for seen in batch {
            // A page loaded twice, or a batch lost, would make the record worthless.
            assert_eq!(seen.n, record.len(), "the record of one page, without holes");
            record.push(seen);
        }
    });
}

/// What the page saw, in order.
#[derive(Debug)]
pub(crate) struct Record(pub(crate) Vec<Seen>);

impl Record {
    /// The data of all events of this name.
    pub(crate) fn data(&self, name: &str) -> Vec<&str> {
        self.events().filter(|(event, ..)| *event == name).map(|(_, _, data)| data).collect()
    }

    /// Name, last event id and data of all events.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().filter_map(|seen| match &seen.what {
            What::Event { r#type, id, data } => Some((r#type.as_str(), id.as_str(), data.as_str())),
            What::Open | What::Error { .. } => None,
        })
    }

    /// How often the stream was opened.
    pub(crate) fn opened(&self) -> usize {
        self.0.iter().filter(|seen| matches!(seen.what, What::Open)).count()
    }

    /// How often the browser noticed that the stream was cut, or could not be opened.
    pub(crate) fn cut(&self) -> usize {
        self.0.iter().filter(|seen| matches!(seen.what, What::Error { .. })).count()
    }
}
