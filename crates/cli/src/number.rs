//! Numbers as people read them.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration with three digits or so: `0.42 ms`, `12.3 ms`, `1.23 s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = if seconds < 1.0 { (seconds * 1e3, "ms") } else { (seconds, "s") };
    let places = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.places$} {unit}")
}

/// How many a second, rounded; 0 if no time passed.
pub(crate) fn rate(count: u64, duration: Duration) -> u64 {
    let nanos = duration.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (12, "12"),
            (999, "999"),
            (1_000, "1,000"),
            (100_000, "100,000"),
            (268_435_455, "268,435,455"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn times_have_three_digits_or_so() {
        for (micros, text) in [
            (0, "0.00 ms"),
            (421, "0.42 ms"),
            (12_340, "12.3 ms"),
            (999_900, "1000 ms"),
            (1_234_000, "1.23 s"),
            (75_000_000, "75.0 s"),
            (200_000_000, "200 s"),
        ] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn a_rate_is_per_second() {
        assert_eq!(rate(1_000, Duration::from_millis(500)), 2_000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
