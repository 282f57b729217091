//! `tavern serve`: the hub.

mod accept;
mod listen;

use std::path::PathBuf;

use tavern::backend::Tasks;
use tavern::{Broker, BrokerConfig, ConnectOptions, connect_with};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{Durability, ServeArgs};
use crate::failure::Failure;
use crate::file::File;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::{logging, output};

/// Open files that are no streams: the backend's, the listener, probes and publishers.
const OTHER_FILES: u64 = 256;

pub(crate) async fn run(mut args: ServeArgs) -> Result<(), Failure> {
    let named: Option<PathBuf> = args.config.take();
    let until_stdin_ends = args.until_stdin_ends;
    let file = File::read(named.as_deref())?;
    let settings = Settings::new(args, file)?;
    logging::start(&settings.log)?;
    let mut signals = Signals::catch()?;
    let listener = listen::bind(&settings.listen, settings.anonymous).await?;
    let ended = CancellationToken::new();
    if until_stdin_ends {
        end_with_stdin(ended.clone());
    }
    let broker = open(&settings).await?;

    let tasks = Tasks::new();
    let mut http = settings.http.clone();
    http.max_streams = http.max_streams.or_else(streams_possible);
    let router = tavern::http::routes(broker.clone(), http);
    say(&listener, &broker)?;
    let stop = CancellationToken::new();
    tasks.spawn(accept::run(listener, router, tasks.clone(), stop.clone()));

    let signalled = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "closing; a second signal ends at once");
            true
        }
        () = ended.cancelled() => {
            tracing::info!("closing: standard input has ended");
            false
        }
    };
    stop.cancel();
    let closing = async {
        // Connections end after the answer they are giving; the streams' bodies end with the broker.
        tasks.cancel();
        broker.close().await;
        tasks.close().await;
    };
    tokio::select! {
        closed = tokio::time::timeout(settings.shutdown_timeout, closing) => match closed {
            Ok(()) => {
                tracing::info!("closed");
                Ok(())
            }
            Err(_) => Err(Failure::failed(format_args!(
                "connections were still open after {:?} and were cut", settings.shutdown_timeout
            ))),
        },
        number = forced(signals, signalled) => Err(Failure::signal(number)),
    }
}

/// Waits for the signal that ends it at once: the second one.
async fn forced(mut signals: Signals, signalled: bool) -> u8 {
    if !signalled {
        signals.next().await;
    }
    signals.next().await
}

/// Opens the backend, and a broker on it.
async fn open(settings: &Settings) -> Result<Broker, Failure> {
    let url = backend_url(settings);
    let options = ConnectOptions::default()
        .with_retention(settings.retention.clone())
        .with_apply_retention(settings.apply_retention);
    let bus = connect_with(&url, options).await.map_err(|error| {
        let detail = format!("the backend cannot be opened: {error}");
        match error {
            tavern::backend::Error::Config { .. } | tavern::backend::Error::Invalid(_) => {
                Failure::usage(detail)
            }
            _ => Failure::failed(detail),
        }
    })?;
    let mut config = BrokerConfig::default();
    if let Some(bytes) = settings.ring_bytes {
        config.ring_bytes = bytes;
    }
    Broker::builder()
        .bus(bus)
        .config(config)
        .build()
        .map_err(|error| Failure::failed(format_args!("the node cannot start: {error}")))
}

/// The backend's URL, with what flags, environment and file say about it.
fn backend_url(settings: &Settings) -> String {
    let mut url = settings.backend.clone();
    let mut add = |name: &str, value: &str| {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(name);
        url.push('=');
        for byte in value.bytes() {
            url.push_str(&format!("%{byte:02X}"));
        }
    };
    if let Some(namespace) = &settings.namespace {
        add("namespace", namespace);
    }
    match settings.durability {
        None => {}
        Some(Durability::Full) => add("durability", "full"),
        Some(Durability::Normal) => add("durability", "normal"),
    }
    url
}

/// One line for people and for scripts, once connections are taken.
fn say(listener: &TcpListener, broker: &Broker) -> Result<(), Failure> {
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format_args!("the address is not known: {error}")))?;
    let info = broker.bus().info();
    tracing::info!(
        target: "tavern::_events::listening",
        %address,
        node = %info.node,
        namespace = %info.namespace,
        backend = %info.name,
        location = %info.location,
        "listening"
    );
    output::line(format_args!("listening on http://{address}"))
}

/// As many streams as files may be open; the limit is raised as far as it may be.
fn streams_possible() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = if raised.is_ok() { limit.maximum } else { limit.current };
    files.and_then(|files| usize::try_from(files.saturating_sub(OTHER_FILES).max(1)).ok())
}

/// Cancels `ended` once standard input ends: the one who holds its other end is gone.
fn end_with_stdin(ended: CancellationToken) {
    // A thread, because reading standard input cannot be cancelled. It ends with the process.
    std::thread::spawn(move || {
        // An error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        ended.cancel();
    });
}
