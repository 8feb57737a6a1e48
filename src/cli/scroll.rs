//! `ranch read`, `write`, `append`, `delete` and `list`: scrolls from the shell.

use bytes::Bytes;
use clap::Args;
use ranch_proto::{Coordinate, Pattern, RequestId};
use tokio::io::AsyncReadExt;

use super::api::{PAGE, Page, Precondition, Scrolls};
use super::error::CliError;
use super::http::ClientError;
use super::options::ClientArgs;
use super::output;

/// Arguments of `ranch read`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch read 1.1.1/1.1.1/1.1.1 --phext journal")]
pub struct ReadArgs {
    /// Where the scroll is.
    #[arg(value_name = "COORDINATE", value_parser = Coordinate::parse)]
    at: Coordinate,
    #[command(flatten)]
    client: ClientArgs,
}

/// Arguments of `ranch write`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch write notes/todo 'feed the horses'\n  \
                        ranch write notes/todo < todo.txt")]
pub struct WriteArgs {
    /// Where the scroll goes.
    #[arg(value_name = "COORDINATE", value_parser = Coordinate::parse)]
    at: Coordinate,
    /// The text; standard input when it is `-` or not given. An empty text removes the scroll.
    #[arg(allow_hyphen_values = true)]
    text: Option<String>,
    /// Only if nothing is there yet.
    #[arg(long, conflicts_with = "if_revision")]
    if_absent: bool,
    /// Only if the scroll is at this revision.
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Arguments of `ranch append`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  date | ranch append log/2026")]
pub struct AppendArgs {
    /// Where the scroll is.
    #[arg(value_name = "COORDINATE", value_parser = Coordinate::parse)]
    at: Coordinate,
    /// The text; standard input when it is `-` or not given.
    #[arg(allow_hyphen_values = true)]
    text: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Arguments of `ranch delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Where the scroll is.
    #[arg(value_name = "COORDINATE", value_parser = Coordinate::parse)]
    at: Coordinate,
    #[command(flatten)]
    client: ClientArgs,
}

/// Arguments of `ranch list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch list\n  ranch list '1.5.*/3.7.3' --long\n  \
                        ranch list notes --limit 20")]
pub struct ListArgs {
    /// Which coordinates: the beginning of one, `*` for any component; all when not given.
    #[arg(default_value = "*", value_parser = Pattern::parse)]
    pattern: Pattern,
    /// With size, revision and time of change.
    #[arg(long)]
    long: bool,
    /// Stop after so many; all when not given.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Begin after this coordinate.
    #[arg(long, value_name = "COORDINATE", value_parser = Coordinate::parse)]
    after: Option<Coordinate>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints one scroll.
pub async fn read(args: ReadArgs) -> Result<(), CliError> {
    let scrolls = scrolls(args.client)?;
    let Some(text) = scrolls.read(&args.at).await? else {
        return Err(CliError::NoScroll { at: args.at, phext: scrolls.name() });
    };
    output::scroll(&text)
}

/// Replaces one scroll.
pub async fn write(args: WriteArgs) -> Result<(), CliError> {
    let text = text_of(args.text).await?;
    let absent = args.if_absent.then_some(Precondition::Absent);
    let only_if = absent.or(args.if_revision.map(Precondition::Revision));
    said(&scrolls(args.client)?.write(&args.at, text, only_if).await?)
}

/// Adds to one scroll.
pub async fn append(args: AppendArgs) -> Result<(), CliError> {
    let text = text_of(args.text).await?;
    let id = format!("{:032x}", u128::from_be_bytes(RequestId::random().0));
    said(&scrolls(args.client)?.append(&args.at, text, &id).await?)
}

/// Removes one scroll.
pub async fn delete(args: DeleteArgs) -> Result<(), CliError> {
    said(&scrolls(args.client)?.delete(&args.at).await?)
}

/// Prints coordinates, page by page.
pub async fn list(args: ListArgs) -> Result<(), CliError> {
    let scrolls = scrolls(args.client)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut after = args.after.map(|at| at.to_string());
    while left > 0 {
        let page = Page { limit: left.min(PAGE), after: after.take(), long: args.long };
        let text = scrolls.list(&args.pattern, &page).await?;
        let text = String::from_utf8_lossy(&text);
        output::raw(text.as_bytes())?;
        let count = text.lines().count() as u64;
        left = left.saturating_sub(count);
        if count < page.limit {
            break;
        }
        after = text.lines().last().and_then(coordinate_of).map(str::to_owned);
    }
    Ok(())
}

/// The coordinate in a line of a list, which in a long list is followed by more.
pub fn coordinate_of(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().next()
}

fn scrolls(client: ClientArgs) -> Result<Scrolls, CliError> {
    if client.key.is_none() {
        return Err(ClientError::NoKey.into());
    }
    Ok(Scrolls { http: client.http()?, phext: client.phext, tenant: None })
}

fn said(answer: &[u8]) -> Result<(), CliError> {
    output::line(&String::from_utf8_lossy(answer))
}

async fn text_of(argument: Option<String>) -> Result<Bytes, CliError> {
    match argument {
        Some(text) if text != "-" => Ok(text.into()),
        _ => {
            let mut text = Vec::new();
            let read = tokio::io::stdin().read_to_end(&mut text).await;
            read.map_err(|source| CliError::Input { source })?;
            Ok(text.into())
        }
    }
}
