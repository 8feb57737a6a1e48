//! Moments as HTTP and RFC 3339 write them, from milliseconds since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since the Unix epoch; 0 when the clock is before it.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// `2026-03-01T12:00:00.250Z`.
pub fn rfc3339(ms: u64) -> String {
    let Moment { year, month, day, hour, minute, second, .. } = Moment::of(ms);
    let millis = ms % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A moment as RFC 3339 writes it, with any offset; `None` for other texts and before 1970.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let moment = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(moment.timestamp_millis()).ok()
}

/// `Sun, 01 Mar 2026 12:00:00 GMT`.
pub fn http(ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Moment { year, month, day, hour, minute, second, days } = Moment::of(ms);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[(month - 1) as usize]);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

struct Moment {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    /// Whole days since the epoch, a Thursday.
    days: u64,
}

impl Moment {
    /// Howard Hinnant's `civil_from_days` ("chrono-compatible low-level date algorithms"), for days
    /// from 1970 on: years are counted from March, so that the leap day is a year's last.
    fn of(ms: u64) -> Self {
        let seconds = ms / 1000;
        let days = seconds / 86_400;
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let in_day = seconds % 86_400;
        let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
        Self { year, month, day, hour, minute, second, days }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, http_text, rfc_text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.000Z"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00.000Z"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT", "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(http(seconds * 1000), http_text);
            assert_eq!(rfc3339(seconds * 1000), rfc_text);
        }
        assert_eq!(rfc3339(1_772_366_400_250), "2026-03-01T12:00:00.250Z");
    }
}
