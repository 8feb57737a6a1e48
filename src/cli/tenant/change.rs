//! Changing a tenant: limits, profile and contact, or deleting it for good.

use std::str::FromStr;

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::super::error::CliError;
use super::super::options::AdminArgs;
use super::{Asked, Profile, ask, print, tenant_id};

/// Arguments of `ranch tenant set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ranch tenant set will --rate-per-s 50 --calls-per-day 100000
  ranch tenant set will --calls-per-day none --email will@example.org
  ranch tenant set will --profile memory")]
pub struct SetArgs {
    /// Name of the tenant.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// Most it may store, in MB of 2^20 bytes, or `none` for no limit.
    #[arg(long, value_name = "MB|none")]
    quota_mb: Option<Limit<f64>>,
    /// Most requests a second, or `none` for no limit.
    #[arg(long, value_name = "N|none")]
    rate_per_s: Option<Limit<f64>>,
    /// Most requests a day, or `none` for no limit.
    #[arg(long, value_name = "N|none")]
    calls_per_day: Option<Limit<u64>>,
    /// How `insert` and `select` behave.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Whom to write to, or `none`.
    #[arg(long, value_name = "ADDRESS|none")]
    email: Option<Limit<String>>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Arguments of `ranch tenant quota`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch tenant quota will 512\n  ranch tenant quota will none")]
pub struct QuotaArgs {
    /// Name of the tenant.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// Most it may store, in MB of 2^20 bytes, or `none` for no limit.
    #[arg(value_name = "MB|none")]
    quota_mb: Limit<f64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Arguments of `ranch tenant purge`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch tenant archive will && ranch tenant purge will --yes")]
pub struct PurgeArgs {
    /// Name of the tenant.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// Yes, delete everything it has. There is no way back.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// A value, or `none`.
#[derive(Clone, Debug, PartialEq)]
enum Limit<T> {
    None,
    Some(T),
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Some) }
    }
}

impl<T: Into<Value>> From<Limit<T>> for Value {
    fn from(limit: Limit<T>) -> Self {
        match limit {
            Limit::None => Self::Null,
            Limit::Some(value) => value.into(),
        }
    }
}

/// Changes what was named; prints the tenant as it is then.
pub async fn set(args: SetArgs) -> Result<(), CliError> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        body.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("quota_mb", args.quota_mb.map(Value::from));
    put("rate_per_s", args.rate_per_s.map(Value::from));
    put("calls_per_day", args.calls_per_day.map(Value::from));
    put("profile", args.profile.map(|profile| profile.name().into()));
    put("admin_email", args.email.map(Value::from));
    patch(&args.id, Value::Object(body), args.json, &args.admin).await
}

/// Sets the quota; prints the tenant as it is then.
pub async fn quota(args: QuotaArgs) -> Result<(), CliError> {
    let body = json!({ "quota_mb": Value::from(args.quota_mb) });
    patch(&args.id, body, args.json, &args.admin).await
}

async fn patch(id: &str, body: Value, json: bool, admin: &AdminArgs) -> Result<(), CliError> {
    let what = format!("changing tenant {id}");
    let asked = Asked { method: Method::PATCH, id, below: "", what, body: Some(body) };
    print(&ask(admin, asked).await?, json)
}

/// Deletes a tenant for good.
pub async fn purge(args: PurgeArgs) -> Result<(), CliError> {
    if !args.yes {
        return Err(CliError::NotConfirmed { tenant: args.id });
    }
    let (id, what) = (args.id.as_str(), format!("deleting tenant {}", args.id));
    let asked = Asked { method: Method::DELETE, id, below: "?purge=true", what, body: None };
    print(&ask(&args.admin, asked).await?, args.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_none() {
        assert_eq!("none".parse(), Ok(Limit::<u64>::None));
        assert_eq!("1.5".parse(), Ok(Limit::Some(1.5)));
        assert!("many".parse::<Limit<u64>>().is_err());
        assert_eq!(Value::from("none".parse::<Limit<f64>>().unwrap()), Value::Null);
        assert_eq!(Value::from(Limit::Some(7_u64)), json!(7));
    }
}
