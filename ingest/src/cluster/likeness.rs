//! How much does a cosine say for one person, and how much for two?
//!
//! Two means of faces are compared. If they are two people's, their cosine is chance around 0, with
//! a spread that depends on the model alone. If they are one person's, what to expect depends on what
//! the means rest on: a mean of few tracks still has their pose and light in it, which the other
//! does not share; one of many tracks has hardly anything but the person left. So the same cosine of
//! 0.45 is as good as certain between two single tracks, and says *no* between two people known well.
//!
//! With c the cosine to expect of two faces of a person from different tracks and d that of two from
//! one track, the mean of F faces, of which two are of one track with the chance h (of T equally long
//! tracks: 1/T), has the squared length L² = c + (d - c) h + (1 - d)/F, so that two such means have
//! the cosine c / (L · L). People differ in c; by how much their cosine then differs follows from the
//! derivative. Both sides are taken as normal distributions, and their ratio is the *evidence*, in
//! nats: 0 says nothing, 3 is twenty to one.
//!
//! Somebody seen in several tracks shows their own c: that L² solved for c. It weighs as much as
//! 1/h - 1 tracks beside what is known of people at large, which weighs as much as one. So of whoever
//! looks different from day to day less is asked, and more of whoever always looks the same. But a
//! mixture of people looks like somebody whose c is very low: no c below two spreads is believed.
//!
//! And some faces are like many people's. By how much strangers' cosines differ is measured for either
//! side ([`rollcall_index::Cohort`]), and the geometric mean of the two is the spread of chance.

use rollcall_index::Basis;

/// Nobody looks so different from day to day that their cosine is this many spreads below that of
/// people at large.
const LEAST_SDS: f32 = 2.0;
/// Strangers' cosines differ by this share of what is to be expected, at least.
const LEAST_DIFFERENT: f32 = 0.5;
/// Faces of which two are of one track with a greater chance do not show how tracks differ.
const ONE_TRACK: f32 = 0.95;

/// What the model's faces are like. Cosines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// The spread of the cosine of two people around 0, where it is not measured.
    pub different_sd: f32,
    /// The cosine to expect of two faces of one person, from different tracks.
    pub same_mean: f32,
    /// By how much people differ in that.
    pub same_sd: f32,
    /// The cosine to expect of two faces of one track.
    pub track_mean: f32,
    /// The spread that is left where a person is known well.
    pub rest_sd: f32,
}

impl Likeness {
    /// Of a model whose manifest says that faces are the same person's from `same_cosine` on: that is
    /// four spreads of different people, and a little less than is to be expected of the same.
    #[must_use]
    pub fn for_contract(same_cosine: f32) -> Self {
        let same_mean = (same_cosine + 0.12).clamp(0.05, 0.95);
        Self {
            different_sd: (same_cosine / 3.8).max(0.01),
            same_mean,
            same_sd: 0.13,
            track_mean: (same_mean + 0.32).min(0.97),
            rest_sd: 0.07,
        }
    }

    /// The cosine to expect of two means of one person's faces.
    #[must_use]
    pub fn expected(&self, one: Basis, other: Basis) -> f32 {
        self.expected_and_sd(one, other).0
    }

    /// How much a cosine says for one person, in nats; less than nothing says two.
    ///
    /// More for a higher cosine; the same with the sides changed. More than to be expected of one
    /// person counts as that for one person, and for two as what it is.
    #[must_use]
    pub fn evidence(&self, similarity: f32, one: Basis, other: Basis) -> f32 {
        let (expected, sd) = self.expected_and_sd(one, other);
        let different = self.different(one, other);
        let for_two = similarity * similarity.abs() / (2.0 * different.powi(2));
        let missing = (expected - similarity).max(0.0);
        let for_one = missing.powi(2) / (2.0 * sd.powi(2));
        for_two - for_one + (different / sd).ln()
    }

    /// From which cosine on the evidence is `nats`, to 0.001; 1 if no cosine is enough.
    #[must_use]
    pub fn needed(&self, nats: f32, one: Basis, other: Basis) -> f32 {
        let (mut low, mut high) = (-1.0, 1.0);
        while high - low > 0.001 {
            let middle = (low + high) / 2.0;
            if self.evidence(middle, one, other) >= nats {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }

    fn expected_and_sd(&self, one: Basis, other: Basis) -> (f32, f32) {
        let (mean, sd) = self.own(one, other);
        let (one, other) = (
            self.squared_length(one, mean),
            self.squared_length(other, mean),
        );
        let expected = mean / (one.0 * other.0).sqrt();
        let slope = 1.0 / mean - (one.1 / one.0 + other.1 / other.0) / 2.0;
        let sd = (expected * slope * sd).hypot(self.rest_sd);
        (expected.min(1.0), sd)
    }

    /// The cosine to expect of two faces from different tracks of whoever these are, and its spread.
    fn own(&self, one: Basis, other: Basis) -> (f32, f32) {
        let of = [one, other].map(|basis| self.shown(basis));
        // The sum of the two sides first: it is the same with the sides changed.
        let weight = 1.0 + (of[0].1 + of[1].1);
        let sum = self.same_mean + (of[0].0 * of[0].1 + of[1].0 * of[1].1);
        let least = (self.same_mean - LEAST_SDS * self.same_sd).max(0.05);
        let mean = (sum / weight).clamp(least, 0.95);
        (mean, self.same_sd / weight.sqrt())
    }

    /// That cosine as the faces of one side show it, and as how many tracks that weighs.
    fn shown(&self, basis: Basis) -> (f32, f32) {
        let one_track = one_track(basis);
        if basis.length == 0 || one_track > ONE_TRACK {
            return (0.0, 0.0);
        }
        let squared_length = (basis.length as f32 / 1000.0).powi(2);
        let noise = (1.0 - self.track_mean) / basis.faces.max(1) as f32;
        let shown = squared_length - self.track_mean * one_track - noise;
        (shown / (1.0 - one_track), 1.0 / one_track - 1.0)
    }

    /// Of a mean of unit vectors; and by how much it grows with `mean`.
    fn squared_length(&self, basis: Basis, mean: f32) -> (f32, f32) {
        let one_track = one_track(basis);
        let own = (self.track_mean - mean).max(0.0) * one_track;
        let noise = (1.0 - self.track_mean) / basis.faces.max(1) as f32;
        (mean + own + noise, 1.0 - one_track)
    }

    /// The spread of the cosine of these two, were they two people.
    pub(super) fn different(&self, one: Basis, other: Basis) -> f32 {
        let sd = |basis: Basis| match basis.strangers {
            0 => self.different_sd,
            measured => (measured as f32 / 1000.0).max(LEAST_DIFFERENT * self.different_sd),
        };
        (sd(one) * sd(other)).sqrt()
    }
}

/// The chance that two faces are of one track.
fn one_track(basis: Basis) -> f32 {
    let (tracks, faces) = (basis.tracks.max(1) as f32, basis.faces.max(1) as f32);
    // A track has one face at least. Of tracks that are not equally long it is more.
    let least = 1.0 / tracks.min(faces);
    (basis.one_track as f32 / 1000.0).clamp(least, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn basis(tracks: u32, faces: u32) -> Basis {
        Basis::new(tracks, faces)
    }

    fn any_basis() -> impl Strategy<Value = Basis> {
        let numbers = (1u32..50, 1u32..300, 0u32..=1000, 0u32..=1000, 0u32..300);
        numbers.prop_map(|(tracks, faces, one_track, length, strangers)| Basis {
            tracks,
            faces,
            one_track,
            length,
            strangers,
        })
    }

    #[test]
    fn more_is_expected_of_whom_more_is_known() {
        let likeness = Likeness::for_contract(0.40);
        let expected = |one, other| likeness.expected(one, other);
        let (face, track, person) = (basis(1, 1), basis(1, 6), basis(40, 240));
        assert!((expected(face, face) - 0.52).abs() < 1e-6);
        assert!(expected(face, face) < expected(track, track));
        assert!(expected(track, track) < expected(track, person));
        assert!(expected(person, person) > 0.95);
        // What is plenty between strangers' first tracks is too little between two known well.
        let evidence = |one, other| likeness.evidence(0.45, one, other);
        assert!(evidence(track, track) > 5.0);
        assert!(evidence(person, person) < -5.0);
        // Nobody's cosine speaks for one person without bound, nor does a low one.
        assert!(likeness.evidence(0.1, face, face) < 0.0);
    }

    #[test]
    fn whoever_looks_different_from_day_to_day_is_asked_for_less() {
        let likeness = Likeness::for_contract(0.40);
        let track = basis(1, 6);
        // Of ten tracks: 0.75 is expected of a track of anybody's.
        let person = |length| Basis {
            length,
            ..basis(10, 60)
        };
        let evidence = |length| likeness.evidence(0.40, track, person(length));
        assert!(evidence(560) > evidence(0) + 2.0, "their tracks differ");
        assert!(evidence(900) < evidence(0), "theirs are all the same");
        assert_eq!(evidence(200), evidence(300), "no one person");
        // One track does not show how tracks differ, however long its mean is.
        let single = |length| Basis { length, ..track };
        let evidence = |length| likeness.evidence(0.40, track, single(length));
        assert_eq!(evidence(900), evidence(0));
        // Of two tracks, one with nearly all faces shows little more than one.
        let uneven = Basis {
            one_track: 900,
            ..basis(2, 60)
        };
        assert!(likeness.expected(track, uneven) < likeness.expected(track, basis(2, 60)));
    }

    #[test]
    fn whoever_is_like_strangers_is_asked_for_more() {
        let likeness = Likeness::for_contract(0.40);
        let evidence = |strangers| {
            let of = |strangers| Basis {
                strangers,
                ..basis(1, 6)
            };
            likeness.evidence(0.40, of(strangers), of(strangers))
        };
        assert!(evidence(160) + 2.0 < evidence(0));
        assert!(evidence(70) > evidence(0) + 2.0);
        assert_eq!(evidence(10), evidence(1), "a cohort that happens to differ");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 512,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn evidence_is_symmetric_and_grows_with_the_cosine(
            same in 0.1f32..0.9,
            cosines in (-1.0f32..1.0, -1.0f32..1.0),
            one in any_basis(),
            other in any_basis(),
            nats in -5.0f32..12.0,
        ) {
            let likeness = Likeness::for_contract(same);
            let of = |cosine| likeness.evidence(cosine, one, other);
            prop_assert!(of(cosines.0).is_finite());
            prop_assert_eq!(of(cosines.0), likeness.evidence(cosines.0, other, one));
            let (low, high) = (cosines.0.min(cosines.1), cosines.0.max(cosines.1));
            prop_assert!(of(low) <= of(high) + 1e-3);
            let needed = likeness.needed(nats, one, other);
            prop_assert!(needed == 1.0 || of(needed) >= nats && of(needed - 0.002) <= nats + 1e-3);
        }
    }
}
