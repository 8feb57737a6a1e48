//! Members of the groups this node leads, one step at a time towards what the records say.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use ranch_proto::schema::{EndMove, ShardRecord, meta_command::What};
use ranch_proto::{GroupId, NodeId, ReplicaId};
use ranch_raft::GroupCore;
use ranch_raft::group::GroupError;

use super::shape::{Member, Shape, Step, next_step};
use super::{Placement, STEP_LIMIT};

/// Voters of the meta group; further nodes follow it as learners.
const META_VOTERS: usize = 5;

impl Placement {
    /// Takes the next step towards the right members in every group this node leads.
    pub(super) async fn shape_led(&self) {
        let led = self.replicas.cores().into_iter().filter(GroupCore::is_leader);
        join_all(led.map(|core| self.shape_one(core))).await;
    }

    async fn shape_one(&self, core: GroupCore) {
        let group = core.group();
        let record = self.directory(|directory| directory.shards.get(&group).cloned());
        let Some(shape) = self.shape_of(&core, record.as_ref()) else { return };
        let Some(step) = next_step(&core.metrics(), &shape) else {
            if let Some(record) = record.filter(|record| record.move_ms != 0) {
                self.end_move(&core, &shape, &record).await;
            }
            return;
        };
        tracing::info!(%group, "changing members: {step}");
        let taken = tokio::time::timeout(STEP_LIMIT, self.take(&core, step)).await;
        match taken {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!("{error}"),
            Err(_) => tracing::info!(%group, "changing members takes long"),
        }
    }

    /// The members a group should have; `None` while that is not known.
    fn shape_of(&self, core: &GroupCore, record: Option<&ShardRecord>) -> Option<Shape> {
        if core.group() != GroupId::META {
            // Before that, the initialising members are the right ones.
            return record.filter(|record| record.initialized).map(Shape::shard);
        }
        let all: Vec<Member> = self.directory(|directory| {
            let nodes = directory.nodes.values();
            let member = |node: &ranch_proto::schema::NodeRecord| Member {
                replica: ReplicaId::new(NodeId(node.id), node.incarnation).0,
                zone: node.zone.clone(),
                leaving: node.leaving,
            };
            nodes.map(member).collect()
        });
        (!all.is_empty()).then(|| Shape::meta(&all, &core.metrics(), META_VOTERS))
    }

    async fn take(&self, core: &GroupCore, step: Step) -> Result<(), GroupError> {
        match step {
            Step::AddLearner(replica) => core.add_learner(ReplicaId(replica)).await,
            Step::RemoveLearners(learners) => core.remove_learners(learners).await,
            Step::SetVoters(voters) if !voters.contains(&core.replica().0) => {
                self.leave(core, voters).await
            }
            Step::SetVoters(voters) => core.set_voters(voters).await,
        }
    }

    /// A leader that is to be no member hands over first; who leads then takes the step. One that
    /// is alone first has others vote.
    async fn leave(&self, core: &GroupCore, voters: BTreeSet<u64>) -> Result<(), GroupError> {
        let is_joint = core.metrics().membership_config.membership().get_joint_config().len() > 1;
        if is_joint {
            // Half done: to be ended before anything else, by whoever leads.
            return core.set_voters(voters).await;
        }
        let now = core.status().voters;
        let stay: Vec<_> = now.into_iter().filter(|id| voters.contains(id)).collect();
        if stay.is_empty() {
            let mut both = voters;
            both.insert(core.replica().0);
            return core.set_voters(both).await;
        }
        let candidates = stay.into_iter().map(ReplicaId).collect();
        let handed = self.replicas.first_to_take(core.group(), candidates).await;
        if let Err(error) = handed {
            tracing::debug!(group = %core.group(), ?error, "leadership stays for now");
        }
        Ok(())
    }

    /// Says that a move has ended, once the members are those it was for.
    async fn end_move(&self, core: &GroupCore, shape: &Shape, record: &ShardRecord) {
        let metrics = core.metrics();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let is_joint = membership.get_joint_config().len() > 1;
        let has_learners = membership.learner_ids().next().is_some();
        let is_applied =
            metrics.membership_config.log_id().as_ref() <= metrics.last_applied.as_ref();
        if is_joint || has_learners || !is_applied || voters != shape.voters {
            return;
        }
        let (shard, adding, removing) = (record.id, record.adding, record.removing);
        let end = EndMove { shard, adding, removing, given_up: false };
        self.propose(What::EndMove(end)).await;
    }
}
