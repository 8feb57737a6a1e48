//! How long each packet takes, and which is overtaken or comes twice. Pure: time and packets come
//! from outside, and chance from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowness {
    /// A packet takes between these many milliseconds.
    pub delay_ms: [u64; 2],
    /// Of a hundred packets, so many do not wait for those before them.
    pub reorder_percent: u32,
    /// Of a hundred packets, so many come twice.
    pub duplicate_percent: u32,
}

/// Most packets on their way; more are lost, as in any queue.
const QUEUE_MAX: usize = 10_000;

/// Packets on their way, and the links they take.
#[derive(Debug)]
pub struct Links {
    rng: Rng,
    slow: Vec<Slow>,
    /// By the time they are due, then by the order they came in.
    queue: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    /// When the last packet of each direction is due, which those behind it wait for.
    last: BTreeMap<(Ipv4Addr, Ipv4Addr), Instant>,
    admitted: u64,
}

/// One fault.
#[derive(Debug)]
struct Slow {
    fault: usize,
    pairs: Vec<(Ipv4Addr, Ipv4Addr)>,
    slowness: Slowness,
    delayed: u64,
}

impl Links {
    /// No slow link yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (slow, queue, last) = (Vec::new(), BinaryHeap::new(), BTreeMap::new());
        Self { rng: Rng::with_seed(seed), slow, queue, last, admitted: 0 }
    }

    /// Makes links slow in both directions, as part of a fault; one that is slow already is so in
    /// the way that was asked for last.
    pub fn slow(&mut self, fault: usize, pairs: &[(Ipv4Addr, Ipv4Addr)], slowness: Slowness) {
        self.slow.push(Slow { fault, pairs: pairs.to_vec(), slowness, delayed: 0 });
    }

    /// Ends a fault, and gives the number of packets it delayed. Those on their way arrive.
    pub fn heal(&mut self, fault: usize) -> u64 {
        let delayed = self.slow.iter().filter(|slow| slow.fault == fault).map(|slow| slow.delayed);
        let delayed = delayed.sum();
        self.slow.retain(|slow| slow.fault != fault);
        delayed
    }

    /// Takes an IP packet.
    pub fn admit(&mut self, now: Instant, packet: &[u8]) {
        let Some(way) = way(packet) else { return };
        if self.queue.len() >= QUEUE_MAX {
            return;
        }
        let found = self.slow.iter_mut().rev().find(|slow| slow.covers(way));
        let Some(slow) = found else {
            // On a detour it need not be on any more.
            self.push(now, packet);
            return;
        };
        slow.delayed += 1;
        let Slowness { delay_ms: [low, high], reorder_percent, duplicate_percent } = slow.slowness;
        let due = now + Duration::from_millis(self.rng.u64(low..=high));
        let overtakes = self.rng.u32(0..100) < reorder_percent;
        let due = match self.last.get(&way) {
            Some(last) if !overtakes => due.max(*last),
            _ => due,
        };
        if !overtakes {
            self.last.insert(way, due);
        }
        self.push(due, packet);
        if self.rng.u32(0..100) < duplicate_percent {
            self.push(due, packet);
        }
    }

    /// When the next packet is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((due, ..))| *due)
    }

    /// A packet whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse((.., packet))| packet)
    }

    fn push(&mut self, due: Instant, packet: &[u8]) {
        self.admitted += 1;
        self.queue.push(Reverse((due, self.admitted, packet.to_vec())));
    }
}

impl Slow {
    fn covers(&self, (from, to): (Ipv4Addr, Ipv4Addr)) -> bool {
        self.pairs.iter().any(|pair| *pair == (from, to) || *pair == (to, from))
    }
}

/// Where an IPv4 packet is from and goes to; nothing for what is none.
fn way(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let is_v4 = packet.first()? >> 4 == 4;
    let field = |at: usize| packet.get(at..at + 4).and_then(|it| <[u8; 4]>::try_from(it).ok());
    let (from, to) = (field(12)?, field(16)?);
    is_v4.then(|| (from.into(), to.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const C: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

    fn packet(from: Ipv4Addr, to: Ipv4Addr, number: u8) -> Vec<u8> {
        let mut packet = vec![0x45; 12];
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet.push(number);
        packet
    }

    fn slowness(reorder_percent: u32, duplicate_percent: u32) -> Slowness {
        Slowness { delay_ms: [10, 50], reorder_percent, duplicate_percent }
    }

    /// The numbers of a hundred packets from A to B in the order they arrive.
    fn arrivals(seed: u64, slowness: Slowness) -> Vec<u8> {
        let mut links = Links::new(seed);
        links.slow(1, &[(B, A)], slowness);
        let now = Instant::now();
        for number in 0..100 {
            links.admit(now + Duration::from_millis(number.into()), &packet(A, B, number));
        }
        let late = now + Duration::from_secs(1);
        std::iter::from_fn(|| links.pop_due(late)).map(|packet| packet[20]).collect()
    }

    #[test]
    fn packets_take_their_time_and_keep_their_order() {
        let mut links = Links::new(1);
        links.slow(1, &[(A, B)], slowness(0, 0));
        let now = Instant::now();
        links.admit(now, &packet(A, B, 0));
        assert!(links.pop_due(now + Duration::from_millis(9)).is_none());
        assert!(links.pop_due(now + Duration::from_millis(50)).is_some());
        assert_eq!(arrivals(1, slowness(0, 0)), (0..100).collect::<Vec<_>>());
        assert_eq!(links.heal(1), 1);
    }

    #[test]
    fn some_overtake_and_some_come_twice_as_the_seed_decides() {
        let mixed = arrivals(1, slowness(20, 10));
        assert_eq!(mixed, arrivals(1, slowness(20, 10)));
        assert_ne!(mixed, arrivals(2, slowness(20, 10)));
        assert!(mixed.len() > 100, "duplicates");
        assert!(!mixed.is_sorted(), "overtaking");
        let distinct: std::collections::BTreeSet<_> = mixed.iter().collect();
        assert_eq!(distinct.len(), 100, "none is lost");
    }

    #[test]
    fn other_links_and_healed_ones_are_fast() {
        let mut links = Links::new(1);
        links.slow(7, &[(A, B)], slowness(0, 0));
        let now = Instant::now();
        links.admit(now, &packet(A, C, 1));
        assert!(links.pop_due(now).is_some());
        assert_eq!(links.heal(7), 0, "it delayed nothing");
        links.admit(now, &packet(A, B, 2));
        assert!(links.pop_due(now).is_some());
        links.admit(now, b"no packet");
        assert!(links.next_due().is_none());
    }
}
