//! Two processes in one directory.

use crate::kit::{Node, empty};

#[tokio::test]
async fn two_hubs_in_one_directory_are_a_cluster() {
    let dir = empty();
    let a = Node::start(dir.path(), &[]).await;
    let b = Node::start(dir.path(), &[]).await;
    let mut stream = b.stream("orders", "").await;
    stream.opening().await;
    let id = a.post("orders", "hello").await;
    assert_eq!(stream.message().await, ("hello".to_owned(), id));
    let (of_a, of_b) = (a.json("/status").await, b.json("/status").await);
    assert_eq!(of_a["epoch"], of_b["epoch"]);
    assert_ne!(of_a["node"], of_b["node"]);
}

#[tokio::test]
async fn an_id_goes_on_on_the_other_port_whichever_process_is_killed() {
    let dir = empty();
    let mut a = Node::start(dir.path(), &[]).await;
    let mut b = Node::start(dir.path(), &[]).await;
    let mut stream = b.stream("orders", "").await;
    stream.opening().await;
    a.post("orders", "1").await;
    let (data, id) = stream.message().await;
    assert_eq!(data, "1");
    a.post("orders", "2").await;

    let mut there = a.stream("orders", &id).await;
    assert_eq!(there.message().await.0, "2");

    // The publisher's process dies; the other one goes on, also while it is alone.
    a.kill().await;
    let id = b.post("orders", "3").await;
    assert_eq!(stream.message().await.0, "2");
    assert_eq!(stream.message().await, ("3".to_owned(), id.clone()));
    let a = a.again(dir.path()).await;
    b.post("orders", "4").await;
    let mut there = a.stream("orders", &id).await;
    assert_eq!(there.message().await.0, "4");

    // The reader's process dies; its id goes on on the other one, and on itself.
    b.kill().await;
    let last = a.post("orders", "5").await;
    assert_eq!(there.message().await, ("5".to_owned(), last));
    let b = b.again(dir.path()).await;
    for node in [&a, &b] {
        let mut back = node.stream("orders", &id).await;
        assert_eq!((back.message().await.0, back.message().await.0), ("4".into(), "5".into()));
        let end = back.event("tavern-reconnected").await.data;
        assert!(end.contains(r#""complete":true"#), "{end}");
    }
}

#[tokio::test]
async fn ids_survive_the_end_of_all_processes() {
    let dir = empty();
    let mut a = Node::start(dir.path(), &[]).await;
    let opening = a.stream("**", "").await.opening().await;
    a.post("orders", "1").await;
    a.kill().await;
    let b = Node::start(dir.path(), &[]).await;
    let mut stream = b.stream("**", &opening).await;
    assert_eq!(stream.message().await.0, "1");
    b.post("news", "2").await;
    assert_eq!(stream.message().await.0, "2");
}
