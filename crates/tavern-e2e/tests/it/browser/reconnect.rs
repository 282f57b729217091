//! What a page sees while the node that it follows dies and comes back.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::{Browser, Engine};
use crate::collector::{Collector, Record, What};
use crate::hub::Hub;

macro_rules! in_each_browser {
    ($($case:ident),* $(,)?) => {
        mod chromium {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Engine::Chromium).await;
            })*
        }

        mod firefox {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Engine::Firefox).await;
            })*
        }
    };
}

in_each_browser! {
    misses_nothing_across_a_killed_node,
    misses_nothing_when_cut_before_its_first_message,
    comes_back_when_a_closing_node_tells_it_to,
    moves_on_behind_a_gap,
}

const TOPIC: &str = "orders";

/// Two nodes on one file, and a browser on the first.
struct Stage {
    followed: Hub,
    other: Hub,
    site: Collector,
    _browser: Browser,
    _dir: TempDir,
}

impl Stage {
    /// Starts it all, with `flags` for the node that the browser follows, and waits until the page
    /// has the opening cursor.
    async fn set(engine: Engine, flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().unwrap();
        prepare(dir.path());
        let mut site = Collector::start().await;
        let origin = site.origin();
        let flags = [&["--allow-origin", origin.as_str()], flags].concat();
        let followed = Hub::start(dir.path(), &flags).await;
        let other = Hub::start(dir.path(), &[]).await;
        let stream = followed.stream(&[TOPIC, "news/**"]);
        let browser = Browser::visit(engine, &site.page(&stream));
        site.until("the opening cursor", |record| !record.data("tavern-cursor").is_empty()).await;
        Self { followed, other, site, _browser: browser, _dir: dir }
    }

    /// Waits until the page has noticed that its stream was cut, once more than in `before`.
    async fn cut(&mut self, before: &Record) {
        let cuts = before.cut();
        self.site.until("the page notices", |record| record.cut() > cuts).await;
    }

    /// Waits until the page has had this many messages.
    async fn messages(&mut self, count: usize) -> Record {
        let what = format!("{count} messages");
        self.site.until(&what, |record| record.data("message").len() >= count).await
    }

    /// Waits until the page was told this often that a replay is over.
    async fn reconnected(&mut self, times: usize) -> Record {
        let what = format!("{times} replays");
        self.site.until(&what, |record| record.data("tavern-reconnected").len() >= times).await
    }
}

fn numbers(range: RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn parsed(data: &str) -> Value {
    serde_json::from_str(data).unwrap()
}

/// All of `expected` in order, once, each with an id of its own, and no gap.
#[track_caller]
fn complete(record: &Record, expected: RangeInclusive<usize>) {
    assert_eq!(record.data("message"), numbers(expected), "{record:#?}");
    assert!(record.data("tavern-replay-gap").is_empty(), "{record:#?}");
    let messages = || record.events().filter(|(name, ..)| *name == "message");
    let ids: std::collections::BTreeSet<_> = messages().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), messages().count(), "an id for each message: {record:#?}");
}

async fn misses_nothing_across_a_killed_node(engine: Engine) {
    let mut stage = Stage::set(engine, &["--retry", "100ms"], |_| {}).await;
    stage.other.publish(TOPIC, &numbers(1..=3)).await;
    let record = stage.messages(3).await;
    assert_eq!(record.opened(), 1);

    stage.followed.kill().await;
    stage.other.publish(TOPIC, &numbers(4..=6)).await;
    stage.other.publish("news/today", &numbers(7..=9)).await;
    stage.cut(&record).await;
    stage.followed.start_again().await;
    let record = stage.messages(9).await;
    complete(&record, 1..=9);
    let record = stage.reconnected(1).await;
    let told = parsed(record.data("tavern-reconnected")[0]);
    assert_eq!((&told["replayDelivered"], &told["complete"]), (&6.into(), &true.into()));

    // And once more, in the middle of a stream of messages.
    let publishing = async {
        for n in numbers(10..=60) {
            stage.other.publish(TOPIC, &[n]).await;
        }
    };
    let restarting = async {
        stage.followed.kill().await;
        stage.followed.start_again().await;
    };
    tokio::join!(publishing, restarting);
    let record = stage.messages(60).await;
    complete(&record, 1..=60);
    let record = stage.reconnected(2).await;
    complete(&record, 1..=60);
}

async fn misses_nothing_when_cut_before_its_first_message(engine: Engine) {
    let mut stage = Stage::set(engine, &["--retry", "100ms"], |_| {}).await;
    let record = stage.site.record();
    assert!(record.data("message").is_empty());

    stage.followed.kill().await;
    stage.other.publish(TOPIC, &numbers(1..=3)).await;
    stage.cut(&record).await;
    stage.followed.start_again().await;
    stage.followed.publish(TOPIC, &numbers(4..=4)).await;
    let record = stage.messages(4).await;
    complete(&record, 1..=4);
    let record = stage.reconnected(1).await;
    assert_eq!(parsed(record.data("tavern-reconnected")[0])["complete"], true);
}

async fn comes_back_when_a_closing_node_tells_it_to(engine: Engine) {
    // Without the hint that a closing node gives, three seconds at most, the browser would wait for
    // two minutes, longer than this test does.
    let mut stage = Stage::set(engine, &["--retry", "2m"], |_| {}).await;
    stage.other.publish(TOPIC, &numbers(1..=2)).await;
    let record = stage.messages(2).await;

    stage.followed.terminate().await;
    stage.other.publish(TOPIC, &numbers(3..=4)).await;
    stage.cut(&record).await;
    stage.followed.start_again().await;
    let record = stage.messages(4).await;
    complete(&record, 1..=4);
    let reopened = record.0.iter().rfind(|seen| matches!(seen.what, What::Open)).unwrap();
    let cut = record.0.iter().find(|seen| matches!(seen.what, What::Error { .. })).unwrap();
    // The hint, and what a busy machine adds to it; a refused attempt costs another one.
    assert!(reopened.at - cut.at < 15_000.0, "{record:#?}");
}

async fn moves_on_behind_a_gap(engine: Engine) {
    let rules = "[[retention]]\ntopics = \"**\"\nkeep = 4\n";
    let prepare = |dir: &Path| std::fs::write(dir.join("tavern.toml"), rules).unwrap();
    let mut stage = Stage::set(engine, &["--retry", "100ms"], prepare).await;
    stage.other.publish(TOPIC, &numbers(1..=1)).await;
    let record = stage.messages(1).await;
    let (_, first, _) = record.events().find(|(name, ..)| *name == "message").unwrap();
    let first = first.to_owned();

    stage.followed.kill().await;
    stage.other.publish(TOPIC, &numbers(2..=20)).await;
    stage.cut(&record).await;
    stage.followed.start_again().await;
    let record = stage.reconnected(1).await;
    let gaps = record.data("tavern-replay-gap");
    assert_eq!(gaps.len(), 1, "{record:#?}");
    let gap = parsed(gaps[0]);
    assert_eq!(gap["reason"], "trimmed");
    assert_eq!(gap["lastEventId"], first);
    assert_eq!(gap["topics"], Value::from(vec![TOPIC]));
    assert_eq!(record.data("message"), ["1", "17", "18", "19", "20"]);
    assert_eq!(parsed(record.data("tavern-reconnected")[0])["complete"], false);

    // The gap is behind it: the next cut brings what came since, and no word of the gap.
    stage.followed.kill().await;
    stage.other.publish(TOPIC, &numbers(21..=22)).await;
    stage.cut(&record).await;
    stage.followed.start_again().await;
    let record = stage.reconnected(2).await;
    assert_eq!(record.data("tavern-replay-gap").len(), 1, "{record:#?}");
    assert_eq!(record.data("message"), ["1", "17", "18", "19", "20", "21", "22"]);
    assert_eq!(parsed(record.data("tavern-reconnected")[1])["complete"], true);
}
