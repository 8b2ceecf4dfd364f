use std::{
    fmt,
    ops::{Add, Sub},
    sync::Arc,
    time::Duration,
};

/// The worker's own name of a track within its source: the same each time the same material is
/// read. Made of the frame of the track's first detection and its rank in that frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackKey(u64);

impl TrackKey {
    /// Faces of one frame that can be told apart.
    pub const RANKS_MAX: u64 = 1000;

    /// The key of the track whose first detection is the `rank`-th (from 0, best score first) of
    /// `frame`. Ranks from [`TrackKey::RANKS_MAX`] on are folded onto the last one.
    #[must_use]
    pub fn of(frame: FrameNo, rank: usize) -> Self {
        let rank = u64::try_from(rank)
            .unwrap_or(u64::MAX)
            .min(Self::RANKS_MAX - 1);
        Self(
            frame
                .get()
                .saturating_mul(Self::RANKS_MAX)
                .saturating_add(rank),
        )
    }

    /// The bare number, as it goes over the wire.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TrackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a picture in its source, 0 for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameNo(u64);

impl FrameNo {
    /// The frame with this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The bare number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number as the wire carries it; numbers past `i64::MAX` do not occur.
    #[must_use]
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The frame after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The frame so many after this one.
    #[must_use]
    pub fn plus(self, frames: u64) -> Self {
        Self(self.0.saturating_add(frames))
    }

    /// Frames from `earlier` to this one, 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for FrameNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stream time: microseconds since the first picture of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The first picture.
    pub const ZERO: Self = Self(0);

    /// So many microseconds after the first picture.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the first picture.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Seconds since the first picture.
    #[must_use]
    pub fn seconds(self) -> f64 {
        // Exact up to 2^53 microseconds, 285 years.
        self.0 as f64 / 1e6
    }

    /// Time from `earlier` to this one, zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for MediaTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.seconds())
    }
}

/// Tells the wall clock; passed in, so that tests can hold it still.
pub type WallClock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// Wall clock: Unix time in microseconds, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// So many microseconds after the Unix epoch.
    #[must_use]
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn unix_micros(self) -> i64 {
        self.0
    }

    /// The wall clock `micros` later.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}
