//! A command with a limit, its output in a file.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::HarnessError;

/// A command to run.
#[derive(Debug)]
pub struct Step(Command);

/// How a command went.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; absent when it was not over in time, or ended by a signal.
    pub code: Option<i32>,
    /// All it said.
    pub said: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Whether it succeeded.
    pub fn is_good(&self) -> bool {
        self.code == Some(0)
    }
}

impl Step {
    /// Runs this program.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self(Command::new(program))
    }

    /// With these arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    /// In this directory.
    pub fn within(mut self, dir: &Path) -> Self {
        self.0.current_dir(dir);
        self
    }

    /// With this in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it; what it says is added to `log`.
    ///
    /// # Errors
    /// When it cannot be started, or the log not be written.
    pub fn run(mut self, log: &Path, limit: Duration) -> Result<Ran, HarnessError> {
        let doing = || format!("running {}", self.0.get_program().to_string_lossy());
        let opened = OpenOptions::new().create(true).append(true).open(log);
        let file = opened.map_err(HarnessError::io(format!("opening {}", log.display())))?;
        let errors = file.try_clone().map_err(HarnessError::io(doing()))?;
        let before = fs::metadata(log).map_or(0, |metadata| metadata.len()) as usize;
        let doing = doing();
        let began = Instant::now();
        let command = self.0.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let child = command.spawn().map_err(HarnessError::io(doing))?;
        let code = wait(child, limit);
        let said = fs::read(log).unwrap_or_default();
        let said = String::from_utf8_lossy(said.get(before..).unwrap_or_default()).into_owned();
        Ok(Ran { code, said, took: began.elapsed() })
    }
}

/// Waits for a child, and ends it with all its own when time is up.
fn wait(mut child: Child, limit: Duration) -> Option<i32> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (over, ended) = mpsc::sync_channel(1);
    let waiting = thread::spawn(move || {
        // Nobody listens any more once the limit has passed.
        let _ = over.send(child.wait());
    });
    let status = ended.recv_timeout(limit);
    if let (Err(_), Some(group)) = (&status, group) {
        // Gone already is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // It ends with the child.
    let _ = waiting.join();
    status.ok()?.ok()?.code()
}
