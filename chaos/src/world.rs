//! A world of its own for a ranch under test: namespaces for network, mounts, processes and shared
//! memory, in which the harness runs itself a second time.
//!
//! All that a run makes in there (bridges, cables, mounts, loop devices, processes) belongs to
//! those namespaces. The kernel removes it with them, and them with the process that began them, so
//! nothing is left behind, however the harness ends. What remains outside, one directory, is
//! removed by the shell of [`crate::reaper`], which also thaws a disk that was stalled when the
//! harness was killed: until then the kernel cannot end whoever writes there.

pub mod disk;
pub mod network;
pub mod relay;

use std::ffi::OsString;
use std::fs::File;
use std::process::{ExitCode, ExitStatus};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::process::{Child, Command};
use tokio::signal::ctrl_c;

use crate::error::HarnessError;
use crate::layout::scratch_dir;
use crate::reaper::Reaper;
use crate::tool;

/// What the world is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum World {
    /// Made by root: it can mount file systems.
    Root,
    /// Made by anybody, who is root in there only: no file system can be mounted from an image.
    User,
}

/// The namespaces that make a world. The first process in it ends when `unshare` does.
const NAMESPACES: [&str; 7] =
    ["--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"];
/// A FIFO in the directory that remains outside, which the harness inside holds open.
const ALIVE: &str = "alive";
/// Added where the caller is not root.
const AS_ROOT_INSIDE: [&str; 2] = ["--user", "--map-root-user"];

impl World {
    /// The best world this machine grants.
    ///
    /// # Errors
    /// When it grants none.
    pub fn granted() -> Result<Self, HarnessError> {
        let try_one = |world: Self| {
            tool::run("unshare", &[&world.flags()[..], &["true"]].concat()).map(|_| world)
        };
        let loops = std::path::Path::new("/dev/loop-control").exists();
        let rooted = if loops { try_one(Self::Root).ok() } else { None };
        rooted
            .map_or_else(|| try_one(Self::User), Ok)
            .map_err(|error| HarnessError::NoWorld { reason: error.to_string() })
    }

    fn flags(self) -> Vec<&'static str> {
        match self {
            Self::Root => NAMESPACES.to_vec(),
            Self::User => [&AS_ROOT_INSIDE[..], &NAMESPACES].concat(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
        }
    }

    /// Runs this program again in a new world, with the same arguments and `--world`, and waits for
    /// its end. Ctrl-C is left to it; if this process is killed, it and its world are gone, too.
    ///
    /// # Errors
    /// When no world is granted, or this program cannot be started in it.
    pub fn enter() -> Result<ExitCode, HarnessError> {
        let world = Self::granted()?;
        let scratch = scratch_dir()?;
        let reaper = Reaper::start()?;
        reaper.removes(scratch.path());
        let starting = "starting in a world of its own";
        let fifo = scratch.path().join(ALIVE);
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .map_err(|error| HarnessError::io(starting)(error.into()))?;
        reaper.watches(&fifo);
        let this = std::env::current_exe().map_err(HarnessError::io(starting))?;
        // In this thread: the signal of its death is what ends the world.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let status = runtime.map_err(HarnessError::io(starting))?.block_on(async {
            let child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "unshare"])
                .args(world.flags())
                .arg(this)
                .args(std::env::args_os().skip(1))
                .args([OsString::from("--world"), world.name().into()])
                .env("TMPDIR", scratch.path())
                .spawn();
            ended(child.map_err(HarnessError::io(starting))?).await
        })?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(2)))
    }
}

/// To be held by the harness in a world as long as it lives, so that its end is noticed outside.
///
/// # Errors
/// When this process was not started by [`World::enter`].
pub fn sign_of_life() -> Result<File, HarnessError> {
    let fifo = std::env::temp_dir().join(ALIVE);
    // For both ways: whoever reads it may not have come yet, and is not waited for.
    let opened = File::options().read(true).write(true).open(fifo);
    opened.map_err(HarnessError::io("finding the way into this world"))
}

/// Waits for a process that is to deal with Ctrl-C itself.
async fn ended(mut child: Child) -> Result<ExitStatus, HarnessError> {
    loop {
        tokio::select! {
            status = child.wait() => {
                return status.map_err(HarnessError::io("waiting for the world to end"));
            }
            _ = ctrl_c() => {}
        }
    }
}
