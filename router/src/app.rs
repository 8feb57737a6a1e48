//! What all requests of one router share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ranch_proto::Shards;

use crate::cluster::{self, Cluster};
use crate::forward::Forward;
use crate::http::cors::{Cors, OriginError};
use crate::large::Budget;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::tally::Tallies;
use crate::tenants_file::TenantsFile;

/// How old an account of the cluster may be for the health endpoints, which need no key and so
/// must not let anyone make the router busy.
const HEALTH_AGE_MAX: Duration = Duration::from_millis(250);

/// One router.
pub struct App<S> {
    /// The way to every replica.
    pub shards: Arc<S>,
    /// The way to leaders.
    pub forward: Forward<S>,
    /// Limits and deadlines.
    pub options: Options,
    /// Which origins may call.
    pub cors: Cors,
    /// Calls to be counted by leaders that were not asked.
    pub tallies: Tallies,
    /// What this router counts of itself.
    pub metrics: Arc<Metrics>,
    /// The tenants file this router follows.
    pub tenants_file: Option<TenantsFile>,
    /// Memory for large texts.
    pub budget: Budget,
    /// It takes no more connections, and those there are end with their next answer.
    pub ending: AtomicBool,
    connections: AtomicU64,
    health: tokio::sync::Mutex<Option<(Instant, Arc<Cluster>)>>,
}

impl<S: Shards> App<S> {
    /// A router over these shards. Follows the tenants file from here on, if there is one.
    ///
    /// # Errors
    /// An origin in the options that is none.
    pub fn new(shards: Arc<S>, options: Options) -> Result<Self, OriginError> {
        let metrics = Arc::<Metrics>::default();
        let deadline = options.request_deadline;
        Ok(Self {
            forward: Forward::new(Arc::clone(&shards), deadline, Arc::clone(&metrics)),
            metrics,
            cors: Cors::new(&options.cors_origins)?,
            tallies: Tallies::default(),
            tenants_file: options
                .tenants_file
                .clone()
                .map(|path| TenantsFile::start(Arc::clone(&shards), path)),
            budget: Budget::new(options.large_bytes_max, options.request_deadline),
            shards,
            options,
            ending: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            health: tokio::sync::Mutex::new(None),
        })
    }

    /// The number of a new connection, from 1.
    pub fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The cluster as it was a moment ago. Whoever asks while it is being gathered waits for that
    /// one account, however many ask.
    pub async fn recent_cluster(&self) -> Arc<Cluster> {
        let mut known = self.health.lock().await;
        if let Some((gathered, cluster)) = &*known
            && gathered.elapsed() < HEALTH_AGE_MAX
        {
            return Arc::clone(cluster);
        }
        let cluster = Arc::new(cluster::gather(&*self.shards).await);
        *known = Some((Instant::now(), Arc::clone(&cluster)));
        cluster
    }
}
