//! An axum application with live updates: its own routes, and Tavern's streams beside them.
//!
//! ```text
//! cargo run -p tavern-examples --example axum_app            # http://127.0.0.1:3000
//! cargo run -p tavern-examples --example axum_app -- 3001    # the same application, once more
//! ```
//!
//! Both processes share `tavern-example.db` in the current directory: an order placed on one shows
//! up on the pages of both. Kill one, start it again: its pages go on where they were.
#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tavern::http::{HttpConfig, Hub};
use tavern::{Broker, Event, Outcome, connect};

#[derive(Deserialize)]
struct Order {
    number: u32,
    dish: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(3000), |port| port.parse::<u16>())?;
    let bus = connect("sqlite:tavern-example.db").await?;
    let broker = Broker::builder().bus(bus).build()?;

    // Of the hub only the streams: publishing is this application's own business, behind its rules.
    let hub = Hub::new(broker.clone(), HttpConfig::default());
    let app = Router::new()
        .route("/", get(Html(include_str!("assets/axum_app.html"))))
        .route("/orders", post(place))
        .with_state(broker.clone())
        .merge(hub.streaming());

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // Streams never end by themselves: closing the broker ends them, and then axum can end, too.
    let closed = async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            broker.close().await;
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(closed).await?;
    Ok(())
}

/// Takes an order and tells everybody, on every process, in the same order.
async fn place(
    State(broker): State<Broker>,
    Json(order): Json<Order>,
) -> Result<String, (StatusCode, String)> {
    let topic = format!("orders/{}", order.number);
    let outcome = broker.publish(topic, Event::new(order.dish).event("placed")).await;
    let refused = |error: tavern::Error| {
        let status = if error.is_transient() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_REQUEST
        };
        (status, error.to_string())
    };
    Ok(match outcome.map_err(refused)? {
        Outcome::Stored(cursor) => format!("stored at {cursor}"),
        // The backend is away: this process keeps the order and tries for a while.
        Outcome::Spooled(ticket) => format!("kept for {:?}", ticket.time_left()),
        other => format!("{other:?}"),
    })
}
