//! The `ranch` binary: a machine of a ranch, its router, and the tools that talk to them.
//!
//! Nothing is decided here. Each command parses its arguments, calls a library and prints; an
//! error is one sentence on standard error and a non-zero exit.

mod cli;

use std::process::ExitCode;

use rustix::thread::disable_transparent_huge_pages;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A huge page is cleared as a whole at its first touch: a node that starts would take twice the
    // memory and three times the processor, beside others that serve. Where it cannot be said, or
    // the system has none, all works the same.
    let _ = disable_transparent_huge_pages(true);
    cli::main()
}
