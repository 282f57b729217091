//! The suite on clusters that all cases share, as they take seconds to start: a namespace each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tavern_testkit::cases::{Case, all};
use tavern_testkit::engine::{NatsCluster, NatsFlavor};
use tavern_testkit::say::message;
use tavern_testkit::wait::{with_patience, within};
use tavern_testkit::{Client, Node, Stage, play, publish};

use super::clustered::{self, ClusterRig};

/// Cases that leave the cluster alone, some at once; now and then a leader dies and comes back.
#[test]
fn every_case_passes_on_a_cluster_whose_leaders_die() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(clustered::start(NatsFlavor::Current));
    let witness = runtime.block_on(Witness::new(&cluster));
    let cases: Vec<_> = all().into_iter().filter(|case| !hurts(case)).collect();
    let failed = Failed::default();
    let share = cases.len().div_ceil(DEATHS + 1);
    for (death, cases) in cases.chunks(share).enumerate() {
        play_each(cases, AT_ONCE, &failed, |_, name| {
            let mut rig = ClusterRig::new(&cluster, name);
            rig.alone = false;
            rig
        });
        if death < DEATHS {
            runtime.block_on(witness.sees_a_leader_die(death));
        }
    }
    runtime.block_on(witness.saw_everything());
    failed.check(cases.len());
}

/// Cases that restart all servers, or put them back to an older state: one after the other on each
/// cluster.
#[test]
fn every_case_passes_on_a_cluster_that_dies() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = || clustered::start(NatsFlavor::Current);
    let clusters = runtime.block_on(join_all(std::iter::repeat_with(start).take(CLUSTERS)));
    let cases: Vec<_> = all().into_iter().filter(hurts).collect();
    let failed = Failed::default();
    play_each(&cases, CLUSTERS, &failed, |at, name| ClusterRig::new(&clusters[at], name));
    failed.check(cases.len());
}

/// Most of a case is waiting.
const AT_ONCE: usize = 4;
/// Most of an election, too.
const CLUSTERS: usize = 4;
/// Leaders that die in between. Each takes as long as an election.
const DEATHS: usize = 4;
/// A cluster takes up to ten seconds for an election, and may hold another.
const PATIENCE: Duration = Duration::from_secs(40);

/// Whether a case restarts or rewinds the engine: nothing else may use it then.
fn hurts(case: &Case) -> bool {
    let name = case.name;
    name.starts_with("fork::")
        || name.starts_with("rewind::")
        || name.ends_with("restart_of_all_processes")
}

/// Plays cases, so many at once.
fn play_each(
    cases: &[Case],
    at_once: usize,
    failed: &Failed,
    rig: impl Fn(usize, &str) -> ClusterRig + Sync,
) {
    let queue = Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for at in 0..at_once {
            let (queue, rig) = (&queue, &rig);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(case) = next else { return };
                    let name = case.name.replace("::", "-").replace('_', "-");
                    failed.note(case, || play_one(case, rig(at, &name)));
                }
            });
        }
    });
}

fn play_one(case: &Case, rig: ClusterRig) {
    let ours = rig.clone();
    play(
        || rig,
        |stage| async move {
            with_patience(PATIENCE, case.run(stage)).await;
        },
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ours.remove()).unwrap();
}

/// What went wrong.
#[derive(Debug, Default)]
struct Failed(Mutex<Vec<String>>);

impl Failed {
    fn note(&self, case: &Case, playing: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(playing)) {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref().copied()).unwrap_or("?");
            self.0.lock().unwrap().push(format!("{}: {said}", case.name));
        }
    }

    /// # Panics
    ///
    /// If a case fails, naming all that do.
    fn check(self, of: usize) {
        let failed = self.0.into_inner().unwrap();
        assert!(failed.is_empty(), "{} of {of} cases fail:\n{}", failed.len(), failed.join("\n"));
    }
}

type Publisher = Box<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>;

/// A client that stays connected all the while, and what is published to it.
struct Witness {
    rig: ClusterRig,
    stage: Stage,
    node: Node,
    /// Not to be shared otherwise.
    client: Mutex<Client>,
    publisher: Publisher,
    published: Mutex<Vec<String>>,
}

impl Witness {
    async fn new(cluster: &Arc<NatsCluster>) -> Self {
        let mut rig = ClusterRig::new(cluster, "witness");
        rig.alone = false;
        let stage = rig.stage();
        let node = stage.node().await;
        let broker = node.broker();
        let mut client = Client::fresh(&broker, &["t"]);
        client.opened().await;
        let publisher: Publisher = Box::new(move |text| {
            let publishing = publish(&broker, message("t", text));
            Box::pin(with_patience(PATIENCE, async { _ = publishing.await }))
        });
        let client = Mutex::new(client);
        Self { rig, stage, node, client, publisher, published: Mutex::default() }
    }

    /// Of the log, and of what knows all streams, by turns.
    async fn sees_a_leader_die(&self, turn: usize) {
        let cluster = &self.rig.cluster;
        self.publish().await;
        if turn.is_multiple_of(2) {
            let (dead, _) = cluster.kill_leader(&self.rig.log()).await.unwrap();
            self.publish().await;
            cluster.start_again(dead).await.unwrap();
        } else {
            let dead = cluster.leader().await.unwrap();
            cluster.kill(dead).await.unwrap();
            self.publish().await;
            cluster.start_again(dead).await.unwrap();
        }
    }

    async fn publish(&self) {
        let text = {
            let mut published = self.published.lock().unwrap();
            let text = published.len().to_string();
            published.push(text.clone());
            text
        };
        (self.publisher)(text).await;
    }

    /// Each once, in order, without a gap; and nobody took a death for a loss.
    async fn saw_everything(self) {
        self.publish().await;
        let published = self.published.into_inner().unwrap();
        let mut client = self.client.into_inner().unwrap();
        assert_eq!(client.texts(published.len()).await, published);
        assert_eq!(self.node.texts().await, published);
        assert!(self.node.head().await.lineage.forks.is_empty());
        within("the stage closes", self.stage.close()).await;
    }
}
