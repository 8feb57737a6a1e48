//! What writers were told, and whether the scroll bears it out: each acknowledged token is there
//! exactly once and after those its writer had before it; one whose outcome is unknown is there
//! at most once (R1, R3).

use std::time::{Duration, Instant};

use ranch_proto::RequestId;
use tokio::task::JoinSet;

use crate::client::{Client, Tenant};

/// The tokens of one writer, in the order it sent them, and whether each was acknowledged.
#[derive(Default)]
struct Page {
    tokens: Vec<(String, bool)>,
}

/// The tokens of all writers.
#[derive(Default)]
pub struct Ledger {
    pages: Vec<Page>,
}

/// Writers at work.
pub struct Writers {
    tasks: JoinSet<Page>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Writers {
    /// Starts one writer a client, each of which appends token after token to the tenant's
    /// scroll. An append is given up as unknown after `limit`.
    pub fn start(clients: Vec<Client>, tenant: &Tenant, limit: Duration) -> Self {
        let stop = tokio::sync::watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for (writer, client) in clients.into_iter().enumerate() {
            let (tenant, stop) = (tenant.clone(), stop.subscribe());
            tasks.spawn(async move {
                let mut page = Page::default();
                while !*stop.borrow() {
                    let token = format!("{writer}-{};", page.tokens.len());
                    let sent = client.append(&tenant, RequestId::random(), &token, limit).await;
                    page.tokens.push((token, sent.is_ok()));
                }
                page
            });
        }
        Self { tasks, stop }
    }

    /// Lets every writer finish what it is at.
    pub async fn stop(self) -> Ledger {
        self.stop.send_replace(true);
        let pages = self.tasks.join_all().await;
        Ledger { pages }
    }
}

impl Ledger {
    /// How many tokens were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.pages.iter().flat_map(|page| &page.tokens).filter(|(_, told)| *told).count()
    }

    /// Panics unless `text` is what was acknowledged, with some of what is unknown.
    pub fn check(&self, text: &str) {
        let found: Vec<&str> = text.split_inclusive(';').collect();
        let mut accounted = 0;
        for page in &self.pages {
            let mut last = None;
            for (token, told) in &page.tokens {
                let places: Vec<usize> =
                    (0..found.len()).filter(|place| found[*place] == token).collect();
                assert!(places.len() <= 1, "{token} is there {} times: {text}", places.len());
                assert!(!told || places.len() == 1, "{token} was acknowledged and lost: {text}");
                if let Some(place) = places.first() {
                    assert!(last < Some(*place), "{token} is before an earlier one: {text}");
                    last = Some(*place);
                    accounted += 1;
                }
            }
        }
        assert_eq!(accounted, found.len(), "tokens nobody wrote: {text}");
    }
}

/// Waits until `limit` for something that is looked for again and again.
///
/// # Panics
/// With what `else_say` gives when it does not come true.
pub async fn until<F>(limit: Duration, mut is_so: impl FnMut() -> F, else_say: impl Fn() -> String)
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + limit;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{}", else_say());
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

mod tests {
    use super::*;

    fn ledger(pages: &[&[(&str, bool)]]) -> Ledger {
        let page = |tokens: &&[(&str, bool)]| Page {
            tokens: tokens.iter().map(|(token, told)| ((*token).to_owned(), *told)).collect(),
        };
        Ledger { pages: pages.iter().map(page).collect() }
    }

    #[test]
    fn a_true_history_passes() {
        let ledger =
            ledger(&[&[("0-0;", true), ("0-1;", false), ("0-2;", true)], &[("1-0;", true)]]);
        ledger.check("0-0;1-0;0-2;");
        ledger.check("1-0;0-0;0-1;0-2;");
        assert_eq!(ledger.acknowledged(), 3);
    }

    #[test]
    fn every_kind_of_lie_is_found() {
        let ledger = ledger(&[&[("0-0;", true), ("0-1;", false), ("0-2;", true)]]);
        for (text, why) in [
            ("0-0;0-1;", "lost"),
            ("0-0;0-2;0-2;", "doubled"),
            ("0-0;0-1;0-1;0-2;", "an unknown one doubled"),
            ("0-2;0-0;", "out of order"),
            ("0-0;0-2;9-9;", "invented"),
        ] {
            let checked = std::panic::catch_unwind(|| ledger.check(text));
            assert!(checked.is_err(), "{why}: {text}");
        }
    }
}
