//! Where to listen, and where not.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use crate::failure::Failure;

/// Listens on `address`, which must be a loopback address unless everybody is welcome.
pub(crate) async fn bind(address: &str, anonymous: bool) -> Result<TcpListener, Failure> {
    let resolved: Vec<SocketAddr> = lookup_host(address)
        .await
        .map_err(|error| {
            Failure::usage(format_args!(
                "`{address}` is no address to listen on: {error}; write HOST:PORT, such as \
                 127.0.0.1:8080 or [::1]:8080"
            ))
        })?
        .collect();
    let foreign = resolved.iter().find(|address| !address.ip().to_canonical().is_loopback());
    if let Some(foreign) = foreign.filter(|_| !anonymous) {
        return Err(Failure::usage(format_args!(
            "will not listen on {foreign}: there is no authorization yet, so everybody who reaches \
             this address could read and publish everything. Listen on 127.0.0.1, behind a proxy \
             that knows who may; or say --anonymous if everybody may"
        )));
    }
    let mut last = None;
    for candidate in resolved {
        match TcpListener::bind(candidate).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some((candidate, error)),
        }
    }
    Err(match last {
        None => Failure::usage(format_args!("`{address}` names no address to listen on")),
        Some((candidate, error)) if error.kind() == ErrorKind::AddrInUse => {
            Failure::failed(format_args!(
                "{candidate} is in use: another program listens there. Stop it, or choose another \
                 port with --listen; port 0 takes any free one"
            ))
        }
        Some((candidate, error)) => {
            Failure::failed(format_args!("cannot listen on {candidate}: {error}"))
        }
    })
}
