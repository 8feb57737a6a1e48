//! The `ranch` binary: a machine of a ranch, its router, and the tools that talk to them.
//!
//! Nothing is decided here. Each command parses its arguments, calls a library and prints; an
//! error is one sentence on standard error and a non-zero exit.

mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
