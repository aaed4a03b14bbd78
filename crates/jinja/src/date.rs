//! Dates as templates ask for them: Python's `strftime` on the current time, in UTC.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Formats `now`; a directive that is not known is written as it stands.
pub fn strftime(now: SystemTime, format: &str) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let weekday = DAYS[(days + 4) as usize % 7]; // 1970-01-01 was a Thursday
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        // Writing to a String cannot fail.
        let _ = match chars.next() {
            Some('d') => write!(out, "{day:02}"),
            Some('m') => write!(out, "{month:02}"),
            Some('Y') => write!(out, "{year}"),
            Some('y') => write!(out, "{:02}", year % 100),
            Some('B') => write!(out, "{}", MONTHS[month - 1]),
            Some('b') => write!(out, "{}", &MONTHS[month - 1][..3]),
            Some('A') => write!(out, "{weekday}"),
            Some('a') => write!(out, "{}", &weekday[..3]),
            Some('H') => write!(out, "{hour:02}"),
            Some('I') => write!(out, "{:02}", (hour + 11) % 12 + 1),
            Some('p') => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
            Some('M') => write!(out, "{minute:02}"),
            Some('S') => write!(out, "{:02}", second % 60),
            Some('j') => write!(out, "{:03}", days - days_before_year(year) + 1),
            Some('%') => write!(out, "%"),
            Some(other) => write!(out, "%{other}"),
            None => write!(out, "%"),
        };
    }
    out
}

/// Year, month (1-12) and day of the month for a number of days since 1970-01-01.
fn civil(days: u64) -> (u64, usize, u64) {
    /// Days in 400 years, after which the calendar repeats.
    const DAYS_IN_CYCLE: u64 = 146_097;
    let mut year = 1970 + days / DAYS_IN_CYCLE * 400;
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut day = days - days_before_year(year);
    let is_leap = is_leap(year);
    for month in 1..=12 {
        let length = match month {
            2 => 28 + u64::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if day < length {
            return (year, month, day + 1);
        }
        day -= length;
    }
    unreachable!("the months cover the year")
}

fn days_before_year(year: u64) -> u64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    const LEAP_DAYS_BEFORE_1970: u64 = 1969 / 4 - 1969 / 100 + 1969 / 400;
    (year - 1970) * 365 + leap_days - LEAP_DAYS_BEFORE_1970
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn known_dates() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(strftime(at(0), "%d %b %Y"), "01 Jan 1970");
        assert_eq!(strftime(at(1_741_132_800), "%d %b %Y"), "05 Mar 2025");
        let leap_day = strftime(at(951_782_399), "%A %a %B %m %y %H:%M:%S %I%p %j %% %q %");
        assert_eq!(leap_day, "Monday Mon February 02 00 23:59:59 11PM 059 % %q %");
        assert_eq!(strftime(at(4_107_542_400), "%d.%m.%Y %A"), "01.03.2100 Monday");
        strftime(at(u64::from(u32::MAX) * 1000), "%Y");
    }
}
