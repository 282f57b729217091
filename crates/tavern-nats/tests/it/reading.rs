//! Reading from far back: a node that was not there when it was stored looks for a few topics one by
//! one, and goes through everything for wildcards. Both must say the same.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{
    Append, Backend, FilterSet, Keep, MessageEnvelope, Origin, Page, Publication, Published,
    ReadQuery, Retention, Scope, Topic, TopicFilter,
};
use tavern_nats::NatsBackend;
use tavern_testkit::Rig;
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::wait::within;
use tokio::time::Instant;

use crate::kit::NatsRig;

/// More than a node goes back through without need.
const MANY: u64 = 70_000;

#[tokio::test]
async fn from_afar_a_few_topics_and_everything_say_the_same() {
    let rig = NatsRig::new(NatsFlavor::Current);
    let retention = Retention::default().with_default(Keep::new(3, Duration::ZERO));
    let first = rig.open(retention.clone()).await.unwrap();
    let mut counter = 0;
    let mut publish = async |topic: String, scope: Option<&str>, count: usize| {
        let publications = (0..count).map(|n| {
            counter += 1;
            let topic = topic.replace("{n}", &n.to_string());
            let mut envelope = MessageEnvelope::new(Topic::new(topic).unwrap(), "data");
            envelope.scope = scope.map(|scope| Scope::new(scope).unwrap());
            let key = Origin { node: first.info().node, counter };
            Publication { key, envelope, accepted: Instant::now() }
        });
        let append = Append { known: None, publications: publications.collect() };
        let published = within("a batch", first.publish(append)).await.unwrap();
        assert!(published.iter().all(|p| matches!(p, Published::Stored(_))));
    };
    publish("quiet".to_owned(), None, 2).await;
    publish("hot".to_owned(), None, 5).await;
    publish("hot".to_owned(), Some("alice b"), 4).await;
    for round in 0..MANY / 1000 {
        publish(format!("others/{round}/{{n}}"), None, 1000).await;
    }
    publish("hot".to_owned(), None, 1).await;

    let late = rig.open(retention).await.unwrap();
    let far = read(&late, &["quiet", "hot", "none"]).await;
    let all = read(&late, &["quiet", "hot", "no*e", "**/none"]).await;
    assert_eq!(seqs(&far), seqs(&all));
    assert_eq!(seqs(&far).len(), 2 + 3 + 3);
    let mut floors = [&far, &all].map(|page| {
        let mut floors = page.floors.clone();
        floors.sort_by(|a, b| a.lane.cmp(&b.lane));
        floors.into_iter().map(|f| (f.lane.scope.is_some(), f.seq)).collect::<Vec<_>>()
    });
    floors[0].dedup();
    assert_eq!(floors[0], [(false, 5), (true, 8)]);
    assert_eq!(floors[0], floors[1]);
    assert_eq!((far.to, far.horizon), (all.to, all.horizon));
    for backend in [first, late] {
        backend.close().await.unwrap();
    }
}

async fn read(backend: &NatsBackend, filters: &[&str]) -> Page {
    let filters: FilterSet = filters.iter().map(|f| TopicFilter::new(f).unwrap()).collect();
    let query = ReadQuery::range(0, u64::MAX).with_filters(Arc::new(filters));
    within("a page from afar", backend.read(query)).await.unwrap()
}

fn seqs(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.position.seq).collect()
}

/// A topic is trimmed all the while somebody reads it from afar.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_afar_what_goes_meanwhile_is_told() {
    let rig = NatsRig::new(NatsFlavor::Current);
    let retention = Retention::default().with_default(Keep::new(100, Duration::ZERO));
    let first = rig.open(retention.clone()).await.unwrap();
    let mut counter = 0;
    let mut publish = async |topics: Vec<String>| {
        let publications = topics.into_iter().map(|topic| {
            counter += 1;
            let key = Origin { node: first.info().node, counter };
            let envelope = MessageEnvelope::new(Topic::new(topic).unwrap(), "data");
            Publication { key, envelope, accepted: Instant::now() }
        });
        let append = Append { known: None, publications: publications.collect() };
        within("a batch", first.publish(append)).await.unwrap();
    };
    for round in 0..MANY / 1000 {
        publish((0..1000).map(|n| format!("others/{round}/{n}")).collect()).await;
    }
    publish(vec!["hot".to_owned(); 100]).await;
    let late = rig.open(retention).await.unwrap();
    let publishing = async {
        for _ in 0..300 {
            publish(vec!["hot".to_owned()]).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let reading = async {
        loop {
            let page = read(&late, &["hot"]).await;
            let told = page.floors.iter().map(|floor| floor.seq).max().unwrap_or(0);
            let oldest = page.entries.first().unwrap().position.seq;
            // The first of the topic is the one behind the others.
            let lost = oldest.saturating_sub(MANY + 1);
            assert!(lost == 0 || told >= oldest - 1, "{oldest} is the first, {told} is told");
        }
    };
    tokio::select! {
        () = publishing => {}
        () = reading => {}
    }
}
