//! What calls are counted by: the verbs of endpoints, and days as calls-per-day limits know them.

use crate::schema::CallMethod;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
/// How many [`CallMethod`]s there are; their numbers are below it.
pub const METHODS: usize = 22;

/// Every method with its verb, in the order of their numbers.
const VERBS: [(CallMethod, &str); METHODS] = [
    (CallMethod::Unspecified, "other"),
    (CallMethod::Version, "version"),
    (CallMethod::Load, "load"),
    (CallMethod::Select, "select"),
    (CallMethod::Insert, "insert"),
    (CallMethod::Update, "update"),
    (CallMethod::Delete, "delete"),
    (CallMethod::Status, "status"),
    (CallMethod::Checksum, "checksum"),
    (CallMethod::Toc, "toc"),
    (CallMethod::Get, "get"),
    (CallMethod::Delta, "delta"),
    (CallMethod::JsonExport, "json-export"),
    (CallMethod::Where, "where"),
    (CallMethod::Query, "query"),
    (CallMethod::Read, "read"),
    (CallMethod::Write, "write"),
    (CallMethod::List, "list"),
    (CallMethod::Batch, "batch"),
    (CallMethod::Search, "search"),
    (CallMethod::Watch, "watch"),
    (CallMethod::History, "history"),
];

impl CallMethod {
    /// The method of an endpoint's verb; unspecified for one this version does not know.
    #[must_use]
    pub fn of_verb(verb: &str) -> Self {
        let found = VERBS.iter().find(|(_, known)| *known == verb);
        found.map_or(Self::Unspecified, |(method, _)| *method)
    }

    /// The verb, as in the endpoint's path; `other` for one this version does not know.
    #[must_use]
    pub fn verb(self) -> &'static str {
        VERBS[self.index()].1
    }

    /// The method of this number, as received or read; unspecified for an unknown one.
    #[must_use]
    pub fn of_number(number: i32) -> Self {
        Self::try_from(number).unwrap_or(Self::Unspecified)
    }

    /// Its place in arrays of [`METHODS`] counts.
    #[must_use]
    pub fn index(self) -> usize {
        // Numbers are small and never negative, which a test below holds them to.
        usize::try_from(self as i32).unwrap_or(0)
    }

    /// All methods, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        VERBS.iter().map(|(method, _)| *method)
    }
}

/// The UTC day of a moment, in days since the Unix epoch.
#[must_use]
pub fn day_of(ms: u64) -> u64 {
    ms / DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_in_the_order_of_their_numbers_and_found_by_verb() {
        for ((index, number), (method, verb)) in (0..).zip(0..).zip(VERBS) {
            assert_eq!(method.index(), index, "{verb}");
            assert_eq!(CallMethod::of_number(number), method);
            assert_eq!(method.verb(), verb);
            assert_eq!(CallMethod::of_verb(verb), method);
        }
        let past = i32::try_from(METHODS).unwrap();
        assert!(CallMethod::try_from(past).is_err(), "a number without a verb");
        assert_eq!(CallMethod::of_number(999), CallMethod::Unspecified);
        assert_eq!(CallMethod::of_verb("selects"), CallMethod::Unspecified);
    }
}
