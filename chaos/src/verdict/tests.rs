//! Verdicts on small histories, good and bad.

use super::*;
use crate::history::Action;

const SECOND: u64 = 1_000_000;

/// A write acknowledged every 10 ms of these seconds.
fn writes(seconds: std::ops::Range<f64>) -> Vec<Operation> {
    #[allow(clippy::cast_sign_loss)]
    let ticks = (seconds.start * 100.0) as u64..(seconds.end * 100.0) as u64;
    ticks
        .map(|tick| Operation {
            client: 1,
            tenant: "t".to_owned(),
            scroll: "s".to_owned(),
            action: Action::Append(tick.to_string()),
            invoked_us: tick * 10_000,
            returned_us: Some(tick * 10_000 + 1_000),
            outcome: Outcome::Acked { revision: tick },
            batch: None,
        })
        .collect()
}

fn strike(kind: FaultKind) -> Strike {
    Strike {
        kind,
        target: Target::Leader,
        nodes: vec![1],
        began_us: 2 * SECOND,
        healed_us: 3 * SECOND,
        calm_us: 3 * SECOND,
        episode: 0,
        bites: None,
        whole_us: Some(4 * SECOND),
    }
}

/// All copies compared, and none that differs.
fn alike() -> States {
    States { groups: 2, copies: 6, faults: Vec::new() }
}

fn judged(promise: Promise, history: &[Operation], strikes: &[Strike]) -> Verdict {
    let scenario = Scenario::find("kill-leader").unwrap();
    let evidence = Evidence {
        scenario: &scenario,
        history,
        violations: &[],
        strikes,
        found_out: 0,
        states: &alike(),
        slack: 1.0,
    };
    evidence.verdict(promise)
}

#[test]
fn recovery_is_the_longest_gap_after_a_strike() {
    let history = [writes(0.0..2.0), writes(2.7..6.0)].concat();
    let kept = judged(Promise::R6, &history, &[strike(FaultKind::Kill)]);
    assert!(matches!(&kept, Verdict::Kept(figure) if figure.contains("max 0.701 s")), "{kept}");
    let late = [writes(0.0..2.0), writes(3.1..6.0)].concat();
    let broken = judged(Promise::R6, &late, &[strike(FaultKind::Kill)]);
    assert!(matches!(broken, Verdict::Broken(_)), "{broken}");
    let paused = judged(Promise::R6, &late, &[strike(FaultKind::Pause)]);
    assert!(matches!(paused, Verdict::Kept(_)), "a pause may take longer: {paused}");
}

#[test]
fn what_was_not_put_to_the_test_is_not_called_kept() {
    for promise in [Promise::R1, Promise::R6, Promise::R7, Promise::R10] {
        assert!(matches!(judged(promise, &writes(0.0..5.0), &[]), Verdict::NotShown(_)));
    }
    let lost = [strike(FaultKind::LostDisk)];
    assert!(matches!(judged(Promise::R6, &writes(0.0..5.0), &lost), Verdict::NotShown(_)));
    assert!(matches!(judged(Promise::R1, &[], &lost), Verdict::NotShown(_)));
}

#[test]
fn a_ranch_that_does_not_heal_breaks_its_promise() {
    let history = writes(0.0..8.0);
    assert!(matches!(judged(Promise::R10, &history, &[strike(FaultKind::Kill)]), Verdict::Kept(_)));
    let never = Strike { whole_us: None, ..strike(FaultKind::Kill) };
    assert!(matches!(judged(Promise::R10, &history, &[never]), Verdict::Broken(_)));
    let silent = judged(Promise::R10, &writes(0.0..2.0), &[strike(FaultKind::Kill)]);
    assert!(matches!(&silent, Verdict::Broken(how) if how[0].contains("no write of t")));
}

#[test]
fn who_asks_rarely_is_served_in_time_from_when_it_asks() {
    let with_one_more = |from_s: u64, to_s: u64| {
        let mut history = writes(0.0..2.0);
        let (invoked_us, returned_us) = (from_s * SECOND, Some(to_s * SECOND));
        history.push(Operation { invoked_us, returned_us, ..history[0].clone() });
        judged(Promise::R10, &history, &[strike(FaultKind::Kill)])
    };
    // All is healed after 3 s.
    assert!(matches!(with_one_more(20, 21), Verdict::Kept(_)));
    assert!(matches!(with_one_more(4, 10), Verdict::Broken(_)), "it waited for 6 s");
    assert!(matches!(with_one_more(1, 9), Verdict::Broken(_)), "it has waited since it was healed");
}

#[test]
fn a_rolling_restart_may_fail_nobody() {
    let mut history = writes(0.0..8.0);
    let strikes = [strike(FaultKind::Restart)];
    assert!(matches!(judged(Promise::R7, &history, &strikes), Verdict::Kept(_)));
    history[5].outcome = Outcome::Refused { status: 503 };
    assert!(matches!(judged(Promise::R7, &history, &strikes), Verdict::Broken(_)));
}

#[test]
fn a_violation_breaks_the_promise_it_is_about() {
    let scenario = Scenario::find("kill-leader").unwrap();
    let lost = Violation::Lost { scroll: "t.s".into(), revision: 4, token: "x".into() };
    let (history, strikes) = (writes(0.0..5.0), [strike(FaultKind::Kill)]);
    let evidence = Evidence {
        scenario: &scenario,
        history: &history,
        violations: &[lost],
        strikes: &strikes,
        found_out: 0,
        states: &alike(),
        slack: 1.0,
    };
    assert!(matches!(evidence.verdict(Promise::R1), Verdict::Broken(_)));
    assert!(matches!(evidence.verdict(Promise::R3), Verdict::Kept(_)));
}

#[test]
fn percentiles_are_of_the_nearest_rank() {
    let times = Times::of((1..=200).map(Duration::from_millis).collect());
    let all = [times.p50, times.p99, times.max].map(|time| time.as_millis());
    assert_eq!((times.count, all), (200, [100, 198, 200]));
    assert_eq!(Times::of(Vec::new()).max, Duration::ZERO);
}

#[test]
fn faults_that_do_nothing_fail_a_run_unless_they_are_few() {
    let scenario = Scenario::find("kill-leader").unwrap();
    let of = |bites: &[Option<u64>]| {
        let strikes = bites.iter().map(|&bites| Strike { bites, ..strike(FaultKind::Partition) });
        let kill = [strike(FaultKind::Kill)].into_iter();
        let strikes: Vec<Strike> = kill.cycle().take(30).chain(strikes).collect();
        let (history, violations) = (&[][..], &[][..]);
        let scenario = &scenario;
        let (strikes, states) = (&strikes, &alike());
        Evidence { scenario, history, violations, strikes, found_out: 0, states, slack: 1.0 }
            .toothless()
    };
    assert_eq!(of(&[Some(0)]), ["Partition, 1 of 1"]);
    assert!(of(&[Some(1)]).is_empty() && of(&[None]).is_empty());
    let idle_once = |all: usize| [vec![Some(0)], vec![Some(3); all - 1]].concat();
    assert_eq!(of(&idle_once(9)), ["Partition, 1 of 9"]);
    assert!(of(&idle_once(10)).is_empty(), "kills are not counted for it");
}

#[test]
fn what_overlapped_is_told_apart_and_has_until_all_is_calm() {
    let first = strike(FaultKind::Partition);
    let calm_us = 7 * SECOND;
    let overlapping = [
        Strike { calm_us, whole_us: Some(8 * SECOND), ..first.clone() },
        Strike { kind: FaultKind::Kill, calm_us, whole_us: Some(8 * SECOND), ..first },
    ];
    let history = [writes(0.0..2.0), writes(7.5..9.0)].concat();
    let scenario = Scenario::find("kill-leader").unwrap();
    let strikes = &overlapping;
    let evidence = Evidence {
        scenario: &scenario,
        history: &history,
        violations: &[],
        strikes,
        found_out: 0,
        states: &alike(),
        slack: 1.0,
    };
    assert_eq!(evidence.recovery_times().keys().collect::<Vec<_>>(), [&None]);
    assert!(matches!(evidence.verdict(Promise::R10), Verdict::Kept(_)));
    assert!(matches!(evidence.verdict(Promise::R6), Verdict::NotShown(_)));
}

#[test]
fn quotas_are_judged_only_near_their_edge() {
    let strikes = [strike(FaultKind::Kill)];
    let measured = |used_bytes| Operation {
        action: Action::Measure,
        outcome: Outcome::Measured { used_bytes, quota_bytes: Some(100) },
        ..writes(0.0..0.01)[0].clone()
    };
    let full = Operation { outcome: Outcome::Refused { status: 507 }, ..measured(0) };
    let of =
        |more: &[Operation]| judged(Promise::R5, &[&writes(0.0..1.0), more].concat(), &strikes);
    assert!(matches!(of(&[measured(95), full.clone()]), Verdict::Kept(_)));
    assert!(matches!(of(&[measured(50), full]), Verdict::NotShown(_)));
    assert!(matches!(of(&[measured(95)]), Verdict::NotShown(_)));
}

#[test]
fn bad_input_is_judged_where_there_was_some_and_a_hang_is_seen() {
    let strikes = [strike(FaultKind::Kill)];
    let mut history = writes(0.0..1.0);
    assert!(matches!(judged(Promise::R11, &history, &strikes), Verdict::NotShown(_)));
    history[3].action = Action::Malformed("m".into());
    history[3].outcome = Outcome::Refused { status: 400 };
    assert!(matches!(judged(Promise::R11, &history, &strikes), Verdict::Kept(_)));
    history.extend(writes(30.0..31.0));
    history[99].returned_us = None;
    assert!(matches!(judged(Promise::R11, &history, &strikes), Verdict::Broken(_)));
}

#[test]
fn full_disks_are_to_be_said_soon_and_forgotten_soon() {
    let full = Strike { target: Target::All, ..strike(FaultKind::DiskFull) };
    let refused = |at: f64| Operation {
        outcome: Outcome::Refused { status: 507 },
        ..writes(at..at + 0.02).remove(0)
    };
    let read = |at: f64| Operation {
        action: Action::Read,
        outcome: Outcome::Seen { revision: None, tokens: Vec::new(), applied: None },
        ..writes(at..at + 0.02).remove(0)
    };
    let with = |more: &[Operation], back: f64| {
        let history = [&writes(0.0..2.0)[..], more, &writes(back..back + 1.0)].concat();
        judged(Promise::R8, &history, std::slice::from_ref(&full))
    };
    let good = with(&[refused(2.5), read(2.7)], 4.0);
    assert!(matches!(&good, Verdict::Kept(figure) if figure.contains("1 times")), "{good}");
    for (more, back) in
        [(&[read(2.7)][..], 4.0), (&[refused(2.5)], 4.0), (&[refused(2.5), read(2.7)], 14.0)]
    {
        assert!(matches!(with(more, back), Verdict::Broken(_)), "{more:?} {back}");
    }
    let one = judged(Promise::R8, &writes(0.0..5.0), &[strike(FaultKind::DiskFull)]);
    assert!(matches!(one, Verdict::NotShown(_)), "one full disk is no such test: {one}");
}

#[test]
fn every_old_backup_must_be_found_out() {
    let scenario = Scenario::find("stale-backup").unwrap();
    let (history, strikes) = (writes(0.0..8.0), [strike(FaultKind::StaleBackup)]);
    let verdict = |found_out, states: &States| {
        let violations = &[];
        let evidence = Evidence {
            scenario: &scenario,
            history: &history,
            violations,
            strikes: &strikes,
            found_out,
            states,
            slack: 1.0,
        };
        evidence.verdict(Promise::R9)
    };
    assert!(matches!(verdict(0, &alike()), Verdict::Broken(_)));
    assert!(matches!(verdict(1, &alike()), Verdict::Kept(_)));
    assert!(matches!(verdict(1, &States::default()), Verdict::NotShown(_)), "not compared");
    let differ = States { faults: vec!["group 1 at entry 9: differ".to_owned()], ..alike() };
    assert!(matches!(verdict(1, &differ), Verdict::Broken(_)));
}
