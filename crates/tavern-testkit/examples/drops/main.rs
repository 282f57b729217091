//! How much arrives while every client is cut off for two seconds, on Tavern and on others:
//! `drops TAVERN ROWS [--clients N] [--seconds S] [--cut S] [--cuts N] [--seed N]`; see
//! `scripts/drops`.

mod order;
mod others;
mod ours;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use order::Order;
use table::Row;

/// Whatever went wrong, to be said.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let order = match Order::read(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(error) => return say(&format!("drops: {error}\n"), ExitCode::from(2)),
    };
    say(&table::heading(&order), ExitCode::SUCCESS);
    let mut code = ExitCode::SUCCESS;
    for trial in &order.trials {
        let outcome = trial.run(&order).await;
        // Others are as they are; what we promise is a failure where it is not so.
        if trial.is_ours() && !outcome.as_ref().is_ok_and(|outcome| outcome.is_whole()) {
            code = ExitCode::FAILURE;
        }
        say(&Row { name: trial.to_string(), outcome }.to_string(), ExitCode::SUCCESS);
    }
    say(&table::versions(&order), code)
}

fn say(text: &str, code: ExitCode) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        // Nobody listens.
        Err(_) => ExitCode::FAILURE,
    }
}
