//! One node of socketioxide for scripts/drops: `drops-socketioxide PORT [REDIS-URL]`.
//!
//! It has no connection state recovery (its issue 729 asks for it): a client that comes back is a
//! new one. Over Redis it is its Redis adapter as it comes; without, the adapter in memory.

use std::env::args;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, serve};
use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;
use socketioxide::layer::SocketIoLayer;
use socketioxide::SocketIo;
use socketioxide_redis::drivers::redis::redis_client as redis;
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = args().skip(1).collect();
    let port = words.first().ok_or("which port?")?.parse()?;
    match words.get(1) {
        Some(url) => {
            let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
            let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
            let built = SocketIo::builder().with_adapter::<RedisAdapter<_>>(adapter).build_layer();
            let (layer, io) = built;
            io.ns("/", joins).await?;
            listen(port, layer, io).await
        }
        None => {
            let (layer, io) = SocketIo::builder().build_layer();
            io.ns("/", joins);
            listen(port, layer, io).await
        }
    }
}

async fn joins<A: Adapter>(socket: SocketRef<A>) {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    let topic = query.split('&').find_map(|pair| pair.strip_prefix("topic="));
    socket.join(topic.unwrap_or_default().to_owned());
}

async fn listen<A: Adapter>(
    port: u16,
    layer: SocketIoLayer<A>,
    io: SocketIo<A>,
) -> Result<(), Box<dyn Error>> {
    let publish = async move |Path(topic): Path<String>, body: String| {
        match io.to(topic).emit("m", &body).await {
            Ok(()) => StatusCode::CREATED,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    };
    let app = Router::new()
        .route("/", get(async || StatusCode::OK))
        .route("/topics/{topic}", post(publish))
        .layer(layer);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    Ok(serve(listener, app).await?)
}
