//! The smallest hub inside an axum application: `cargo run -p tavern-examples --example minimal`.
//!
//! Then, from elsewhere: `curl -N '127.0.0.1:3000/events?topic=orders/*&start=oldest'`.

use tavern::http::{HttpConfig, routes};
use tavern::{Broker, connect};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::builder().bus(connect("sqlite:tavern.db").await?).build()?;
    let app = routes(broker.clone(), HttpConfig::default());
    broker.publish("orders/7", "paid").await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
