//! Speaking to a hub.

pub(crate) mod publish;
pub(crate) mod subscribe;

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, Response, Url};
use serde::Deserialize;

use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A hub, by its address.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    base: Url,
    client: Client,
}

/// What a hub says when it refuses.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

impl Hub {
    /// The hub at `url`; nothing is sent yet.
    pub(crate) fn at(url: &str) -> Result<Self, Failure> {
        let example = "an address such as http://127.0.0.1:8080 is expected";
        let mut base: Url = url.parse().map_err(|error| {
            Failure::usage(format_args!("--url is malformed ({error}): {example}"))
        })?;
        match base.scheme() {
            "http" => {}
            "https" => {
                return Err(Failure::usage(
                    "--url begins with https, but this program has no TLS; use http on this \
                     machine, or curl through your proxy",
                ));
            }
            _ => return Err(Failure::usage(format_args!("--url is no http address: {example}"))),
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(Failure::usage(format_args!(
                "--url has a query or a fragment, which belong to no hub's address: {example}"
            )));
        }
        // Paths are appended to what is there, also behind a proxy's prefix.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut client = Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        if is_local(&base) {
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|error| Failure::failed(format_args!("the client cannot start: {error}")))?;
        Ok(Self { base, client })
    }

    /// The address of one of its paths.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

/// Why a hub refused, in its own words.
pub(crate) async fn refusal(response: Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
    match (problem.title.as_str(), problem.detail.as_str()) {
        ("", "") => format!("the answer is {status}; is this a hub's address?"),
        (title, "") => format!("{title} ({status})"),
        (title, detail) => format!("{title} ({status}): {detail}"),
    }
}

/// An error and its causes, without the URL, which may hold a password.
pub(crate) fn explain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
