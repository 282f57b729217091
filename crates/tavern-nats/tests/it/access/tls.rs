//! TLS.

use std::path::PathBuf;

use tavern_backend::{Error, Tasks};
use tavern_nats::Tls;
use tavern_testkit::engine::{NatsFlavor, NatsOptions, NatsTls};
use tokio::net::{TcpListener, TcpStream};

use super::{all_works, refused};
use crate::stand::{Stand, on_both};

on_both! {
    an_authority_of_ones_own_is_trusted_and_no_other,
    both_show_a_certificate,
}

async fn start(flavor: NatsFlavor, tls: NatsTls) -> Stand {
    Stand::start_with(NatsOptions::new(flavor).with_tls(tls)).await
}

fn ca(stand: &Stand) -> PathBuf {
    stand.server.dir().join("ca.pem")
}

fn trusting(
    stand: &Stand,
    ca: PathBuf,
    change: impl Fn(&mut Tls) + Send + Sync + 'static,
) -> Stand {
    stand.with(move |config| {
        let mut tls = Tls::default();
        tls.ca = Some(ca.clone());
        change(&mut tls);
        config.tls = Some(tls);
    })
}

fn at(stand: &Stand, host: &'static str, port: u16) -> Stand {
    stand.with(move |config| config.servers = vec![(host.to_owned(), port)])
}

async fn an_authority_of_ones_own_is_trusted_and_no_other(flavor: NatsFlavor) {
    let stand = start(flavor, NatsTls::Server).await;
    let other = start(flavor, NatsTls::Server).await;
    let tls = trusting(&stand, ca(&stand), |_| {});
    all_works(&tls).await;
    let by_name = at(&tls, "localhost", stand.server.port());
    all_works(&by_name.with(|config| config.namespace = "by-name".to_owned())).await;
    let said = refused(&trusting(&stand, ca(&other), |_| {})).await;
    assert!(said.contains("TLS fails") && said.contains("certificate"), "{said}");
    // Nobody told this node of an authority; the server demands TLS, and the system's do not know
    // its own.
    let said = refused(&stand).await;
    assert!(said.contains("TLS fails") && said.contains("certificate"), "{said}");

    // The certificate is for 127.0.0.1 and localhost.
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), stand.server.port());
    let tasks = Tasks::new();
    let token = tasks.token().clone();
    tasks.spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (mut client, _) = tokio::select! {
                client = listener.accept() => client.unwrap(),
                () = token.cancelled() => return,
            };
            open.spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                // It ends when either does.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let said = refused(&at(&tls, "127.0.0.2", port)).await;
    assert!(said.contains("TLS fails") && said.contains("127.0.0.2"), "{said}");
    tasks.close().await;

    // Files that are not there, or are something else, are named.
    for (name, text) in [("missing.pem", None), ("empty.pem", Some(""))] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = trusting(&stand, file, |_| {}).open().await.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

async fn both_show_a_certificate(flavor: NatsFlavor) {
    let stand = start(flavor, NatsTls::Mutual).await;
    let files = stand.server.client_files();
    let shown = files.clone();
    all_works(&trusting(&stand, ca(&stand), move |tls| tls.client = Some(shown.clone()))).await;
    let said = refused(&trusting(&stand, ca(&stand), |_| {})).await;
    assert!(said.contains("TLS fails") && said.contains("Certificate"), "{said}");
    // Of another authority.
    let other = start(flavor, NatsTls::Mutual).await;
    let theirs = other.server.client_files();
    let wrong = trusting(&stand, ca(&stand), move |tls| tls.client = Some(theirs.clone()));
    let said = refused(&wrong).await;
    assert!(said.contains("TLS fails"), "{said}");
    // The key is not in the file.
    let swapped = (files.0.clone(), files.0.clone());
    let wrong = trusting(&stand, ca(&stand), move |tls| tls.client = Some(swapped.clone()));
    let error = wrong.open().await.unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    assert!(error.to_string().contains("client.pem"), "{error}");
}

/// TLS before the server says anything: NATS 2.10.
#[tokio::test]
async fn tls_comes_first() {
    let files = "cert_file: \"server.pem\", key_file: \"server.key\", ca_file: \"ca.pem\"";
    // The test kit itself is one that waits for the greeting.
    let options = NatsOptions::new(NatsFlavor::Current)
        .with_tls(NatsTls::Server)
        .with_config(format!("tls {{ {files}, handshake_first: \"1s\" }}"));
    let stand = Stand::start_with(options).await;
    all_works(&trusting(&stand, ca(&stand), |tls| tls.first = true)).await;
    // Where the server speaks first, that is no handshake.
    let stand = start(NatsFlavor::Current, NatsTls::Server).await;
    let said = refused(&trusting(&stand, ca(&stand), |tls| tls.first = true)).await;
    assert!(said.contains("TLS fails"), "{said}");
}
