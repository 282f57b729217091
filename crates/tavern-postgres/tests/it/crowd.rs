//! Many lanes, filters, rules and namespaces.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{FilterSet, Keep, ReadQuery, Retention};
use tavern_testkit::say::{filter, message};
use tavern_testkit::wait::within;
use tokio::time::Instant;

use crate::stand::{Stand, moved, store};

/// A session keeps 32 expressions that it has read, and would read a further one anew at each topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_filters_over_many_lanes_are_read_in_time() {
    let stand = Stand::start().await.with(|config| config.timeout = Duration::from_secs(30));
    let bus = stand.bus().await;
    store(&bus, message("room/7/x", "here")).await;
    stand
        .psql(
            "INSERT INTO tavern.lane (namespace, topic, floor)
                SELECT id, 'hall/' || n % 200 || '/' || n, 1 FROM tavern.namespace, generate_series(1, 30000) n",
        )
        .await;
    let read = async |count: usize| {
        let mut filters = FilterSet::default();
        for n in 0..count {
            filters.insert(filter(&format!("room/{n}/**")));
        }
        let mut query = ReadQuery::range(0, u64::MAX);
        query.filters = Some(Arc::new(filters));
        let begun = Instant::now();
        let page = tokio::time::timeout(Duration::from_secs(30), bus.read(query)).await;
        let page = page.unwrap().unwrap();
        assert_eq!(page.entries.len(), 1);
        assert_eq!(page.floors, [], "{count}");
        begun.elapsed()
    };
    read(30).await;
    let (few, many) = (read(30).await, read(60).await);
    assert!(many < few * 6, "30 take {few:?}, 60 take {many:?}");
    bus.close().await.unwrap();
}

/// More than fit into one expression; the first that matches decides, and the last is for all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_many_rules_decides() {
    let hour = Duration::from_secs(3600);
    let mut rules = Retention::default().with_default(Keep::new(4, hour));
    for n in 0..120 {
        rules = rules.with_rule(filter(&format!("r{n}/**")), Keep::new(n % 3 + 1, hour));
        if n == 30 {
            rules = rules.with_rule(filter("*/x"), Keep::new(5, hour));
        }
    }
    let stand = Stand::start().await.with(move |config| config.retention = Some(rules.clone()));
    let bus = stand.bus().await;
    let kept = [
        ("r10/x", 2),
        ("r30/x", 1),
        ("r31/x", 5),
        ("r100/x", 5),
        ("r100/y/z", 2),
        ("r119/x/y", 3),
        ("s", 4),
    ];
    for (topic, _) in kept {
        for n in 0..7 {
            store(&bus, message(topic, n.to_string())).await;
        }
    }
    for (topic, kept) in kept {
        let mut query = ReadQuery::range(0, u64::MAX);
        let mut filters = FilterSet::default();
        filters.insert(filter(topic));
        query.filters = Some(Arc::new(filters));
        let page = within("a page", bus.read(query)).await.unwrap();
        assert_eq!(page.entries.len(), kept, "{topic}");
    }
    bus.close().await.unwrap();
}

/// Nobody serves it; what waits there is not gone over by others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_one_namespace_is_in_nobody_elses_way() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    stand
        .psql(
            "INSERT INTO tavern.outbox (namespace, topic, data)
                SELECT 'other', 't', 'waits' FROM generate_series(1, 50000)",
        )
        .await;
    stand.psql("SELECT tavern.publish('t', 'here')").await;
    moved(&bus, "here").await;
    let plan = "EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off)
        SELECT * FROM tavern.waiting('default', 0, NULL, 500, 4194304, 65536)";
    let plan = stand.psql(&format!("{plan}; {plan}")).await;
    let hit = plan.rsplit_once("shared hit=").unwrap().1.split_whitespace().next().unwrap();
    assert!(hit.parse::<u32>().unwrap() < 100, "{plan}");
    bus.close().await.unwrap();
}

/// A transaction that was under way when all of it was looked at may have lower numbers than what came
/// since: when it has ended, all of it is looked at again, or its messages would change places.
#[tokio::test]
async fn a_look_behind_what_was_seen_sees_what_may_be_behind() {
    let stand = Stand::start().await;
    stand.psql(&tavern_postgres::schema()).await;
    let (app, long) = (stand.sql().await, stand.sql().await);
    let look = async |after: i64, since: Option<&str>| {
        let ask = "SELECT number, topic, data, event FROM tavern.waiting('default', $1, $2, 500, 4194304, 65536)";
        let rows = app.query(ask, &[&after, &since]).await.unwrap();
        let (first, rows) = rows.split_first().unwrap();
        let texts = rows.iter().map(|row| row.get::<_, String>(2)).collect::<Vec<_>>();
        let newest = rows.last().map_or(0, |row| row.get::<_, i64>(0));
        let whole = first.get::<_, Option<String>>(3).is_some();
        (whole, texts.join(" "), newest, first.get::<_, String>(1))
    };
    let say = |text: &str| format!("SELECT tavern.publish('t', '{text}')");
    app.run(&say("a")).await;
    long.run(&format!("BEGIN; {}", say("long 1"))).await;
    app.run(&say("b")).await;
    let (whole, texts, newest, moment) = look(0, None).await;
    assert_eq!((whole, texts.as_str()), (true, "a b"));
    app.run(&say("c")).await;
    let (whole, texts, ..) = look(newest, Some(&moment)).await;
    assert_eq!((whole, texts.as_str()), (false, "c"));
    long.run(&format!("{}; COMMIT", say("long 2"))).await;
    let (whole, texts, ..) = look(newest, Some(&moment)).await;
    assert_eq!((whole, texts.as_str()), (true, "a long 1 b c long 2"));
}
