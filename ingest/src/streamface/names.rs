use std::path::Path;

use crate::observe::WallTime;

/// Longest name of a channel, in bytes.
const CHANNEL_BYTES_MAX: usize = 100;

/// A channel's name: letters, digits, `-` and `.`, not beginning with `.`. No `_`, which parts the
/// names of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel(String);

/// Why a text is no channel's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' cannot name a channel: 1 to {CHANNEL_BYTES_MAX} of a-z, A-Z, 0-9, '-' and '.', not \
     beginning with '.'; '_' parts the names of files"
)]
pub struct NameError(String);

impl std::str::FromStr for Channel {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let valid = (1..=CHANNEL_BYTES_MAX).contains(&name.len())
            && !name.starts_with('.')
            && name.chars().all(good);
        if valid {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError(name.to_owned()))
        }
    }
}

impl Channel {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a frame's file without its extension: `CHANNEL_frame_YYYYMMDDhhmmssffffff`, in UTC.
#[must_use]
pub fn frame_stem(channel: &Channel, wall: WallTime) -> String {
    let [year, month, day, hour, minute, second, micro] = fields(wall);
    format!(
        "{}_frame_{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{micro:06}",
        channel.0
    )
}

/// A wall clock as `YYYY-MM-DD hh:mm:ss`, in UTC.
#[must_use]
pub fn timestamp(wall: WallTime) -> String {
    let [year, month, day, hour, minute, second, _] = fields(wall);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// `YYYYMMDDhhmm`, in UTC, as names of logs end.
pub(super) fn minute_stamp(wall: WallTime) -> String {
    let [year, month, day, hour, minute, ..] = fields(wall);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}")
}

/// A moment from `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ss`, with or without `Z` at the end, in UTC.
/// `None` if it is written otherwise, or no such day exists.
#[must_use]
pub fn parse_utc(text: &str) -> Option<WallTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, mark: char| -> Option<[i64; 3]> {
        let parts: Vec<&str> = text.split(mark).collect();
        let digits = |part: &&str| part.bytes().all(|b| b.is_ascii_digit()) && part.len() <= 4;
        let all: Option<Vec<i64>> = parts
            .iter()
            .filter(|p| digits(p))
            .map(|p| p.parse().ok())
            .collect();
        all?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    // January and February belong to the year before, which ends with its leap day.
    let (from_march, year_of) = ((month + 9) % 12, year - i64::from(month <= 2));
    let leap_days = year_of.div_euclid(4) - year_of.div_euclid(100) + year_of.div_euclid(400);
    let days = 365 * year_of + leap_days + (153 * from_march + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let wall = WallTime::from_unix_micros(seconds * 1_000_000);
    (fields(wall) == [year, month, day, hour, minute, second, 0]).then_some(wall)
}

/// The name of a face's file without its ending, as annotations list it.
#[must_use]
pub fn stem(name: &str) -> &str {
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or(name)
}

/// The Unix time in microseconds in the name of a frame or face (`CHANNEL_frame_YYYYMMDDhhmmssffffff...`); `None` if
/// there is none.
#[must_use]
pub fn time_of(name: &str) -> Option<i64> {
    let stamp = name.split('_').nth(2)?;
    let (seconds, micros) = stamp.is_ascii().then(|| stamp.split_at_checked(14))??;
    let (day, time) = seconds.split_at(8);
    let part = |text: &str, from: usize| text[from..from + 2].to_owned();
    let [month, date, hour, minute, second] = [
        part(day, 4),
        part(day, 6),
        part(time, 0),
        part(time, 2),
        part(time, 4),
    ];
    let whole = format!("{}-{month}-{date}T{hour}:{minute}:{second}", &day[..4]);
    let six = micros.len() == 6 && micros.bytes().all(|b| b.is_ascii_digit());
    let micros: i64 = six.then(|| micros.parse().ok())??;
    Some(parse_utc(&whole)?.unix_micros() + micros)
}

/// Year, month, day, hour, minute, second and microsecond of the proleptic Gregorian calendar, UTC.
///
/// Days are counted in eras of 400 years from 1 March, so that leap days come last.
fn fields(wall: WallTime) -> [i64; 7] {
    let micros = wall.unix_micros();
    let (days, rest) = (
        micros.div_euclid(86_400_000_000),
        micros.rem_euclid(86_400_000_000),
    );
    // 719,468 days from 1 March of the year 0 to 1 January 1970.
    let since = days + 719_468;
    let (era, day_of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let seconds = rest / 1_000_000;
    [
        year,
        month,
        day,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        rest % 1_000_000,
    ]
}

/// Keeps the times that frames are named by apart: one that is not later than the last is moved to
/// a microsecond after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameTimes(Option<WallTime>);

impl FrameTimes {
    /// The time to name a frame by that was decoded at `wall`.
    pub fn next(&mut self, wall: WallTime) -> WallTime {
        let time = self.0.map_or(wall, |last| wall.max(last.plus_micros(1)));
        self.0 = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_channel_and_time() {
        let channel: Channel = "skynews".parse().unwrap();
        let at = |micros| frame_stem(&channel, WallTime::from_unix_micros(micros));
        assert_eq!(
            at(1_685_009_498_412_614),
            "skynews_frame_20230525101138412614"
        );
        assert_eq!(at(0), "skynews_frame_19700101000000000000");
        assert_eq!(
            at(951_782_400_000_001),
            "skynews_frame_20000229000000000001"
        );
        assert_eq!(at(-1), "skynews_frame_19691231235959999999");
        let wall = WallTime::from_unix_micros(4_107_542_399_000_000);
        assert_eq!(timestamp(wall), "2100-02-28 23:59:59");
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        let micros = |text: &str| parse_utc(text).map(WallTime::unix_micros);
        assert_eq!(micros("1970-01-01"), Some(0));
        assert_eq!(micros("2000-02-29T00:00:00Z"), Some(951_782_400_000_000));
        assert_eq!(micros("2100-02-28T23:59:59"), Some(4_107_542_399_000_000));
        for bad in [
            "",
            "2026-02-30",
            "2026-13-01",
            "2026-01-31T24:00:00Z",
            "2026-01-31 12:00",
            "-1-1-1",
            "x",
        ] {
            assert_eq!(micros(bad), None, "{bad}");
        }
    }

    #[test]
    fn channels_have_no_underscore_and_stay_in_their_folder() {
        for bad in ["", "sky_news", "a/b", "..", ".hidden", "a b", "ä"] {
            assert!(bad.parse::<Channel>().is_err(), "{bad}");
        }
        assert_eq!("BBC-1.hd".parse::<Channel>().unwrap().as_str(), "BBC-1.hd");
    }

    #[test]
    fn times_never_repeat() {
        let mut times = FrameTimes::default();
        let mut next = |micros| times.next(WallTime::from_unix_micros(micros)).unix_micros();
        assert_eq!([next(5), next(5), next(3), next(9)], [5, 6, 7, 9]);
    }
}
