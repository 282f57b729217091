//! What is too old goes, and what went is told.

use std::time::Duration;

use tavern_backend::{Keep, Published, ReadQuery, Retention};
use tavern_testkit::Client;
use tavern_testkit::say::{Also, message};
use tavern_testkit::wait::within;
use tavern_testkit::{Node, publish};

use crate::stand::{Stand, store, until};

/// Keeps entries for a moment only.
fn briefly() -> Retention {
    Retention::default().with_default(Keep::new(100, Duration::from_millis(200)))
}

async fn size(stand: &Stand, end: &str) -> usize {
    stand.keys(end).await.len()
}

/// What is older than the rule is removed from the server, and its floor is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aged_streams_are_removed_and_their_floors_told() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node_keeping(briefly()).await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t/*"]);
    let before = client.opened().await;
    for n in 0..10 {
        publish(&broker, message(&format!("t/{n}"), "x").scope("s")).await;
        publish(&broker, message(&format!("t/{n}"), n.to_string())).await;
    }
    until("the streams are gone", || async { size(&stand, ":lane:t/*").await == 0 }).await;
    let silent = stand.key(":silent").await;
    assert_eq!(stand.say(&["ZCARD", &silent]).await, "20");
    // Which lanes are silent is found out again where that is lost.
    stand.say(&["DEL", &silent]).await;
    until("they are silent", || async { stand.say(&["ZCARD", &silent]).await == "20" }).await;
    let page = node.bus().read(ReadQuery::range(0, u64::MAX)).await.unwrap();
    let floors = page.floors.iter().filter(|floor| !floor.lane.topic.is_reserved());
    assert_eq!(floors.count(), 20);
    assert_eq!(page.horizon, 0, "they are remembered by name");
    let third = stage.node_keeping(briefly()).await.broker();
    let mut late = Client::resume(&third, &["t/3"], before);
    let (replay, _) = late.replay().await;
    assert_eq!(replay.reasons().iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["trimmed"]);
    assert!(replay.texts().is_empty());
    // A lane comes back and says what it lost before.
    publish(&broker, message("t/3", "again")).await;
    assert_eq!(late.texts(1).await, ["again"]);
    let mut later = Client::resume(&third, &["t/3"], before);
    let (replay, _) = later.replay().await;
    assert_eq!(replay.reasons().iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["trimmed"]);
    stage.close().await;
}

/// Makes everything that was appended until now `ago` older than it is.
///
/// The least window is minutes: what a test cannot wait for it writes into the server's keys.
async fn age(stand: &Stand, ago: Duration) {
    let script = r"
        local prefix, ago = '{tavern:default}:', tonumber(ARGV[1])
        local function older(time) return string.format('%.0f', tonumber(time) - ago) end
        for _, key in ipairs(redis.call('KEYS', prefix .. '*')) do
          if string.find(key, ':ids:', 1, true) then
            local all = redis.call('HGETALL', key)
            for i = 1, #all, 2 do
              local s, t, p = string.match(all[i + 1], '^(%d+):(%d+):(.*)$')
              redis.call('HSET', key, all[i], s .. ':' .. older(t) .. ':' .. p)
            end
          elseif string.find(key, ':keys:', 1, true) then
            local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
            redis.call('DEL', key)
            for i = 1, #all, 2 do
              local run, t = string.match(all[i], '^(.*):(%d+)$')
              redis.call('ZADD', key, all[i + 1], run .. ':' .. older(t))
            end
          elseif string.match(key, ':silent$') or string.match(key, ':origins$') then
            local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
            for i = 1, #all, 2 do redis.call('ZADD', key, older(all[i + 1]), all[i]) end
          end
        end";
    stand.say(&["EVAL", script, "0", &ago.as_millis().to_string()]).await;
}

/// A lane that is silent for long is forgotten with its ids; the horizon tells that there was
/// something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_silent_for_long_fold_into_the_horizon() {
    let stand = Stand::start().await.with(|config| {
        config.dedup_window = Duration::from_secs(300);
        config.lane_memory = Duration::from_secs(600);
    });
    let stage = stand.stage();
    let node = stage.node_keeping(briefly()).await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    let before = client.opened().await;
    let mut last = store(node.bus(), message("other", "x")).await;
    for n in 0..5 {
        last = store(node.bus(), message("t", n.to_string()).id(&n.to_string())).await;
    }
    until("the stream is gone", || async { size(&stand, ":lane:t").await == 0 }).await;
    until("the lane is silent", || async { size(&stand, ":silent").await == 1 }).await;
    // One that is never silent for long: there is always a lane.
    let bus = node.bus().clone();
    let talk = tavern_backend::Tasks::new();
    let quiet = talk.token().clone();
    talk.spawn(async move {
        while !quiet.is_cancelled() {
            store(&bus, message("other", "x")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    // Not yet: neither is as old as it must be.
    age(&stand, Duration::from_secs(250)).await;
    let silent = stand.key(":silent").await;
    let sweeps = node.bus().head().await.unwrap();
    node.log_time_passes(Duration::from_millis(300)).await;
    assert_eq!(node.bus().head().await.unwrap().horizon, sweeps.horizon);
    assert_eq!(stand.say(&["HLEN", &stand.key(":ids:t").await]).await, "5");
    // The ids are older than the window, the lane is not yet silent for long enough.
    age(&stand, Duration::from_secs(100)).await;
    until("the ids are forgotten", || async { size(&stand, ":ids:t").await == 0 }).await;
    assert_eq!(size(&stand, ":order:t").await, 0);
    assert!(!stand.say(&["ZSCORE", &silent, "t"]).await.is_empty(), "the lane is remembered");
    age(&stand, Duration::from_secs(300)).await;
    until("the lane is forgotten", || async { node.bus().head().await.unwrap().horizon >= last })
        .await;
    assert_eq!(stand.say(&["ZSCORE", &stand.key(":lanes").await, "t"]).await, "");
    assert_eq!(stand.say(&["ZSCORE", &stand.key(":names").await, "t"]).await, "");
    // Nobody hears silence, not even about a lane that nobody remembers.
    let third = stage.node_keeping(briefly()).await.broker();
    let (replay, _) = Client::resume(&third, &["t"], before).replay().await;
    assert_eq!(replay.reasons().iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["trimmed"]);
    // And the same id is new again.
    store(node.bus(), message("t", "other").id("1")).await;
    within("the talk ends", async move {
        talk.cancel();
        talk.close().await;
    })
    .await;
    stage.close().await;
}

/// What nodes that are gone once published is forgotten; of one that lives only what is old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_dead_nodes_are_removed() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let living = stage.node().await;
    let dead = stand.bus().await;
    store(&dead, message("t", "1")).await;
    dead.close().await.unwrap();
    let first = living.publication(message("t", "2"));
    let Published::Stored(at) = living.append(vec![first.clone()]).await[0] else { panic!() };
    assert_eq!(size(&stand, ":keys:*").await, 2);
    age(&stand, Duration::from_secs(599)).await;
    store(living.bus(), message("t", "3")).await;
    until("the dead node is forgotten", || async { size(&stand, ":keys:*").await == 1 }).await;
    assert_eq!(stand.say(&["ZCARD", &stand.key(":origins").await]).await, "1");
    // The living one's key is a moment older than the window by now.
    let own = stand.key(":keys:*").await;
    until("its old runs are forgotten", || async { stand.say(&["ZCARD", &own]).await == "1" })
        .await;
    let again = living.append(vec![first]).await;
    assert!(matches!(again[0], Published::Stored(now) if now.seq > at.seq), "{again:?}");
    stage.close().await;
}

/// Of two nodes one sweeps; when it goes, the other does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_sweeps_and_another_takes_over() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let nodes: Vec<Node> = vec![stage.node().await, stage.node().await];
    until("there is a sweeper", || async { size(&stand, ":sweeper").await == 1 }).await;
    let sweeper = stand.key(":sweeper").await;
    let first = stand.say(&["GET", &sweeper]).await;
    // Several leases on it is still the same, at every moment.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(stand.say(&["GET", &sweeper]).await, first);
    }
    let (gone, left): (Vec<_>, Vec<_>) =
        nodes.into_iter().partition(|node| node.bus().node().to_string() == first);
    assert_eq!((gone.len(), left.len()), (1, 1));
    within("a node closes", gone[0].bus().close()).await.unwrap();
    let other = left[0].bus().node().to_string();
    until("the other sweeps", || async { stand.say(&["GET", &sweeper]).await == other }).await;
    stage.close().await;
}

/// A lane whose keys are somebody else's is not in the way of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_cannot_be_swept_is_not_in_the_way() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node_keeping(briefly()).await;
    for n in 0..10 {
        store(node.bus(), message(&format!("t/{n}"), "x")).await;
        let stream = stand.key(&format!(":lane:t/{n}")).await;
        if n == 4 {
            stand.say(&["DEL", &stream]).await;
            stand.say(&["SET", &stream, "somebody else's"]).await;
        }
    }
    until("all other streams are gone", || async {
        stand.keys(":lane:t/*").await == [stand.key(":lane:t/4").await]
    })
    .await;
    assert_eq!(stand.say(&["GET", &stand.key(":lane:t/4").await]).await, "somebody else's");
    stage.close().await;
}

/// A server without memory is swept: that is how it gets some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_is_swept() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node_keeping(briefly()).await;
    for n in 0..10 {
        store(node.bus(), message(&format!("t/{n}"), "x")).await;
    }
    stand.say(&["CONFIG", "SET", "maxmemory", "1"]).await;
    until("all streams are gone", || async { size(&stand, ":lane:t/*").await == 0 }).await;
    stage.close().await;
}
