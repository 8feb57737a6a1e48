//! What a workload does by itself; that it does well against a ranch is for the runs to show.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::check::search::Sampling;

fn workload() -> Workload {
    Workload {
        tenants: vec![("a".into(), "k".into()), ("b".into(), "l".into())],
        clients: 24,
        circle: 5,
        mix: Mix::default(),
        ..Workload::new(SocketAddr::from(([127, 0, 0, 1], 1)), "a", "k")
    }
}

#[test]
fn a_seed_decides_what_a_client_does() {
    let actions = |seed| {
        let workload = Arc::new(Workload { seed, ..workload() });
        let mut worker = Worker::new(&workload, 3, Instant::now());
        let mut next = || {
            let (scroll, kind) = (worker.any_scroll(), worker.workload.mix.choose(&mut worker.rng));
            (kind, worker.swap(&scroll), scroll)
        };
        (0..50).map(|_| next()).collect::<Vec<_>>()
    };
    assert_eq!(actions(1), actions(1));
    assert_ne!(actions(1), actions(2));
}

#[test]
fn circles_are_small_enough_to_be_searched() {
    let workload = Arc::new(workload());
    let mut clients: BTreeMap<(String, String), BTreeSet<u32>> = BTreeMap::new();
    for number in 0..workload.clients {
        let mut worker = Worker::new(&workload, number, Instant::now());
        for _ in 0..50 {
            let key = (worker.tenant.clone(), worker.any_scroll());
            clients.entry(key).or_default().insert(number);
        }
    }
    // Two tenants with three circles each, of four scrolls.
    assert_eq!(clients.len(), 24);
    let most = Sampling::default().clients_max;
    assert!(clients.values().all(|clients| clients.len() <= most), "{clients:?}");
}
