//! The log's own word on where it stands, its beginning where there is none, and its epochs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::HeaderMap;
use tavern_backend::{Epoch, Head, Lineage, LogTime, Position, Retention};
use tokio::time::Instant;

use crate::api::{Api, StreamInfo, WRONG_LAST, Which, parse_time};
use crate::failure::Failure;
use crate::meta::{Keeps, Meta, SAMPLES};
use crate::number::millis;
use crate::shared::{Session, Shared};
use crate::stream::{self, Limits, Needs};

/// Names of servers, and their ids as far as they are known.
type Servers = BTreeMap<String, Option<String>>;
type Result<T> = std::result::Result<T, Failure>;

/// How often a look is begun anew because the log was just made, or another one.
const TRIES: usize = 6;
/// No sample says more than that it is this exact.
const CLOCKS: i64 = 1000;

/// What changes rarely: which log it is, its epochs and its rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    /// The seq of the message it comes from, in the stream of those.
    pub(crate) revision: u64,
    pub(crate) meta: Meta,
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) limits: Limits,
    /// What the subjects of the log begin with.
    pub(crate) prefix: String,
}

impl View {
    pub(crate) fn is_same_log(&self, other: &Self) -> bool {
        self.meta.log == other.meta.log && self.meta.created == other.meta.created
    }

    /// Whether the other one is what the same log said of itself before. Revisions begin anew where
    /// that was deleted, and with an epoch of which nothing older knows.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        let epoch = other.lineage.epoch;
        let mut epochs = self.lineage.forks.iter().map(|fork| fork.parent);
        let known = self.lineage.epoch == epoch || epochs.any(|parent| parent == epoch);
        known && self.revision > other.revision
    }
}

/// The log at one moment.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) view: Arc<View>,
    pub(crate) head: Head,
    /// The log's time before it was asked for its head: what came later lies above that.
    pub(crate) asked: LogTime,
    /// The first seq that is stored.
    pub(crate) first: u64,
    /// What its stream keeps.
    pub(crate) keeps: Keeps,
    /// The server tells the time by the way.
    pub(crate) tells_time: bool,
    /// The servers that hold the log, the leader first; none if it is just the one.
    pub(crate) servers: Vec<String>,
    /// All of them run and have the log.
    pub(crate) whole: bool,
}

impl Shared {
    /// Asks the log's leader where it stands; creates the log if there is none.
    pub(crate) async fn look(&self, session: &Session) -> Result<State> {
        let looked = self.try_look(session).await;
        looked.inspect_err(|failure| {
            session.notice(failure);
            if failure.lasting {
                // Nothing works on such a log: the node is not ready, and says why, until it changes.
                session.ending.end(&failure.reason);
            }
        })
    }

    async fn try_look(&self, session: &Session) -> Result<State> {
        let api = &session.api;
        for _ in 0..TRIES {
            let (asked, time) = (Instant::now(), self.clock.now());
            let Some(info) = api.stream(&self.names.log_stream()).await? else {
                self.create(api).await?;
                continue;
            };
            if let Some(server) = info.ts.as_deref().and_then(parse_time) {
                self.clock.learn(asked, server);
            }
            let known = self.view();
            let rules = known.as_ref().map(|view| Arc::clone(&view.retention));
            let rules =
                rules.unwrap_or_else(|| self.config.retention.clone().unwrap_or_default().into());
            let needs = Needs::new(&rules, &self.config);
            let (limits, log, differs) =
                stream::check(&info.config, &self.names, needs, &self.config)?;
            // Asked after the stream: an epoch that is opened in between lies above that head.
            let said =
                match api.get(&self.names.meta_stream(), Which::LastOf(&self.names.meta())).await {
                    Ok(said) => said,
                    Err(failure) if failure.absent && failure.code != 0 => {
                        let settings = stream::of_meta(&self.names, &self.config);
                        api.create(&settings).await?;
                        continue;
                    }
                    Err(failure) => return Err(failure),
                };
            let (revision, meta) = match said {
                Some(said) => (said.seq, Some(Meta::parse(&said.payload)?)),
                None => (0, None),
            };
            match meta {
                Some(meta) if meta.log == log && meta.created == info.created => {
                    let view = self.view_of(revision, meta, limits)?;
                    if known.is_none_or(|known| known.limits != view.limits) {
                        for difference in differs {
                            tracing::warn!("the stream {}: {difference}", self.names.log_stream());
                        }
                    }
                    return Ok(self.state(view, &info, time));
                }
                old => self.begin(api, revision, old, log, &info).await?,
            }
        }
        Err(Failure::new("the log of the namespace comes and goes"))
    }

    pub(crate) fn view_of(&self, revision: u64, meta: Meta, limits: Limits) -> Result<View> {
        Ok(View {
            revision,
            lineage: Arc::new(meta.lineage()?),
            retention: Arc::new(meta.retention.clone()),
            prefix: self.names.log(&meta.log),
            meta,
            limits,
        })
    }

    fn state(&self, view: View, info: &StreamInfo, asked: LogTime) -> State {
        let now = self.clock.now();
        let last = info.state.last_seq;
        let horizon = horizon(&view, info, now.as_millis());
        let view = Arc::new(view);
        self.set_view(&view, last);
        self.note_reached(last);
        let head = Head {
            position: Position::new(view.lineage.epoch, last),
            lineage: Arc::clone(&view.lineage),
            now,
            horizon,
            retention: Arc::clone(&view.retention),
            format: view.meta.format,
        };
        let servers = info.cluster.as_ref().map_or_else(Vec::new, |cluster| {
            let peers = cluster.replicas.iter().map(|peer| peer.name.clone());
            cluster.leader.iter().cloned().chain(peers).collect()
        });
        let whole = info.cluster.as_ref().is_none_or(|cluster| {
            cluster.leader.is_some()
                && cluster.replicas.iter().all(|peer| peer.current && !peer.offline)
        });
        let keeps = view.limits.keeps();
        let (first, tells_time) = (info.state.first_seq, info.ts.is_some());
        State { view, head, asked, first, keeps, tells_time, servers, whole }
    }

    /// The rules of a new log: one that is lost leaves its rules behind.
    fn rules(&self) -> Retention {
        match self.view() {
            Some(view) => (*view.retention).clone(),
            None => self.config.retention.clone().unwrap_or_default(),
        }
    }

    /// Creates the log's stream, if nobody else has.
    async fn create(&self, api: &Api) -> Result<()> {
        let id = Epoch::random().map_err(|error| Failure::new(error.to_string()))?;
        let rules = self.rules();
        let needs = Needs::new(&rules, &self.config);
        let settings = stream::of_log(&self.names, &id.to_string(), needs, &self.config);
        api.create(&settings).await.map(drop)
    }

    /// Says which log it is: a new one, of which no older position knows anything.
    async fn begin(
        &self,
        api: &Api,
        revision: u64,
        old: Option<Meta>,
        log: String,
        info: &StreamInfo,
    ) -> Result<()> {
        let epoch = Epoch::random().map_err(|error| Failure::new(error.to_string()))?;
        let retention = match old {
            Some(old) => {
                tracing::error!(
                    namespace = %self.config.namespace,
                    "the log is another one than before (its stream was deleted or replaced): every \
                     client is told"
                );
                old.retention
            }
            // That alone may be lost.
            None => self.rules(),
        };
        let mut meta = Meta::new(log, info.created.clone(), epoch, retention);
        // Of what is there already nothing is known.
        meta.horizon = info.state.last_seq;
        self.say(api, revision, &meta).await.map(drop)
    }

    /// Writes what the log says of itself, if nobody else has since `revision`. Returns its seq.
    pub(crate) async fn say(&self, api: &Api, revision: u64, meta: &Meta) -> Result<Option<u64>> {
        let body = serde_json::to_vec(meta)
            .map_err(|error| Failure::lasting(format!("the rules cannot be written: {error}")))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
        match api.publish(self.names.meta(), headers, body.into()).await {
            Ok(ack) => Ok(Some(ack.seq)),
            Err(failure) if WRONG_LAST.contains(&failure.code) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Changes what the log says of itself. `change` says whether there is anything to change; it
    /// is asked again when somebody else was faster.
    pub(crate) async fn amend(
        &self,
        session: &Session,
        mut change: impl FnMut(&State, &mut Meta) -> Result<bool>,
    ) -> Result<State> {
        for _ in 0..TRIES {
            let state = self.look(session).await?;
            let mut meta = state.view.meta.clone();
            if !change(&state, &mut meta)? {
                return Ok(state);
            }
            self.say(&session.api, state.view.revision, &meta)
                .await
                .inspect_err(|failure| session.notice(failure))?;
        }
        Err(Failure::new("what the log says of itself changes all the time"))
    }

    /// Makes sure, before anything is appended, that the log is the one it was: if a majority of its
    /// servers is not what it was, or somebody has seen more of this epoch than there is, a new
    /// epoch is opened. With nothing to append, only what is known to be lost is noted.
    pub(crate) async fn settle(
        &self,
        session: &Session,
        known: Option<Position>,
        appends: bool,
    ) -> Result<Arc<View>> {
        let servers = self.servers_now(session, appends).await;
        let first = !session.settled.load(Ordering::Acquire);
        if appends
            && session.overtaken
            && let Some(view) = self.view()
            && view.limits.replicas > 1
            && !view.meta.is_of(&servers)
        {
            // What a leader was given when it was alone is stored once others are back; above the
            // fork it would pass for lost to whoever had it before.
            let passed = session.api.overtake_nothing(self.names.fence(&view.meta.log)).await;
            passed.inspect_err(|failure| session.notice(failure))?;
        }
        let fresh = Epoch::random().map_err(|error| Failure::new(error.to_string()))?;
        let mut opened = None;
        let state = self
            .amend(session, |state, meta| {
                let head = state.head.position;
                let mut lineage = (*state.head.lineage).clone();
                let mut changed = false;
                let beyond = known.filter(|k| k.epoch == head.epoch && k.seq > head.seq);
                // Once: ids of servers that cannot be asked stay unknown.
                let moved = head.epoch != fresh && !meta.is_of(&servers);
                if appends && (beyond.is_some() || moved) {
                    lineage.fork(fresh, head.seq);
                    changed = true;
                    opened = Some(head);
                }
                if let Some(known) = known {
                    changed |= lineage.learn(known);
                }
                // Later on this link's word is an old one.
                if appends && (first || moved) {
                    changed |= meta.note_servers(&servers);
                }
                meta.set_lineage(&lineage);
                Ok(changed)
            })
            .await?;
        if let Some(old) = opened
            && state.head.lineage.epoch == fresh
        {
            tracing::info!(?old, "the log's servers are not what they were: a new epoch begins");
        }
        if appends {
            session.settled.store(true, Ordering::Release);
        }
        Ok(state.view)
    }

    /// The log's servers as this link knows them; asked anew if they are not those the log knows, or
    /// may have started anew since they were asked.
    async fn servers_now(&self, session: &Session, appends: bool) -> Servers {
        let servers = session.servers();
        let same = || self.view().is_none_or(|view| view.meta.is_of(&servers));
        if !appends || (session.settled.load(Ordering::Acquire) && same()) {
            return servers;
        }
        let names = servers.keys().cloned().collect::<Vec<_>>();
        let servers = self.connector.ids(&names, &session.server).await;
        session.set_servers(servers.clone());
        servers
    }

    /// Writes this node's rules into a log that has others, if it is to. Returns the log's rules if
    /// they differ in the end.
    pub(crate) async fn settle_rules(&self, session: &Session) -> Result<Option<Retention>> {
        let Some(wanted) = &self.config.retention else { return Ok(None) };
        let state = self.look(session).await?;
        if wanted.same_rules(&state.view.retention) {
            return Ok(None);
        }
        if !self.config.apply_retention {
            tracing::warn!("{}", wanted.explain_mismatch(&state.view.retention));
            return Ok(Some((*state.view.retention).clone()));
        }
        tracing::info!(
            "the log kept {}; from now on it keeps {wanted}, for all nodes",
            state.view.retention
        );
        // What it has kept until now.
        let keeps = |state: &State, meta: &mut Meta| {
            meta.note_keeps(state.keeps, state.first, state.head.position.seq)
        };
        self.amend(session, |state, meta| Ok(keeps(state, meta))).await?;
        self.widen(session, Needs::new(wanted, &self.config)).await?;
        self.amend(session, |state, meta| {
            let noted = keeps(state, meta);
            if wanted.same_rules(&meta.retention) {
                return Ok(noted);
            }
            let version = meta.retention.version.max(wanted.version) + 1;
            meta.retention = wanted.clone();
            meta.retention.version = version;
            Ok(true)
        })
        .await?;
        Ok(None)
    }

    /// Makes the stream keep as much as the rules ask for.
    async fn widen(&self, session: &Session, needs: Needs) -> Result<()> {
        let info = session.api.stream(&self.names.log_stream()).await?;
        let Some(StreamInfo { mut config, .. }) = info else { return Ok(()) };
        let wanted = stream::of_log(&self.names, "", needs, &self.config);
        let mut changed = false;
        for key in ["max_msgs_per_subject", "max_age"] {
            let (old, new) = (config.get(key).cloned(), wanted.get(key).cloned());
            if let Some(new) = new.filter(|_| old != wanted.get(key).cloned()) {
                config.insert(key.to_owned(), new);
                changed = true;
            }
        }
        if changed { session.api.update(&config).await } else { Ok(()) }
    }

    /// Learns the server's time from a server that does not tell it by the way.
    pub(crate) async fn learn_time(&self, session: &Session) -> Result<()> {
        let stream = self.names.meta_stream();
        let asked = Instant::now();
        let (name, created) =
            session.api.create_consumer(&stream, u64::MAX >> 1, None, true).await?;
        if let Some(time) = parse_time(&created) {
            self.clock.learn(asked, time);
        }
        session.api.delete_consumer(&stream, &name).await
    }
}

/// What was removed of lanes that the log says nothing else of lies at or below this seq.
fn horizon(view: &View, info: &StreamInfo, now: i64) -> u64 {
    let oldest = info.state.first_seq.saturating_sub(1);
    let Limits { age, closed, .. } = view.limits;
    let by_age = match age {
        _ if !closed => oldest,
        None => 0,
        Some(age) => {
            let then = now.saturating_sub(millis(age)).saturating_add(CLOCKS);
            let young = parse_time(&info.created).is_some_and(|created| created > then);
            if young { 0 } else { view.meta.head_at(then).map_or(oldest, |seq| seq.min(oldest)) }
        }
    };
    // Until that is noted.
    let hidden = view.meta.keeps.map_or(0, |older| {
        view.limits.keeps().hides(&older, info.state.first_seq, info.state.last_seq)
    });
    by_age.max(hidden).max(view.meta.horizon)
}

/// How often it is noted where the head is.
pub(crate) fn sample_interval(age: Duration) -> i64 {
    (millis(age) / i64::try_from(SAMPLES / 2).unwrap_or(16)).max(CLOCKS)
}
