//! `ranch-chaos`: judges a saved history again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ranch_chaos::history;

/// Tests a ranch from outside.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Decides from a saved history whether the ranch kept its promises.
    Check {
        /// A file of operations, one JSON object a line.
        history: PathBuf,
    },
}

fn main() -> ExitCode {
    let Cli { command: Command::Check { history } } = Cli::parse();
    let operations = match history::load(&history) {
        Ok(operations) => operations,
        Err(error) => {
            eprintln!("ranch-chaos: {error}");
            return ExitCode::from(2);
        }
    };
    match ranch_chaos::check(&operations) {
        Ok(summary) => {
            println!("{summary}; longest gap {:?}", history::longest_write_gap(&operations));
            ExitCode::SUCCESS
        }
        Err(violations) => {
            for violation in &violations {
                println!("{violation}");
            }
            eprintln!("ranch-chaos: {} violations", violations.len());
            ExitCode::FAILURE
        }
    }
}
