//! The hub `tavern`: serve, publish, subscribe, and a demonstration of what it is for.

mod cli;
mod client;
mod demo;
mod failure;
mod file;
mod logging;
mod output;
mod serve;
mod settings;
mod signals;
mod span;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report(&Failure::failed(format!("the runtime cannot start: {error}")));
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Publish(args) => client::publish::run(args).await,
            Command::Subscribe(args) => client::subscribe::run(args).await,
            Command::Demo(args) => demo::run(args).await,
        }
    });
    // A read of standard input cannot be cancelled and must not hold the process back.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    if !failure.message().is_empty() {
        output::error(format_args!("tavern: {}", failure.message()));
    }
    ExitCode::from(failure.code())
}
