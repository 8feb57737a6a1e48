//! `ranch export`: a phext as text, to a file or to standard output, as it comes.

use std::path::{Path, PathBuf};

use clap::Args;
use hyper::body::Incoming;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::api::Scrolls;
use super::error::CliError;
use super::http::ClientError;
use super::options::ClientArgs;
use super::output;

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
    if args.file == Path::new("-") {
        return to_stdout(&scrolls, body).await;
    }
    let bytes = to_file(&scrolls, body, &args.file).await?;
    let (name, file) = (scrolls.name(), args.file.display());
    output::notice(&format!("exported {name} to {file} ({})", output::human_bytes(bytes)));
    Ok(())
}

async fn to_stdout(scrolls: &Scrolls, mut body: Incoming) -> Result<(), CliError> {
    while let Some(piece) = scrolls.http.piece(&mut body, "export").await? {
        output::raw(&piece)?;
    }
    Ok(())
}

/// Writes beside `file` and moves it there when everything is on disk.
async fn to_file(scrolls: &Scrolls, body: Incoming, file: &Path) -> Result<u64, CliError> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    match fill(scrolls, body, &beside).await {
        Ok(bytes) => {
            let moved = tokio::fs::rename(&beside, file).await;
            moved.map_err(CliError::file("write", file))?;
            Ok(bytes)
        }
        Err(error) => {
            // The first error is the one that matters.
            let _ = tokio::fs::remove_file(&beside).await;
            Err(error)
        }
    }
}

async fn fill(scrolls: &Scrolls, mut body: Incoming, path: &Path) -> Result<u64, CliError> {
    let file = File::create(path).await.map_err(CliError::file("write", path))?;
    let mut file = BufWriter::new(file);
    let mut bytes = 0;
    while let Some(piece) = scrolls.http.piece(&mut body, "export").await? {
        file.write_all(&piece).await.map_err(CliError::file("write", path))?;
        bytes += piece.len() as u64;
    }
    file.flush().await.map_err(CliError::file("write", path))?;
    file.into_inner().sync_all().await.map_err(CliError::file("sync", path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::scripted;
    use super::*;

    const WHOLE: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnew\r\n0\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnew\r\n";

    async fn export(answer: &'static str, file: &Path) -> Result<u64, CliError> {
        let http = scripted::server(vec![answer]).await;
        let scrolls = Scrolls { http, phext: Some("p".to_owned()), tenant: None };
        let body = scrolls.export().await?;
        to_file(&scrolls, body, file).await
    }

    #[tokio::test]
    async fn a_file_is_replaced_by_a_whole_export_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.phext");
        std::fs::write(&file, "old").unwrap();
        let error = export(BROKEN, &file).await.unwrap_err().to_string();
        assert!(error.contains("broke during export"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(export(WHOLE, &file).await.unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
