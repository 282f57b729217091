//! What is removed, when, and what is said of it.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Connection;
use tavern_backend::{Backend, Keep, Lane, Published, ReadQuery, Retention, TopicFilter};

use crate::kit::{Dir, Follower, Node, message, scoped, seqs, texts, until, with_id};

fn keep(entries: u32, age_ms: u64) -> Retention {
    Retention::default().with_default(Keep::new(entries, Duration::from_millis(age_ms)))
}

fn stored(dir: &Dir, sql: &str) -> i64 {
    Connection::open(dir.db()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn count_is_exact_at_once_and_per_lane() {
    let dir = Dir::new();
    let node = Node::open(dir.config().with_retention(keep(3, 0))).await;
    node.publish("quiet", "q").await;
    node.send(scoped("busy", "user:1", "mine")).await.unwrap();
    let flood = (0..50).map(|n| node.publication(message("busy", &n.to_string()))).collect();
    node.append(flood).await.unwrap();
    let page = node.all().await;
    assert_eq!(texts(&page), ["q", "mine", "47", "48", "49"]);
    assert_eq!(seqs(&page), [1, 2, 50, 51, 52]);
    assert_eq!(page.floors.len(), 1, "{:?}", page.floors);
    assert_eq!((page.floors[0].seq, page.floors[0].lane.scope.as_ref()), (49, None));
    assert!(page.floors_complete);
    let page = node.read(ReadQuery::range(49, 99)).await;
    assert!(page.floors.is_empty(), "a cursor at the floor missed nothing");
    node.close().await;
}

#[tokio::test]
async fn a_feed_gets_what_a_flood_trims_at_once() {
    let dir = Dir::new();
    let config = dir.config().with_retention(keep(1, 0));
    let (node, other) = (Node::open(config.clone()).await, Node::open(config).await);
    let mut follower = Follower::new(&other);
    other.subscribe("t").await;
    let flood = (1..=500).map(|n| node.publication(message("t", &n.to_string()))).collect();
    node.append(flood).await.unwrap();
    for seq in 1..=500 {
        assert_eq!(follower.entry().await.position.seq, seq);
    }
    assert_eq!(node.all().await.entries.len(), 1);
    node.close().await;
    other.close().await;
}

#[tokio::test]
async fn age_is_exact_for_reads_and_rows_go_soon_after() {
    let dir = Dir::new();
    let rules = keep(100, 2_000)
        .with_rule(TopicFilter::new("long").unwrap(), Keep::new(100, Duration::from_secs(60)));
    let node = Node::open(dir.config().with_retention(rules)).await;
    node.publish("t", "1").await;
    node.publish("long", "2").await;
    let page = node.all().await;
    assert_eq!(texts(&page), ["1", "2"]);
    let appended = page.entries[0].appended;
    // No writer gets its turn meanwhile, so nothing is swept: reads know by themselves.
    let lock = std::fs::File::options().write(true).open(dir.path().join("log.db-lock")).unwrap();
    lock.lock().unwrap();
    let page = until("it is too old", async || {
        let page = node.all().await;
        (page.entries.len() == 1).then_some(page)
    })
    .await;
    let now = node.backend.head().await.unwrap().now;
    assert!(now >= appended.after(Duration::from_secs(2)), "not before its time");
    assert_eq!(texts(&page), ["2"]);
    assert_eq!((page.floors.len(), page.floors[0].seq), (1, 1));
    assert_eq!(stored(&dir, "SELECT max(floor) FROM lanes"), 0, "not swept yet");
    lock.unlock().unwrap();
    let rows = "SELECT count(*) FROM log";
    until("the row is gone", async || (stored(&dir, rows) == 1).then_some(())).await;
    assert_eq!(node.all().await.floors[0].seq, 1, "the floor stays");
    node.close().await;
}

#[tokio::test]
async fn a_silent_lane_is_forgotten_into_the_horizon() {
    let dir = Dir::new();
    let config =
        dir.config().with_retention(keep(100, 50)).with_lane_memory(Duration::from_millis(100));
    let node = Node::open(config).await;
    for n in 1..=3 {
        node.publish(&format!("t/{n}"), "x").await;
    }
    until("all lanes are gone", async || {
        (stored(&dir, "SELECT count(*) FROM lanes") == 0).then_some(())
    })
    .await;
    let page = node.all().await;
    assert_eq!((page.horizon, page.head, page.floors.len()), (3, 3, 0));
    assert_eq!(node.backend.head().await.unwrap().horizon, 3);
    assert_eq!(node.publish("t/1", "again").await.seq, 4);
    assert_eq!(texts(&node.all().await), ["again"]);
    node.close().await;
}

#[tokio::test]
async fn a_key_is_remembered_when_its_entry_is_gone() {
    let dir = Dir::new();
    let node = Node::open(dir.config().with_retention(keep(1, 0))).await;
    let once = node.publication(with_id(message("t", "1"), "id"));
    let Published::Stored(position) = node.append(vec![once.clone()]).await.unwrap()[0] else {
        panic!()
    };
    for _ in 0..3 {
        node.publish("t", "x").await;
    }
    until("the row is gone", async || {
        (stored(&dir, "SELECT count(*) FROM log WHERE seq = 1") == 0).then_some(())
    })
    .await;
    assert_eq!(node.append(vec![once]).await.unwrap(), [Published::Duplicate(position)]);
    let again = node.send(with_id(message("t", "1"), "id")).await.unwrap();
    assert_eq!(again, Published::Duplicate(position), "the id, too");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_stays_bounded_beside_a_reader_that_never_rests() {
    let dir = Dir::new();
    let node = Node::open(
        dir.config().with_retention(keep(10, 0)).with_durability(tavern_sqlite::Durability::Normal),
    )
    .await;
    let mut follower = Follower::new(&node);
    node.subscribe("**").await;
    let data = "x".repeat(50_000);
    let (mut sent, mut largest) = (0, 0);
    let wal = dir.path().join("log.db-wal");
    while sent < 200 << 20 {
        let batch = (0..40).map(|_| node.publication(message("t", &data))).collect();
        node.append(batch).await.unwrap();
        sent += 40 * data.len();
        for _ in 0..40 {
            follower.entry().await;
        }
        node.all().await;
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    assert!(largest < 80 << 20, "the write-ahead log grew to {largest}");
    let size = std::fs::metadata(dir.db()).unwrap().len();
    assert!(size < 200 << 20, "what is kept for slow feeds only grew to {size}");
    node.close().await;
}

/// A generator of the simplest kind: the test must not depend on a run's luck.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Several nodes append at random; a plain list says what every read must give.
#[tokio::test]
async fn random_appends_of_several_nodes_agree_with_a_list() {
    for seed in 1..=6 {
        let mut dice = Dice(seed);
        let dir = Dir::new();
        let limit = u32::try_from(1 + dice.roll(6)).unwrap();
        let config = dir.config().with_retention(keep(limit, 0));
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Node::open(config.clone()).await);
        }
        let mut model: Vec<(u64, Lane, String)> = Vec::new();
        let mut sent: Vec<tavern_backend::Publication> = Vec::new();
        for step in 0..120 {
            let index = usize::try_from(dice.roll(3)).unwrap();
            let mut batch = Vec::new();
            for n in 0..1 + dice.roll(5) {
                if dice.roll(6) == 0 && !sent.is_empty() {
                    let again = usize::try_from(dice.roll(count(&sent))).unwrap();
                    batch.push(sent[again].clone());
                    continue;
                }
                let topic = format!("t/{}", dice.roll(4));
                let data = format!("{step} {n}");
                let envelope = match dice.roll(3) {
                    0 => scoped(&topic, "s", &data),
                    _ => message(&topic, &data),
                };
                batch.push(nodes[index].publication(envelope));
            }
            let answers = nodes[index].append(batch.clone()).await.unwrap();
            for (publication, answer) in batch.into_iter().zip(answers) {
                let data = publication.envelope.data.as_str().to_owned();
                let known = model.iter().find(|(_, _, known)| *known == data).map(|e| e.0);
                match (answer, known) {
                    (Published::Stored(position), None) => {
                        assert_eq!(position.seq, count(&model) + 1);
                        model.push((position.seq, publication.envelope.lane(), data));
                        sent.push(publication);
                    }
                    (Published::Duplicate(position), Some(seq)) => assert_eq!(position.seq, seq),
                    other => panic!("{other:?}"),
                }
            }
            let reader = &nodes[usize::try_from(dice.roll(3)).unwrap()];
            let (after, to) = (dice.roll(count(&model) + 2), dice.roll(count(&model) + 9));
            agrees(reader, &model, limit, after, to).await;
        }
        for node in nodes {
            node.close().await;
        }
    }
}

fn count<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap()
}

async fn agrees(node: &Node, model: &[(u64, Lane, String)], limit: u32, after: u64, to: u64) {
    let mut lanes: HashMap<&Lane, Vec<u64>> = HashMap::new();
    for (seq, lane, _) in model {
        lanes.entry(lane).or_default().push(*seq);
    }
    let limit = usize::try_from(limit).unwrap();
    let floor = |lane: &Lane| {
        let seqs = &lanes[lane];
        if seqs.len() > limit { seqs[seqs.len() - limit - 1] } else { 0 }
    };
    let page = node.read(ReadQuery::range(after, to)).await;
    let expected: Vec<&str> = model
        .iter()
        .filter(|(seq, lane, _)| *seq > after && *seq <= to && *seq > floor(lane))
        .map(|(.., data)| data.as_str())
        .collect();
    assert_eq!(texts(&page), expected, "{after}..={to}");
    assert_eq!((page.to, page.head), (to.min(count(model)), count(model)));
    let mut floors: Vec<_> = page.floors.iter().map(|f| (f.lane.clone(), f.seq)).collect();
    let mut expected: Vec<_> = lanes
        .keys()
        .map(|lane| ((*lane).clone(), floor(lane)))
        .filter(|(_, seq)| *seq > after)
        .collect();
    floors.sort();
    expected.sort();
    assert_eq!(floors, expected, "{after}..={to}");
}
