//! Transactions that stay open for minutes.

use std::sync::Arc;

use tavern_backend::Tasks;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, log, store};

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// Of twelve, four of each level, in the order in which they end; those of the last three are
/// rolled back.
const ENDS: [usize; 12] = [7, 9, 2, 0, 11, 5, 10, 4, 1, 8, 3, 6];

fn is_rolled_back(writer: usize) -> bool {
    writer >= 9
}

/// Twelve transactions have published, and stay open for two minutes, while others publish by SQL
/// and by nodes, and nobody waits for anybody. Then they read, publish again, and end in another
/// order than they began, some by a rollback. Seqs are dense and in the order of the commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dense_in_commit_order_beside_transactions_open_for_minutes() {
    let stand = Arc::new(Stand::start().await);
    let stage = stand.stage();
    let nodes = [stage.node().await, stage.node().await];
    let brokers = [nodes[0].broker(), nodes[1].broker()];
    let (bus, mut client) = (nodes[0].bus(), Client::fresh(&brokers[1], &["**"]));
    client.opened().await;
    stand
        .psql(
            "CREATE TABLE read (n int); INSERT INTO read VALUES (1); CREATE TABLE written (n int)",
        )
        .await;
    let mut writers = Vec::new();
    for n in 0..ENDS.len() {
        let writer = stand.sql().await;
        writer.run("SET application_name = 'held'").await;
        writer.run(&format!("BEGIN ISOLATION LEVEL {}", LEVELS[n % 3])).await;
        writer.run(&format!("SELECT tavern.publish('held', 'held {n} first')")).await;
        writer.run(&format!("INSERT INTO written VALUES ({n})")).await;
        writers.push(writer);
    }

    // Others: each waits until it has seen what it published. Nobody is held up.
    let others = Tasks::new();
    let (token, hand) = (others.token().clone(), Arc::clone(&stand));
    let broker = brokers[1].clone();
    let (count, counted) = tokio::sync::oneshot::channel();
    others.spawn(async move {
        let app = hand.sql().await;
        let mut theirs = Client::fresh(&broker, &["other"]);
        theirs.opened().await;
        let mut round = 0;
        while !token.is_cancelled() {
            let level = LEVELS[round % 3];
            let three = format!(
                "BEGIN ISOLATION LEVEL {level}; SELECT tavern.publish('other', 'other {round}:' || k)
                FROM generate_series(0, 2) k; COMMIT"
            );
            app.run(&three).await;
            publish(&broker, message("other", format!("other {round} by a node"))).await;
            let mut got = theirs.texts(4).await;
            got.retain(|text| !text.ends_with("by a node"));
            let wanted: Vec<_> = (0..3).map(|k| format!("other {round}:{k}")).collect();
            assert_eq!(got, wanted, "a transaction's messages in their order");
            round += 1;
        }
        count.send(round).unwrap();
    });

    let minutes = "SELECT count(*) FILTER (WHERE state = 'idle in transaction'
        AND clock_timestamp() - xact_start >= '2 minutes') FROM pg_stat_activity WHERE application_name = 'held'";
    while stand.psql(minutes).await != ENDS.len().to_string() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let open = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'held' AND state = 'idle in transaction'";
        assert_eq!(stand.psql(open).await, ENDS.len().to_string(), "none has ended by itself");
    }

    let (mut wanted, mut ours) = (Vec::new(), Client::fresh(&brokers[0], &["held", "mark"]));
    ours.opened().await;
    for n in ENDS {
        store(bus, message("mark", format!("before {n}"))).await;
        wanted.push(format!("before {n}"));
        let writer = &writers[n];
        writer.run("SELECT sum(n) FROM read").await;
        writer.run(&format!("SELECT tavern.publish('held', 'held {n} last')")).await;
        if is_rolled_back(n) {
            writer.run("ROLLBACK").await;
        } else {
            writer.run("COMMIT").await;
            let theirs = ["first", "last"].map(|which| format!("held {n} {which}"));
            let behind =
                1 + ours.texts(3).await.iter().filter(|text| theirs.contains(text)).count();
            assert_eq!(behind, 3, "{n} comes at once, as a whole");
            wanted.extend(theirs);
            continue;
        }
        assert_eq!(ours.texts(1).await, [format!("before {n}")]);
    }
    within("the others end", others.close()).await;
    let rounds = counted.await.unwrap();
    // Each waited for at most a few looks into the outbox.
    assert!(rounds > 500, "the others went on all the time: {rounds}");

    let all = log(bus).await;
    assert_eq!(all.first().unwrap().0, 1);
    assert_eq!(all.len(), wanted.len() + rounds * 4, "dense, and nothing else");
    let texts: Vec<_> = all.into_iter().map(|(_, text)| text).collect();
    let held: Vec<_> = texts.iter().filter(|text| !text.starts_with("other")).cloned().collect();
    assert_eq!(held, wanted, "in the order of the commits");
    assert_eq!(client.texts(texts.len()).await, texts, "as the log has it");
    assert_eq!(stand.psql("SELECT count(*) FROM tavern.outbox").await, "0");
    stage.close().await;
}
