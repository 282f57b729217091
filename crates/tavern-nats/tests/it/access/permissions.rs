//! What an account must be allowed to do, and no more.

use std::time::Duration;

use tavern_backend::{Bus, ReadQuery};
use tavern_testkit::engine::{NatsAuth, NatsFlavor, NatsOptions, NatsUser};
use tavern_testkit::say::message;

use super::{all_works, as_who, refused, user};
use crate::stand::{Stand, down, keeping, on_both};

on_both! {
    what_the_documentation_asks_for_is_enough,
    what_is_not_allowed_is_named,
    another_namespace_is_refused,
}

/// As the crate's documentation has it.
const PUBLISH: &[&str] = &[
    "tavern.default.log.>",
    "tavern.default.meta",
    "tavern.default.feed.live.>",
    "_INBOX.>",
    "$JS.API.STREAM.INFO.TAVERN_default",
    "$JS.API.STREAM.MSG.GET.TAVERN_default",
    "$JS.API.STREAM.MSG.GET.TAVERN_default_META",
    "$JS.API.CONSUMER.CREATE.TAVERN_default",
    "$JS.API.CONSUMER.CREATE.TAVERN_default_META",
    "$JS.API.CONSUMER.DELETE.TAVERN_default.>",
    "$JS.API.CONSUMER.DELETE.TAVERN_default_META.>",
    "$JS.API.CONSUMER.MSG.NEXT.TAVERN_default.>",
];
/// Where the streams are not there yet.
const CREATE: &[&str] =
    &["$JS.API.STREAM.CREATE.TAVERN_default", "$JS.API.STREAM.CREATE.TAVERN_default_META"];
/// Where rules are to be applied.
const UPDATE: &[&str] = &["$JS.API.STREAM.UPDATE.TAVERN_default"];
const SUBSCRIBE: &[&str] = &["tavern.default.feed.>", "_INBOX.>"];

fn allowed(name: &str, publish: &[&str], subscribe: &[&str]) -> NatsUser {
    let text = format!("{{ publish: {publish:?}, subscribe: {subscribe:?} }}");
    NatsUser::new(name, "word").with_permissions(text)
}

async fn stand(flavor: NatsFlavor, users: Vec<NatsUser>) -> Stand {
    let auth = NatsAuth::Users(users);
    Stand::start_with(NatsOptions::new(flavor).with_auth(auth)).await
}

fn node(stand: &Stand, name: &str) -> Stand {
    as_who(stand, user(name, "word")).with(|config| config.timeout = Duration::from_millis(1500))
}

async fn what_the_documentation_asks_for_is_enough(flavor: NatsFlavor) {
    let first = [PUBLISH, CREATE].concat();
    let most = [PUBLISH, UPDATE].concat();
    // One whose inboxes are its own, so that it hears no answers but its own.
    let own = PUBLISH.iter().map(|subject| subject.replace("_INBOX.>", "_INBOX_own.>"));
    let own: Vec<_> = own.collect();
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let users = vec![
        allowed("first", &first, SUBSCRIBE),
        allowed("next", PUBLISH, SUBSCRIBE),
        allowed("most", &most, SUBSCRIBE),
        allowed("own", &own, &[SUBSCRIBE[0], "_INBOX_own.>"]),
    ];
    let stand = stand(flavor, users).await;
    node(&stand, "first").open().await.unwrap().close_bus().await;
    all_works(&node(&stand, "next")).await;
    let more = node(&stand, "most").with(|config| {
        config.retention = Some(keeping(200_000));
        config.apply_retention = true;
    });
    let backend = more.open().await.unwrap();
    assert_eq!(backend.retention_mismatch(), None);
    backend.close_bus().await;
    let own =
        node(&stand, "own").with(|config| config.inbox_prefix = Some("_INBOX_own".to_owned()));
    own.open().await.unwrap().close_bus().await;
    let said = refused(&node(&stand, "own")).await;
    assert!(said.contains("Permissions Violation") && said.contains("_INBOX."), "{said}");
}

/// Whatever is missing: within the patience for an answer there is an error that names it, or the
/// node is down for that reason.
async fn what_is_not_allowed_is_named(flavor: NatsFlavor) {
    let mut users = vec![allowed("all", &[PUBLISH, CREATE].concat(), SUBSCRIBE)];
    let missing: Vec<_> = PUBLISH
        .iter()
        .map(|subject| (*subject, true))
        .chain(SUBSCRIBE.iter().map(|subject| (*subject, false)))
        .collect();
    for (n, (missing, publish)) in missing.iter().enumerate() {
        let without = |all: &[&'static str], here: bool| -> Vec<&str> {
            all.iter().copied().filter(|subject| !here || subject != missing).collect()
        };
        let (p, s) = (without(PUBLISH, *publish), without(SUBSCRIBE, !publish));
        users.push(allowed(&n.to_string(), &p, &s));
    }
    let stand = stand(flavor, users).await;
    let all = Bus::new(node(&stand, "all").open().await.unwrap());
    // More than is read one by one.
    let some = (0..300).map(|n| message("t", n.to_string()));
    for message in some {
        all.publish(message).await.unwrap();
    }
    let mut wrong = Vec::new();
    for (n, (missing, _)) in missing.iter().enumerate() {
        if missing.ends_with("meta") {
            // Only who finds the servers changed writes there.
            stand.kill_and_start().await;
        }
        let node = node(&stand, &n.to_string());
        let said = tokio::time::timeout(Duration::from_secs(4), everything(&node)).await;
        let said = said.unwrap_or_else(|_| "nothing is said".to_owned());
        let stem = missing.trim_end_matches('>');
        if !said.contains("Permissions Violation") || !said.contains(stem) {
            wrong.push(format!("{missing}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    all.close().await.unwrap();
}

/// Does what a node does, and returns the first thing that is said to be wrong.
async fn everything(stand: &Stand) -> String {
    let bus = match stand.open().await {
        Ok(backend) => Bus::new(backend),
        Err(error) => return error.to_string(),
    };
    let mut wrong = Vec::new();
    wrong.extend(bus.publish(message("t", "more")).await.err());
    if wrong.is_empty() {
        wrong.extend(bus.publish(message("live/t", "more")).await.err());
    }
    // Many entries, and a few.
    for to in [u64::MAX, 3] {
        if wrong.is_empty() {
            wrong.extend(bus.read(ReadQuery::range(0, to)).await.err());
        }
    }
    let said = match wrong.pop() {
        Some(error) => error.to_string(),
        None => down(&bus).await,
    };
    bus.close().await.unwrap();
    said
}

/// A node of one namespace may not see or touch another.
async fn another_namespace_is_refused(flavor: NatsFlavor) {
    let stand = stand(flavor, vec![allowed("node", &[PUBLISH, CREATE].concat(), SUBSCRIBE)]).await;
    all_works(&node(&stand, "node")).await;
    // Also one whose name begins like ours.
    for namespace in ["other", "defaul", "default2", "default.feed"] {
        let other = node(&stand, "node").with(|config| config.namespace = namespace.to_owned());
        let said = refused(&other).await;
        assert!(said.contains("Permissions Violation"), "{namespace}: {said}");
    }
}

/// Closing, for what is only opened.
trait CloseBus {
    async fn close_bus(self);
}

impl CloseBus for tavern_nats::NatsBackend {
    async fn close_bus(self) {
        Bus::new(self).close().await.unwrap();
    }
}
