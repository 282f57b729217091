//! Closing, and dropping, in the middle of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tavern_broker::{Delivery, Error, Outcome, Settled};
use tokio::task::JoinSet;

use super::order::two;
use crate::Stage;
use crate::client::{Client, publish};
use crate::say::message;
use crate::wait::{eventually, within};

/// Close ends streams with a hint to come back, and answers everything with `Closed`; again is fine.
pub async fn close_ends_streams(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut clients = [&["t"][..], &["w/**"], &["t", "w/1"]].map(|w| Client::fresh(&brokers[0], w));
    for client in &mut clients {
        client.opened().await;
    }
    publish(&brokers[0], message("t", "last")).await;
    for n in [0, 2] {
        assert_eq!(clients[n].texts(1).await, ["last"]);
    }
    within("close", brokers[0].close()).await;
    for client in &mut clients {
        let rest = client.end().await;
        let texts = rest.iter().filter(|d| matches!(d, Delivery::Message(_))).count();
        assert_eq!(texts, 0, "nothing comes twice: {rest:?}");
        let Some(Delivery::Closing(after)) = rest.last() else {
            panic!("a hint to come back ends the stream, not {rest:?}");
        };
        assert!(*after <= std::time::Duration::from_secs(3));
        let hint = String::from_utf8_lossy(&rest.last().expect("the hint").encode()).into_owned();
        assert_eq!(hint, format!("retry: {}\n\n", after.as_millis()));
    }
    let refused = brokers[0].publish_envelope(message("t", "x")).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    assert!(matches!(brokers[0].subscribe(["t"]).open(), Err(Error::Closed)));
    assert!(!brokers[0].readiness().ready);
    within("close again", brokers[0].close()).await;
    assert!(!brokers[0].bus().healthy(), "the backend is closed with it");
    publish(&brokers[1], message("t", "others live on")).await;
}

/// Publishes, fresh streams, resumes and drops under way while the broker closes: every call ends,
/// every stream ends, and what was answered `Stored` is stored.
pub async fn close_during_everything(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let start = publish(&brokers[0], message("t", "start")).await;
    let stored = Arc::new(AtomicU32::new(0));
    let mut guests = JoinSet::new();
    for guest in 0..12 {
        let (broker, stored) = (brokers[0].clone(), Arc::clone(&stored));
        guests.spawn(async move {
            let mut kept = Vec::new();
            for n in 0.. {
                match guest % 4 {
                    0 | 1 => {
                        let text = format!("{guest}:{n}");
                        match broker.publish_envelope(message("t", text.clone())).await {
                            Ok(Outcome::Stored(_)) => kept.push(text),
                            Ok(Outcome::Spooled(mut ticket)) => {
                                // The broker that closes settles or discards it.
                                if let Settled::Stored(_) = ticket.wait().await {
                                    kept.push(text);
                                }
                            }
                            Ok(other) => panic!("stored, not {other:?}"),
                            Err(Error::Closed) => break,
                            Err(Error::Backend(error)) if error.is_transient() => break,
                            Err(other) => panic!("closed, not {other:?}"),
                        }
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                    2 => match broker.subscribe(["t", "u/*"]).resume(start).open() {
                        Ok(stream) => {
                            let mut stream = stream;
                            for _ in 0..n % 50 {
                                if stream.recv().await.is_none() {
                                    break;
                                }
                            }
                        }
                        Err(Error::Closed) => break,
                        Err(other) => panic!("closed, not {other:?}"),
                    },
                    _ => match broker.subscribe(["t"]).open() {
                        Ok(mut stream) => while stream.recv().await.is_some() {},
                        Err(Error::Closed) => break,
                        Err(other) => panic!("closed, not {other:?}"),
                    },
                }
            }
            kept
        });
    }
    eventually("all are busy", || stored.load(Ordering::Relaxed) >= 50).await;
    within("close", brokers[0].close()).await;
    let kept = within("every call and stream ends", guests.join_all()).await;
    let log = nodes[1].texts().await;
    for text in kept.into_iter().flatten() {
        assert!(log.contains(&text), "{text} was answered `Stored`");
    }
    let mut once = log.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), log.len(), "none is there twice");
}

/// Close while the backend is away: it ends all the same, and tells what could not be stored.
pub async fn close_while_the_backend_is_away(stage: Stage) {
    let node = stage.node().await;
    let broker = node.broker_with(|config| {
        config.publish_patience = std::time::Duration::from_millis(20);
        config.close_drain = std::time::Duration::from_millis(200);
    });
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    node.cable().cut();
    let outcome = within("an answer", broker.publish_envelope(message("t", "x"))).await;
    let Ok(Outcome::Spooled(mut ticket)) = outcome else {
        panic!("spooled, not {outcome:?}");
    };
    within("close", broker.close()).await;
    let settled = within("the ticket settles", ticket.wait()).await;
    assert!(matches!(settled, Settled::Discarded { .. }), "{settled:?}");
    let rest = client.end().await;
    assert!(matches!(rest.last(), Some(Delivery::Closing(_))), "{rest:?}");
}

/// Streams, brokers and backends dropped on a thread without a runtime: no panic, and the interest
/// of a dropped stream ends.
pub async fn dropped_without_a_runtime(stage: Stage) {
    let node = stage.node().await;
    let broker = node.broker_with(|config| config.linger = std::time::Duration::from_millis(10));
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "x")).await;
    let stream = client.into_inner();
    let unopened = broker.subscribe(["u"]).open().expect("a stream");
    let dropping = std::thread::spawn(move || drop((stream, unopened)));
    eventually("the drop ends", || dropping.is_finished()).await;
    assert!(dropping.join().is_ok(), "dropping a stream does not panic");
    eventually("interest ends", || node.cable().interest().is_empty()).await;
    stage.forget(&node);
    let dropping = std::thread::spawn(move || drop((broker, node)));
    eventually("the drop ends", || dropping.is_finished()).await;
    assert!(dropping.join().is_ok(), "dropping a broker does not panic");
}

/// A stream that is given up at any moment of its life costs nothing afterwards.
pub async fn streams_given_up_at_any_moment(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let start = publish(&brokers[0], message("t", "start")).await;
    for n in 0..200 {
        publish(&brokers[0], message("t", n.to_string())).await;
    }
    for polls in 0..40 {
        for asked in [brokers[1].subscribe(["t"]), brokers[1].subscribe(["t"]).resume(start)] {
            let mut stream = asked.open().expect("a stream");
            for _ in 0..polls {
                let next = stream.recv();
                tokio::pin!(next);
                // Polled once, then given up: what it held comes with the next one.
                if futures_util::poll!(&mut next).is_pending() {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    eventually("no subscriber is counted", || brokers[1].status().subscribers == 0).await;
    eventually("interest ends", || nodes[1].cable().interest().is_empty()).await;
    // `recv` given up again and again loses nothing.
    let mut stream = brokers[1].subscribe(["t"]).resume(start).open().expect("a stream");
    let mut texts = Vec::new();
    within("200 messages", async {
        while texts.len() < 200 {
            let got = {
                let next = stream.recv();
                tokio::pin!(next);
                futures_util::poll!(&mut next)
            };
            match got {
                std::task::Poll::Ready(Some(Delivery::Message(message))) => {
                    texts.push(message.data().as_str().to_owned());
                }
                std::task::Poll::Ready(None) => panic!("the stream goes on"),
                std::task::Poll::Ready(_) => {}
                std::task::Poll::Pending => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(texts, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}
