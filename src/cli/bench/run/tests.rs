//! A target in memory, driven in every way.

use std::collections::BTreeMap;
use std::future::pending;

use bytes::Bytes;

use super::super::load::fill;
use super::*;

/// Remembers what was written; reads of anything else fail.
#[derive(Clone, Default)]
struct Memory {
    written: Arc<Mutex<BTreeMap<u32, u32>>>,
}

impl Target for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    async fn read(&mut self, key: u32) -> Result<(), String> {
        tokio::task::yield_now().await;
        let known = self.written.lock().contains_key(&key);
        known.then_some(()).ok_or_else(|| "missing".to_owned())
    }

    async fn write(&mut self, key: u32, _: Bytes) -> Result<(), String> {
        tokio::task::yield_now().await;
        *self.written.lock().entry(key).or_default() += 1;
        Ok(())
    }
}

fn plan(mode: Mode, rate: Option<u32>) -> Arc<Plan> {
    Arc::new(Plan {
        mode,
        read_percent: 80,
        keys: 10,
        texts: vec![Bytes::from_static(b"x"); TEXTS],
        warmup: Duration::ZERO,
        measured: Duration::from_millis(100),
        interval: Duration::from_millis(100),
        rate,
    })
}

async fn parts_of(plan: &Arc<Plan>, clients: Vec<Memory>) -> Vec<Part> {
    let mut parts = Vec::new();
    let tell = |part| {
        parts.push(part);
        Ok(())
    };
    run(plan, clients, pending(), tell).await.unwrap();
    parts
}

async fn tally_of(plan: &Arc<Plan>, clients: Vec<Memory>) -> Tally {
    let mut parts = parts_of(plan, clients).await;
    assert_eq!(parts.len(), 1);
    parts.remove(0).tally
}

#[tokio::test]
async fn every_scroll_is_written_once_in_each_space_before_reads() {
    for (clients, spaces) in [(1, 1), (3, 1), (5, 2), (4, 4), (20, 1)] {
        let memories: Vec<_> = (0..spaces).map(|_| Memory::default()).collect();
        let all = memories.iter().cycle().take(clients).cloned().collect();
        fill(&plan(Mode::Read, None), all, spaces).await.unwrap();
        for memory in &memories {
            let written = memory.written.lock();
            assert_eq!(written.len(), 10, "{clients} clients, {spaces} spaces");
            assert!(written.values().all(|&times| times == 1));
        }
    }
}

#[tokio::test]
async fn a_closed_loop_counts_what_succeeds_and_what_fails() {
    let empty = tally_of(&plan(Mode::Read, None), vec![Memory::default()]).await;
    assert_eq!(empty.reads.len(), 0);
    assert!(empty.failures["missing"] > 0);
    let memory = Memory::default();
    let mixed = tally_of(&plan(Mode::Write, None), vec![memory.clone(), memory]).await;
    assert!(!mixed.writes.is_empty() && mixed.reads.is_empty());
    assert!(mixed.failures.is_empty());
}

#[tokio::test]
async fn a_mixed_load_keeps_its_share_of_reads() {
    let memory = Memory::default();
    let clients = fill(&plan(Mode::Mixed, None), vec![memory], 1).await.unwrap();
    let tally = tally_of(&plan(Mode::Mixed, Some(10_000)), clients).await;
    let share = tally.reads.len() as f64 / (tally.reads.len() + tally.writes.len()) as f64;
    assert!((0.7..0.9).contains(&share), "{share} of the requests read");
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate() {
    let clients = vec![Memory::default(); 4];
    let tally = tally_of(&plan(Mode::Write, Some(1_000)), clients).await;
    assert_eq!(tally.writes.len(), 100, "1000 a second for 100 ms");
}

#[tokio::test]
async fn a_run_is_told_of_in_parts_that_make_up_the_whole() {
    let mut plan = Arc::into_inner(plan(Mode::Write, Some(1_000))).unwrap();
    plan.interval = Duration::from_millis(40);
    let parts = parts_of(&Arc::new(plan), vec![Memory::default(); 4]).await;
    let at: Vec<_> =
        parts.iter().map(|part| (part.from.as_millis(), part.took.as_millis())).collect();
    assert_eq!(at, [(0, 40), (40, 40), (80, 20)]);
    assert_eq!(parts.iter().map(|part| part.tally.writes.len()).sum::<u64>(), 100);
}

#[tokio::test]
async fn a_run_that_is_stopped_tells_of_what_was_measured() {
    let mut plan = Arc::into_inner(plan(Mode::Write, None)).unwrap();
    plan.measured = Duration::from_hours(1);
    // Counted from the first time that it is waited for.
    let stop = async { tokio::time::sleep(Duration::from_millis(50)).await };
    let mut told = None;
    let tell = |part| {
        told = Some(part);
        Ok(())
    };
    run(&Arc::new(plan), vec![Memory::default()], stop, tell).await.unwrap();
    let part = told.unwrap();
    assert!(!part.tally.writes.is_empty());
    assert!((50..60_000).contains(&part.took.as_millis()), "{:?}", part.took);
}
