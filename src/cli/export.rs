//! `ranch export`: a phext as text, to a file or to standard output, as it comes.

use std::path::PathBuf;

use clap::Args;

use super::api::Scrolls;
use super::error::CliError;
use super::http::ClientError;
use super::options::ClientArgs;
use super::{download, output};

/// Arguments of `ranch export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch export journal.phext --phext journal\n  \
                        ranch export | wc -c")]
pub struct ExportArgs {
    /// File to write; standard output when it is `-` or not given. A file that exists is
    /// replaced once the export is complete, never by half of one.
    #[arg(default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

/// Exports one phext.
pub async fn run(args: ExportArgs) -> Result<(), CliError> {
    if args.client.key.is_none() {
        return Err(ClientError::NoKey.into());
    }
    let scrolls = Scrolls { http: args.client.http()?, phext: args.client.phext, tenant: None };
    let body = scrolls.export().await?;
    if let Some(bytes) = download::store(&scrolls.http, body, &args.file, "export").await? {
        let (name, file) = (scrolls.name(), args.file.display());
        output::notice(&format!("exported {name} to {file} ({})", output::human_bytes(bytes)));
    }
    Ok(())
}
