//! Counting the pictures that a decoder was told to pass over.

use std::{cmp::Reverse, collections::BinaryHeap};

/// So many packets may be under way between two pictures; of more, the earliest count as passed.
const UNDER_WAY_MAX: usize = 4096;

/// Times of packets whose pictures have not come, in units of their stream.
///
/// A picture that is shown was sent in a packet of its own. When one comes, those of earlier times
/// that have not come never will. So pictures have the numbers they would have if all were decoded,
/// whatever the rate is, and however it varies.
#[derive(Default)]
pub(super) struct Passed {
    under_way: BinaryHeap<Reverse<i64>>,
    early: u64,
}

impl Passed {
    /// A packet goes to the decoder, or would if its picture were wanted.
    pub(super) fn sent(&mut self, time: i64) {
        if self.under_way.len() >= UNDER_WAY_MAX && self.under_way.pop().is_some() {
            self.early += 1;
        }
        self.under_way.push(Reverse(time));
    }

    /// A picture came; returns how many were passed over since the one before.
    pub(super) fn came(&mut self, time: i64) -> u64 {
        let mut count = std::mem::take(&mut self.early);
        while let Some(Reverse(earliest)) = self.under_way.peek().copied() {
            if earliest > time {
                break;
            }
            self.under_way.pop();
            if earliest == time {
                break;
            }
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted where packets are sent in this order and pictures of these times come, each
    /// once all that are shown before it were sent.
    fn counts(packets: &[i64], pictures: &[i64]) -> Vec<u64> {
        let mut passed = Passed::default();
        let mut waiting = packets.iter();
        let mut sent = 0;
        let mut found = Vec::new();
        for picture in pictures {
            let needed = packets.iter().rposition(|p| p <= picture).unwrap() + 1;
            while sent < needed {
                passed.sent(*waiting.next().unwrap());
                sent += 1;
            }
            found.push(passed.came(*picture));
        }
        found
    }

    #[test]
    fn pictures_passed_over_are_counted_in_the_order_they_are_shown() {
        // Decoded in the order I P B b b: uneven times, as of a camera in the dark.
        let packets = [0, 50, 20, 10, 30, 130, 90, 60, 110];
        assert_eq!(counts(&packets, &[0, 20, 50, 90, 130]), [0, 1, 1, 1, 1]);
        assert_eq!(counts(&packets, &[0, 50, 130]), [0, 3, 3]);
        assert_eq!(
            counts(&packets, &[0, 10, 20, 30, 50, 60, 90, 110, 130]),
            [0; 9]
        );
    }

    #[test]
    fn endless_packets_without_a_picture_take_no_memory() {
        let mut passed = Passed::default();
        (0..100_000).for_each(|time| passed.sent(time));
        assert_eq!(passed.under_way.len(), UNDER_WAY_MAX);
        assert_eq!(passed.came(99_999), 99_999);
        assert_eq!(passed.came(100_000), 0);
    }

    #[test]
    fn a_clock_that_begins_anew_counts_nothing_twice() {
        let mut passed = Passed::default();
        [500, 510, 0, 10]
            .into_iter()
            .for_each(|time| passed.sent(time));
        let counts = [500, 510, 0, 10].map(|time| passed.came(time));
        assert!(counts.iter().sum::<u64>() <= 2, "{counts:?}");
    }
}
