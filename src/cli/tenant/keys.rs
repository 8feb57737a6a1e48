//! Keys of a tenant: made and shown once, listed, revoked.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use ranch_proto::api_key::Secret;
use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::http::escaped;
use super::super::options::{AdminArgs, secret};
use super::super::output;
use super::{Asked, OneArgs, ask, cell, print, rows, tenant_id};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make another key for a tenant and print it, which is done this once.
    Add(AddArgs),
    /// List the keys of a tenant by their public names.
    List(OneArgs),
    /// Revoke a key; every router refuses it within a second.
    Revoke(RevokeArgs),
}

/// Arguments of `ranch tenant key add`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ranch tenant key add will --label laptop
  ranch tenant key add will --role ro --expires-at 2030-01-31T00:00:00Z

To replace a key without a gap: add one, hand it over, revoke the old one.")]
pub struct AddArgs {
    /// Name of the tenant.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// What the key may do.
    #[arg(long, value_enum, default_value = "rw")]
    role: Role,
    /// What it is for, as the list shows it.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// When it ends, as RFC 3339 writes it; never when not given.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// A key of your own, of at least 16 characters, instead of one made by the ranch.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    tenant_key: Option<Secret>,
    /// Print the whole answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Read and write.
    Rw,
    /// Read only.
    Ro,
}

/// Arguments of `ranch tenant key revoke`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ranch tenant key list will\n  ranch tenant key revoke will k-1a2b3c4d"
)]
pub struct RevokeArgs {
    /// Name of the tenant.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// Public name of the key, as listed.
    key_id: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Carries out one of them.
pub async fn run(command: KeyCommand) -> Result<(), CliError> {
    match command {
        KeyCommand::Add(args) => add(args).await,
        KeyCommand::List(args) => list(args).await,
        KeyCommand::Revoke(args) => revoke(args).await,
    }
}

async fn add(args: AddArgs) -> Result<(), CliError> {
    let role = match args.role {
        Role::Rw => "rw",
        Role::Ro => "ro",
    };
    let key = args.tenant_key.as_ref().map(Secret::expose);
    let body =
        json!({"role": role, "label": args.label, "expires_at": args.expires_at, "key": key});
    let (id, what) = (args.id.as_str(), format!("making a key for tenant {}", args.id));
    let asked = Asked { method: Method::POST, id, below: "/keys", what, body: Some(body) };
    let made = ask(&args.admin, asked).await?;
    if args.json {
        return output::json(&made);
    }
    output::line(&cell(made.get("api_key")))?;
    let name = cell(made.get("key_id"));
    output::notice(&format!("{name} is a key of tenant {id}; it is shown only now"));
    Ok(())
}

async fn list(args: OneArgs) -> Result<(), CliError> {
    const COLUMNS: [&str; 6] = ["key_id", "role", "status", "expires_at", "created", "label"];
    let (id, what) = (args.id.as_str(), format!("listing the keys of tenant {}", args.id));
    let asked = Asked { method: Method::GET, id, below: "/keys", what, body: None };
    let answer = ask(&args.admin, asked).await?;
    if args.json {
        return output::json(&answer);
    }
    let keys = answer.get("keys").and_then(Value::as_array);
    output::line(&output::table(&rows(&COLUMNS, keys.map_or(&[], Vec::as_slice))))
}

async fn revoke(args: RevokeArgs) -> Result<(), CliError> {
    let (id, below) = (args.id.as_str(), format!("/keys/{}", escaped(&args.key_id)));
    let what = format!("revoking {} of tenant {id}", args.key_id);
    let asked = Asked { method: Method::DELETE, id, below: &below, what, body: None };
    print(&ask(&args.admin, asked).await?, args.json)
}
