//! What is remembered of a command's answer: all but the texts it read.
//!
//! ```text
//! outcome = count u32, then per op: status u8 revision u64 bytes u32      big-endian
//! ```

use ranch_proto::schema::OpResult;

/// The answer to one op, without text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpOutcome {
    status: u8,
    revision: u64,
    bytes: u32,
}

/// The answers to a command's ops. Most commands have one op, which then needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    One(OpOutcome),
    Many(Box<[OpOutcome]>),
}

const OP_BYTES: usize = 13;

impl OpOutcome {
    fn of(result: &OpResult) -> Self {
        // Statuses are few, and no op moves more than one scroll, which is below 4 GiB.
        let status = u8::try_from(result.status).unwrap_or_default();
        Self { status, revision: result.revision, bytes: result.bytes as u32 }
    }

    /// The answer as it was first given, less any text.
    pub(super) fn result(self) -> OpResult {
        OpResult {
            status: self.status.into(),
            revision: self.revision,
            bytes: self.bytes.into(),
            text: None,
        }
    }
}

impl Outcome {
    pub(super) fn of(results: &[OpResult]) -> Self {
        match results {
            [only] => Self::One(OpOutcome::of(only)),
            many => Self::Many(many.iter().map(OpOutcome::of).collect()),
        }
    }

    pub(super) fn ops(&self) -> &[OpOutcome] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(many) => many,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let ops = self.ops();
        // A command has at most 10,000 ops.
        out.extend_from_slice(&(ops.len() as u32).to_be_bytes());
        for op in ops {
            out.push(op.status);
            out.extend_from_slice(&op.revision.to_be_bytes());
            out.extend_from_slice(&op.bytes.to_be_bytes());
        }
    }

    /// Reads what [`Outcome::encode`] wrote and moves `row` past it.
    pub(super) fn decode(row: &mut &[u8]) -> Option<Self> {
        let (count, rest) = row.split_first_chunk()?;
        let count = u32::from_be_bytes(*count) as usize;
        let (ops, rest) = rest.split_at_checked(count.checked_mul(OP_BYTES)?)?;
        *row = rest;
        let mut ops = ops.as_chunks::<OP_BYTES>().0.iter().map(decode_op);
        if count == 1 {
            return ops.next().map(Self::One);
        }
        Some(Self::Many(ops.collect()))
    }
}

fn decode_op(bytes: &[u8; OP_BYTES]) -> OpOutcome {
    let (status, numbers) = (bytes[0], &bytes[1..]);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |high, &low| high << 8 | u64::from(low));
    let (revision, bytes) = (number(&numbers[..8]), number(&numbers[8..]) as u32);
    OpOutcome { status, revision, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_their_golden_bytes() {
        let result = OpResult { status: 1, revision: 0x0102, bytes: 3, text: None };
        let bytes = [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3];
        let outcome = Outcome::of(std::slice::from_ref(&result));
        let mut row = Vec::new();
        outcome.encode(&mut row);
        assert_eq!(row, bytes);
        let mut rest = row.as_slice();
        assert_eq!(Outcome::decode(&mut rest), Some(outcome.clone()));
        assert!(rest.is_empty());
        assert_eq!(outcome.ops()[0].result(), result);
        assert_eq!(Outcome::decode(&mut &row[..16]), None);
    }

    #[test]
    fn none_and_many_survive() {
        for count in [0, 2, 50] {
            let results: Vec<_> = (0..count)
                .map(|revision| OpResult { status: 2, revision, bytes: 9, text: None })
                .collect();
            let mut row = Vec::new();
            Outcome::of(&results).encode(&mut row);
            let outcome = Outcome::decode(&mut row.as_slice()).unwrap();
            assert_eq!(outcome.ops().iter().map(|op| op.result()).collect::<Vec<_>>(), results);
        }
    }
}
