//! Rows of the directory: one a record, under its type and identifying bytes, and the epoch.
//!
//! Values begin with a version byte; a record follows as its message, the epoch as u64 big-endian.

use prost::Message;
use ranch_proto::directory::Directory;
use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Kind};
use ranch_proto::schema::{Record, record::What};

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::store::StateStore;

const VERSION: u8 = 1;

/// The directory as the rows say.
pub(super) fn load(store: &StateStore) -> Result<Directory, StateError> {
    let mut directory = Directory::default();
    store.for_each(keys::kind_bounds(GroupId::META, Kind::MetaRecord), |_, row| {
        let malformed = StateError::Row { what: "directory" };
        let Some((&VERSION, message)) = row.split_first() else { return Err(malformed) };
        directory.apply(Record::decode(message).map_err(|_| malformed)?);
        Ok(true)
    })?;
    if let Some(row) = store.get(&keys::meta_epoch())? {
        directory.epoch = decode_epoch(&row).ok_or(StateError::Row { what: "epoch" })?;
    }
    Ok(directory)
}

/// Puts a record's row in the batch, or removes it.
pub(super) fn store(record: &Record, batch: &mut ApplyBatch) {
    let key = match &record.what {
        Some(What::Cluster(_)) => keys::meta_record(1, &[]),
        Some(What::Node(node)) => keys::meta_record(2, &node.id.to_be_bytes()),
        Some(What::Shard(shard)) => keys::meta_record(3, &shard.id.to_be_bytes()),
        Some(What::Tenant(tenant)) => keys::meta_record(4, tenant.id.as_bytes()),
        Some(What::Key(key)) => keys::meta_record(5, &key.hash),
        Some(What::Gone(gone)) => keys::meta_record(6, &gone.id.to_be_bytes()),
        Some(What::Token(token)) => keys::meta_record(7, &token.hash),
        None => return,
    };
    if record.removed {
        batch.delete(key);
        return;
    }
    let mut row = Vec::with_capacity(1 + record.encoded_len());
    row.push(VERSION);
    row.extend_from_slice(&record.encode_to_vec());
    batch.put(key, row);
}

pub(super) fn encode_epoch(epoch: u64) -> Vec<u8> {
    [&[VERSION][..], &epoch.to_be_bytes()].concat()
}

fn decode_epoch(row: &[u8]) -> Option<u64> {
    let (&VERSION, epoch) = row.split_first()? else { return None };
    epoch.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_survive_and_other_bytes_are_none() {
        assert_eq!(encode_epoch(258), [1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode_epoch(&encode_epoch(258)), Some(258));
        for bad in [&[][..], &[1, 2], &[2, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(decode_epoch(bad), None);
        }
    }
}
