//! `ranch tenant`: the admin endpoints from the shell.

mod archive;
mod change;
mod keys;

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use ranch_proto::api_key::Secret;
use ranch_proto::ids::is_tenant_id;
use serde_json::Value;

use super::api::{self, NewTenant};
use super::error::CliError;
use super::http::Call;
use super::options::{AdminArgs, secret};
use super::output;

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Add a tenant and print its key, which is shown this once.
    Add(AddArgs),
    /// List the tenants.
    List(ListArgs),
    /// Show one tenant: state, limits, profile, keys.
    Show(OneArgs),
    /// Change limits, profile and contact of a tenant; what is not named stays.
    Set(change::SetArgs),
    /// Set how much a tenant may store.
    Quota(change::QuotaArgs),
    /// Switch a tenant off at once; its data and keys are kept.
    Disable(OneArgs),
    /// Switch a tenant on again, with the keys it had.
    Restore(OneArgs),
    /// Delete a tenant, its keys and everything it has, for good.
    Purge(change::PurgeArgs),
    /// Make, list and revoke keys of a tenant.
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Show what a tenant has stored.
    Stats(OneArgs),
    /// Get everything a tenant has, as a tar.
    Archive(archive::ArchiveArgs),
}

/// Arguments of `ranch tenant add`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch tenant add will --quota-mb 100 --email will@example.org")]
pub struct AddArgs {
    /// Name of the tenant: 1 to 63 of a-z 0-9 _ -, the first a letter or digit.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// Most it may store, in MB of 2^20 bytes; unlimited when not given.
    #[arg(long, value_name = "MB")]
    quota_mb: Option<f64>,
    /// Whom to write to.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// A key of your own, of at least 16 characters, instead of one made by the ranch.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    tenant_key: Option<Secret>,
    /// Most requests a second; unlimited when not given.
    #[arg(long, value_name = "N")]
    rate_per_s: Option<f64>,
    /// Most requests a day; unlimited when not given.
    #[arg(long, value_name = "N")]
    calls_per_day: Option<u64>,
    /// How `insert` and `select` behave.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Print the whole answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// How a tenant's `insert` and `select` behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// As SQ: `insert` appends, a `select` of nothing is empty.
    Sq,
    /// As a key-value memory: `insert` replaces, a `select` of nothing is 404.
    Memory,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Sq => "sq",
            Self::Memory => "memory",
        }
    }
}

/// Arguments of `ranch tenant list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Arguments of what is done with one tenant.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Name of the tenant.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Carries out one of them.
pub async fn run(command: TenantCommand) -> Result<(), CliError> {
    match command {
        TenantCommand::Add(args) => add(args).await,
        TenantCommand::List(args) => list(args).await,
        TenantCommand::Disable(args) => one(args, Method::DELETE, "", "disabling").await,
        TenantCommand::Restore(args) => one(args, Method::POST, "/restore", "restoring").await,
        TenantCommand::Show(args) => one(args, Method::GET, "", "showing").await,
        TenantCommand::Set(args) => change::set(args).await,
        TenantCommand::Quota(args) => change::quota(args).await,
        TenantCommand::Purge(args) => change::purge(args).await,
        TenantCommand::Key(command) => keys::run(command).await,
        TenantCommand::Stats(args) => one(args, Method::GET, "/stats", "measuring").await,
        TenantCommand::Archive(args) => archive::run(args).await,
    }
}

/// Asks for one tenant's endpoint and prints what it answers.
async fn one(args: OneArgs, method: Method, below: &str, doing: &str) -> Result<(), CliError> {
    let what = format!("{doing} tenant {}", args.id);
    let asked = Asked { method, id: &args.id, below, what, body: None };
    let answer = ask(&args.admin, asked).await?;
    print(&answer, args.json)
}

/// A request about one tenant.
struct Asked<'a> {
    method: Method,
    id: &'a str,
    /// The rest of the path.
    below: &'a str,
    /// What it is for, as in "measuring tenant will".
    what: String,
    body: Option<Value>,
}

async fn ask(admin: &AdminArgs, asked: Asked<'_>) -> Result<Value, CliError> {
    let (http, _) = admin.http()?;
    let path = format!("/api/v2/admin/tenants/{}{}", asked.id, asked.below);
    let mut call = Call::new(asked.method, path, asked.what);
    call.headers.push(("accept", "application/json".to_owned()));
    if let Some(body) = asked.body {
        call.headers.push(("content-type", "application/json".to_owned()));
        call.body = Bytes::from(body.to_string());
    }
    Ok(http.ask_json(&call).await?)
}

/// Prints an object, a field a line.
fn print(answer: &Value, json: bool) -> Result<(), CliError> {
    if json {
        return output::json(answer);
    }
    let fields = answer.as_object().into_iter().flatten();
    let rows: Vec<_> = fields.map(|(name, value)| vec![name.clone(), cell(Some(value))]).collect();
    output::line(&output::table(&rows))
}

async fn add(args: AddArgs) -> Result<(), CliError> {
    let (http, _) = args.admin.http()?;
    let tenant = NewTenant {
        tenant_id: args.id,
        quota_mb: args.quota_mb,
        admin_email: args.email,
        key: args.tenant_key.map(|key| key.expose().to_owned()),
        rate_per_s: args.rate_per_s,
        calls_per_day: args.calls_per_day,
        profile: args.profile.map(Profile::name),
    };
    let added = api::add_tenant(&http, &tenant).await?;
    if args.json {
        return output::json(&added);
    }
    output::line(&cell(added.get("api_key")))?;
    let (id, status) = (&tenant.tenant_id, cell(added.get("status")));
    output::notice(&format!("tenant {id} is {status}; its key is shown only now"));
    Ok(())
}

async fn list(args: ListArgs) -> Result<(), CliError> {
    let (http, _) = args.admin.http()?;
    let mut call = Call::get("/api/v2/admin/tenants", "listing tenants");
    call.headers.push(("accept", "application/json".to_owned()));
    let answer: Value = http.ask_json(&call).await?;
    if args.json {
        return output::json(&answer);
    }
    let tenants = answer.get("tenants").and_then(Value::as_array);
    output::line(&output::table(&rows(&COLUMNS, tenants.map_or(&[], Vec::as_slice))))
}

/// What a table shows of each tenant, in this order.
const COLUMNS: [&str; 9] = [
    "tenant_id",
    "status",
    "shard",
    "quota_mb",
    "rate_per_s",
    "calls_per_day",
    "profile",
    "keys",
    "created",
];

/// A table of these fields of objects, under their names.
fn rows(columns: &[&str], objects: &[Value]) -> Vec<Vec<String>> {
    let heading = columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect();
    let row = |object: &Value| columns.iter().map(|column| cell(object.get(*column))).collect();
    std::iter::once(heading).chain(objects.iter().map(row)).collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A tenant's id as the command line gives it.
pub fn tenant_id(text: &str) -> Result<String, &'static str> {
    let rule = "a tenant's id is 1 to 63 of a-z 0-9 _ -, the first a letter or digit";
    is_tenant_id(text).then(|| text.to_owned()).ok_or(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_tenant_is_a_dash() {
        let tenant = serde_json::json!({"tenant_id": "a", "quota_mb": 1.5, "shard": null});
        let rows = rows(&COLUMNS, &[tenant]);
        assert_eq!(rows[0][..2], ["TENANT ID", "STATUS"]);
        assert_eq!(rows[1][..4], ["a", "-", "-", "1.5"]);
    }

    #[test]
    fn ids_are_checked_before_anything_is_sent() {
        assert!(tenant_id("will").is_ok());
        assert!(tenant_id("Will").is_err() && tenant_id("").is_err());
    }
}
