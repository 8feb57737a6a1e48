//! The ranch's endpoints for backups, asked with patience: an election, a restart or a full queue
//! passes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use prost::Message;
use ranch_proto::schema::RestoreTenant;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::http::{Call, ClientError, Http};
use super::super::output;
use super::manifest::StoredTenant;

/// Between attempts, doubling from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// After so long without success it is said what is waited for.
const QUIET: Duration = Duration::from_secs(3);

/// A client with an administrator's key.
pub struct Api {
    http: Http,
    /// How long one thing is tried.
    pub patience: Duration,
}

/// What there is to back up.
#[derive(Debug, Deserialize)]
pub struct About {
    /// Which ranch.
    pub cluster_id: String,
    /// Its name.
    pub cluster_name: String,
    /// Its version.
    pub version: String,
    /// What its clock says.
    pub now: String,
    /// Its shards.
    pub shards: Vec<u32>,
}

/// A copy of a shard.
#[derive(Clone, Debug, Deserialize)]
pub struct Opened {
    /// What it is called.
    pub copy: String,
    /// Whose it is.
    pub shard: u32,
    /// The node it is on.
    pub node: u32,
    /// The log index it is as of.
    pub applied: u64,
    /// What its tenants have stored, about.
    pub stored_bytes: u64,
}

/// A piece of a copy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// A chunk of the tenant that is named next.
    Chunk {
        /// Its digest in hex.
        digest: String,
        /// Its length.
        bytes: u64,
    },
    /// The tenant whose chunks came before.
    Tenant(StoredTenant),
    /// All has been given.
    End(bool),
}

/// What tenants a ranch has.
#[derive(Debug, Deserialize)]
pub struct Tenants {
    /// All of them.
    pub tenants: Vec<Known>,
    /// One of them is `demo`, and never had a scroll.
    pub untouched_demo: bool,
}

/// A tenant that is there.
#[derive(Debug, Deserialize)]
pub struct Known {
    /// Its id.
    pub tenant_id: String,
    /// The backup it comes from.
    pub backup: Option<String>,
    /// Whether everything of it is there.
    pub whole: bool,
}

/// What came of the beginning of a restore.
#[derive(Debug, Deserialize)]
pub struct Begun {
    /// Everything is there already.
    pub whole: bool,
    /// How many keys the tenant has.
    pub keys: usize,
}

/// What a tenant is to have when it is restored.
#[derive(Debug, Serialize)]
pub struct Expected {
    /// As in the manifest.
    pub scrolls: u64,
    /// As in the manifest.
    pub storage_bytes: u64,
    /// As in the manifest.
    pub phexts: u64,
    /// As in the manifest.
    pub revision: u64,
    /// As in the manifest.
    pub last_write_ms: u64,
    /// Make a key if it has none.
    pub new_key: bool,
}

/// A tenant that is in use again.
#[derive(Debug, Deserialize)]
pub struct Finished {
    /// Whether it is enabled.
    pub status: String,
    /// A key made for it, shown this once.
    pub api_key: Option<String>,
}

impl Api {
    /// A client that tries each thing for so long.
    pub fn new(http: Http, patience: Duration) -> Self {
        Self { http, patience }
    }

    /// What there is to back up.
    pub async fn about(&self) -> Result<About, ClientError> {
        self.json(&call(Method::GET, "backup", "asking what to back up")).await
    }

    /// Opens a copy of a shard.
    pub async fn open(&self, shard: u32) -> Result<Opened, ClientError> {
        let what = format!("opening a copy of shard {shard}");
        self.json(&call(Method::POST, &format!("backup/copies?shard={shard}"), &what)).await
    }

    /// A piece of a copy, tried once.
    pub async fn piece(&self, copy: &Opened, number: u64) -> Result<Piece, ClientError> {
        let what = format!("reading shard {}", copy.shard);
        let path = format!("backup/copies/{}/{number}", copy.copy);
        self.http.ask_json(&call(Method::GET, &path, &what)).await
    }

    /// The bytes of a chunk, or some of them from the given one on, tried once.
    pub async fn bytes(
        &self,
        copy: &Opened,
        number: u64,
        part: Option<(u64, u64)>,
    ) -> Result<Bytes, ClientError> {
        let what = format!("reading shard {}", copy.shard);
        let query = part.map(|(offset, length)| format!("?offset={offset}&length={length}"));
        let query = query.unwrap_or_default();
        let path = format!("backup/copies/{}/{number}/bytes{query}", copy.copy);
        self.http.ask_whole(&call(Method::GET, &path, &what)).await
    }

    /// Gives a copy up. Its node forgets it anyway, in time.
    pub async fn close(&self, copy: &Opened) {
        let path = format!("backup/copies/{}", copy.copy);
        let _ = self.http.ask(&call(Method::DELETE, &path, "giving a copy up")).await;
    }

    /// The records of tenants and keys.
    pub async fn records(&self) -> Result<Bytes, ClientError> {
        self.whole(&call(Method::GET, "backup/records", "reading the records of tenants")).await
    }

    /// What tenants there are.
    pub async fn tenants(&self) -> Result<Tenants, ClientError> {
        self.json(&call(Method::GET, "restore", "asking what tenants there are")).await
    }

    /// Deletes a tenant for good; whether it is gone.
    pub async fn purge(&self, tenant: &str) -> Result<bool, ClientError> {
        let what = format!("deleting tenant {tenant}");
        let path = format!("tenants/{tenant}?purge=true");
        let state: serde_json::Value = self.json(&call(Method::DELETE, &path, &what)).await?;
        Ok(state.get("status").and_then(serde_json::Value::as_str) == Some("purged"))
    }

    /// Begins to restore a tenant.
    pub async fn begin(&self, tenant: &str, asked: &RestoreTenant) -> Result<Begun, ClientError> {
        let what = format!("beginning to restore tenant {tenant}");
        let mut call = call(Method::POST, "restore/tenants", &what);
        call.body = asked.encode_to_vec().into();
        self.json(&call).await
    }

    /// Puts a chunk's scrolls into a tenant.
    pub async fn put(&self, tenant: &str, chunk: Bytes) -> Result<(), ClientError> {
        let what = format!("restoring scrolls of tenant {tenant}");
        let mut call = call(Method::POST, &format!("restore/tenants/{tenant}/scrolls"), &what);
        call.body = chunk;
        self.whole(&call).await.map(drop)
    }

    /// Puts a tenant into use.
    pub async fn finish(&self, tenant: &str, expected: &Expected) -> Result<Finished, ClientError> {
        let what = format!("putting tenant {tenant} into use");
        let mut call = call(Method::POST, &format!("restore/tenants/{tenant}/finish"), &what);
        let body = serde_json::to_vec(expected);
        call.body = body.map_err(|error| self.http.unexpected(&what, &error))?.into();
        self.json(&call).await
    }

    async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        let body = self.whole(call).await?;
        serde_json::from_slice(&body).map_err(|error| self.http.unexpected(&call.what, &error))
    }

    /// The body of a success, tried for as long as patience lasts. All that is asked here may be
    /// asked twice.
    async fn whole(&self, call: &Call) -> Result<Bytes, ClientError> {
        let started = Instant::now();
        let (mut pause, mut said) = (PAUSE.0, false);
        loop {
            match self.http.ask_whole(call).await {
                Err(error) if error.is_passing() && started.elapsed() < self.patience => {
                    if !said && started.elapsed() > QUIET {
                        output::notice(&format!("{error}; still trying"));
                        said = true;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                answer => return answer,
            }
        }
    }
}

fn call(method: Method, path: &str, what: &str) -> Call {
    let mut call = Call::new(method, format!("/api/v2/admin/{path}"), what.to_owned());
    call.headers.push(("accept", "application/json".to_owned()));
    call
}

impl ClientError {
    /// Whether what was asked for is not there, or not as it was thought to be.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::CONFLICT)
    }
}
