//! The log against a model that keeps everything and computes the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tavern_backend::{
    Backend, Keep, Lane, MemoryBackend, MemoryConfig, ReadQuery, Retention, TopicFilter,
};

use crate::fixture::{filter, filters, floors, message, publish, scoped, seqs, stored};

#[derive(Debug, Clone)]
enum Step {
    Publish { topic: usize, scope: usize },
    Wait { seconds: u64 },
    Read { after: u64, to: u64, limit: usize, filter: usize },
}

const TOPICS: [&str; 3] = ["a/1", "a/2", "b"];
const FILTERS: [&[&str]; 5] = [&[], &["a/1"], &["a/*"], &["b", "a/2"], &["**"]];
const FORGET: u64 = 120;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize, 0..3usize).prop_map(|(topic, scope)| Step::Publish { topic, scope }),
        2 => (1..70_u64).prop_map(|seconds| Step::Wait { seconds }),
        2 => (0..40_u64, 0..50_u64, 1..9usize, 0..5usize)
            .prop_map(|(after, to, limit, filter)| Step::Read { after, to, limit, filter }),
    ]
}

fn rules() -> Retention {
    Retention::default()
        .with_rule(filter("a/1"), Keep::new(2, Duration::ZERO))
        .with_rule(filter("a/*"), Keep::new(3, Duration::from_secs(60)))
        .with_default(Keep::new(100, Duration::from_secs(30)))
}

/// Everything ever appended: seq − 1 is the index.
#[derive(Default)]
struct Model {
    now: u64,
    all: Vec<(Lane, u64)>,
    /// The last seq of lanes that were forgotten, and when they are checked.
    horizon: u64,
    forgotten: BTreeMap<Lane, u64>,
}

impl Model {
    /// The seqs of a lane that are removed, and those that are not.
    fn lane(&self, lane: &Lane) -> (Vec<u64>, Vec<u64>) {
        let keep = rules().of(&lane.topic);
        let since = self.forgotten.get(lane).copied().unwrap_or(0);
        let seqs = (1..).zip(&self.all).filter(|(seq, (l, _))| l == lane && *seq > since);
        let all: Vec<(u64, u64)> = seqs.map(|(seq, (_, at))| (seq, *at)).collect();
        let newest = all.len().saturating_sub(usize::try_from(keep.entries).unwrap());
        let gone = |(index, (_, at)): (usize, &(u64, u64))| {
            let age = keep.age.as_secs();
            index < newest || (age > 0 && at + age <= self.now)
        };
        let count = all.iter().enumerate().filter(|(i, e)| gone((*i, e))).count();
        let seqs: Vec<u64> = all.iter().map(|(seq, _)| *seq).collect();
        (seqs[..count].to_vec(), seqs[count..].to_vec())
    }

    fn lanes(&self) -> Vec<Lane> {
        let mut lanes: Vec<_> = self.all.iter().map(|(lane, _)| lane.clone()).collect();
        lanes.sort();
        lanes.dedup();
        lanes
    }

    fn forget(&mut self) {
        for lane in self.lanes() {
            let (gone, kept) = self.lane(&lane);
            if let (Some(last), []) = (gone.last(), &kept[..]) {
                let at = self.all[usize::try_from(*last).unwrap() - 1].1;
                if at + FORGET <= self.now {
                    self.horizon = self.horizon.max(*last);
                    self.forgotten.insert(lane, *last);
                }
            }
        }
    }
}

async fn run(steps: Vec<Step>) {
    let config = MemoryConfig::default()
        .with_retention(rules())
        .with_id_window(Duration::ZERO)
        .with_forget_after(Duration::from_secs(FORGET));
    let node = MemoryBackend::with_config(config);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Publish { topic, scope } => {
                model.forget();
                let envelope = match scope {
                    0 => message(TOPICS[topic], ""),
                    n => scoped(TOPICS[topic], &format!("s{n}"), ""),
                };
                model.all.push((envelope.lane(), model.now));
                let seq = stored(&publish(&node, envelope).await);
                assert_eq!(seq, u64::try_from(model.all.len()).unwrap());
            }
            Step::Wait { seconds } => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                model.now += seconds;
            }
            Step::Read { after, to, limit, filter } => {
                model.forget();
                check(&node, &model, after, to, limit, FILTERS[filter]).await;
            }
        }
    }
}

async fn check(
    node: &MemoryBackend,
    model: &Model,
    after: u64,
    to: u64,
    limit: usize,
    texts: &[&str],
) {
    let mut query = ReadQuery::range(after, to).with_limit(limit);
    if !texts.is_empty() {
        query = query.with_filters(filters(texts));
    }
    let patterns: Vec<TopicFilter> = texts.iter().map(|text| filter(text)).collect();
    let wanted = |lane: &Lane| texts.is_empty() || patterns.iter().any(|f| f.matches(&lane.topic));
    let page = node.read(query).await.unwrap();

    let head = u64::try_from(model.all.len()).unwrap();
    let (mut kept_seqs, mut gone_floors) = (Vec::new(), Vec::new());
    for lane in model.lanes().into_iter().filter(wanted) {
        let (gone, kept) = model.lane(&lane);
        kept_seqs.extend(kept.into_iter().filter(|seq| *seq > after && *seq <= to));
        if let Some(floor) = gone.last().filter(|floor| **floor > after) {
            let scope = lane.scope.as_ref().map_or(String::new(), |scope| format!(":{scope}"));
            gone_floors.push(format!("{}{scope}={floor}", lane.topic));
        }
    }
    kept_seqs.sort_unstable();
    gone_floors.sort();
    let reached = if kept_seqs.len() > limit { kept_seqs[limit - 1] } else { to.min(head) };
    kept_seqs.truncate(limit);
    assert_eq!(seqs(&page), kept_seqs);
    assert_eq!((page.after, page.to, page.head), (after, reached, head));
    assert_eq!(floors(&page), gone_floors);
    assert_eq!((page.floors_complete, page.horizon), (true, model.horizon));
}

proptest! {
    #[test]
    fn the_log_says_what_the_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps));
    }
}
