//! What is no request at all is answered with a problem, too.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Node, empty, within};

/// Sends `bytes` and reads to the end: the connection closes.
async fn raw(node: &Node, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(node.address()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut reply = String::new();
    within("the answer and the end", socket.read_to_string(&mut reply)).await.unwrap();
    reply
}

#[tokio::test]
async fn what_is_no_request_is_explained() {
    let dir = empty();
    let node = Node::start(dir.path(), &[]).await;
    let long = format!("GET /events?topic={} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(66_000));
    let many: String = (0..101).map(|n| format!("a{n}: x\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    // As much as the server reads before it gives up, and no more: what nobody reads any more
    // would end the connection before the answer is there.
    let mut large = b"GET / HTTP/1.1\r\nhost: x\r\nlarge: ".to_vec();
    large.resize(8192 + 100 * 4096, b'x');
    let rows: [(&[u8], &str, &str, &str); 8] = [
        (b"hello\r\n\r\n", "400 Bad Request", "malformed-request", "request line"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "400 Bad Request", "malformed-request", "HTTP"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400 Bad Request", "malformed-request", "header"),
        (
            b"POST /topics/a HTTP/1.1\r\nhost: x\r\ncontent-length: five\r\n\r\n",
            "400 Bad Request",
            "malformed-request",
            "`content-length`",
        ),
        (
            b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nhello\r\n\r\n",
            "400 Bad Request",
            "malformed-request",
            "request line",
        ),
        (long.as_bytes(), "414 URI Too Long", "uri-too-long", "wildcards"),
        (
            many.as_bytes(),
            "431 Request Header Fields Too Large",
            "head-too-large",
            "more than 100 headers",
        ),
        (&large, "431 Request Header Fields Too Large", "head-too-large", "400 KiB"),
    ];
    for (bytes, status, kind, words) in rows {
        let reply = raw(&node, bytes).await;
        // The last answer is the refusal; a good request before it has its own.
        let refusal = &reply[reply.rfind("HTTP/1.1 ").unwrap_or_default()..];
        let (head, body) = refusal.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{kind}: {reply}");
        assert!(head.contains("\r\ncontent-type: application/problem+json"), "{kind}: {reply}");
        assert!(head.contains("\r\nconnection: close"), "{kind}: {reply}");
        let told: Value = serde_json::from_str(body).unwrap_or_default();
        assert_eq!(told["status"].to_string(), status[..3], "{reply}");
        let of = told["type"].as_str().unwrap_or_default();
        assert!(of.ends_with(&format!("PROBLEMS.md#{kind}")), "{kind}: {reply}");
        let detail = told["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{kind}: {reply}");
    }
    assert_eq!(node.get("/healthz").await.status(), 200);
}
