//! One tenant's calls that are not noted yet, and what its limits leave it.

use ranch_proto::ShardError;
use ranch_proto::calls::{DAY_MS, METHODS, day_of};
use ranch_proto::schema::{CallMethod, MethodCalls, Usage};

use super::CallLimits;
use super::window::Window;

/// How long an account of a tenant with limits is kept without a call: longer than any window.
const KEPT_MS: u64 = 60_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Account {
    pending: [u64; METHODS],
    /// Calls of this day, those noted included; only for tenants with calls per day.
    today: Option<Today>,
    /// Calls of the last moments; only for tenants with a rate.
    window: Option<Box<Window>>,
    called_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Today {
    day: u64,
    calls: u64,
}

impl Account {
    /// Counts a call if the limits allow it.
    pub(super) fn charge(
        &mut self,
        method: CallMethod,
        limits: CallLimits,
        now_ms: u64,
        noted_today: impl FnOnce() -> u64,
    ) -> Result<(), ShardError> {
        self.called_ms = self.called_ms.max(now_ms);
        match limits.calls_per_day {
            Some(most) => self.check_day(most, noted_today)?,
            None => self.today = None,
        }
        match limits.rate_per_s {
            Some(rate) => self.check_rate(rate, now_ms)?,
            None => self.window = None,
        }
        self.count(method, 1);
        Ok(())
    }

    fn check_day(
        &mut self,
        most: u64,
        noted_today: impl FnOnce() -> u64,
    ) -> Result<(), ShardError> {
        let day = day_of(self.called_ms);
        let today = match self.today {
            Some(today) if today.day == day => today,
            // A new day begins with nothing; a new account with what was noted before.
            Some(_) => Today { day, calls: 0 },
            None => Today { day, calls: noted_today() + self.pending.iter().sum::<u64>() },
        };
        self.today = Some(today);
        if today.calls < most {
            return Ok(());
        }
        let left_ms = DAY_MS - self.called_ms % DAY_MS;
        Err(ShardError::CallsExhausted { retry_after_ms: left_ms as u32 })
    }

    fn check_rate(&mut self, rate: f64, now_ms: u64) -> Result<(), ShardError> {
        let window = match &mut self.window {
            Some(window) if window.is_for(rate) => window,
            other => other.insert(Box::new(Window::new(rate))),
        };
        window.admit(now_ms).map_err(|retry_after_ms| ShardError::RateLimited { retry_after_ms })
    }

    pub(super) fn count(&mut self, method: CallMethod, count: u64) {
        let pending = &mut self.pending[method.index()];
        *pending = pending.saturating_add(count);
        if let Some(today) = &mut self.today {
            today.calls = today.calls.saturating_add(count);
        }
    }

    pub(super) fn take_back(&mut self, method: CallMethod) {
        let pending = &mut self.pending[method.index()];
        *pending = pending.saturating_sub(1);
        if let Some(today) = &mut self.today {
            today.calls = today.calls.saturating_sub(1);
        }
    }

    /// What is pending, which no longer is.
    pub(super) fn take(&mut self) -> Vec<MethodCalls> {
        let calls = self.pending().collect();
        self.pending = [0; METHODS];
        calls
    }

    fn pending(&self) -> impl Iterator<Item = MethodCalls> {
        let counts = CallMethod::all().map(|method| (method, self.pending[method.index()]));
        let called = counts.filter(|(_, count)| *count > 0);
        called.map(|(method, count)| MethodCalls { method: method.into(), count })
    }

    pub(super) fn add_pending(&self, now_ms: u64, usage: &mut Usage) {
        for MethodCalls { method, count } in self.pending() {
            usage.calls_today += count;
            usage.last_active_ms = usage.last_active_ms.max(self.called_ms.min(now_ms));
            match usage.calls.iter_mut().find(|noted| noted.method == method) {
                Some(noted) => noted.count += count,
                None => usage.calls.push(MethodCalls { method, count }),
            }
        }
    }

    pub(super) fn is_needed(&self, now_ms: u64) -> bool {
        let limited = self.today.is_some() || self.window.is_some();
        limited && now_ms.saturating_sub(self.called_ms) < KEPT_MS
    }

    pub(super) fn correct(&mut self, noted_today: u64) {
        if let Some(today) = &mut self.today {
            today.calls = noted_today + self.pending.iter().sum::<u64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;
    const INSERT: CallMethod = CallMethod::Insert;

    fn per_day(calls: u64) -> CallLimits {
        CallLimits { calls_per_day: Some(calls), ..CallLimits::default() }
    }

    fn admitted(account: &mut Account, limits: CallLimits, now_ms: u64, noted: u64) -> u64 {
        let charged = |_: &u64| account.charge(INSERT, limits, now_ms, || noted).is_ok();
        (0..1_000).take_while(charged).count() as u64
    }

    #[test]
    fn a_day_has_its_calls_and_no_more_with_those_noted_before() {
        let mut account = Account::default();
        assert_eq!(admitted(&mut account, per_day(10), NOON, 4), 6);
        let refused = account.charge(INSERT, per_day(10), NOON, || 0);
        let retry_after_ms = (DAY_MS / 2) as u32;
        assert_eq!(refused, Err(ShardError::CallsExhausted { retry_after_ms }));
        assert_eq!(admitted(&mut account, per_day(12), NOON, 0), 2, "a raised limit holds at once");
        assert_eq!(admitted(&mut account, per_day(10), NOON + DAY_MS / 2, 4), 10, "the next day");
    }

    #[test]
    fn what_rows_say_after_a_note_corrects_the_day() {
        let mut account = Account::default();
        assert_eq!(admitted(&mut account, per_day(3), NOON, 0), 3);
        assert_eq!(account.take().len(), 1);
        account.correct(2);
        assert_eq!(admitted(&mut account, per_day(3), NOON, 0), 1);
    }

    #[test]
    fn a_call_taken_back_was_never_made() {
        let mut account = Account::default();
        assert!(account.charge(INSERT, per_day(1), NOON, || 0).is_ok());
        account.take_back(INSERT);
        assert!(account.take().is_empty());
        assert!(account.charge(INSERT, per_day(1), NOON, || 0).is_ok());
    }

    #[test]
    fn pending_calls_are_added_by_method() {
        let mut account = Account::default();
        for method in [INSERT, INSERT, CallMethod::Read] {
            assert!(account.charge(method, CallLimits::default(), NOON, || 0).is_ok());
        }
        let noted = MethodCalls { method: INSERT.into(), count: 5 };
        let mut usage = Usage { calls_today: 1, calls: vec![noted], ..Usage::default() };
        account.add_pending(NOON + 10, &mut usage);
        assert_eq!((usage.calls_today, usage.last_active_ms), (4, NOON));
        let counts: Vec<_> =
            usage.calls.iter().map(|calls| (calls.method(), calls.count)).collect();
        assert_eq!(counts, [(INSERT, 7), (CallMethod::Read, 1)]);
    }

    #[test]
    fn only_accounts_of_limited_tenants_outlive_their_calls() {
        let mut account = Account::default();
        assert!(account.charge(INSERT, CallLimits::default(), NOON, || 0).is_ok());
        assert!(!account.is_needed(NOON));
        assert!(account.charge(INSERT, per_day(5), NOON, || 0).is_ok());
        assert!(account.is_needed(NOON) && !account.is_needed(NOON + KEPT_MS));
    }
}
