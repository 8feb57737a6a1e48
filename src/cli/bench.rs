//! `ranch bench`: load on a ranch, or on an etcd to compare with, and how long requests took.
//!
//! Closed loop: each client sends its next request when the last one is answered. Open loop
//! (`--rate`): requests begin at fixed times whatever happens, and a late one has waited. Both
//! targets are driven by the same loop, so that figures can be compared.

mod etcd;
mod load;
mod ranch;
mod report;
mod run;
mod stolen;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Method;
use ranch_proto::api_key::Secret;

use super::api::{self, AddedTenant, NewTenant};
use super::error::CliError;
use super::http::{Call, Http};
use super::machine::MachineError;
use super::options::{AdminArgs, secret};
use super::output;
use super::shutdown::StopSignals;
use load::{Plan, Tally, Target};
use report::Report;
use run::Part;

/// Arguments of `ranch bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch bench --mode write --clients 64 --size 1024\n  \
                        ranch bench --mode read --rate 5000 --json\n  \
                        ranch bench --rate 500 --seconds 3600 --interval 10\n  \
                        ranch bench --target etcd --etcd-url http://127.0.0.1:2379")]
pub struct BenchArgs {
    /// What to drive.
    #[arg(long, value_enum, default_value_t = TargetKind::Ranch)]
    target: TargetKind,
    /// What to do.
    #[arg(long, value_enum, default_value_t = Mode::Mixed)]
    mode: Mode,
    /// Of a hundred requests of a mixed load, how many are reads.
    #[arg(long, value_name = "PERCENT", default_value_t = 50,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    read_percent: u8,
    /// Clients, each with a connection of its own to a ranch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    clients: u32,
    /// Seconds measured. An interrupt (Ctrl-C) ends it earlier.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Print what was measured every so many seconds, too; with --json a line each, and nothing
    /// else.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    interval: Option<u64>,
    /// Seconds of the same load before measuring.
    #[arg(long, default_value_t = 1)]
    warmup_seconds: u64,
    /// Bytes of a scroll.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Scrolls to choose from, at random, divided among the tenants; they are written before
    /// reads begin.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Requests a second in all, begun on time (open loop); as fast as answered when not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Tenants the clients are spread over, made for the purpose with the admin key.
    #[arg(long, value_name = "N", conflicts_with = "key",
          value_parser = clap::value_parser!(u32).range(1..))]
    tenants: Option<u32>,
    /// API key of the tenant to use; its phext `bench` is overwritten. Without it a tenant is
    /// made with the admin key.
    #[arg(long, env = "RANCH_KEY", hide_env_values = true, value_parser = secret)]
    key: Option<Secret>,
    /// Addresses of etcd, for `--target etcd`.
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2379"
    )]
    etcd_url: Vec<String>,
    /// Connections to etcd, shared by the clients.
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    etcd_connections: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What can be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TargetKind {
    /// A ranch, over HTTP/1.1.
    Ranch,
    /// An etcd 3, over gRPC, with linearizable reads.
    Etcd,
}

/// Which requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Reads only.
    Read,
    /// Writes only.
    Write,
    /// Both, by `--read-percent`.
    Mixed,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The first request to the target failed.
    #[error("{target} cannot be driven: {reason}")]
    Unusable {
        /// The target.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// More tenants than clients.
    #[error("{tenants} tenants need as many clients: raise --clients, which is {clients}")]
    TooManyTenants {
        /// Tenants asked for.
        tenants: u32,
        /// Clients asked for.
        clients: u32,
    },
    /// Not one request succeeded.
    #[error("not one request succeeded; the most frequent answer was: {reason}")]
    NothingSucceeded {
        /// The failure seen most often.
        reason: String,
    },
}

/// Measures, and prints the result.
pub async fn run(args: BenchArgs) -> Result<(), CliError> {
    let plan = Arc::new(Plan::new(&args));
    let report = match args.target {
        TargetKind::Ranch => measure_ranch(&args, plan).await?,
        TargetKind::Etcd => {
            let clients = etcd::clients(&args).await?;
            measure(&args, plan, clients, 1).await?
        }
    };
    if report.succeeded() == 0 {
        return Err(BenchError::NothingSucceeded { reason: report.commonest_failure() }.into());
    }
    match (args.json, args.interval) {
        (true, Some(_)) => Ok(()),
        (true, None) => output::json(&report),
        (false, _) => output::line(&report.text()),
    }
}

async fn measure_ranch(args: &BenchArgs, plan: Arc<Plan>) -> Result<Report, CliError> {
    let tenants = args.tenants.unwrap_or(1);
    if tenants > args.clients {
        return Err(BenchError::TooManyTenants { tenants, clients: args.clients }.into());
    }
    if let Some(key) = &args.key {
        let clients = ranch::clients(args, std::slice::from_ref(key)).await?;
        return measure(args, plan, clients, 1).await;
    }
    let made = Tenants::make(args, tenants).await?;
    let measured = async {
        let clients = ranch::clients(args, &made.keys).await?;
        measure(args, plan, clients, tenants).await
    };
    let measured = measured.await;
    made.disable().await?;
    measured
}

async fn measure<T: Target>(
    args: &BenchArgs,
    plan: Arc<Plan>,
    clients: Vec<T>,
    spaces: u32,
) -> Result<Report, CliError> {
    let spinner = output::spinner(format!("writing {} scrolls", args.keys));
    let clients = load::fill(&plan, clients, spaces).await?;
    spinner.set_message(format!("measuring for {} s", args.seconds));
    let mut stop = StopSignals::new().map_err(|source| MachineError::Signals { source })?;
    let (mut sum, mut took) = (Tally::new(), Duration::ZERO);
    let tell = |part: Part| {
        sum.add(&part.tally);
        took += part.took;
        if args.interval.is_none() {
            return Ok(());
        }
        spinner.suspend(|| tell_part(args, &part))
    };
    run::run(&plan, clients, stop.next(), tell).await?;
    spinner.finish_and_clear();
    Ok(Report::new(args, took, &sum))
}

fn tell_part(args: &BenchArgs, part: &Part) -> Result<(), CliError> {
    let report = Report::new(args, part.took, &part.tally);
    if args.json {
        return output::json_line(&report.at(part.from));
    }
    let heading = if part.from.is_zero() { report::ROW_HEADING } else { "" };
    output::line(&format!("{heading}{}", report.at(part.from).rows()))
}

/// Tenants made for one run.
struct Tenants {
    http: Http,
    ids: Vec<String>,
    keys: Vec<Secret>,
}

impl Tenants {
    async fn make(args: &BenchArgs, count: u32) -> Result<Self, CliError> {
        let (http, _) = args.admin.http()?;
        let run = fastrand::u32(..);
        let mut made = Self { http, ids: Vec::new(), keys: Vec::new() };
        for number in 1..=count {
            let tenant_id = format!("bench-{run:08x}-{number}");
            let tenant = NewTenant { tenant_id, ..NewTenant::default() };
            let added = api::add_tenant(&made.http, &tenant).await?;
            let added: AddedTenant = made.http.understood("adding a tenant", added)?;
            made.ids.push(tenant.tenant_id);
            made.keys.push(Secret::new(added.api_key));
        }
        Ok(made)
    }

    /// Takes their access away again. Their scrolls stay until there is a way to delete tenants.
    async fn disable(&self) -> Result<(), CliError> {
        for id in &self.ids {
            let path = format!("/api/v2/admin/tenants/{id}");
            let call = Call::new(Method::DELETE, path, format!("disabling tenant {id}"));
            self.http.ask_whole(&call).await?;
        }
        Ok(())
    }
}
