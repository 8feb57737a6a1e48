//! A server for tests that answers the requests it gets, one a connection, with texts set before.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::http::Http;

/// Answers with these texts in turn, whatever is asked; a client of it.
pub async fn server(answers: Vec<&'static str>) -> Http {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for text in answers {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, text).await;
        }
    });
    Http::new(&format!("http://{addr}"), &super::trust::Trust::System, None).unwrap()
}

/// Reads a request, which ends with its head or with as many bytes as that says, and answers.
async fn answer(mut stream: TcpStream, text: &str) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request broke off");
    }
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
