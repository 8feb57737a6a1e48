//! One process of a ranch: started, ended, paused, with its log in a file.
//!
//! Each process leads its own process group, and every signal goes to the whole group.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::HarnessError;
use crate::reaper::Reaper;
use crate::wait::until;

/// How to start a process, as often as needed.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the harness calls it; its log is `NAME.log`.
    pub name: String,
    /// Words before the program: a command that becomes the program in the end, such as `nsenter`.
    pub wrapper: Vec<String>,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// Where standard output and standard error go, one life after the other.
    pub log: PathBuf,
}

impl Recipe {
    fn command(&self) -> Command {
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.args);
        command
    }
}

/// A process and, while it runs, its handle.
#[derive(Debug)]
pub struct Process {
    recipe: Recipe,
    child: Option<Child>,
    started: Option<Instant>,
    /// It is to run: when it ends, nobody has asked for that.
    wanted: bool,
    lives: u64,
    /// The status of its last life, if that has ended by itself or was asked to end.
    status: Option<ExitStatus>,
    reaper: Arc<Reaper>,
}

impl Process {
    /// Describes a process without starting it.
    #[must_use]
    pub fn new(recipe: Recipe, reaper: Arc<Reaper>) -> Self {
        Self { recipe, child: None, started: None, wanted: false, lives: 0, status: None, reaper }
    }

    /// Sets a variable of its environment from its next start on; `None` takes it out.
    pub fn set_env(&mut self, key: &str, value: Option<&str>) {
        self.recipe.env.retain(|(known, _)| known != key);
        self.recipe.env.extend(value.map(|value| (key.to_owned(), value.to_owned())));
    }

    /// Starts it; one that is running already is left alone.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn start(&mut self) -> Result<(), HarnessError> {
        if self.is_running() {
            return Ok(());
        }
        let doing = || format!("starting {}", self.recipe.name);
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(HarnessError::io(doing()))?;
        let child = self
            .recipe
            .command()
            .envs(self.recipe.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(HarnessError::io(doing()))?;
        self.reaper.started(child.id());
        self.child = Some(child);
        self.started = Some(Instant::now());
        self.wanted = true;
        self.status = None;
        self.lives += 1;
        Ok(())
    }

    /// What the harness calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Starts it again if it has ended without being asked to, as a supervisor would.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn revive(&mut self) -> Result<(), HarnessError> {
        if self.wanted { self.start() } else { Ok(()) }
    }

    /// How often it has been started.
    #[must_use]
    pub fn lives(&self) -> u64 {
        self.lives
    }

    /// The program it runs.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.recipe.program
    }

    /// Has it run another program from its next start on.
    pub fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.recipe.program);
    }

    /// The code its last life ended with; `None` while it runs, or when it was killed.
    #[must_use]
    pub fn last_status(&self) -> Option<i32> {
        self.status?.code()
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How long ago it was last started.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.started.map(|started| started.elapsed())
    }

    /// Whether it runs (or is paused).
    pub fn is_running(&mut self) -> bool {
        self.exited().is_none() && self.child.is_some()
    }

    /// Ends it as `kill -9` does and waits until it is gone.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<(), HarnessError> {
        self.wanted = false;
        self.signal(Signal::KILL)?;
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
            self.reaper.ended(child.id());
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it is not running, or has not ended within `limit`.
    pub async fn stop(&mut self, limit: Duration) -> Result<ExitStatus, HarnessError> {
        self.wanted = false;
        self.signal(Signal::TERM)?;
        self.wait_exit(limit).await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it has not within `limit`.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus, HarnessError> {
        let what = format!("{} to exit", self.recipe.name);
        until(&what, limit, async || self.exited()).await
    }

    /// Stops its clock (SIGSTOP), as a long pause of the machine would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<(), HarnessError> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self) -> Result<(), HarnessError> {
        self.signal(Signal::CONT)
    }

    /// Where its output goes.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.recipe.log
    }

    /// All it has printed so far, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.recipe.log)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.status = Some(status);
        if let Some(child) = self.child.take() {
            self.reaper.ended(child.id());
        }
        Some(status)
    }

    fn signal(&self, signal: Signal) -> Result<(), HarnessError> {
        let name = &self.recipe.name;
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| HarnessError::NotRunning { name: name.clone() })?;
        kill_process_group(pid, signal)
            .map_err(|error| HarnessError::io(format!("signalling {name}"))(error.into()))
    }

    fn open_log(&self) -> Result<File, HarnessError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.recipe.log)
            .map_err(HarnessError::io(format!("opening the log of {}", self.recipe.name)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn shell(script: &str, dir: &Path) -> Process {
        let recipe = Recipe {
            name: "shell".to_owned(),
            wrapper: vec!["env".to_owned(), "-u".to_owned(), "HOME".to_owned()],
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GREETING".to_owned(), "hello".to_owned())],
            log: dir.join("shell.log"),
        };
        Process::new(recipe, Arc::new(Reaper::start().unwrap()))
    }

    #[tokio::test]
    async fn starts_logs_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell("echo $GREETING$HOME; exit 3", dir.path());
        process.start().unwrap();
        assert_eq!(process.wait_exit(LIMIT).await.unwrap().code(), Some(3));
        assert_eq!(process.last_status(), Some(3));
        assert_eq!(process.log(), "hello\n");
        assert!(!process.is_running());
        assert!(matches!(process.kill(), Err(HarnessError::NotRunning { .. })));
        process.start().unwrap();
        process.wait_exit(LIMIT).await.unwrap();
        assert_eq!(process.log(), "hello\nhello\n", "a second life adds to the log");
    }

    #[tokio::test]
    async fn is_asked_to_end_and_may_do_so_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
        let mut process = shell(script, dir.path());
        process.start().unwrap();
        let up = async || process.log().contains("up").then_some(());
        until("the trap", LIMIT, up).await.unwrap();
        assert!(process.stop(LIMIT).await.unwrap().success());
        assert!(process.log().ends_with("bye\n"), "{}", process.log());
    }

    #[tokio::test]
    async fn a_paused_process_does_nothing_until_resumed() {
        let dir = tempfile::tempdir().unwrap();
        // Without a child: one stopped between fork and exec would keep the shell from stopping.
        let mut process = shell("while :; do echo tick; done", dir.path());
        process.start().unwrap();
        let ticks = |process: &Process| process.log().len();
        until("ticks", LIMIT, async || (ticks(&process) > 0).then_some(())).await.unwrap();
        process.pause().unwrap();
        let stat = format!("/proc/{}/stat", process.pid().unwrap());
        let stopped = async || fs::read_to_string(&stat).unwrap().contains(") T ").then_some(());
        until("the pause", LIMIT, stopped).await.unwrap();
        let before = ticks(&process);
        assert!(process.is_running(), "paused is not gone");
        process.resume().unwrap();
        until("more ticks", LIMIT, async || (ticks(&process) > before).then_some(()))
            .await
            .unwrap();
        process.kill().unwrap();
        assert!(!process.is_running());
    }
}
