//! `ranch-chaos`: breaks a ranch on purpose and judges what its clients were answered.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ranch_chaos::bugs::{self, Bug, Caught};
use ranch_chaos::check::search::{Sampling, search};
use ranch_chaos::run::Plan;
use ranch_chaos::scenario::Topology;
use ranch_chaos::world::sign_of_life;
use ranch_chaos::{HarnessError, Scenario, World, history, report, run};

/// Breaks a ranch on purpose and judges what its clients were answered.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit code 0: every promise of the scenario was put to the test \
                                 and held. 1: one did not. 2: nothing could be found out."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario against real processes.
    Run(RunArgs),
    /// List the scenarios.
    List,
    /// Put bugs of the bank back, one at a time, and see that each is caught.
    Bugs(BugsArgs),
    /// Decide from a saved history whether the ranch kept its promises.
    Check {
        /// A file of operations, one JSON object a line.
        history: PathBuf,
    },
}

#[derive(Debug, Args)]
struct BugsArgs {
    /// Numbers or names of bugs; all of them when not given.
    bugs: Vec<String>,
    /// The checkout whose bank it is.
    #[arg(long, value_name = "DIR", default_value = ".")]
    checkout: PathBuf,
    /// Where they are put into a clone of the checkout and built; in TMPDIR when not given.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Only list them.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Name of a scenario, or a file of one (*.toml).
    scenario: String,
    /// Decides what is left to chance; a new one each time when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults go on; as the scenario says when not given.
    #[arg(long)]
    minutes: Option<f64>,
    /// The `ranch` to test; the one beside this program when not given.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// For rolling-upgrade, the `ranch` that nodes are upgraded to, and back from; a copy of the
    /// one under test when not given.
    #[arg(long, value_name = "FILE")]
    other_binary: Option<PathBuf>,
    /// Where history, faults, picture and verdict are kept.
    #[arg(long, value_name = "DIR", default_value = "chaos-report")]
    report: PathBuf,
    /// Stretch promised times by this, for machines and builds that are slow.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    slack: f64,
    /// Given by this program to itself where it runs in a world of its own.
    #[arg(long, hide = true)]
    world: Option<World>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => carry_out(args),
        Command::List => list().map(code),
        Command::Bugs(args) => catch_bugs(args).map(code),
        Command::Check { history } => check(&history).map(code),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ranch-chaos: {error}");
            ExitCode::from(2)
        }
    }
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn carry_out(args: RunArgs) -> Result<ExitCode, HarnessError> {
    let scenario = Scenario::find(&args.scenario)?;
    if scenario.ranch.topology == Topology::Namespaces && args.world.is_none() {
        return World::enter();
    }
    let _alive = args.world.map(|_| sign_of_life()).transpose()?;
    let minutes = args.minutes.unwrap_or(scenario.minutes);
    let plan = Plan {
        duration: Duration::try_from_secs_f64(minutes * 60.0).unwrap_or_default(),
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        binary: args.binary.map_or_else(beside_this_program, Ok)?,
        other_binary: args.other_binary,
        slack: args.slack,
        world: args.world,
        scenario,
    };
    eprintln!("{}", report::command(&plan));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(HarnessError::io("starting"))?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run::run(&plan, |line| eprintln!("{line}")) => outcome,
            // Leaving ends all processes, as their owners are dropped.
            _ = tokio::signal::ctrl_c() => Err(HarnessError::Interrupted),
        }
    })?;
    report::save(&args.report, &plan, &outcome)?;
    print!("{}", report::text(&plan, &outcome));
    println!("  history, faults and latency.svg are in {}", args.report.display());
    Ok(code(outcome.is_good()))
}

fn beside_this_program() -> Result<PathBuf, HarnessError> {
    let this = std::env::current_exe().map_err(HarnessError::io("finding this program"))?;
    Ok(this.with_file_name("ranch"))
}

fn list() -> Result<bool, HarnessError> {
    for scenario in Scenario::all()? {
        let promises: Vec<_> = scenario.promises.iter().map(|one| format!("{one:?}")).collect();
        println!("{:<16} {}", scenario.name, scenario.why);
        println!("{:<16} {} in {} min", "", promises.join(" "), scenario.minutes);
    }
    Ok(true)
}

fn catch_bugs(args: BugsArgs) -> Result<bool, HarnessError> {
    let bank = bugs::bank(&args.checkout)?;
    let asked = |bug: &&Bug| args.bugs.is_empty() || args.bugs.iter().any(|name| bug.is(name));
    let chosen: Vec<_> = bank.iter().filter(asked).collect();
    if args.list {
        for Bug { name, manifest, .. } in &chosen {
            println!("{name:<32} {:<4} {}", manifest.promise, manifest.what);
        }
        return Ok(true);
    }
    let scratch = args.scratch.unwrap_or_else(|| std::env::temp_dir().join("ranch-bugs"));
    let mut free = 0;
    for bug in &chosen {
        let caught = bug.catch(&args.checkout, &scratch)?;
        println!("{:<32} {caught}", bug.name);
        free += u32::from(!matches!(caught, Caught::Yes(_) | Caught::NotHere));
    }
    println!("{} bugs, {free} not caught", chosen.len());
    Ok(!chosen.is_empty() && free == 0)
}

fn check(path: &Path) -> Result<bool, HarnessError> {
    let operations = history::load(path)?;
    let (checked, searched) =
        (ranch_chaos::check(&operations), search(&operations, Sampling::default()));
    let broken = checked.as_ref().err().into_iter().chain(searched.as_ref().err()).flatten();
    let mut violations = 0;
    for violation in broken {
        println!("{violation}");
        violations += 1;
    }
    if let (Ok(summary), Ok(sample)) = (checked, searched) {
        println!("{summary}; longest gap {:?}", history::longest_write_gap(&operations));
        println!("{sample}");
        return Ok(true);
    }
    eprintln!("ranch-chaos: {violations} violations");
    Ok(false)
}
