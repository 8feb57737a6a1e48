//! `ranch import`: every scroll of phext files, stored at its coordinate; or a whole SQ
//! installation with its tenants.
//!
//! Files are read through once before anything is stored, so that a file that is no phext changes
//! nothing. Afterwards the ranch is asked for its list: what was stored must be in it.

mod installation;
mod migrate;
mod source;
mod upload;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ranch_proto::Coordinate;
use ranch_proto::phext::PhextReadError;

use super::api::Scrolls;
use super::error::CliError;
use super::http::{ClientError, Http};
use super::options::{AdminArgs, AdminKeyArg, ClientArgs, LocalArgs};
use super::output;
use installation::Installation;
use migrate::Migration;
use source::Source;
use upload::{Refusal, Upload};

/// Most refused scrolls that are named one by one.
const NAMED_MAX: usize = 20;

/// Arguments of `ranch import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples. With a tenant's key, phexts go to that tenant:\n  \
    ranch import journal.phext --phext journal\n  \
    ranch import phexts/           every *.phext, each into a phext of its name\n\n\
    With the admin key, a whole SQ installation moves, and can be moved again after a stop:\n  \
    ranch import tenants.json      each tenant with its keys, quota and phexts\n  \
    ranch import data/             phexts without an owner become tenant `default`")]
pub struct ImportArgs {
    /// A phext file, a directory of *.phext files, SQ's tenants.json, or `-` for standard input.
    path: PathBuf,
    /// Only show what would be imported, and what could not be.
    #[arg(long)]
    dry_run: bool,
    /// Scrolls sent at the same time.
    #[arg(long, value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    in_flight: u16,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    admin_key: AdminKeyArg,
    #[command(flatten)]
    local: LocalArgs,
}

/// Why an import is not complete.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file is no phext.
    #[error("{name}: {source}; nothing of it was stored")]
    NotPhext {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: PhextReadError,
    },
    /// A directory without anything to import.
    #[error("there is no *.phext file in {}", path.display())]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// Several files cannot go into one phext.
    #[error(
        "--phext names one phext, but {} is a directory: import its files one by one",
        path.display()
    )]
    OnePhext {
        /// The directory.
        path: PathBuf,
    },
    /// A file whose name cannot be a phext's.
    #[error(
        "{} cannot be a phext's name: rename the file, or import it alone with --phext",
        path.display()
    )]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// A tenants file that cannot be understood.
    #[error("the tenants file {} moves nothing: {reason}", path.display())]
    TenantsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        reason: String,
    },
    /// Something of an installation was left behind.
    #[error("{count} thing(s) were left behind, see above; mend them and import again")]
    Problems {
        /// How many.
        count: usize,
    },
    /// Scrolls the ranch did not take.
    #[error("{refused} of {total} scrolls of {name} were refused; the others are stored")]
    Refused {
        /// The file.
        name: String,
        /// How many.
        refused: usize,
        /// Of how many.
        total: u64,
    },
    /// The import broke off.
    #[error("stopped at {at} of {name}, at least {stored} scrolls are stored: {source}")]
    Stopped {
        /// The file.
        name: String,
        /// The scroll that could not be sent.
        at: Coordinate,
        /// Scrolls the ranch acknowledged before.
        stored: u64,
        /// What happened.
        source: Box<ClientError>,
    },
    /// A scroll that was acknowledged is not listed.
    #[error(
        "{missing} scrolls of {name} were acknowledged but are not listed, {first} for one: \
         did someone delete them meanwhile? Import again"
    )]
    Missing {
        /// The file.
        name: String,
        /// How many.
        missing: u64,
        /// The first of them.
        first: Coordinate,
    },
}

/// Imports one file, all of a directory, or an SQ installation.
pub async fn run(args: ImportArgs) -> Result<(), CliError> {
    let without_owner = args.client.key.is_none() && args.path.is_dir();
    if without_owner || Installation::is_at(&args.path) {
        return migrate(args).await;
    }
    if args.client.key.is_none() && !args.dry_run {
        return Err(ClientError::NoKey.into());
    }
    let http = args.client.http()?;
    let sources = source::find(&args.path, args.client.phext.as_deref())?;
    let mut checked = Vec::with_capacity(sources.len());
    for source in sources {
        let extent = source.measure()?;
        checked.push((source, extent));
    }
    if args.dry_run {
        return migrate::rehearse(&Installation::of_one_tenant(checked));
    }
    for (source, extent) in &checked {
        import(&http, source, *extent, args.in_flight.into()).await?;
    }
    Ok(())
}

async fn migrate(args: ImportArgs) -> Result<(), CliError> {
    let installation = Installation::read(&args.path)?;
    for remark in &installation.remarks {
        output::notice(remark);
    }
    if args.dry_run {
        return migrate::rehearse(&installation);
    }
    let ImportArgs { client, admin_key, local, in_flight, .. } = args;
    let (http, _) = AdminArgs { url: client.url, key: admin_key, local }.http()?;
    Migration::new(&http, in_flight.into()).run(installation).await
}

/// How much there is to import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    scrolls: u64,
    bytes: u64,
    /// Scrolls with U+FFFD in them, which stands for text that was lost before.
    doubtful: u64,
    /// XXH3-128 of the phext's text, as the ranch will calculate it.
    checksum: u128,
}

async fn import(
    http: &Http,
    source: &Source,
    extent: Extent,
    in_flight: usize,
) -> Result<(), CliError> {
    let started = Instant::now();
    let scrolls = Scrolls { http: http.clone(), phext: source.phext.clone(), tenant: None };
    let bar = output::progress(extent.scrolls, "importing");
    let upload = Upload::new(&scrolls, source, bar.clone());
    let done = upload.run(in_flight).await;
    bar.finish_and_clear();
    let done = done?;
    report(&done.refused);
    upload::verify(&scrolls, source, &done.stored).await?;
    if !done.refused.is_empty() {
        let (name, refused) = (source.name.clone(), done.refused.len());
        return Err(ImportError::Refused { name, refused, total: extent.scrolls }.into());
    }
    output::notice(&format!(
        "imported {} ({}) of {} into {} in {:.1} s; every one is listed",
        scrolls_in_words(done.stored.len()),
        output::human_bytes(extent.bytes),
        source.name,
        scrolls.name(),
        started.elapsed().as_secs_f64(),
    ));
    Ok(())
}

fn scrolls_in_words(count: usize) -> String {
    format!("{count} scroll{}", if count == 1 { "" } else { "s" })
}

fn report(refused: &[Refusal]) {
    for refusal in refused.iter().take(NAMED_MAX) {
        output::notice(&format!("refused: {}", refusal.error));
    }
    if let Some(more) = refused.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        output::notice(&format!("refused: {more} more"));
    }
}
