//! A page kept live with htmx: the server renders HTML, Tavern carries the pieces.
//!
//! `cargo run -p tavern-examples --example htmx_page`, then open the address in two windows.
//!
//! The page is rendered with all notes there are, and its stream begins right behind the last of
//! them: no note falls between the page and the stream, and none is in both.
#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use tavern::http::{HttpConfig, Hub};
use tavern::{Broker, Cursor, Event};
use tokio::sync::Mutex;

/// What the page shows, and how far in the log that is.
#[derive(Debug)]
struct Board {
    notes: Vec<String>,
    shown: Cursor,
}

#[derive(Clone)]
struct App {
    broker: Broker,
    /// Held while a note is published, so that `notes` and `shown` always agree. It is tokio's,
    /// because it is held across an `await`.
    board: Arc<Mutex<Board>>,
}

#[derive(Deserialize)]
struct Note {
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(3000), |port| port.parse::<u16>())?;
    let broker = Broker::builder().build()?;
    let shown = Cursor(broker.bus().head().await?.position);
    let board = Arc::new(Mutex::new(Board { notes: Vec::new(), shown }));
    let hub = Hub::new(broker.clone(), HttpConfig::default());
    let app = Router::new()
        .route("/", get(page))
        .route("/notes", post(add))
        .route("/htmx.js", get(async || script(include_str!("assets/htmx.min.js"))))
        .route("/sse.js", get(async || script(include_str!("assets/htmx-ext-sse.min.js"))))
        .with_state(App { broker: broker.clone(), board })
        .merge(hub.streaming());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let closed = async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            broker.close().await;
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(closed).await?;
    Ok(())
}

async fn page(State(app): State<App>) -> Html<String> {
    let board = app.board.lock().await;
    let page = include_str!("assets/htmx_page.html");
    let page = page.replace("{cursor}", &board.shown.to_string());
    Html(page.replace("{notes}", &board.notes.concat()))
}

/// Publishes a note as the piece of HTML that every page appends.
async fn add(
    State(app): State<App>,
    Form(note): Form<Note>,
) -> Result<StatusCode, (StatusCode, String)> {
    let piece = format!("<li>{}</li>", escape(&note.text));
    let mut board = app.board.lock().await;
    let outcome = app.broker.publish("notes", Event::new(piece.as_str()).event("note")).await;
    let outcome = outcome.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    if let Some(cursor) = outcome.cursor() {
        board.shown = cursor;
        board.notes.push(piece);
    }
    Ok(StatusCode::NO_CONTENT)
}

fn script(text: &'static str) -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text)
}

/// What a person typed, as text of HTML.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, c| {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            _ => safe.push(c),
        }
        safe
    })
}
