//! What every test here starts from: a router on a free port over shards in memory, with tenants
//! and their keys, and a client.

pub mod client;
pub mod meta;
pub mod shards;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use ranch_router::{Options, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use client::Client;
pub use shards::{Fault, MemoryShards};

/// Key of tenant `will`, profile sq.
pub const WILL: &str = "pmb-v1-0000000000000000000000000000000000000001";
/// Key of tenant `ann`, profile memory.
pub const ANN: &str = "pmb-v1-0000000000000000000000000000000000000002";
/// Read-only key of tenant `will`.
pub const READER: &str = "pmb-v1-0000000000000000000000000000000000000003";
/// Key of tenant `tiny`, whose quota is 200 bytes.
pub const TINY: &str = "pmb-v1-0000000000000000000000000000000000000004";
/// Key of tenant `gone`, which is disabled.
pub const GONE: &str = "pmb-v1-0000000000000000000000000000000000000005";
/// An administrator's key.
pub const ADMIN: &str = "pmb-v1-00000000000000000000000000000000000000ff";

/// A running router.
pub struct Router {
    pub shards: Arc<MemoryShards>,
    pub addr: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Router {
    /// A router with default options but short deadlines.
    pub async fn start() -> Self {
        Self::with(Self::options()).await
    }

    pub fn options() -> Options {
        Options { request_deadline: Duration::from_secs(3), ..Options::default() }
    }

    pub async fn with(options: Options) -> Self {
        Self::over(MemoryShards::new(), options).await
    }

    pub async fn over(shards: Arc<MemoryShards>, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::clone(&shards);
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(listener, served, options, stopped).await.unwrap();
        });
        Self { shards, addr, stop: Some(stop), task }
    }

    /// A client with a key; none for the empty one.
    pub fn client(&self, key: &str) -> Client {
        Client::new(self.addr, key)
    }

    /// Lets the router learn who leads the shard of `will`, so that each request is one call.
    pub async fn knows_leaders(&self) {
        // First guesses go round the nodes, so one of these is sent on, which teaches the router.
        for _ in 0..3 {
            self.client(WILL).get("/api/v2/status").await;
        }
        self.shards.take_calls();
    }

    /// Asks the router to stop and waits until it has.
    pub async fn stop(mut self) {
        self.ask_to_stop();
        self.task.await.unwrap();
    }

    pub fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
