//! Places where a test may end the process, to see what a reopened store still holds.
//!
//! Without the `failpoints` feature a place costs nothing.

/// Aborts here when a test has armed `name` with the action `return`.
#[inline]
pub(super) fn crash_point(name: &'static str) {
    // Used by the macro only when failpoints are compiled in.
    let _ = name;
    fail::fail_point!(name, |_| std::process::abort());
}
