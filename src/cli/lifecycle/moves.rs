//! Waiting for copies to arrive, with a bar.

use std::time::Duration;

use serde::Deserialize;

use super::super::error::CliError;
use super::super::http::Call;
use super::super::options::AdminArgs;
use super::super::output;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct Cluster {
    nodes: Vec<Node>,
    moves: Option<Moves>,
}

#[derive(Deserialize)]
struct Node {
    name: String,
}

/// Copies on their way, as `admin/cluster` has them.
#[derive(Clone, Debug, Deserialize)]
struct Moves {
    running: u64,
    waiting: u64,
}

/// Waits until no node of this name is in the ranch.
pub async fn until_gone(admin: &AdminArgs, name: &str) -> Result<(), CliError> {
    let (http, _) = admin.http()?;
    let question = Call::get("/api/v2/admin/cluster", "asking how far the moves are");
    let bar = output::progress(0, "copies");
    let mut most = 0;
    loop {
        match http.ask_json::<Cluster>(&question).await {
            Ok(cluster) => {
                if cluster.nodes.iter().all(|node| node.name != name) {
                    bar.finish_and_clear();
                    return Ok(());
                }
                let left = cluster.moves.map_or(0, |moves| moves.running + moves.waiting);
                most = most.max(left);
                bar.set_length(most);
                bar.set_position(most - left);
            }
            // A router on its way somewhere else; the moves go on without it.
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOOK).await;
    }
}
