//! The `catalogctl` binary: arguments in, exit status out.

use std::process::ExitCode;

use catalogctl::{cli::Cli, commands, failure::Failure, output};
use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match commands::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Failure::Told(_, message) = &failure {
                output::note(format_args!("catalogctl: {message}"));
            }
            ExitCode::from(failure.status())
        }
    }
}
