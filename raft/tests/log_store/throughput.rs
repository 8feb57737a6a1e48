//! How fast the log is; run by hand in release, see the command below.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use ranch_raft::TypeConfig;
use ranch_raft::types::{Entry, Proposal};

use super::support::*;

const GROUPS: u32 = 12;
const IN_FLIGHT: usize = 4;
const PAYLOAD: usize = 1024;
const RUN: Duration = Duration::from_secs(5);

/// `cargo test --release -p ranch-raft --test log_store throughput -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn throughput() {
    let dir = scratch();
    let store = open(dir.path());
    let stop = Arc::new(AtomicBool::new(false));
    let appended = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    let begun = Instant::now();
    for id in 0..GROUPS {
        let mut log = group(&store, id);
        let (stop, appended) = (Arc::clone(&stop), Arc::clone(&appended));
        tasks.push(tokio::spawn(async move {
            let payload = bytes::Bytes::from(vec![7; PAYLOAD]);
            let mut flying = std::collections::VecDeque::new();
            let mut index = 0;
            while !stop.load(Ordering::Relaxed) {
                while flying.len() < IN_FLIGHT {
                    let payload = EntryPayload::Normal(Proposal(payload.clone()));
                    let entry = Entry { log_id: log_id(1, index), payload };
                    let (done, flushed) = TypeConfig::oneshot();
                    log.append([entry], IOFlushed::signal(done)).await.unwrap();
                    flying.push_back(flushed);
                    index += 1;
                }
                flying.pop_front().unwrap().await.unwrap().unwrap();
                appended.fetch_add(1, Ordering::Relaxed);
                if index % 1000 == 0 {
                    log.purge(log_id(1, index - 100)).await.unwrap();
                }
            }
        }));
    }
    tokio::time::sleep(RUN).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let stats = store.stats();
    println!(
        "{:.0} appends/s, {:.0} fsyncs/s, {:.1} writes a batch, fsync mean {} us, max {} us",
        appended.load(Ordering::Relaxed) as f64 / seconds,
        stats.fsyncs as f64 / seconds,
        stats.writes as f64 / stats.fsyncs as f64,
        stats.fsync_us_sum / stats.fsyncs,
        stats.fsync_us_max,
    );
    println!("{stats:?}");
    assert!(stats.fsyncs > 0);
}
