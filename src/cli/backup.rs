//! `ranch backup`, `verify` and `restore`: a directory of backups that share what they have in
//! common, taken from a ranch that serves, and put back into this or another one.

mod api;
mod dir;
mod error;
mod manifest;
mod pace;
mod restore;
mod take;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ranch_raft::background;
use serde_json::json;

pub use error::BackupError;

use super::error::CliError;
use super::options::AdminArgs;
use super::output::{self, human_bytes};
use super::tenant::tenant_id;
use api::Api;
use dir::{Dir, Stored};
use pace::rate;
use restore::{One, Restore};
use verify::Verifier;

/// Arguments of `ranch backup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ranch backup /mnt/backups              stores what has changed since the last time
  ranch backup /mnt/backups --keep 30    and removes all but the newest 30
  ranch backup /mnt/backups --list")]
pub struct BackupArgs {
    /// Directory of the backups; made when there is none.
    dir: PathBuf,
    /// List the backups instead of taking one.
    #[arg(long)]
    list: bool,
    /// Afterwards remove all backups but the newest N.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Most MB of 2^20 bytes read from the ranch a second; 0 for no limit, and for a command that
    /// does not give way to others on its machine.
    #[arg(long, value_name = "MB", default_value = "32", value_parser = rate)]
    rate_mb_s: f64,
    /// How long one shard is tried that gives no copy, in seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    patience_s: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Arguments of `ranch verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ranch verify /mnt/backups
  ranch verify /mnt/backups --backup 2026-11-26T22-49-11Z")]
pub struct VerifyArgs {
    /// Directory of the backups.
    dir: PathBuf,
    /// Look at this backup only.
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `ranch restore`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ranch restore /mnt/backups                          the newest backup into an empty ranch
  ranch restore /mnt/backups --tenant will            one tenant that is gone
  ranch restore /mnt/backups --tenant will --as old   beside the one there is")]
pub struct RestoreArgs {
    /// Directory of the backups.
    dir: PathBuf,
    /// The backup [default: the newest].
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Restore this tenant only, into a ranch that may have others.
    #[arg(long, value_name = "ID", value_parser = tenant_id)]
    tenant: Option<String>,
    /// What the tenant is to be called [default: as it was].
    #[arg(long = "as", value_name = "NEW", requires = "tenant", value_parser = tenant_id)]
    new: Option<String>,
    /// Most MB of 2^20 bytes sent to the ranch a second; 0 for no limit.
    #[arg(long, value_name = "MB", default_value = "0", value_parser = rate)]
    rate_mb_s: f64,
    /// How long one thing is tried while the ranch cannot do it, in seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    patience_s: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Takes a backup, or lists those there are.
pub async fn backup(args: BackupArgs) -> Result<(), CliError> {
    if args.list {
        return list(&args);
    }
    if args.rate_mb_s > 0.0 {
        background::process_behind();
    }
    let (http, _) = args.admin.http()?;
    let api = Api::new(http, Duration::from_secs(args.patience_s));
    let dir = Arc::new(Dir::open_or_make(&args.dir)?);
    let taken = take::take(&api, &dir, args.rate_mb_s).await?;
    let pruned = args.keep.map(|keep| dir.prune(keep as usize)).transpose()?;
    if args.json {
        return output::json(&taken);
    }
    output::line(&taken.name)?;
    output::notice(&format!(
        "{} tenants with {} scrolls ({}) in {} chunks; {} of them ({}) are new; {:.1} s",
        taken.tenants,
        taken.scrolls,
        human_bytes(taken.bytes),
        taken.chunks,
        taken.new_chunks,
        human_bytes(taken.new_bytes),
        taken.seconds
    ));
    if let Some((backups, chunks)) = pruned {
        output::notice(&format!("{backups} old backups and {chunks} chunks are removed"));
    }
    Ok(())
}

fn list(args: &BackupArgs) -> Result<(), CliError> {
    let dir = Dir::open(&args.dir)?;
    let heading = ["BACKUP", "RANCH", "TENANTS", "SCROLLS", "BYTES", "CHUNKS"].map(str::to_owned);
    let (mut rows, mut listed) = (vec![heading.to_vec()], Vec::new());
    for name in dir.names()? {
        match dir.read(&name) {
            Ok(Stored { manifest, .. }) => {
                let (scrolls, bytes) = manifest.totals();
                let (tenants, chunks) = (manifest.tenants.len(), manifest.chunks().count());
                listed.push(json!({
                    "backup": name, "ranch": manifest.cluster_name, "tenants": tenants,
                    "scrolls": scrolls, "storage_bytes": bytes, "chunks": chunks,
                }));
                let numbers = [tenants as u64, scrolls, bytes, chunks as u64];
                let cells = [name, manifest.cluster_name].into_iter();
                rows.push(cells.chain(numbers.map(|number| number.to_string())).collect());
            }
            Err(error) => {
                output::notice(&format!("ranch: {error}"));
                listed.push(json!({"backup": name, "damaged": error.to_string()}));
                rows.push(vec![name, "damaged".to_owned()]);
            }
        }
    }
    if args.json { output::json(&listed) } else { output::line(&output::table(&rows)) }
}

/// Looks whether backups are what was written.
pub fn verify(args: VerifyArgs) -> Result<(), CliError> {
    let dir = Dir::open(&args.dir)?;
    let names = match &args.backup {
        Some(name) => vec![name.clone()],
        None => dir.names()?,
    };
    if names.is_empty() {
        return Err(BackupError::Nothing { path: args.dir }.into());
    }
    let bar = output::progress_bytes(0, "verify");
    let mut verifier = Verifier::new(&dir, &bar);
    let (mut damaged, mut said) = (0, Vec::new());
    for name in &names {
        let stored = match &args.backup {
            Some(_) => dir.backup(Some(name)),
            None => dir.read(name),
        };
        let (faults, totals) = match stored {
            Ok(stored) => {
                bar.inc_length(stored.manifest.chunks().map(|chunk| chunk.bytes).sum());
                let tenants: Vec<_> = stored.manifest.tenants.iter().collect();
                (verifier.faults(&stored, &tenants), stored.manifest.totals())
            }
            Err(error @ BackupError::NoBackup { .. }) => return Err(error.into()),
            Err(error) => (vec![error], (0, 0)),
        };
        damaged += usize::from(!faults.is_empty());
        for fault in &faults {
            bar.suspend(|| output::notice(&format!("{name}: {fault}")));
        }
        if faults.is_empty() && !args.json {
            let (scrolls, bytes) = totals;
            output::line(&format!("{name} is whole: {scrolls} scrolls, {bytes} bytes"))?;
        }
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        said.push(json!({"backup": name, "scrolls": totals.0, "faults": faults}));
    }
    bar.finish_and_clear();
    if args.json {
        output::json(&said)?;
    }
    if damaged > 0 {
        return Err(BackupError::Damaged { found: damaged, looked_at: names.len() }.into());
    }
    Ok(())
}

/// Puts a backup, or a tenant of one, into a ranch.
pub async fn restore(args: RestoreArgs) -> Result<(), CliError> {
    let (http, _) = args.admin.http()?;
    let api = Api::new(http, Duration::from_secs(args.patience_s));
    let dir = Dir::open(&args.dir)?;
    let stored = dir.backup(args.backup.as_deref())?;
    let restore = Restore::new(&api, &dir, &stored, args.rate_mb_s)?;
    let done = match args.tenant {
        None => restore.all().await?,
        Some(tenant) => {
            let one = One { name: args.new.unwrap_or_else(|| tenant.clone()), tenant };
            let done = restore.one(&one).await?;
            if !args.json {
                return say_one(&one, &done);
            }
            done
        }
    };
    if args.json {
        return output::json(&done);
    }
    let again = match done.already {
        0 => String::new(),
        already => format!("; {already} were there already"),
    };
    output::line(&format!(
        "{} tenants with {} scrolls are restored from {}{again}",
        done.restored, done.scrolls, done.backup
    ))?;
    output::notice("their keys are valid as they were; the admin key is this ranch's own");
    Ok(())
}

fn say_one(one: &One, done: &restore::Done) -> Result<(), CliError> {
    let (name, backup, scrolls) = (&one.name, &done.backup, done.scrolls);
    if let Some(key) = &done.api_key {
        output::line(key)?;
        output::notice(&format!(
            "tenant {name} is restored from {backup} with {scrolls} scrolls; its key is new, and \
             shown only now"
        ));
        return Ok(());
    }
    let keys = if done.keys > 0 {
        "its keys are valid as they were".to_owned()
    } else {
        format!("it has no key that is known: make one with `ranch tenant key add {name}`")
    };
    output::notice(&format!(
        "tenant {name} is restored from {backup} with {scrolls} scrolls; {keys}"
    ));
    Ok(())
}
