//! `ranch certs`: a small certificate authority (CA) for one ranch, in one directory.
//!
//! The directory has the names that `[tls] dir` has on every machine, so a machine gets a copy of
//! what concerns it. `ca.key` makes certificates and belongs on none of them. Nothing that is
//! there is written over without being asked for, and everything that is made is tried out.

mod authority;
mod files;
mod kinds;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ranch_proto::config::Config;
use ranch_proto::tls::{CA_STEM, CertFiles, TlsError};

use super::error::CliError;
use super::local::Local;
use super::options::LocalArgs;
use super::output;
use authority::{Authority, Wish};
use kinds::Kind;

/// Where certificates are when neither `--dir` nor `[tls] dir` says so.
const DIR: &str = "certs";
/// Days a certificate lasts, and a CA.
const DAYS: u32 = 365;
const CA_DAYS: u32 = 3_650;

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make a CA for the ranch, and certificates for its nodes and routers.
    Init(InitArgs),
    /// Make certificates for single nodes, or for routers.
    Issue(IssueArgs),
    /// Make new certificates for those that have one; or change the CA, step by step.
    Rotate(RotateArgs),
    /// Show whose certificates there are, and when they expire.
    Show(ShowArgs),
}

/// Where certificates are, and for which ranch.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Directory of the certificates [default: [tls] dir, else certs].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    local: LocalArgs,
}

/// What certificates are to be like.
#[derive(Debug, Args)]
pub struct WishArgs {
    /// Days they last.
    #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// One more host or address they are for, where clients reach the router by HTTPS; repeat it
    /// for several.
    #[arg(long = "san", value_name = "HOST")]
    sans: Vec<String>,
}

/// Arguments of `ranch certs init`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch certs init --san ranch.example.org\n\nThen `[tls] dir` \
                        in ranch.toml, copy to each machine what concerns it, and keep ca.key \
                        where none of them can read it.")]
pub struct InitArgs {
    /// Days the CA lasts.
    #[arg(long, default_value_t = CA_DAYS,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    ca_days: u32,
    /// Make the CA and no certificates.
    #[arg(long)]
    ca_only: bool,
    #[command(flatten)]
    wish: WishArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Arguments of `ranch certs issue`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch certs issue node4\n  ranch certs issue router \
                        --san ranch.example.org\n  ranch certs issue --all\n\nFor a machine that \
                        ranch.toml does not list and that joins by token, with a number no machine \
                        of the ranch has had:\n  ranch certs issue node4 --id 4")]
pub struct IssueArgs {
    /// Nodes of ranch.toml, by name or id, and `router` for all routers.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,
    /// Every node and `router`, but those that have a certificate.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Number of a node that ranch.toml does not list: one that no machine has had.
    #[arg(long, conflicts_with = "all", value_parser = clap::value_parser!(u32).range(1..))]
    id: Option<u32>,
    /// Replace certificates and keys that are there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wish: WishArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Arguments of `ranch certs rotate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch certs rotate           new certificates and keys for \
                        all\n  ranch certs rotate node2     for one\n\nA new CA, in three steps, \
                        each followed by copying files and a few seconds:\n  ranch certs rotate \
                        --ca           ca.crt, with the new CA and the old: to all machines\n  \
                        ranch certs rotate                certificates of the new CA: to each \
                        machine its own\n  ranch certs rotate --drop-old-ca  ca.crt, with the new \
                        CA alone: to all machines")]
pub struct RotateArgs {
    /// Nodes by name or id, and `router`; all that have a certificate when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Make a new CA that is trusted beside the old one. Replaces ca.key.
    #[arg(long, conflicts_with_all = ["names", "drop_old_ca"])]
    ca: bool,
    /// Trust the newest CA only, once all certificates are of it.
    #[arg(long, conflicts_with = "names")]
    drop_old_ca: bool,
    #[command(flatten)]
    wish: WishArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Arguments of `ranch certs show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// There is a CA.
    #[error(
        "{} is there already, so there is a CA: `ranch certs issue --all` makes what is missing, \
         `ranch certs rotate` makes new certificates",
        path.display()
    )]
    CaExists {
        /// Its key, or its certificate.
        path: PathBuf,
    },
    /// There is a certificate, or a key.
    #[error(
        "{} is there already: `ranch certs rotate {stem}` makes new ones, --force writes over it",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        stem: String,
    },
    /// The CA's key is not here.
    #[error(
        "there is no {}: certificates are made where the CA was made with `ranch certs init`",
        path.display()
    )]
    NoCaKey {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No such process.
    #[error(
        "no [[node]] is named {name}: choose of {known}, or `router`; one that ranch.toml does not \
         list gets a certificate with --id"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A node and its number do not go together.
    #[error(
        "{of} already: give a new machine a number no machine of the ranch has had, and a name of \
         its own"
    )]
    Taken {
        /// Such as "[[node]] node1 of ranch.toml has the id 1".
        of: String,
    },
    /// A number is one machine's.
    #[error("--id is for one machine: name it, as in `ranch certs issue node4 --id 4`")]
    OneId,
    /// There is nothing to renew.
    #[error("{} has no certificates to renew: `ranch certs issue --all` makes them", dir.display())]
    Nothing {
        /// The directory.
        dir: PathBuf,
    },
    /// A certificate would be worth nothing.
    #[error(
        "{} is of an older CA still: `ranch certs rotate` and copy the new certificates to their \
         machines first",
        path.display()
    )]
    StillNeeded {
        /// The certificate.
        path: PathBuf,
    },
    /// A host name is none.
    #[error("{name} is no host name or address for --san")]
    Name {
        /// What was given.
        name: String,
    },
    /// Making failed.
    #[error("cannot make {what}: {reason}")]
    Make {
        /// What was to be made.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A file is not what it should be.
    #[error(transparent)]
    File(#[from] TlsError),
}

/// Carries one of them out.
pub fn run(command: &CertsCommand) -> Result<(), CliError> {
    match command {
        CertsCommand::Init(args) => init(args),
        CertsCommand::Issue(args) => issue(args),
        CertsCommand::Rotate(args) => rotate(args),
        CertsCommand::Show(args) => {
            let (config, certs) = args.place.open()?;
            show::run(&config, &certs, args.json)
        }
    }
}

impl PlaceArgs {
    fn open(&self) -> Result<(Config, CertFiles), CliError> {
        let config = Local::load(&self.local)?.config;
        let dir = self.dir.clone().or_else(|| config.tls.dir.clone());
        let dir = dir.unwrap_or_else(|| DIR.into());
        Ok((config, CertFiles::new(dir)))
    }
}

impl WishArgs {
    fn wish(&self) -> Wish {
        Wish { days: self.days, sans: self.sans.clone() }
    }
}

fn init(args: &InitArgs) -> Result<(), CliError> {
    let (config, certs) = args.place.open()?;
    for path in [certs.key(CA_STEM), certs.cert(CA_STEM)] {
        if path.exists() {
            return Err(CertsError::CaExists { path }.into());
        }
    }
    let kinds = if args.ca_only { Vec::new() } else { Kind::all(&config) };
    refuse_existing(&certs, &kinds)?;
    files::make_dir(&certs)?;
    let authority = Authority::make(&certs, &config.cluster.name, args.ca_days)?;
    for kind in &kinds {
        authority.issue(&config, kind, &args.wish.wish())?;
    }
    output::line(&show::next_steps(&config, &certs, &kinds, true))
}

fn issue(args: &IssueArgs) -> Result<(), CliError> {
    let (config, certs) = args.place.open()?;
    let mut kinds = match (args.id, args.names.as_slice()) {
        (Some(id), [name]) => vec![Kind::with_id(&config, &certs, name, id)?],
        (Some(_), _) => return Err(CertsError::OneId.into()),
        (None, _) if args.all => Kind::all(&config),
        (None, names) => Kind::named(&config, &certs, names)?,
    };
    if args.all && !args.force {
        kinds.retain(|kind| !certs.cert(kind.stem()).exists() && !certs.key(kind.stem()).exists());
    }
    if !args.force {
        refuse_existing(&certs, &kinds)?;
    }
    let authority = Authority::open(&certs)?;
    for kind in &kinds {
        authority.issue(&config, kind, &args.wish.wish())?;
    }
    output::line(&show::next_steps(&config, &certs, &kinds, false))
}

fn refuse_existing(certs: &CertFiles, kinds: &[Kind]) -> Result<(), CertsError> {
    for kind in kinds {
        let stem = kind.stem();
        if let Some(path) = [certs.cert(stem), certs.key(stem)].into_iter().find(|p| p.exists()) {
            return Err(CertsError::Exists { path, stem: stem.to_owned() });
        }
    }
    Ok(())
}

fn rotate(args: &RotateArgs) -> Result<(), CliError> {
    let (config, certs) = args.place.open()?;
    if args.ca {
        let authority = Authority::open(&certs)?;
        authority.succeed(&config.cluster.name, CA_DAYS)?;
        return output::line(&show::after_new_ca(&certs));
    }
    if args.drop_old_ca {
        Authority::open(&certs)?.drop_older(&Kind::present(&config, &certs))?;
        return output::line(&show::after_drop(&certs));
    }
    let mut kinds = Kind::present(&config, &certs);
    if !args.names.is_empty() {
        kinds = Kind::named(&config, &certs, &args.names)?;
    }
    kinds.retain(|kind| !args.names.is_empty() || certs.cert(kind.stem()).exists());
    if kinds.is_empty() {
        return Err(CertsError::Nothing { dir: certs.dir().to_owned() }.into());
    }
    let authority = Authority::open(&certs)?;
    for kind in &kinds {
        let mut wish = args.wish.wish();
        wish.sans.extend(authority::names_of(&certs, kind));
        authority.issue(&config, kind, &wish)?;
    }
    output::line(&show::next_steps(&config, &certs, &kinds, false))
}

#[cfg(test)]
mod tests;
