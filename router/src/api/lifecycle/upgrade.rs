//! Raising the cluster version by hand, where the ranch is told to wait for that.

use http::StatusCode;
use ranch_proto::Shards;
use ranch_proto::schema::{RaiseVersion, meta_command::What, record};
use serde::Serialize;

use super::decide;
use crate::api::Call;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};

#[derive(Serialize)]
struct VersionAnswer {
    /// The format the ranch writes from now on.
    cluster_version: u32,
    /// What it wrote before.
    before: u32,
}

/// Has the ranch write the newest that all its machines are on record as able to; refused when
/// one of them is not there, or is not what it was.
pub(super) async fn finish<S: Shards>(call: &Call<'_, S>) -> Result<Answer, ApiError> {
    let (before, to) = {
        let directory = call.app.shards.directory().read();
        let newest = directory.nodes.values().map(|node| node.format_max.max(1)).min();
        (directory.version(), newest.unwrap_or(0).max(directory.version()))
    };
    let what = What::RaiseVersion(RaiseVersion { to });
    match decide(call, what, ("finish upgrade", &to.to_string())).await? {
        record::What::Cluster(cluster) => {
            let answer = VersionAnswer { cluster_version: cluster.version.max(1), before };
            Ok(answer::json(StatusCode::OK, &answer))
        }
        _ => Err(ApiError::Garbled),
    }
}
