//! Everything a tenant has, to a file or to standard output.

use std::path::PathBuf;

use clap::Args;

use super::super::error::CliError;
use super::super::http::Call;
use super::super::options::AdminArgs;
use super::super::{download, output};
use super::tenant_id;

/// Arguments of `ranch tenant archive`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ranch tenant archive will                   makes will.tar
  ranch tenant archive will - | zstd > will.tar.zst
  tar xf will.tar && ranch import will        puts its phexts back")]
pub struct ArchiveArgs {
    /// Name of the tenant; it may be disabled.
    #[arg(value_parser = tenant_id)]
    id: String,
    /// File to write [default: the tenant's name with .tar]; `-` is standard output.
    file: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Gets the archive. A file that exists is replaced once it is complete.
pub async fn run(args: ArchiveArgs) -> Result<(), CliError> {
    let (http, _) = args.admin.http()?;
    let file = args.file.unwrap_or_else(|| PathBuf::from(format!("{}.tar", args.id)));
    let path = format!("/api/v2/admin/tenants/{}/archive", args.id);
    let body = http.ask(&Call::get(path, format!("archiving tenant {}", args.id))).await?;
    let stored = download::store(&http, body.into_body(), &file, "the archive").await?;
    if let Some(bytes) = stored {
        let (id, file) = (&args.id, file.display());
        let bytes = output::human_bytes(bytes);
        output::notice(&format!("everything tenant {id} has is in {file} ({bytes})"));
    }
    Ok(())
}
