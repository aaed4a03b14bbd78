//! Numbers as people read them.

use std::time::Duration;

/// A count of bytes: `1.2 GB`.
pub fn bytes(n: u64) -> String {
    scaled(n, &["B", "kB", "MB", "GB", "TB"])
}

/// Bytes as somebody writes them: `800M`, `12 GB`, `1.5GiB`. Without a unit they are single ones.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = || "expected a size, as in 800M, 12G or 12GiB".to_owned();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let unit = text[end..].trim().to_ascii_uppercase();
    let unit = unit.strip_suffix('B').unwrap_or(&unit);
    let (base, unit) = unit.strip_suffix('I').map_or((1000.0f64, unit), |unit| (1024.0, unit));
    let power = ["", "K", "M", "G", "T"].iter().position(|known| *known == unit).ok_or_else(wrong)?;
    let bytes = number * base.powi(power as i32);
    if bytes >= 1.0 && bytes < usize::MAX as f64 { Ok(bytes as usize) } else { Err(wrong()) }
}

/// A count: `8.0 billion`.
pub fn count(n: u64) -> String {
    scaled(n, &["", "thousand", "million", "billion", "trillion"]).trim_end().to_owned()
}

/// How many of a thing: `1 message`, `2 messages`.
pub fn things(n: usize, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

fn scaled(n: u64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} {}", units[0]),
        _ if value < 9.95 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

/// A speed or another measured number, to three digits.
pub fn measured(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A time: `350 ms`, `12.3 s`.
pub fn duration(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 1.0 => format!("{} ms", measured(s * 1e3)),
        s => format!("{} s", measured(s)),
    }
}

/// `12,345`.
pub fn grouped(x: f64) -> String {
    let digits = format!("{:.0}", x.max(0.0));
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1:02:03`, `2:03`.
pub fn clock_time(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let read = |text| parse_size(text).ok();
        assert_eq!((read("800M"), read("12 gb")), (Some(800_000_000), Some(12_000_000_000)));
        assert_eq!((read("1.5GiB"), read("2Ti")), (Some(3 << 29), Some(2 << 40)));
        assert_eq!((read("4096"), read("7b")), (Some(4096), Some(7)));
        for wrong in ["", "G", "0", "-1G", "1X", "1GG", "..", "1e9", "9999999999T"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rounded_for_reading() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_054_624), "1.1 MB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(16_060_522_240), "16 GB");
        assert_eq!(count(260_032), "260 thousand");
        assert_eq!(count(12), "12");
        assert_eq!(count(8_030_261_248), "8.0 billion");
        assert_eq!([things(0, "line"), things(1, "line")], ["0 lines", "1 line"]);
        assert_eq!(measured(1234.5), "1234");
        assert_eq!(measured(12.345), "12.3");
        assert_eq!(measured(0.5), "0.50");
        assert_eq!(duration(Duration::from_millis(350)), "350 ms");
        assert_eq!(duration(Duration::from_millis(12_345)), "12.3 s");
    }

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!([0.0, 999.4, 12_345.0, 1_000_000.0].map(grouped), ["0", "999", "12,345", "1,000,000"]);
        assert_eq!([0.4, 125.0, 3_723.0].map(clock_time), ["0:00", "2:05", "1:02:03"]);
    }
}
