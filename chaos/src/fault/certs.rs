//! Certificates that are made anew again and again, while everybody goes on using them.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::ranch::Ranch;

/// Between two rotations: longer than processes take to notice one.
const PAUSE: Duration = Duration::from_secs(3);

/// Rotations that go on until this is dropped.
#[derive(Debug)]
pub struct Rotation {
    /// How often processes had taken up new certificates before.
    before: usize,
    task: JoinHandle<()>,
}

impl Rotation {
    /// Begins.
    #[must_use]
    pub fn begin(ranch: &Ranch) -> Self {
        let (binary, config) = (ranch.binary().to_owned(), ranch.config().to_owned());
        let task = tokio::spawn(rotate(binary, config));
        Self { before: ranch.renewed(), task }
    }

    /// Ends, and gives the number of times that a process has taken up new certificates.
    #[must_use]
    pub fn heal(self, ranch: &Ranch) -> u64 {
        ranch.renewed().saturating_sub(self.before) as u64
    }
}

impl Drop for Rotation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn rotate(binary: PathBuf, config: PathBuf) {
    loop {
        let mut command = Command::new(&binary);
        command.args(["certs", "rotate", "--config"]).arg(&config).kill_on_drop(true);
        // One that failed shows in what heal counts.
        let _ = command.output().await;
        tokio::time::sleep(PAUSE).await;
    }
}
