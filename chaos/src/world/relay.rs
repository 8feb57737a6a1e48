//! A detour for packets, on which they take their time: a TUN device that this process reads.
//!
//! Machines whose link is to be slow are given a route to each other by way of the bridge's own
//! address. What they send is then handed to this process, which gives it back later, a little out
//! of order or twice, as its seed decides. Links that are not slow do not come here at all.

mod links;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tun::Tun;

pub use links::{Links, Slowness};

use crate::error::HarnessError;
use crate::tool;
use crate::world::network::BRIDGE;

const DEVICE: &str = "detour0";
/// The routing table of packets on their way to the device.
const TABLE: &str = "77";
/// Longer than any packet a link of 1500 bytes carries.
const PACKET_MAX: usize = 4096;
/// What forwarding needs: to forward at all, packets whose way back is another one, no advice to
/// machines that there is a shorter way, and bridged packets left alone.
const SETTINGS: [(&str, &str); 7] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/br0/rp_filter", "0"),
    ("ipv4/conf/detour0/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/br0/send_redirects", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
];

/// The detour, until it is dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    links: Mutex<Links>,
    changed: Notify,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// Whether this machine has what it takes.
    #[must_use]
    pub fn is_possible() -> bool {
        let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
        device.is_ok()
    }

    /// Makes the device and has packets for it come here.
    ///
    /// # Errors
    /// When the kernel has no such devices, or a tool refuses.
    pub fn start(seed: u64) -> Result<Self, HarnessError> {
        let failed = |error| HarnessError::io("making a detour for packets")(error);
        let built = Tun::builder().name(DEVICE).up().build();
        let mut devices =
            built.map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let missing = || failed(std::io::Error::other("no device"));
        let device = devices.pop().ok_or_else(missing)?;
        for (name, value) in SETTINGS {
            let path = format!("/proc/sys/net/{name}");
            std::fs::write(&path, value).map_err(HarnessError::io(format!("setting {name}")))?;
        }
        tool::run("ip", &["route", "add", "default", "dev", DEVICE, "table", TABLE])?;
        tool::run("ip", &["rule", "add", "iif", BRIDGE, "lookup", TABLE])?;
        let shared = Shared { links: Mutex::new(Links::new(seed)), changed: Notify::new() };
        let shared = Arc::new(shared);
        let task = tokio::spawn(relay(device, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Makes links slow in both directions, as part of the fault of this number.
    pub fn slow(&self, fault: usize, pairs: &[(Ipv4Addr, Ipv4Addr)], slowness: Slowness) {
        self.shared.links().slow(fault, pairs, slowness);
    }

    /// Ends a fault. Gives the number of packets it delayed.
    pub fn heal(&self, fault: usize) -> u64 {
        let delayed = self.shared.links().heal(fault);
        self.shared.changed.notify_one();
        delayed
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes packets and gives them back when their time has come, for ever.
async fn relay(device: Tun, shared: Arc<Shared>) {
    let mut packet = [0; PACKET_MAX];
    loop {
        let next = shared.links().next_due();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = device.recv(&mut packet) => {
                let Ok(length) = read else { return };
                shared.links().admit(Instant::now(), &packet[..length]);
            }
            () = due => {}
            () = shared.changed.notified() => {}
        }
        loop {
            let Some(ready) = shared.links().pop_due(Instant::now()) else { break };
            // A packet that cannot be delivered is lost, as packets may be.
            let _ = device.send(&ready).await;
        }
    }
}
