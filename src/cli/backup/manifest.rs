//! What a backup consists of: a line with the format and the digest of what follows, then JSON.
//!
//! ```text
//! ranch-backup 1 BLAKE3-IN-HEX
//! {"begun":…,"cluster_id":…,"records":…,"shards":[…],"tenants":[…]}
//! ```

use ranch_proto::backup::{DIGEST_BYTES, Digest, digest};
use ranch_proto::hex;
use serde::{Deserialize, Serialize};

/// Before the digest, with the format's version.
const HEAD: &str = "ranch-backup 1 ";
/// Before the version, in every version.
const LABEL: &str = "ranch-backup ";

/// One backup.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// When it was begun, as RFC 3339 writes it.
    pub begun: String,
    /// Version of the ranch.
    pub version: String,
    /// Which ranch.
    pub cluster_id: String,
    /// Its name.
    pub cluster_name: String,
    /// Where its tenants' records and keys are.
    pub records: ChunkRef,
    /// What the copies of shards were as of.
    pub shards: Vec<StoredShard>,
    /// Its tenants, by id.
    pub tenants: Vec<StoredTenant>,
}

/// A chunk, by its digest.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkRef {
    /// In hex.
    pub digest: String,
    /// Its length.
    pub bytes: u64,
}

/// A shard as it was copied.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoredShard {
    /// Its number.
    pub shard: u32,
    /// The node that gave the copy.
    pub node: u32,
    /// The log index it is as of.
    pub applied: u64,
}

/// A tenant as it was copied.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoredTenant {
    /// Its id.
    pub tenant_id: String,
    /// Which of the tenants that have had this id.
    pub life: u64,
    /// How many scrolls it has.
    pub scrolls: u64,
    /// What they count against its quota.
    pub storage_bytes: u64,
    /// How many phexts they are in.
    pub phexts: u64,
    /// The last revision given out.
    pub revision: u64,
    /// When it was last written to.
    pub last_write_ms: u64,
    /// Its scrolls, in key order.
    #[serde(default)]
    pub chunks: Vec<ChunkRef>,
}

impl ChunkRef {
    /// A reference to a chunk of this digest.
    pub fn new(digest: &Digest, bytes: u64) -> Self {
        Self { digest: hex::encode(digest), bytes }
    }

    /// The digest's bytes; `None` where it is none.
    pub fn bytes_of_digest(&self) -> Option<Digest> {
        let bytes = hex::decode(&self.digest)?;
        (bytes.len() == DIGEST_BYTES && self.digest == hex::encode(&bytes))
            .then(|| bytes.try_into().ok())?
    }
}

impl Manifest {
    /// All chunks it needs, some perhaps more than once.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        let tenants = self.tenants.iter().flat_map(|tenant| &tenant.chunks);
        std::iter::once(&self.records).chain(tenants)
    }

    /// Scrolls of all tenants, and what they count.
    pub fn totals(&self) -> (u64, u64) {
        let add = |sum: (u64, u64), tenant: &StoredTenant| {
            (sum.0 + tenant.scrolls, sum.1 + tenant.storage_bytes)
        };
        self.tenants.iter().fold((0, 0), add)
    }

    /// As it is stored.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        let head = format!("{HEAD}{}\n", hex::encode(&digest(&json)));
        Ok([head.as_bytes(), &json, b"\n"].concat())
    }

    /// What is stored, with its digest; or what is wrong with it.
    pub fn decode(stored: &[u8]) -> Result<(Self, Digest), String> {
        let end = stored.iter().position(|&byte| byte == b'\n').ok_or("it is cut off")?;
        let head = str::from_utf8(&stored[..end]).map_err(|_| "its first line is no text")?;
        let Some(written) = head.strip_prefix(HEAD) else {
            return Err(match head.strip_prefix(LABEL).and_then(|rest| rest.split(' ').next()) {
                Some(version) => format!(
                    "it has format {version}, this version knows format 1: use the version that \
                     wrote it"
                ),
                None => "its first line is not that of a manifest".to_owned(),
            });
        };
        let json = stored[end + 1..].strip_suffix(b"\n").ok_or("it is cut off")?;
        let found = digest(json);
        if hex::encode(&found) != written {
            return Err("its digest is not the one in its first line".to_owned());
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if manifest.chunks().any(|chunk| chunk.bytes_of_digest().is_none()) {
            return Err("it names a chunk by what is no digest".to_owned());
        }
        Ok((manifest, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let chunk = ChunkRef::new(&[7; 32], 9);
        Manifest {
            begun: "2026-11-26T22:49:11.000Z".into(),
            version: "0.1.0".into(),
            cluster_id: "00".into(),
            cluster_name: "ranch".into(),
            records: chunk.clone(),
            shards: vec![StoredShard { shard: 1, node: 2, applied: 3 }],
            tenants: vec![StoredTenant {
                tenant_id: "will".into(),
                scrolls: 4,
                storage_bytes: 5,
                chunks: vec![chunk],
                ..StoredTenant::default()
            }],
        }
    }

    #[test]
    fn a_manifest_has_its_golden_bytes() {
        let hex = "07".repeat(32);
        let json = format!(
            "{{\"begun\":\"2026-11-26T22:49:11.000Z\",\"version\":\"0.1.0\",\"cluster_id\":\"00\",\
             \"cluster_name\":\"ranch\",\"records\":{{\"digest\":\"{hex}\",\"bytes\":9}},\
             \"shards\":[{{\"shard\":1,\"node\":2,\"applied\":3}}],\
             \"tenants\":[{{\"tenant_id\":\"will\",\"life\":0,\"scrolls\":4,\"storage_bytes\":5,\
             \"phexts\":0,\"revision\":0,\"last_write_ms\":0,\
             \"chunks\":[{{\"digest\":\"{hex}\",\"bytes\":9}}]}}]}}"
        );
        let stored = manifest().encode().unwrap();
        let head = format!("ranch-backup 1 {}\n", hex::encode(&digest(json.as_bytes())));
        assert_eq!(String::from_utf8(stored.clone()).unwrap(), format!("{head}{json}\n"));
        assert_eq!(Manifest::decode(&stored).unwrap().0, manifest());
        assert_eq!(manifest().totals(), (4, 5));
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_found() {
        let stored = manifest().encode().unwrap();
        for length in 0..stored.len() {
            assert!(Manifest::decode(&stored[..length]).is_err(), "{length} bytes");
        }
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            assert!(Manifest::decode(&changed).is_err(), "byte {at}");
        }
        let newer = Manifest::decode(b"ranch-backup 2 x\n").unwrap_err();
        assert!(newer.contains("format 2"), "{newer}");
    }
}
