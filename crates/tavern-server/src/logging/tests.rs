use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What is said of these with a filter.
fn said(filter: &str) -> String {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parse(filter).unwrap())
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(target: "async_nats::connector", "of the driver");
        tracing::error!(target: "tavern_nats::link", "of ours");
        tracing::info!(target: "tavern_nats::link", "informs");
    });
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn the_driver_of_nats_is_heard_by_those_who_name_it() {
    for filter in ["info", "trace", "warn,tavern_nats=info"] {
        let said = said(filter);
        assert!(said.contains("of ours") && !said.contains("of the driver"), "{filter}: {said}");
        assert!(said.contains("informs"), "{filter}: {said}");
    }
    for filter in ["info,async_nats=error", "async_nats=warn"] {
        let said = said(filter);
        assert!(said.contains("of the driver"), "{filter}: {said}");
        assert_eq!(said.contains("of ours"), filter.starts_with("info"), "{filter}: {said}");
    }
}
