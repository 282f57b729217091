//! Taking connections: one owned task each.

mod refusal;

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tavern::backend::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use refusal::Explained;

/// How long a client may take to send a request's head, and may keep an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long bytes may stay unacknowledged before a peer counts as gone.
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait when there are no files left for another connection.
const FILES_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until `stop`; those that are open go on until `tasks` are told to end.
pub(crate) async fn run(
    listener: TcpListener,
    router: Router,
    tasks: Tasks,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(connection(stream, router.clone(), tasks.token().clone()));
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken for now");
                tokio::time::sleep(FILES_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, end: CancellationToken) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let io = Explained::new(TokioIo::new(stream));
    let mut connection = pin!(http.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // An event must not wait for the acknowledgement of the one before it.
    stream.set_nodelay(true)?;
    // Without this a client that vanished is noticed only after some fifteen minutes.
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(
        stream,
        u32::try_from(PEER_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
    )?;
    Ok(())
}

/// Whether the error is that of one connection, which was gone before it was taken.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
