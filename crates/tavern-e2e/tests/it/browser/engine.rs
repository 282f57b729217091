//! How each browser is started for one page and nothing else.

use std::path::Path;

/// A browser whose `EventSource` is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Engine {
    Chromium,
    Firefox,
}

impl Engine {
    /// The names under which its program is installed.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Chromium => &["chromium", "chromium-browser"],
            Self::Firefox => &["firefox-esr", "firefox"],
        }
    }

    /// Fills the profile before the first start.
    pub(crate) fn prepare(self, profile: &Path) {
        match self {
            Self::Chromium => {}
            Self::Firefox => {
                let preferences: String = PREFERENCES
                    .iter()
                    .map(|(name, value)| format!("user_pref(\"{name}\", {value});\n"))
                    .collect();
                std::fs::write(profile.join("user.js"), preferences).unwrap();
            }
        }
    }

    /// The command line in front of the page's address.
    pub(crate) fn flags(self, profile: &Path) -> Vec<String> {
        let flags: &[&str] = match self {
            Self::Chromium => &[
                "--headless",
                // Its sandbox does not run as root; the only page it sees is the test's own.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--no-first-run",
                "--no-default-browser-check",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-default-apps",
                "--disable-extensions",
                "--disable-sync",
                "--disable-breakpad",
                "--password-store=basic",
                "--user-data-dir",
            ],
            Self::Firefox => &["--headless", "--no-remote", "--new-instance", "--profile"],
        };
        let mut flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let profile = profile.to_str().unwrap();
        match self {
            // Chromium takes a value only behind `=`.
            Self::Chromium => {
                if let Some(last) = flags.last_mut() {
                    last.push('=');
                    last.push_str(profile);
                }
            }
            Self::Firefox => flags.push(profile.to_owned()),
        }
        flags
    }
}

/// Keeps Firefox from welcoming, updating, reporting, and asking the network whether it is there.
const PREFERENCES: &[(&str, &str)] = &[
    ("app.normandy.enabled", "false"),
    ("app.shield.optoutstudies.enabled", "false"),
    ("app.update.auto", "false"),
    ("browser.aboutwelcome.enabled", "false"),
    ("browser.newtabpage.enabled", "false"),
    ("browser.newtabpage.activity-stream.feeds.system.topstories", "false"),
    ("browser.newtabpage.activity-stream.feeds.topsites", "false"),
    ("browser.ping-centre.telemetry", "false"),
    ("browser.region.update.enabled", "false"),
    ("browser.safebrowsing.blockedURIs.enabled", "false"),
    ("browser.safebrowsing.downloads.enabled", "false"),
    ("browser.safebrowsing.malware.enabled", "false"),
    ("browser.safebrowsing.phishing.enabled", "false"),
    ("browser.search.update", "false"),
    ("browser.sessionstore.resume_from_crash", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.startup.homepage_override.mstone", "\"ignore\""),
    ("browser.startup.page", "0"),
    ("browser.topsites.contile.enabled", "false"),
    ("datareporting.healthreport.uploadEnabled", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("dom.push.connection.enabled", "false"),
    ("dom.security.https_first", "false"),
    ("extensions.getAddons.cache.enabled", "false"),
    ("extensions.systemAddon.update.enabled", "false"),
    ("extensions.update.enabled", "false"),
    ("media.gmp-manager.updateEnabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("network.dns.disablePrefetch", "true"),
    ("network.http.speculative-parallel-limit", "0"),
    ("network.prefetch-next", "false"),
    ("network.proxy.type", "0"),
    ("network.trr.mode", "5"),
    ("services.settings.server", "\"data:,none\""),
    ("toolkit.startup.max_resumed_crashes", "-1"),
    ("toolkit.telemetry.enabled", "false"),
    ("toolkit.telemetry.unified", "false"),
];
