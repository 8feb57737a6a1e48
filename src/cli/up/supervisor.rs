//! Keeps processes running: starts one again that ends, ever more slowly, and stops all in order.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::child::{ChildSpec, RunningChild};

/// A process that ran for so long is well: what went before does not count any more.
const WELL: Duration = Duration::from_mins(1);
/// The first wait before a process is started again; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A process that ended so often without ever being well is given up.
const TRIES_MAX: u32 = 20;
/// How often the length of the logs is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// What happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It ended and will be started again.
    Restarting {
        /// The process.
        name: String,
        /// How it ended and what it last said.
        reason: String,
        /// After how long.
        pause: Duration,
    },
    /// It ended and will not be started again.
    Failed {
        /// The process.
        name: String,
        /// How it ended and what it last said.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restarting { name, reason, pause } => {
                let seconds = pause.as_secs_f64();
                write!(f, "{name} ended ({reason}): starting it again in {seconds:.1} s")
            }
            Self::Failed { name, reason, log } => write!(
                f,
                "{name} ended {TRIES_MAX} times in a row ({reason}) and is given up: see {}, \
                 mend it, and run `ranch up` again",
                log.display()
            ),
        }
    }
}

/// What is wanted of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Run, and do not even start again after a failure at the start.
    Begin,
    Run,
    Stop,
    Kill,
}

/// All processes, in the order in which they were started.
pub struct Supervisor {
    watched: Vec<Watched>,
    events: mpsc::Receiver<Event>,
}

struct Watched {
    wish: watch::Sender<Wish>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts every process. Until [`Supervisor::forgive`], one that exits with an error is not
    /// started again.
    pub fn start(specs: Vec<ChildSpec>) -> Self {
        let (sender, events) = mpsc::channel(64);
        let start = |spec: ChildSpec| {
            let (wish, wishes) = watch::channel(Wish::Begin);
            let keeper = Keeper { spec, wishes, events: sender.clone(), tries: 0 };
            Watched { wish, task: tokio::spawn(keeper.run()) }
        };
        Self { watched: specs.into_iter().map(start).collect(), events }
    }

    /// From now on every process that ends is started again.
    pub fn forgive(&self) {
        self.wish(Wish::Run);
    }

    /// The next event; `None` when every process was given up.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Stops the last process started, the router, then the others in the order of their start.
    /// May be dropped half-way.
    pub async fn stop(&mut self) {
        while let Some(watched) = self.watched.last_mut() {
            watched.stop().await;
            self.watched.pop();
            // The router is gone; the rest goes from first to last.
            if !self.watched.is_empty() {
                break;
            }
        }
        while let Some(watched) = self.watched.first_mut() {
            watched.stop().await;
            self.watched.remove(0);
        }
    }

    /// Ends every process that is left at once.
    pub async fn kill(&mut self) {
        self.wish(Wish::Kill);
        for watched in &mut self.watched {
            // A keeper that panicked has dropped its process, which ends it.
            let _ = (&mut watched.task).await;
        }
    }

    fn wish(&self, wish: Wish) {
        for watched in &self.watched {
            watched.wish.send_replace(wish);
        }
    }
}

impl Watched {
    async fn stop(&mut self) {
        self.wish.send_replace(Wish::Stop);
        // A keeper that panicked has dropped its process, which ends it.
        let _ = (&mut self.task).await;
    }
}

/// The task that keeps one process running.
struct Keeper {
    spec: ChildSpec,
    wishes: watch::Receiver<Wish>,
    events: mpsc::Sender<Event>,
    /// How often it ended since it was last well.
    tries: u32,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let started = Instant::now();
            let (reason, may_return) = match self.spec.start() {
                Ok(child) => match self.keep(child).await {
                    Some(end) => end,
                    None => return,
                },
                Err(error) => (format!("it cannot be started: {error}"), false),
            };
            self.tries = if started.elapsed() >= WELL { 1 } else { self.tries + 1 };
            let first_failure = !may_return && *self.wishes.borrow() == Wish::Begin;
            if first_failure || self.tries >= TRIES_MAX {
                let (name, log) = (self.spec.name.clone(), self.spec.log.clone());
                self.tell(Event::Failed { name, reason, log });
                return;
            }
            let pause = pause(self.tries);
            let name = self.spec.name.clone();
            self.tell(Event::Restarting { name, reason, pause });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.end_wished() => return,
            }
        }
    }

    /// Lets the process run. Returns how it ended and whether that may pass; `None` when it was
    /// to end.
    async fn keep(&mut self, mut child: RunningChild) -> Option<(String, bool)> {
        loop {
            tokio::select! {
                ended = child.ended() => return Some(match ended {
                    Ok(status) => (child.last_words(status), was_killed(status)),
                    Err(error) => (error.to_string(), false),
                }),
                wish = self.end_wished() => {
                    self.end(wish, child).await;
                    return None;
                }
                // A log that cannot be put aside only grows.
                () = tokio::time::sleep(LOOK) => drop(child.rotate_log()),
            }
        }
    }

    /// Ends the process as wished; a harder wish may come meanwhile.
    async fn end(&mut self, wish: Wish, mut child: RunningChild) {
        if wish == Wish::Stop {
            tokio::select! {
                () = child.stop() => return,
                () = wished(&mut self.wishes, &[Wish::Kill]) => {}
            }
        }
        child.kill().await;
    }

    async fn end_wished(&mut self) -> Wish {
        wished(&mut self.wishes, &[Wish::Stop, Wish::Kill]).await;
        *self.wishes.borrow()
    }

    fn tell(&self, event: Event) {
        // Nobody listens while all is being stopped.
        let _ = self.events.try_send(event);
    }
}

async fn wished(wishes: &mut watch::Receiver<Wish>, any_of: &[Wish]) {
    // A supervisor that is gone wishes nothing but the end.
    let _ = wishes.wait_for(|wish| any_of.contains(wish)).await;
}

fn was_killed(status: ExitStatus) -> bool {
    status.code().is_none()
}

fn pause(tries: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests;
