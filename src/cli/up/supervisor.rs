//! Keeps processes running: starts one again that ends, ever more slowly, and stops all in order.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::super::error::HAS_LEFT;
use super::child::{ChildSpec, RunningChild};
use super::orders::Told;

/// A process that ran for so long is well: what went before does not count any more.
const WELL: Duration = Duration::from_mins(1);
/// The first wait before a process is started again; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A process that ended so often without ever being well is given up.
const TRIES_MAX: u32 = 20;
/// Longest a router may take before it serves in the place of another one.
const RELIEVE_MAX: Duration = Duration::from_secs(20);
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
    /// It is a node that has left the ranch, and so will not be started again.
    Left {
        /// The process.
        name: String,
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
            Self::Left { name } => write!(
                f,
                "{name} has left the ranch and is not started again: take it out of ranch.toml, \
                 and delete its data directory"
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
    name: String,
    restarts: mpsc::Sender<Restart>,
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
            let (restarts, wanted) = mpsc::channel(1);
            let (name, events) = (spec.name.clone(), sender.clone());
            let keeper = Keeper { spec, wishes, restarts: wanted, events, tries: 0 };
            Watched { name, restarts, wish, task: tokio::spawn(keeper.run()) }
        };
        Self { watched: specs.into_iter().map(start).collect(), events }
    }

    /// The processes, in the order in which they were started.
    pub fn names(&self) -> Vec<String> {
        self.watched.iter().map(|watched| watched.name.clone()).collect()
    }

    /// Has a process end and start again with another program. `tell` hears when it has, which
    /// does not mean that it is well.
    pub fn restart(&self, name: &str, program: PathBuf, tell: oneshot::Sender<Told>) {
        let watched = self.watched.iter().find(|watched| watched.name == name);
        let Some(watched) = watched.filter(|watched| !watched.task.is_finished()) else {
            // Whoever asked may be gone.
            let _ = tell.send(Told::Refused(format!("no process {name} runs here")));
            return;
        };
        if let Err(error) = watched.restarts.try_send(Restart { program, tell }) {
            let (mpsc::error::TrySendError::Full(restart)
            | mpsc::error::TrySendError::Closed(restart)) = error;
            let _ = restart.tell.send(Told::Refused(format!("{name} is being restarted already")));
        }
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

/// An order to start a process again.
struct Restart {
    program: PathBuf,
    tell: oneshot::Sender<Told>,
}

/// How a process came to end.
enum End {
    /// By itself, for this reason; whether that may pass.
    ByItself(String, bool),
    /// It is a node that has left its ranch.
    Left,
    /// As was wished.
    Wished,
}

/// The task that keeps one process running.
struct Keeper {
    spec: ChildSpec,
    restarts: mpsc::Receiver<Restart>,
    wishes: watch::Receiver<Wish>,
    events: mpsc::Sender<Event>,
    /// How often it ended since it was last well.
    tries: u32,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let started = Instant::now();
            let end = match self.spec.start() {
                Ok(child) => self.keep(child).await,
                Err(error) => End::ByItself(format!("it cannot be started: {error}"), false),
            };
            let (reason, may_return) = match end {
                End::ByItself(reason, may_return) => (reason, may_return),
                End::Left => {
                    self.tell(Event::Left { name: self.spec.name.clone() });
                    return;
                }
                End::Wished => return,
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
                () = wished(&mut self.wishes, &[Wish::Stop, Wish::Kill]) => return,
                Some(restart) = self.restarts.recv() => {
                    self.spec.program = restart.program;
                    self.tries = 0;
                    let _ = restart.tell.send(Told::Done);
                }
            }
        }
    }

    /// Lets the process run, and those that take its place when that is ordered.
    async fn keep(&mut self, mut child: RunningChild) -> End {
        loop {
            tokio::select! {
                ended = child.ended() => return match ended {
                    Ok(status) if status.code() == Some(HAS_LEFT.into()) => End::Left,
                    Ok(status) => End::ByItself(child.last_words(status), was_killed(status)),
                    Err(error) => End::ByItself(error.to_string(), false),
                },
                () = wished(&mut self.wishes, &[Wish::Stop, Wish::Kill]) => {
                    let wish = *self.wishes.borrow();
                    self.end(wish, child).await;
                    return End::Wished;
                }
                Some(Restart { program, tell }) = self.restarts.recv() => {
                    self.tries = 0;
                    let (next, told) = self.replace(program, child).await;
                    let _ = tell.send(told);
                    match next {
                        Ok(next) => child = next,
                        Err(error) => {
                            return End::ByItself(format!("it cannot be started: {error}"), true);
                        }
                    }
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

    /// Puts another program in the place of a process. A router serves before the one it relieves
    /// is stopped; a node is stopped first, since both would use its data.
    async fn replace(
        &mut self,
        program: PathBuf,
        mut before: RunningChild,
    ) -> (io::Result<RunningChild>, Told) {
        let mut spec = ChildSpec { program, ..self.spec.clone() };
        if spec.listener.is_none() {
            before.stop().await;
            return match spec.start() {
                Ok(child) => {
                    self.spec = spec;
                    (Ok(child), Told::Done)
                }
                Err(error) => {
                    let program = spec.program.display();
                    let told = Told::Refused(format!("{program} cannot be started: {error}"));
                    (self.spec.start(), told)
                }
            };
        }
        spec.args.push("--relieve".to_owned());
        let relieved = async {
            let mut child = spec.start()?;
            child.serves().await?;
            Ok::<_, io::Error>(child)
        };
        match tokio::time::timeout(RELIEVE_MAX, relieved).await {
            Ok(Ok(child)) => {
                before.stop().await;
                self.spec.program = spec.program;
                (Ok(child), Told::Done)
            }
            failed => {
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("it does not serve after {} s", RELIEVE_MAX.as_secs()),
                };
                let why = format!("the new router was not used: {why}; its log says more");
                (Ok(before), Told::Refused(why))
            }
        }
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
