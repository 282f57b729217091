//! Two nodes in one process: publish on one, receive on the other, cut the cable, resume anywhere.
//!
//! `cargo run -p tavern-examples --example two_nodes` ends by itself.
//!
//! The nodes share a log in memory, as two processes share a SQLite file. The cable is the part
//! that a test, or a demonstration, can cut.
#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use std::time::Duration;

use tavern::backend::MemoryBackend;
use tavern::{Broker, Bus, Cursor, Delivery, Outcome, Subscription};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let (first, second) = MemoryBackend::pair();
    let cable = second.cable();
    let a = Broker::builder().bus(Bus::new(first)).build()?;
    let b = Broker::builder().bus(Bus::new(second)).build()?;

    println!("1. A reader follows orders/* on node B; node A publishes.");
    let mut reader = b.subscribe(["orders/*"]).open()?;
    let Delivery::Cursor(begin) = next(&mut reader).await? else {
        return Err("a fresh stream begins with its position".into());
    };
    println!("   the reader begins at {begin}");
    publish(&a, "orders/7", "soup").await?;
    let soup = message(&mut reader).await?;

    println!("2. The cable of B is cut. A goes on publishing; B's reader is told, not cut off.");
    cable.cut();
    expect(&mut reader, "tavern-degraded", |d| matches!(d, Delivery::Degraded(_))).await?;
    publish(&a, "orders/7", "bread").await?;
    publish(&a, "orders/8", "wine").await?;

    println!("3. The cable is healed. B reads from the log what it was not pushed.");
    cable.heal();
    expect(&mut reader, "tavern-recovered", |d| matches!(d, Delivery::Recovered(_))).await?;
    message(&mut reader).await?;
    message(&mut reader).await?;

    println!("4. The reader leaves B, and resumes on A behind the soup.");
    drop(reader);
    let mut resumed = a.subscribe(["orders/*"]).resume(soup).open()?;
    message(&mut resumed).await?;
    message(&mut resumed).await?;
    let Delivery::Reconnected(end) = next(&mut resumed).await? else {
        return Err("a replay ends with tavern-reconnected".into());
    };
    println!("   tavern-reconnected: {} replayed, complete: {}", end.delivered, end.complete);

    a.close().await;
    b.close().await;
    println!("Nothing was lost, nothing came twice.");
    Ok(())
}

async fn publish(broker: &Broker, topic: &str, data: &str) -> Result<()> {
    match broker.publish(topic, data).await? {
        Outcome::Stored(cursor) => println!("   published {data:<5} stored at {cursor}"),
        other => return Err(format!("{data} was not stored: {other:?}").into()),
    }
    Ok(())
}

/// The next message, printed; returns the position behind it.
async fn message(stream: &mut Subscription) -> Result<Cursor> {
    match next(stream).await? {
        Delivery::Message(message) => {
            println!("   received  {:<5} on {}", message.data().as_str(), message.topic());
            message.cursor().ok_or_else(|| "a retained message has a position".into())
        }
        other => Err(format!("a message was expected, not {other:?}").into()),
    }
}

async fn expect(
    stream: &mut Subscription,
    what: &str,
    is: impl FnOnce(&Delivery) -> bool,
) -> Result<()> {
    let delivery = next(stream).await?;
    if !is(&delivery) {
        return Err(format!("{what} was expected, not {delivery:?}").into());
    }
    println!("   {what}");
    Ok(())
}

async fn next(stream: &mut Subscription) -> Result<Delivery> {
    let delivery = tokio::time::timeout(Duration::from_secs(10), stream.recv()).await?;
    delivery.ok_or_else(|| "the stream has ended".into())
}
