//! The judge judged: honest histories pass, and for every way to break a promise there is a
//! history that shows it and must fail. Histories of whole runs are made by [`simulation`].

mod simulation;
mod speed;
mod story;

use super::*;
use story::{Story, append, swap, write};

macro_rules! assert_fails {
    ($story:expr, $violation:pat) => {
        let found = $story.fails();
        assert!(found.iter().any(|violation| matches!(violation, $violation)), "{found:?}");
    };
}

#[test]
fn an_honest_history_passes_and_is_summed_up() {
    let story = Story::default()
        .absent(0)
        .append(10, "a", 3)
        .append(20, "b", 4)
        .read(30, 4, &["a", "b"])
        .write(40, "c", 7)
        .append(50, "d", 9)
        .delete(60, 10)
        .absent(70)
        .append(80, "e", 12)
        .add(90, append("f"), Outcome::Refused { status: 503 })
        .read(100, 12, &["e"]);
    let summary = Summary { acked: 6, reads: 4, refused: 1, unknown: 0, scrolls: 1 };
    assert_eq!(story.passes(), summary);
}

#[test]
fn operations_side_by_side_may_go_either_way() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2).until(50);
    start().read(20, 1, &["a"]).until(30).read(60, 2, &["a", "b"]).passes();
    start().read(20, 2, &["a", "b"]).until(30).read(60, 2, &["a", "b"]).passes();
    let removal = || Story::default().append(0, "a", 1).delete(10, 2).until(50);
    removal().read(20, 1, &["a"]).absent(60).passes();
    removal().absent(20).absent(60).passes();
}

#[test]
fn writes_of_unknown_outcome_may_show_or_not() {
    let start = || Story::default().append(0, "a", 1).unknown(10, append("u"));
    start().read(20, 1, &["a"]).passes();
    start().read(20, 2, &["a", "u"]).append(30, "b", 3).read(40, 3, &["a", "u", "b"]).passes();
    // It may even take effect long after.
    start().append(20, "b", 2).read(30, 2, &["a", "b"]).read(40, 3, &["a", "b", "u"]).passes();

    let start = || Story::default().append(0, "a", 1).unknown(10, write("u"));
    start().read(20, 2, &["u"]).passes();
    start().append(20, "b", 3).read(30, 3, &["u", "b"]).passes();
    start().append(20, "b", 3).read(30, 3, &["a", "b"]).passes();

    let start = || Story::default().append(0, "a", 1).unknown(10, Action::Delete);
    start().absent(20).passes();
    start().append(20, "b", 3).read(30, 3, &["b"]).passes();
}

#[test]
fn a_lost_write_is_seen() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2).append(20, "c", 3);
    assert_fails!(start().read(30, 3, &["a", "c"]), Violation::Lost { .. });
    assert_fails!(start().read(30, 3, &["c"]), Violation::Lost { .. });
    assert_fails!(start().read(30, 2, &["a", "b"]), Violation::StaleRead { .. });
    assert_fails!(start().absent(30), Violation::Vanished { floor: 3, .. });
    assert_fails!(start().read(30, 3, &[]), Violation::Emptied { .. });
    assert_fails!(start(), Violation::NotReadInTheEnd { .. });
    // An unknown append takes nothing away.
    let unknown = start().unknown(25, append("u"));
    assert_fails!(unknown.read(30, 4, &["b", "c", "u"]), Violation::Lost { .. });
}

#[test]
fn a_write_applied_twice_is_seen() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2);
    assert_fails!(start().read(20, 2, &["a", "b", "b"]), Violation::Doubled { .. });
    // Applied again under a new revision.
    assert_fails!(start().read(20, 3, &["a", "b"]), Violation::WrongRevision { .. });
    let refused = start().add(15, append("r"), Outcome::Refused { status: 503 });
    assert_fails!(refused.read(20, 3, &["a", "b", "r"]), Violation::RefusedYetApplied { .. });
}

#[test]
fn shared_revisions_are_seen() {
    let story = Story::default().append(0, "a", 1).append(3, "b", 1).read(20, 1, &["a", "b"]);
    assert_fails!(story, Violation::RevisionShared { revision: 1, .. });
    // Also when one of them is only known from a read.
    let story = Story::default().append(0, "a", 5).unknown(10, append("u"));
    assert_fails!(story.read(20, 5, &["a", "u"]), Violation::RevisionShared { .. });
    let story = Story::default().append(0, "a", 5).append(3, "a", 6).read(20, 6, &["a"]);
    assert_fails!(story, Violation::TokenReused { .. });
}

#[test]
fn revisions_against_real_time_are_seen() {
    let story = Story::default().append(0, "a", 2).append(10, "b", 1).read(20, 2, &["b", "a"]);
    assert_fails!(story, Violation::OutOfOrder { revision: 1, floor: 2, .. });
    // A write asked for after a read that showed a higher revision.
    let story = Story::default().append(0, "a", 5).until(100).read(10, 5, &["a"]);
    let story = story.append(20, "b", 4).read(110, 5, &["b", "a"]);
    assert_fails!(story, Violation::OutOfOrder { revision: 4, floor: 5, .. });
}

#[test]
fn stale_reads_are_seen() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2).until(100);
    // Nothing is acknowledged yet, but one read has shown it.
    let story = start().read(20, 2, &["a", "b"]).read(30, 1, &["a"]).read(110, 2, &["a", "b"]);
    assert_fails!(story, Violation::StaleRead { revision: 1, floor: 2, .. });
    // A removal one read has shown, and the next one takes back.
    let story = Story::default().append(0, "a", 1).delete(10, 2).until(100);
    let story = story.absent(20).read(30, 1, &["a"]).absent(110);
    assert_fails!(story, Violation::StaleRead { revision: 1, floor: 2, .. });
    // Nothing there, though the only removal came before the last write and after nothing else.
    let story = Story::default().append(0, "a", 1).delete(10, 2).append(20, "b", 3);
    assert_fails!(story.absent(30), Violation::Vanished { floor: 3, .. });
}

#[test]
fn a_removal_asked_for_later_explains_no_absence() {
    let story = Story::default().append(0, "a", 1).absent(10).delete(20, 2).absent(30);
    assert_fails!(story, Violation::Vanished { floor: 1, .. });
}

#[test]
fn texts_from_nowhere_and_elsewhere_are_seen() {
    let start = || Story::default().append(0, "a", 1);
    assert_fails!(start().read(10, 2, &["a", "zzz"]), Violation::Phantom { .. });
    let other = Story::default().append(0, "x", 1).elsewhere().append(0, "a", 1);
    assert_fails!(other.read(10, 1, &["x", "a"]), Violation::Foreign { .. });
    let early = start().read(10, 2, &["a", "b"]).append(20, "b", 2).read(30, 2, &["a", "b"]);
    assert_fails!(early, Violation::FromTheFuture { .. });
}

#[test]
fn writes_that_come_back_or_change_places_are_seen() {
    let replaced = Story::default().append(0, "a", 1).write(10, "b", 2).append(20, "c", 3);
    assert_fails!(replaced.read(30, 3, &["a", "b", "c"]), Violation::Resurrected { .. });
    let removed = Story::default().append(0, "a", 1).delete(10, 2).append(20, "c", 3);
    assert_fails!(removed.read(30, 3, &["a", "c"]), Violation::Resurrected { .. });

    let three = Story::default().append(0, "a", 1).append(10, "b", 2).append(20, "c", 3);
    assert_fails!(three.read(30, 3, &["b", "a", "c"]), Violation::Reordered { .. });
    // An unknown write that wanders between two reads.
    let two = Story::default().append(0, "a", 1).unknown(5, append("u")).append(10, "b", 3);
    let wandering = two.read(20, 3, &["a", "u", "b"]).read(30, 3, &["u", "a", "b"]);
    assert_fails!(wandering, Violation::Reordered { .. });
    // A replacing write that left something before it.
    let story = Story::default().append(0, "a", 1).unknown(5, write("u")).append(10, "b", 3);
    assert_fails!(story.read(20, 3, &["a", "u", "b"]), Violation::Reordered { .. });
}

#[test]
fn a_history_must_end_with_reads() {
    let early = Story::default().append(0, "a", 1).read(2, 1, &["a"]);
    assert_fails!(early, Violation::NotReadInTheEnd { .. });
    // Where everything was refused there is nothing to look for.
    Story::default().add(0, append("a"), Outcome::Refused { status: 503 }).passes();
}

#[test]
fn an_unknown_write_once_shown_stays() {
    let start = || Story::default().append(0, "a", 1).unknown(10, append("u"));
    let shown = || start().read(20, 2, &["a", "u"]).append(30, "b", 3);
    shown().read(40, 3, &["a", "u", "b"]).passes();
    assert_fails!(shown().read(40, 3, &["a", "b"]), Violation::Lost { .. });
}

#[test]
fn conditional_writes_are_held_to_their_condition() {
    let start = || Story::default().swap(0, "a", 0, 1).append(10, "b", 2);
    start().swap(20, "c", 2, 3).read(30, 3, &["c"]).passes();
    start().refused(20, swap("c", 1), 412).read(30, 2, &["a", "b"]).passes();
    start().delete(20, 3).swap(30, "c", 0, 4).read(40, 4, &["c"]).passes();
    // The write it lost against may have been side by side with it.
    let beside = start().append(20, "c", 3).refused(22, swap("d", 2), 412);
    beside.read(40, 3, &["a", "b", "c"]).passes();
    let unknown = || start().unknown(20, append("u")).refused(30, swap("d", 2), 412);
    unknown().read(40, 3, &["a", "b", "u"]).passes();
    unknown().read(40, 2, &["a", "b"]).passes();

    let wrong = start().swap(20, "c", 1, 3).read(30, 3, &["c"]);
    assert_fails!(wrong, Violation::SwappedAtAnother { found: 2, .. });
    let present = start().swap(20, "c", 0, 3).read(30, 3, &["c"]);
    assert_fails!(present, Violation::SwappedAtAnother { found: 2, .. });
    let refused = start().refused(20, swap("c", 2), 412).read(30, 2, &["a", "b"]);
    assert_fails!(refused, Violation::SwapRefused { .. });
    let absent = Story::default().append(0, "a", 1).delete(10, 2);
    let absent = absent.refused(20, swap("c", 0), 412).absent(30);
    assert_fails!(absent, Violation::SwapRefused { .. });
}

#[test]
fn repetitions_tell_what_was_told_before() {
    let again = |revision| {
        let story = Story::default().append(0, "a", 1);
        story.add(10, Action::Again("a".into()), Outcome::Acked { revision })
    };
    again(1).read(20, 1, &["a"]).passes();
    assert_fails!(again(2).read(20, 1, &["a"]), Violation::RepeatedDifferently { second: 2, .. });
    // It settles what was unknown.
    let lost = Story::default().append(0, "a", 1).unknown(10, append("u"));
    let lost = lost.add(20, Action::Again("u".into()), Outcome::Acked { revision: 2 });
    assert_fails!(lost.append(30, "b", 3).read(40, 3, &["a", "b"]), Violation::Lost { .. });
}

#[test]
fn stale_reads_show_some_past_and_say_so() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2);
    let end = |story: Story| story.read(90, 2, &["a", "b"]);
    end(start().read(20, 1, &["a"]).stale(Some(7))).passes();
    end(start().absent(20).stale(Some(0))).passes();
    assert_fails!(end(start().read(20, 1, &["a"]).stale(None)), Violation::StaleUnsaid { .. });
    let never = start().append(15, "c", 3).delete(20, 4).append(30, "d", 5);
    let never = never.read(40, 5, &["b", "d"]).stale(Some(7)).read(90, 5, &["d"]);
    assert_fails!(never, Violation::Resurrected { .. });
    let hole = start().append(15, "c", 3).read(40, 3, &["a", "c"]).stale(Some(7));
    assert_fails!(hole.read(90, 3, &["a", "b", "c"]), Violation::Lost { .. });
    // Whoever saw it knows it.
    let story = start().until(200).read(20, 2, &["a", "b"]).stale(Some(9)).read(30, 1, &["a"]);
    assert_fails!(story.read(210, 2, &["a", "b"]), Violation::StaleRead { .. });
}

#[test]
fn glances_are_placed_by_what_they_end_with() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2);
    let end = |story: Story| story.read(90, 2, &["a", "b"]);
    end(start().read(20, 0, &["a", "b"]).glance()).passes();
    assert_fails!(end(start().read(20, 0, &["a"]).glance()), Violation::StaleRead { .. });
    assert_fails!(end(start().read(20, 0, &["b"]).glance()), Violation::Lost { .. });
    assert_fails!(end(start().read(20, 0, &[]).glance()), Violation::Vanished { .. });
}

#[test]
fn batches_are_whole_and_of_one_moment() {
    let pair = |first, second| {
        let story = Story::default().append(0, "x", 1).of("x").append(0, "y", 2).of("y");
        story.add(10, append("a"), first).part(1, "x").add(10, append("b"), second).part(1, "y")
    };
    let acked = |revision| Outcome::Acked { revision };
    let both = || pair(acked(3), acked(4));
    let end = |story: Story, x: &[&str], y: &[&str]| {
        let (rx, ry) = (x.len() as u64 * 2 - 1, y.len() as u64 * 2);
        story.read(90, rx, x).of("x").read(90, ry, y).of("y")
    };
    end(both(), &["x", "a"], &["y", "b"]).passes();

    let half = pair(acked(3), Outcome::Refused { status: 412 });
    assert_fails!(end(half, &["x", "a"], &["y"]), Violation::HalfABatch { id: 1, .. });
    let between = pair(acked(3), acked(6)).append(12, "z", 5).of("z").read(90, 5, &["z"]).of("z");
    let between = between.read(90, 3, &["x", "a"]).of("x").read(90, 6, &["y", "b"]).of("y");
    assert_fails!(between, Violation::Interrupted { revision: 5, .. });
    // One part shown, of a batch of unknown outcome: so the other part must be there.
    let unknown = || pair(Outcome::Unknown { status: None }, Outcome::Unknown { status: None });
    end(unknown(), &["x"], &["y"]).passes();
    end(unknown(), &["x", "a"], &["y", "b"]).passes();
    let half = unknown().read(20, 3, &["x", "a"]).of("x").append(30, "c", 5).of("y");
    let half = half.read(90, 3, &["x", "a"]).of("x").read(90, 5, &["y", "c"]).of("y");
    assert_fails!(half, Violation::Lost { .. });

    let torn = |x: &[&str], y: &[&str]| {
        let (rx, ry) = (x.len() as u64 * 2 - 1, y.len() as u64 * 2);
        // Asked before the batch was answered, so either may be shown, but not half of it.
        let story = both().read(5, rx, x).until(40).part(2, "x");
        end(story.read(5, ry, y).until(40).part(2, "y"), &["x", "a"], &["y", "b"])
    };
    torn(&["x"], &["y"]).passes();
    torn(&["x", "a"], &["y", "b"]).passes();
    assert_fails!(torn(&["x", "a"], &["y"]), Violation::TornRead { id: 2, .. });
    assert_fails!(torn(&["x"], &["y", "b"]), Violation::TornRead { id: 2, .. });
}

#[test]
fn quotas_hold_and_refuse_nothing_that_fits() {
    // Tokens of one letter have lines of two bytes: 66 for the first, 2 for each more.
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2);
    let end = |story: Story| story.read(80, 2, &["a", "b"]).measured(90, 68, 70);
    end(start()).passes();
    let full = start().append(15, "c", 3).refused(20, append("d"), 507);
    full.read(80, 3, &["a", "b", "c"]).measured(90, 70, 70).passes();

    let over = start().append(15, "c", 3).append(16, "d", 4).read(80, 4, &["a", "b", "c", "d"]);
    let found = over.measured(90, 72, 70).fails();
    let twice = |found: &Violation| matches!(found, Violation::QuotaExceeded { used: 72, .. });
    assert_eq!(found.iter().filter(|found| twice(found)).count(), 2, "told and counted: {found:?}");
    // Also when it was over for a while only.
    let over = start().append(15, "c", 3).append(16, "d", 4).delete(20, 5).absent(80);
    assert_fails!(over.measured(90, 0, 70), Violation::QuotaExceeded { used: 72, .. });

    let freed = start().delete(20, 3).refused(30, append("c"), 507).absent(80);
    assert_fails!(freed.measured(90, 0, 140), Violation::QuotaRefused { used: 0, .. });
    // Side by side with the removal it may have come first.
    let beside = start().delete(20, 3).until(40).refused(30, append("c"), 507).absent(80);
    beside.measured(90, 0, 70).passes();
    let drift = start().read(80, 2, &["a", "b"]).measured(90, 70, 70);
    assert_fails!(drift, Violation::UsageDrift { told: 70, used: 68, .. });
}

#[test]
fn nonsense_must_be_refused() {
    let with = |outcome| {
        let story = Story::default().append(0, "a", 1);
        story.add(10, Action::Malformed("m".into()), outcome)
    };
    with(Outcome::Refused { status: 400 }).read(20, 1, &["a"]).passes();
    with(Outcome::Unknown { status: None }).read(20, 1, &["a"]).passes();
    let accepted = with(Outcome::Acked { revision: 2 }).read(20, 1, &["a"]);
    assert_fails!(accepted, Violation::MalformedAccepted { .. });
    let stored = with(Outcome::Refused { status: 400 }).read(20, 2, &["a", "m"]);
    assert_fails!(stored, Violation::RefusedYetApplied { .. });
}
