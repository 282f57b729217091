//! Where it listens, and where not.

use crate::kit::{Node, empty, refused, tavern};

#[tokio::test]
async fn an_address_beyond_this_machine_needs_anonymous() {
    let dir = empty();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        refused(dir.path(), &["serve", "--listen", address], 2, "there is no authorization").await;
        refused(dir.path(), &["serve", "--listen", address], 2, "--anonymous").await;
    }
    assert!(!dir.path().join("tavern.db").exists(), "nothing is made where nothing is served");
    let mut command = tavern(dir.path());
    command.args(["serve", "--listen", "0.0.0.0:0", "--anonymous", "--backend", "memory:"]);
    let node = Node::of(command).await;
    assert!(node.address().starts_with("0.0.0.0:"), "{}", node.url);
}

#[tokio::test]
async fn names_of_the_loopback_are_fine() {
    let dir = empty();
    let mut command = tavern(dir.path());
    command.args(["serve", "--listen", "localhost:0", "--backend", "memory:"]);
    let node = Node::of(command).await;
    assert_eq!(node.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_port_in_use_is_said_to_be() {
    let dir = empty();
    let node = Node::start(dir.path(), &[]).await;
    let args = ["serve", "--listen", node.address()];
    refused(dir.path(), &args, 1, "is in use: another program listens there").await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let dir = empty();
    let check = async |args: &[&str], words| {
        let args: Vec<_> = ["serve"].iter().chain(args).copied().collect();
        refused(dir.path(), &args, 2, words).await;
    };
    check(&["--listen", "8080"], "write HOST:PORT").await;
    check(&["--backend", "kafka://:hunter2@host"], "compiled in: `memory:`, `sqlite:PATH`").await;
    check(&["--backend", "redis://:hunter2@host?db=1"], "`db` is no parameter").await;
    check(&["--backend", "nats://:hunter2@host"], "USER:PASSWORD or a token").await;
    check(&["--backend", "tls://hunter2@host?db=1"], "`db` is no parameter").await;
    check(&["--backend", "sqlite:"], "a file is expected").await;
    check(&["--backend", "memory:", "--durability", "full"], "`durability` is no parameter").await;
    check(&["--backend", "sqlite:x.db?namespace=a", "--namespace", "b"], "given twice").await;
    check(&["--allow-origin", "app.example"], "is not an origin").await;
    check(&["--heartbeat", "soon"], "write it like").await;
    check(&["--log", "=="], "the log filter").await;
    check(&["--durability", "some"], "full, normal").await;
}

#[tokio::test]
async fn a_backend_that_cannot_be_opened_is_a_failure() {
    let dir = empty();
    let args = ["serve", "--listen", "127.0.0.1:0", "--backend", "sqlite:no/such/dir/x.db"];
    refused(dir.path(), &args, 1, "the backend cannot be opened").await;
}
