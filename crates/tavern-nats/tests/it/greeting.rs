//! What happens when a node comes to a server.

use serde_json::json;
use tavern_backend::{Bus, Error};
use tavern_nats::NatsBackend;
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stand::{Stand, store};

/// Greets like a server of another version, and knows nothing else.
async fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    let info = json!({
        "server_id": "OLD", "server_name": "old", "version": "2.8.4", "go": "go1.19",
        "host": "127.0.0.1", "port": 4222, "headers": true, "max_payload": 1_048_576,
        "proto": 1, "jetstream": true,
    });
    let (read, mut write) = stream.split();
    write.write_all(format!("INFO {info}\r\n").as_bytes()).await?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("PING") {
            write.write_all(b"PONG\r\n").await?;
        }
    }
    Ok(())
}

/// One of a list is too old: the next one does.
#[tokio::test]
async fn a_server_that_is_too_old_does_not_keep_a_node_from_others() {
    let stand = Stand::start(NatsFlavor::Current).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let old = listener.local_addr().unwrap().port();
    let nodes = async {
        let config = stand.through(old).config();
        let error = within("a node opens", NatsBackend::open(config.clone())).await.unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
        assert!(error.to_string().contains("2.8.4"), "{error}");
        let mut both = config;
        both.servers.push(("127.0.0.1".to_owned(), stand.server.port()));
        let node = within("a node opens", NatsBackend::open(both)).await.unwrap();
        let bus = Bus::new(node);
        assert_eq!(store(&bus, message("t", "1")).await, 1);
        bus.close().await.unwrap();
    };
    let mut greeted = tokio::task::JoinSet::new();
    let greeting = async {
        loop {
            greeted.spawn(greet(listener.accept().await.unwrap().0));
        }
    };
    tokio::select! {
        () = nodes => {}
        () = greeting => {}
    }
}
