//! What a running `ranch up` can be told: to start one of its processes again, with another
//! program. A socket in the data directory, for its owner alone; a line of JSON each way.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// The socket, in the data directory.
const SOCKET: &str = "up.sock";
/// What the router is called among the processes.
pub const ROUTER: &str = "router";
/// Orders that may wait.
const QUEUE: usize = 8;

/// What can be ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// To name the processes.
    List,
    /// To stop a process and start it again with this program.
    Restart {
        /// Which, as in the list.
        name: String,
        /// An absolute path.
        program: PathBuf,
    },
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// The processes.
    Names(Vec<String>),
    /// It was carried out.
    Done,
    /// It was not.
    Refused(String),
}

/// An order, and where its end is awaited.
pub type Waiting = (Order, oneshot::Sender<Told>);

/// Listens for orders in a data directory for as long as the value lives.
pub struct Orders {
    file: PathBuf,
    waiting: mpsc::Receiver<Waiting>,
    task: tokio::task::JoinHandle<()>,
}

impl Orders {
    /// Begins to listen. Nobody else may be doing so, which the router's port has made sure of.
    pub fn listen(root: &Path) -> io::Result<Self> {
        let file = root.join(SOCKET);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&file)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let (sender, waiting) = mpsc::channel(QUEUE);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, sender.clone()));
            }
        });
        Ok(Self { file, waiting, task })
    }

    /// The next order.
    pub async fn next(&mut self) -> Waiting {
        match self.waiting.recv().await {
            Some(order) => order,
            // The listener has failed; there will be none.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.task.abort();
        // A socket that is left is removed by the next `ranch up`.
        let _ = fs::remove_file(&self.file);
    }
}

async fn take(stream: UnixStream, orders: mpsc::Sender<Waiting>) {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let told = match serde_json::from_str(&line) {
            Ok(order) => {
                let (tell, told) = oneshot::channel();
                let ended = || Told::Refused("`ranch up` is stopping".to_owned());
                match orders.send((order, tell)).await {
                    Ok(()) => told.await.unwrap_or_else(|_| ended()),
                    Err(_) => ended(),
                }
            }
            Err(error) => Told::Refused(format!("not an order: {error}")),
        };
        // Words and paths always have a JSON form.
        let line = serde_json::to_string(&told).unwrap_or_default() + "\n";
        if output.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A way to tell a running `ranch up` what to do.
pub struct Foreman {
    stream: BufReader<UnixStream>,
}

impl Foreman {
    /// Reaches the `ranch up` of a data directory; `None` when none runs there.
    pub async fn find(root: &Path) -> Option<Self> {
        let stream = UnixStream::connect(root.join(SOCKET)).await.ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Gives an order and waits for what becomes of it.
    pub async fn tell(&mut self, order: &Order) -> io::Result<Told> {
        let line = serde_json::to_string(order)? + "\n";
        self.stream.get_mut().write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        if self.stream.read_line(&mut answer).await? == 0 {
            return Err(io::Error::other("`ranch up` has ended"));
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_arrive_and_are_answered() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Foreman::find(dir.path()).await.is_none());
        let mut orders = Orders::listen(dir.path()).unwrap();
        let mode = dir.path().join(SOCKET).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut foreman = Foreman::find(dir.path()).await.unwrap();
        let order = Order::Restart { name: "node1".into(), program: "/bin/new".into() };
        let answer = async {
            let (order, tell) = orders.next().await;
            tell.send(Told::Refused(format!("{order:?}"))).unwrap();
        };
        let (told, ()) = tokio::join!(foreman.tell(&order), answer);
        assert_eq!(told.unwrap(), Told::Refused(format!("{order:?}")));
        drop(orders);
        assert!(Foreman::find(dir.path()).await.is_none());
    }
}
