//! A point in local time, as C's `strftime` writes it in the C locale.

use std::time::SystemTime;

use jiff::{Timestamp, ZonedDateTime, fmt::strtime, tz::TimeZone};

/// When a message was printed.
#[derive(Clone, Debug)]
pub(crate) struct Moment(ZonedDateTime);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(ZonedDateTime::now())
    }

    /// `None` for what no calendar has.
    pub(crate) fn at(time: SystemTime) -> Option<Self> {
        let timestamp = Timestamp::try_from(time).ok()?;
        Some(Self(timestamp.to_zoned_datetime(TimeZone::system())))
    }

    /// Date and time in microseconds.
    pub(crate) fn micros(&self) -> String {
        format!("{}.{:06}", self.expand("%F %T"), self.nanos() / 1000)
    }

    /// ISO 8601, in seconds.
    pub(crate) fn iso(&self) -> String {
        self.expand("%FT%T%z")
    }

    /// ISO 8601 in microseconds with a `Z` before the offset, as in the JSON of `mosquitto_sub`.
    pub(crate) fn json(&self) -> String {
        let micros = self.nanos() / 1000;
        format!("{}.{micros:06}Z{}", self.expand("%FT%T"), self.expand("%z"))
    }

    /// Seconds since 1970, and nanoseconds.
    pub(crate) fn unix(&self) -> String {
        format!("{}.{:09}", self.expand("%s"), self.nanos())
    }

    /// Nanoseconds within the second.
    pub(crate) fn nanos(&self) -> i32 {
        self.0.timestamp().subsec_nanosecond()
    }

    /// What `strftime` writes for `%X`; what it does not know stays as it is.
    pub(crate) fn part(&self, letter: char) -> String {
        match letter {
            'c' => self.expand("%a %b %e %H:%M:%S %Y"),
            'x' => self.expand("%m/%d/%y"),
            'X' => self.expand("%H:%M:%S"),
            'r' => self.expand("%I:%M:%S %p"),
            '%' => "%".to_owned(),
            'E' | 'O' => format!("%{letter}"),
            _ if KNOWN.contains(letter) => self.expand(&format!("%{letter}")),
            _ => format!("%{letter}"),
        }
    }

    fn expand(&self, format: &str) -> String {
        strtime::format(format, &self.0).unwrap_or_default()
    }
}

/// Conversions that need no words of ours.
const KNOWN: &str = "aAbBCdDeFgGhHIjklmMnpPRsStTuUVwWyYzZ";

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        Moment("2026-03-05T04:07:09.012345678-03:30[-03:30]".parse().unwrap())
    }

    #[test]
    fn parts_are_those_of_the_c_locale() {
        for (letter, expected) in [
            ('c', "Thu Mar  5 04:07:09 2026"),
            ('x', "03/05/26"),
            ('X', "04:07:09"),
            ('r', "04:07:09 AM"),
            ('d', "05"),
            ('e', " 5"),
            ('k', " 4"),
            ('l', " 4"),
            ('j', "064"),
            ('P', "am"),
            ('u', "4"),
            ('z', "-0330"),
            ('s', "1772696229"),
            ('i', "%i"),
            ('f', "%f"),
            ('%', "%"),
        ] {
            assert_eq!(moment().part(letter), expected, "{letter}");
        }
    }

    #[test]
    fn whole_times_have_the_forms_of_mosquitto() {
        assert_eq!(moment().iso(), "2026-03-05T04:07:09-0330");
        assert_eq!(moment().json(), "2026-03-05T04:07:09.012345Z-0330");
        assert_eq!(moment().unix(), "1772696229.012345678");
    }
}
