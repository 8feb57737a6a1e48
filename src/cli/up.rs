//! `ranch up`: this machine's whole ranch, from nothing to a curl line that works.
//!
//! Every node and the router is a process of its own, in a process group of its own, so that an
//! interrupt from the terminal reaches only `ranch up`, which then stops them in order. Children
//! hold a pipe from their parent and stop by themselves when it is gone, however it went.

mod child;
pub mod orders;
mod plan;
mod supervisor;
mod welcome;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::oneshot;

use super::error::CliError;
use super::http::{Call, Http};
use super::machine::MachineError;
use super::options::{AdminKeyArg, LocalArgs};
use super::output;
use super::shutdown::StopSignals;
use orders::{Order, Orders, Told, Waiting};
use plan::Plan;
use supervisor::{Event, Supervisor};

/// Longest wait for a ranch whose nodes are all on this machine.
const READY_MAX: Duration = Duration::from_mins(2);
/// Between questions whether it is ready.
const READY_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for one answer.
const READY_ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long nothing is said while waiting for other machines.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `ranch up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch up\n  ranch up --data-dir /var/lib/ranch \
                        --listen 127.0.0.1:8080 --tenants tenants.json")]
pub struct UpArgs {
    /// Address of the router [default: [router] listen].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Tenants file (JSON) to follow [default: [router] tenants].
    #[arg(long, value_name = "FILE")]
    tenants: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminKeyArg,
    #[command(flatten)]
    local: LocalArgs,
}

/// Why the ranch on this machine could not start.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// Every node is elsewhere.
    #[error(
        "no [[node]] of the configuration has an address of this machine: run `ranch router` \
         here, or correct the addresses"
    )]
    NoLocalNode,
    /// The router's port must be known.
    #[error("{listen} leaves the port open: `ranch up` needs one, as in 127.0.0.1:1337")]
    OpenPort {
        /// The address.
        listen: String,
    },
    /// A process ended before the ranch was ready.
    #[error("{name} could not start: {reason} (all it said is in {})", log.display())]
    ChildFailed {
        /// The process.
        name: String,
        /// The last it said, or how it ended.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// No process is left.
    #[error("every process of the ranch was given up: they say why in {}/*.log", logs.display())]
    AllGivenUp {
        /// Where the logs are.
        logs: PathBuf,
    },
    /// Not ready in time.
    #[error(
        "the ranch is not ready after {seconds} s, so it was stopped; its processes say why in \
         {}/*.log", logs.display()
    )]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// Where the logs are.
        logs: PathBuf,
    },
}

/// Starts the ranch of this machine and runs it until it is asked to stop.
pub async fn run(args: UpArgs) -> Result<(), CliError> {
    let mut stop = StopSignals::new().map_err(|source| MachineError::Signals { source })?;
    let plan = Plan::make(args)?;
    plan.check_ports()?;
    plan.prepare()?;
    let admin_key = plan.admin_key()?;
    let listener = plan.listen()?;
    let mut children = Supervisor::start(plan.children(&admin_key, listener)?);
    let http = Http::new(&plan.url(), Some(&admin_key))?;
    let mut asked_to_stop = false;
    let result = tokio::select! {
        result = serve(&plan, &http, &mut children) => result,
        () = stop.next() => {
            asked_to_stop = true;
            Ok(())
        }
    };
    if asked_to_stop {
        output::notice("stopping: the router, then the nodes (once more to stop at once)");
    }
    tokio::select! {
        () = children.stop() => {}
        () = stop.next() => children.kill().await,
    }
    result
}

/// Waits until the ranch is ready, says how to use it, and watches over it from then on. Returns
/// only when that failed.
async fn serve(plan: &Plan, http: &Http, children: &mut Supervisor) -> Result<(), CliError> {
    ready(plan, http, children).await?;
    children.forgive();
    let root = plan.root();
    let mut orders = match Orders::listen(root) {
        Ok(orders) => Some(orders),
        Err(error) => {
            let root = root.display();
            output::notice(&format!("`ranch upgrade` will not find this ranch: {root}: {error}"));
            None
        }
    };
    welcome::say(plan, http).await?;
    loop {
        tokio::select! {
            event = children.next() => match event {
                Some(event) => output::notice(&event.to_string()),
                None => return Err(UpError::AllGivenUp { logs: root.to_owned() }.into()),
            },
            (order, tell) = next_order(&mut orders) => carry_out(children, order, tell),
        }
    }
}

async fn next_order(orders: &mut Option<Orders>) -> Waiting {
    match orders {
        Some(orders) => orders.next().await,
        None => std::future::pending().await,
    }
}

fn carry_out(children: &Supervisor, order: Order, tell: oneshot::Sender<Told>) {
    match order {
        Order::List => {
            // Whoever asked may be gone.
            let _ = tell.send(Told::Names(children.names()));
        }
        Order::Restart { name, program } => {
            output::notice(&format!("{name} is started again with {}", program.display()));
            children.restart(&name, program, tell);
        }
    }
}

async fn ready(plan: &Plan, http: &Http, children: &mut Supervisor) -> Result<(), CliError> {
    let spinner = output::spinner(format!("starting {}", plan.describe()));
    let started = Instant::now();
    let mut spoke = started;
    let question = Call::get("/health/ready", "asking whether the ranch is ready");
    loop {
        tokio::select! {
            event = children.next() => match event {
                Some(Event::Failed { name, reason, log }) => {
                    spinner.finish_and_clear();
                    return Err(UpError::ChildFailed { name, reason, log }.into());
                }
                Some(event) => output::notice(&event.to_string()),
                None => {}
            },
            () = tokio::time::sleep(READY_PAUSE) => {}
        }
        // Nobody answers until the router is there, which is no error yet.
        // Its socket is there before it is, so the answer may be long in coming.
        let asked = tokio::time::timeout(READY_ANSWER_MAX, http.send(&question)).await;
        if asked.is_ok_and(|answered| answered.is_ok_and(|answer| answer.status().is_success())) {
            spinner.finish_and_clear();
            return Ok(());
        }
        if plan.is_whole && started.elapsed() > READY_MAX {
            let (seconds, logs) = (READY_MAX.as_secs(), plan.root().to_owned());
            return Err(UpError::NotReady { seconds, logs }.into());
        }
        if !plan.is_whole && spoke.elapsed() > PATIENCE {
            spoke = Instant::now();
            output::notice("waiting for the other machines of the ranch to come up");
        }
    }
}
