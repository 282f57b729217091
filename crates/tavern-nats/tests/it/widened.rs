//! A limit of the stream that grows brings nothing back: what it has removed is told of afterwards.

use std::time::Duration;

use serde_json::{Value, json};
use tavern_backend::{Bus, Keep, ReadQuery, Retention};
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::message;

use crate::stand::{LOG, META, Stand, keeping, on_both, store, until};

on_both! {
    rules_with_a_longer_age_do_not_hide_what_the_shorter_one_removed,
    an_operators_longer_age_does_not_hide_what_the_shorter_one_removed,
    an_operators_larger_count_does_not_hide_what_the_smaller_one_removed,
}

/// The horizon as a node says it that was not there before.
async fn horizon(stand: &Stand) -> u64 {
    let bus = stand.bus().await;
    let page = bus.read(ReadQuery::range(0, u64::MAX)).await.unwrap();
    bus.close().await.unwrap();
    page.horizon
}

/// What the log says of itself remembers these settings.
async fn remembered(stand: &Stand, wanted: &str) {
    let text = async || {
        let said = stand
            .js(
                &format!("STREAM.MSG.GET.{META}"),
                json!({ "seq": 0, "last_by_subj": "tavern.default.meta" }),
            )
            .await;
        let data = said["message"]["data"].as_str().unwrap().to_owned();
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["keeps"].to_string()
    };
    until("a node looks after the log", async || text().await.contains(wanted)).await;
}

/// A log from which a short age has removed an entry that no rule would have.
async fn aged(flavor: NatsFlavor) -> (Stand, Bus, u64) {
    let stand = Stand::start(flavor).await;
    let bus = stand.bus().await;
    let seq = store(&bus, message("quiet", "1")).await;
    stand.set(json!({ "duplicate_window": 1_000_000_000_u64, "max_age": 2_000_000_000_u64 })).await;
    until("it is gone", async || {
        stand.stream(LOG).await["state"]["messages"] == 0
            && bus.read(ReadQuery::range(0, u64::MAX)).await.unwrap().horizon >= seq
    })
    .await;
    (stand, bus, seq)
}

async fn rules_with_a_longer_age_do_not_hide_what_the_shorter_one_removed(flavor: NatsFlavor) {
    let (stand, bus, seq) = aged(flavor).await;
    let hours = Retention::default().with_default(Keep::new(100_000, Duration::from_secs(7200)));
    let wide = stand.with(move |config| {
        config.retention = Some(hours.clone());
        config.apply_retention = true;
    });
    assert!(horizon(&wide).await >= seq);
    store(&bus, message("other", "2")).await;
    assert!(horizon(&wide).await >= seq);
    bus.close().await.unwrap();
}

async fn an_operators_longer_age_does_not_hide_what_the_shorter_one_removed(flavor: NatsFlavor) {
    let (stand, bus, seq) = aged(flavor).await;
    remembered(&stand, "\"secs\":2").await;
    stand.set(json!({ "max_age": 7_200_000_000_000_u64 })).await;
    assert!(horizon(&stand).await >= seq, "at once");
    remembered(&stand, "\"secs\":7200").await;
    store(&bus, message("other", "2")).await;
    assert!(horizon(&stand).await >= seq, "and later");
    bus.close().await.unwrap();
}

async fn an_operators_larger_count_does_not_hide_what_the_smaller_one_removed(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await.with(|config| config.retention = Some(keeping(1000)));
    let bus = stand.bus().await;
    stand.set(json!({ "max_msgs_per_subject": 3 })).await;
    remembered(&stand, "\"per_subject\":3").await;
    for n in 0..6 {
        store(&bus, message("t", n.to_string())).await;
    }
    stand.set(json!({ "max_msgs_per_subject": 1001 })).await;
    assert!(horizon(&stand).await >= 3, "at once");
    remembered(&stand, "\"per_subject\":1001").await;
    assert!(horizon(&stand).await >= 3, "and later");
    bus.close().await.unwrap();
}
