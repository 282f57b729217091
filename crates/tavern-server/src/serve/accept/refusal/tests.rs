use std::future::poll_fn;

use super::*;

/// Takes a few bytes at every other call.
#[derive(Debug, Default)]
struct Trickle {
    written: Vec<u8>,
    ready: bool,
}

impl Write for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ready = !self.ready;
        if !self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = buf.len().min(7);
        self.written.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What leaves when all of `bytes` is written, and the connection shut down then.
async fn leaves(bytes: &[u8]) -> String {
    let mut io = Explained::new(Trickle::default());
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut io).poll_write(cx, rest)).await.unwrap();
        rest = &rest[n..];
    }
    poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await.unwrap();
    String::from_utf8(io.io.written).unwrap()
}

#[tokio::test]
async fn a_refusal_gets_its_body_and_keeps_its_head_however_slowly_it_leaves() {
    let bare =
        "HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
    let told = leaves(bare.as_bytes()).await;
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = head.split("\r\n").collect();
    assert_eq!(lines[..3], ["HTTP/1.1 414 URI Too Long", "connection: close", "date: now"]);
    assert_eq!(lines[3], format!("content-length: {}", body.len()));
    assert!(lines.contains(&"content-type: application/problem+json"), "{head}");
    assert!(body.contains("#uri-too-long"), "{body}");
}

#[tokio::test]
async fn everything_else_leaves_as_it_is() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 19\r\n\r\n{\"what\":\"is wrong\"}",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 01\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "data: HTTP/1.1 400 Bad Request\ndata: content-length: 0\n\n",
        "HTTP/1.1 4",
        "",
    ] {
        assert_eq!(leaves(bytes.as_bytes()).await, bytes);
    }
}
