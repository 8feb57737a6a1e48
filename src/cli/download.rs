//! A streamed answer to a file, or to standard output as it comes. A file that exists is replaced
//! by a whole answer only.

use std::path::{Path, PathBuf};

use hyper::body::Incoming;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::error::CliError;
use super::http::Http;
use super::output;

/// Stores an answer in `file`, and returns its size; `None` when it went to standard output, as
/// it does for `-`. `what` names it in messages.
pub async fn store(
    http: &Http,
    mut body: Incoming,
    file: &Path,
    what: &str,
) -> Result<Option<u64>, CliError> {
    if file != Path::new("-") {
        return to_file(http, body, file, what).await.map(Some);
    }
    while let Some(piece) = http.piece(&mut body, what).await? {
        output::raw(&piece)?;
    }
    Ok(None)
}

/// Writes beside `file` and moves it there when everything is on disk.
async fn to_file(http: &Http, body: Incoming, file: &Path, what: &str) -> Result<u64, CliError> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    match fill(http, body, &beside, what).await {
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

async fn fill(http: &Http, mut body: Incoming, path: &Path, what: &str) -> Result<u64, CliError> {
    let file = File::create(path).await.map_err(CliError::file("write", path))?;
    let mut file = BufWriter::new(file);
    let mut bytes = 0;
    while let Some(piece) = http.piece(&mut body, what).await? {
        file.write_all(&piece).await.map_err(CliError::file("write", path))?;
        bytes += piece.len() as u64;
    }
    file.flush().await.map_err(CliError::file("write", path))?;
    file.into_inner().sync_all().await.map_err(CliError::file("sync", path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::api::Scrolls;
    use super::super::scripted;
    use super::*;

    const WHOLE: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnew\r\n0\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnew\r\n";

    async fn export(answer: &'static str, file: &Path) -> Result<u64, CliError> {
        let http = scripted::server(vec![answer]).await;
        let scrolls = Scrolls { http, phext: Some("p".to_owned()), tenant: None };
        let body = scrolls.export().await?;
        to_file(&scrolls.http, body, file, "export").await
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
