//! How a command too large for a log entry reaches its shard: cut into parts, each a small command
//! of its own, and carried out by a last one, which names them by their hash.
//!
//! Parts may be sent again and arrive in any order. The last command has the request id of the
//! whole, so a retry of it is answered as the first one was.

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use crate::ids::RequestId;
use crate::schema::{Command, StageCommit, StagePart, TenantLife};

/// Largest command of one log entry, encoded. With another of this size packed to it, an entry
/// stays within 1 MiB.
pub const COMMAND_BYTES_MAX: usize = 512 << 10;
/// Bytes of a part; leaves room for what a command has beside it.
pub const STAGE_PART_BYTES: usize = COMMAND_BYTES_MAX - 1024;
/// Largest command at all, encoded: a scroll of the largest size with room for its address, and
/// the largest batch.
pub const STAGED_BYTES_MAX: u64 = 80 << 20;
/// Most parts of an upload.
pub const STAGE_PARTS_MAX: u32 = STAGED_BYTES_MAX.div_ceil(STAGE_PART_BYTES as u64) as u32;

/// A command cut into parts.
#[derive(Clone, Debug)]
pub struct Cut {
    request_id: Bytes,
    tenant: String,
    life: Option<TenantLife>,
    whole: Bytes,
    hash: Bytes,
}

impl Cut {
    /// Cuts a command up. Its texts are copied once, here.
    #[must_use]
    pub fn new(command: Command) -> Self {
        let whole = Bytes::from(command.encode_to_vec());
        let hash = Bytes::copy_from_slice(&xxh3_128(&whole).to_be_bytes());
        let Command { request_id, tenant, life, .. } = command;
        Self { request_id, tenant, life, whole, hash }
    }

    /// How many parts there are.
    #[must_use]
    pub fn parts(&self) -> u32 {
        // 2^32 parts would be 2 PiB.
        self.whole.len().div_ceil(STAGE_PART_BYTES) as u32
    }

    /// The bytes of the whole command.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.whole.len() as u64
    }

    /// The command that stages a part, under a request id of its own.
    #[must_use]
    pub fn part(&self, part: u32) -> Command {
        let start = (part as usize * STAGE_PART_BYTES).min(self.whole.len());
        let end = (start + STAGE_PART_BYTES).min(self.whole.len());
        let stage = StagePart {
            upload: self.request_id.clone(),
            part,
            parts: self.parts(),
            length: self.length(),
            bytes: self.whole.slice(start..end),
        };
        Command {
            request_id: Bytes::copy_from_slice(&RequestId::random().0),
            tenant: self.tenant.clone(),
            life: self.life,
            stage: Some(stage),
            ..Command::default()
        }
    }

    /// The command that carries out what was staged.
    #[must_use]
    pub fn commit(&self) -> Command {
        let commit = StageCommit {
            upload: self.request_id.clone(),
            parts: self.parts(),
            length: self.length(),
            hash: self.hash.clone(),
        };
        Command {
            request_id: self.request_id.clone(),
            tenant: self.tenant.clone(),
            life: self.life,
            commit: Some(commit),
            ..Command::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Op;

    fn command(bytes: usize) -> Command {
        let op = Op { text: vec![b'x'; bytes].into(), ..Op::default() };
        let request_id = Bytes::from_static(&[7; 16]);
        Command { request_id, tenant: "t".repeat(63), ops: vec![op], ..Command::default() }
    }

    #[test]
    fn parts_put_together_are_the_command_and_fit_an_entry() {
        for bytes in [0, STAGE_PART_BYTES - 100, STAGE_PART_BYTES, 3 * STAGE_PART_BYTES + 1] {
            let cut = Cut::new(command(bytes));
            let mut whole = Vec::new();
            for part in 0..cut.parts() {
                let staged = cut.part(part);
                assert!(staged.encoded_len() <= COMMAND_BYTES_MAX);
                let stage = staged.stage.unwrap();
                assert_eq!((stage.part, stage.parts), (part, cut.parts()));
                whole.extend_from_slice(&stage.bytes);
            }
            assert_eq!(Command::decode(&whole[..]).unwrap(), command(bytes));
            let commit = cut.commit().commit.unwrap();
            assert_eq!(commit.length, whole.len() as u64);
            assert_eq!(commit.hash, xxh3_128(&whole).to_be_bytes().to_vec());
        }
    }

    #[test]
    fn the_largest_scroll_has_room() {
        let cut = Cut::new(command(crate::value::SCROLL_MAX as usize));
        assert!(cut.length() < STAGED_BYTES_MAX && cut.parts() < STAGE_PARTS_MAX);
    }
}
