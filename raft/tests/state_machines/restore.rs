//! Backups of shards, and what comes back from them: scrolls with their revisions and times, totals
//! that go on from there, and tenants that nobody sees before they are whole.

use ranch_proto::backup::{Chunk, decode};
use ranch_proto::schema::{
    BackupScroll, Command, CopiedTenant, FinishRestore, KeyRecord, MetaStatus, Op, OpStatus,
    PatchTenant, PutTenant, RestoreTenant, Restored, RestoredFrom, RestoredTotals, TenantLife,
    TenantRecord, Usage, meta_command::What, op::Kind, patch_tenant::Field,
};
use ranch_raft::state::{CopyPiece, CopySource};

use crate::meta_support::{Meta, add, key, tenant};
use crate::support::{
    GROUP, Replica, TENANT, append, block_on, command, delete, in_parts, refused, write,
};

/// All a replica has, as a backup sees it.
fn copied(replica: &Replica) -> (Vec<Chunk>, Vec<CopiedTenant>) {
    block_on(async {
        let mut source = CopySource::open(replica.store(), GROUP).await.unwrap();
        assert_eq!(source.applied() + 1, replica.next);
        let (mut chunks, mut tenants) = (Vec::new(), Vec::new());
        loop {
            match source.next().await.unwrap() {
                CopyPiece::Chunk(chunk) => chunks.push(chunk),
                CopyPiece::Tenant(tenant) => tenants.push(tenant),
                CopyPiece::End => return (chunks, tenants),
            }
        }
    })
}

/// A tenant with a past: many scrolls, large ones, some deleted, several phexts.
fn original() -> Replica {
    let mut replica = Replica::new();
    for number in 1..400 {
        replica.op(write(&format!("1.1.1/1.1.1/1.1.{number}"), &"x".repeat(number * 9)));
    }
    replica.op(append("1.1.1/1.1.1/1.1.7", " and more"));
    replica.op(write("notes/todo", "feed horses"));
    let large = Op { text: "y".repeat(2_500_000).into(), ..write("notes/large", "") };
    let elsewhere = Op { phext: "other".into(), ..write("1.1.1/1.1.1/1.1.1", "z") };
    for part in in_parts(&command(vec![large, elsewhere])) {
        replica.run(9_000, part);
    }
    replica.op(delete("1.1.1/1.1.1/1.1.9"));
    replica
}

fn op_of(scroll: BackupScroll) -> Op {
    let BackupScroll { phext, coordinate, revision, created_ms, modified_ms, text, .. } = scroll;
    let restored = Some(Restored { revision, created_ms, modified_ms });
    Op { kind: Kind::Write.into(), phext, coordinate, text, restored, ..Op::default() }
}

fn restoring(ops: Vec<Op>, life: u64) -> Command {
    let life = Some(TenantLife { number: life, purge: false });
    Command { restoring: true, life, scroll_max_bytes: Some(64 << 20), ..command(ops) }
}

fn totals(usage: &Usage, life: u64) -> Command {
    let totals = RestoredTotals { revision: usage.revision, last_write_ms: usage.last_write_ms };
    Command { totals: Some(totals), ..restoring(Vec::new(), life) }
}

fn restore(replica: &mut Replica, chunks: &[Chunk], life: u64) {
    for chunk in chunks {
        for scroll in decode(chunk.bytes.clone()).unwrap() {
            let whole = restoring(vec![op_of(scroll)], life);
            if whole.ops[0].text.len() < 400_000 {
                let result = replica.run(77_000, whole);
                assert_eq!(result.results[0].status(), OpStatus::OpOk);
                continue;
            }
            for part in in_parts(&whole) {
                let part = Command { restoring: true, life: whole.life, ..part };
                let result = replica.run(77_000, part);
                assert_eq!(result.results[0].status(), OpStatus::OpOk);
            }
        }
    }
}

#[test]
fn what_is_restored_is_what_was_backed_up() {
    let original = original();
    let (chunks, tenants) = copied(&original);
    assert!(chunks.len() > 2, "{}", chunks.len());
    let [CopiedTenant { tenant, life: 0, totals: Some(usage) }] = &tenants[..] else {
        panic!("{tenants:?}")
    };
    assert_eq!((tenant.as_str(), usage.scrolls, usage.phexts), (TENANT, 401, 2));
    assert_eq!(usage.revision, 404);

    let mut replica = Replica::new();
    restore(&mut replica, &chunks, 9);
    replica.run(77_000, totals(usage, 9));
    let expected = [CopiedTenant { life: 9, ..tenants[0].clone() }];
    assert_eq!(copied(&replica), (chunks.clone(), expected.to_vec()));
    // Once more changes nothing, and so does a crash in between.
    restore(&mut replica, &chunks, 9);
    replica.reopen();
    replica.run(77_000, totals(usage, 9));
    assert_eq!(copied(&replica), (chunks, expected.to_vec()));

    // From here on it goes on as it would have.
    let life = Some(TenantLife { number: 9, purge: false });
    let next = Command { life, ..command(vec![append("notes/todo", "!")]) };
    let result = replica.run(99_000, next).results.remove(0);
    assert_eq!((result.status(), result.revision), (OpStatus::OpOk, 405));
    assert_eq!(replica.text("notes/todo").unwrap(), "feed horses!");
    assert_eq!(replica.text("notes/large").unwrap().len(), 2_500_000);
}

#[test]
fn nobody_says_what_scrolls_once_were_but_a_restore() {
    let mut replica = Replica::new();
    replica.op(write("notes/todo", "hay"));
    let was = Some(Restored { revision: 99, created_ms: 1, modified_ms: 2 });
    let forged = Op { restored: was, ..write("notes/todo", "straw") };
    assert_eq!(replica.op(forged.clone()), refused(OpStatus::OpInvalid, 0));
    let append = Op { restored: was, ..append("notes/todo", "straw") };
    let result = replica.run(5_000, restoring(vec![append], 0));
    assert_eq!(result.results[0].status(), OpStatus::OpInvalid);
    let totals = RestoredTotals { revision: 99, last_write_ms: 9 };
    replica.run(5_000, Command { totals: Some(totals), ..command(Vec::new()) });
    assert_eq!(replica.op(write("notes/todo", "hay")).revision, 2, "not told, not moved");
    // Nor when it comes in parts, if the leader does not say so.
    let large = Op { text: "y".repeat(700_000).into(), ..forged };
    let mut parts = in_parts(&Command { restoring: true, ..command(vec![large]) });
    let commit = parts.pop().unwrap();
    for part in parts {
        drop(replica.run(5_000, part));
    }
    let result = replica.run(5_000, commit);
    assert_eq!(result.results[0].status(), OpStatus::OpInvalid);
    assert_eq!(replica.text("notes/todo").unwrap(), "hay");
}

#[test]
fn a_backup_is_of_one_moment() {
    let mut replica = original();
    let before = copied(&replica);
    block_on(async {
        let mut source = CopySource::open(replica.store(), GROUP).await.unwrap();
        replica.op(write("1.1.1/1.1.1/1.1.1", "changed"));
        replica.op(write("zzz/new", "new"));
        let mut chunks = Vec::new();
        while let CopyPiece::Chunk(chunk) = source.next().await.unwrap() {
            chunks.push(chunk);
        }
        assert_eq!(chunks, before.0);
    });
    let after = copied(&replica).0;
    let same = after.iter().filter(|chunk| before.0.contains(chunk)).count();
    assert!(same > 0 && after != before.0, "{same} of {}", after.len());
}

fn from_backup(id: &str) -> RestoreTenant {
    let restored = RestoredFrom { backup: vec![4; 32].into(), enabled: true, whole: true };
    RestoreTenant {
        tenant: Some(TenantRecord {
            created_ms: 17,
            life: 3,
            shard: 99,
            quota_bytes: Some(5),
            from_file: true,
            restored: Some(restored),
            ..tenant(id)
        }),
        keys: vec![
            KeyRecord { created_ms: 18, ..key(2, id, "k") },
            KeyRecord { revoked: true, ..key(3, id, "l") },
        ],
        salts: vec![vec![9; 32].into(), vec![8; 32].into()],
        keys_or_none: false,
    }
}

#[test]
fn a_tenant_is_there_and_disabled_until_it_is_whole() {
    let mut meta = Meta::bootstrapped();
    assert_eq!(meta.run(What::RestoreTenant(from_backup("will"))).status(), MetaStatus::MetaOk);
    let directory = meta.directory();
    let will = directory.tenants["will"].clone();
    assert!(!will.enabled && !will.from_file && !will.restored.as_ref().unwrap().whole);
    assert_eq!((will.created_ms, will.quota_bytes, will.life), (17, Some(5), directory.epoch));
    assert!((1..=4).contains(&will.shard));
    assert_eq!((directory.keys_of("will").count(), directory.all_keys_of("will").count()), (1, 2));
    assert_eq!(directory.keys_of("will").next().unwrap().created_ms, 18);
    assert_eq!(directory.cluster.unwrap().other_salts, [vec![9; 32]]);

    // Said again it is left as it is, and nobody puts it into use too soon.
    meta.run(What::RestoreTenant(from_backup("will")));
    assert_eq!(meta.directory().epoch, directory.epoch);
    let enable = PatchTenant {
        id: "will".into(),
        fields: vec![Field::Enabled.into()],
        values: Some(tenant("will")),
    };
    let (status, reason) = meta.refused(What::PatchTenant(enable.clone()));
    assert!(status == MetaStatus::MetaExists && reason.contains("being restored"), "{reason}");
    let set = PutTenant { tenant: Some(tenant("will")), keys: Vec::new() };
    assert_eq!(meta.refused(What::SetTenant(set)).0, MetaStatus::MetaExists);

    meta.reopen();
    let finish = |life| What::FinishRestore(FinishRestore { id: "will".into(), life });
    assert_eq!(meta.refused(finish(will.life + 1)).0, MetaStatus::MetaInvalid);
    for _ in 0..2 {
        assert_eq!(meta.run(finish(will.life)).status(), MetaStatus::MetaOk);
    }
    let now = meta.directory().tenants["will"].clone();
    assert!(now.enabled && now.restored.as_ref().unwrap().whole);
    meta.run(What::RestoreTenant(from_backup("will")));
    assert_eq!(meta.directory().tenants["will"], now);
    assert_eq!(meta.run(What::PatchTenant(enable)).status(), MetaStatus::MetaOk);
}

#[test]
fn what_is_there_is_not_overwritten_by_a_restore() {
    let mut meta = Meta::bootstrapped();
    meta.run(add("will", vec![key(2, "will", "k")]));
    let asked = from_backup("will");
    assert_eq!(meta.refused(What::RestoreTenant(asked)).0, MetaStatus::MetaExists);
    // Its key is in use, so under another name it comes without, if that is wanted.
    let (status, reason) = meta.refused(What::RestoreTenant(from_backup("old")));
    assert!(status == MetaStatus::MetaExists && reason.contains("in use"), "{reason}");
    let without = RestoreTenant { keys_or_none: true, ..from_backup("old") };
    assert_eq!(meta.run(What::RestoreTenant(without)).status(), MetaStatus::MetaOk);
    let directory = meta.directory();
    assert_eq!(directory.all_keys_of("old").count(), 0);
    assert!(directory.cluster.unwrap().other_salts.is_empty(), "no key, no salt");

    let mut other = from_backup("other");
    other.salts = vec![vec![1].into()];
    assert_eq!(meta.refused(What::RestoreTenant(other)).0, MetaStatus::MetaInvalid);
    let mut other = from_backup("other");
    other.tenant.as_mut().unwrap().restored = None;
    assert_eq!(meta.refused(What::RestoreTenant(other)).0, MetaStatus::MetaInvalid);
    let mut other = from_backup("Other");
    other.keys.clear();
    assert_eq!(meta.refused(What::RestoreTenant(other)).0, MetaStatus::MetaInvalid);
    let plain = FinishRestore { id: "will".into(), life: 2 };
    assert_eq!(meta.refused(What::FinishRestore(plain)).0, MetaStatus::MetaInvalid);
}
