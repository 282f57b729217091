//! SIGTERM and SIGINT.

use std::process::Stdio;

use rustix::process::Signal;
use tavern_sse::Item;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::kit::{Node, empty, tavern, within};

async fn ends_streams(signal: Signal) {
    let dir = empty();
    let mut node = Node::start(dir.path(), &[]).await;
    let mut stream = node.stream("orders", "").await;
    stream.opening().await;
    node.signal(signal);
    let mut last = None;
    while let Some(item) = stream.item().await {
        last = Some(item);
    }
    assert!(matches!(last, Some(Item::Retry(_))), "the last word is {last:?}");
    assert_eq!(node.code().await, Some(0));
}

#[tokio::test]
async fn sigterm_ends_streams_with_a_time_to_come_back() {
    ends_streams(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_ends_streams_with_a_time_to_come_back() {
    ends_streams(Signal::INT).await;
}

#[tokio::test]
async fn a_hub_whose_log_nobody_reads_ends_in_order() {
    let dir = empty();
    let mut command = tavern(dir.path());
    command.args(["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
    let mut node = Node::of(command).await;
    drop(node.child.stderr.take());
    node.signal(Signal::TERM);
    assert_eq!(node.code().await, Some(0));
}

/// A connection in the middle of a request, which holds a clean end back.
async fn half_a_request(node: &Node) -> TcpStream {
    let mut socket = TcpStream::connect(node.address()).await.unwrap();
    let head = b"POST /topics/a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
                 content-length: 5\r\n\r\n";
    socket.write_all(head).await.unwrap();
    // The answer to `expect` shows that the request is being read.
    let mut answer = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut socket, &mut answer);
    within("100-continue", read).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    socket
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let dir = empty();
    let mut node = Node::start(dir.path(), &["--shutdown-timeout", "10m"]).await;
    let mut stream = node.stream("orders", "").await;
    stream.opening().await;
    let _half = half_a_request(&node).await;
    node.signal(Signal::TERM);
    // The end of the stream shows that the first signal was heard.
    while stream.item().await.is_some() {}
    node.signal(Signal::INT);
    assert_eq!(node.code().await, Some(130));
}

#[tokio::test]
async fn a_clean_end_is_not_waited_for_longer_than_said() {
    let dir = empty();
    let mut node = Node::start(dir.path(), &["--shutdown-timeout", "200ms"]).await;
    let _half = half_a_request(&node).await;
    node.signal(Signal::TERM);
    assert_eq!(node.code().await, Some(1));
}
