//! How much does a cosine say for one person, and how much for two?
//!
//! Two means of faces are compared. If they are two people's, their cosine is chance around 0, with
//! a spread that depends on the model alone. If they are one person's, what to expect depends on what
//! the means rest on: a mean of few tracks still has their pose and light in it, which the other
//! does not share; one of many tracks has hardly anything but the person left. So the same cosine of
//! 0.45 is as good as certain between two single tracks, and says *no* between two people known well.
//!
//! With c the cosine to expect of two faces of a person from different tracks and d that of two from
//! one track, the sum of F faces from T tracks has the squared length c + (d - c)/T + (1 - d)/F, times
//! F², so that two such means have the cosine c / (length · length). People differ in c; by how much
//! their cosine then differs follows from the derivative. Both sides are taken as normal
//! distributions, and their ratio is the *evidence*, in nats: 0 says nothing, 3 is twenty to one.

use rollcall_index::Basis;

/// What the model's faces are like. Cosines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// The spread of the cosine of two people around 0.
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
        let for_two = similarity * similarity.abs() / (2.0 * self.different_sd.powi(2));
        let missing = (expected - similarity).max(0.0);
        let for_one = missing.powi(2) / (2.0 * sd.powi(2));
        for_two - for_one + (self.different_sd / sd).ln()
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
        let (one, other) = (self.squared_length(one), self.squared_length(other));
        let expected = self.same_mean / (one.0 * other.0).sqrt();
        let slope = 1.0 / self.same_mean - (one.1 / one.0 + other.1 / other.0) / 2.0;
        let sd = (expected * slope * self.same_sd).hypot(self.rest_sd);
        (expected.min(1.0), sd)
    }

    /// Of a mean of unit vectors; and by how much it grows with `same_mean`.
    fn squared_length(&self, basis: Basis) -> (f32, f32) {
        let (tracks, faces) = (basis.tracks.max(1) as f32, basis.faces.max(1) as f32);
        // A track has one face at least.
        let tracks = tracks.min(faces);
        let own = (self.track_mean - self.same_mean) / tracks;
        let noise = (1.0 - self.track_mean) / faces;
        (self.same_mean + own + noise, 1.0 - 1.0 / tracks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn basis(tracks: u32, faces: u32) -> Basis {
        Basis { tracks, faces }
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
            one in (1u32..50, 1u32..300),
            other in (1u32..50, 1u32..300),
            nats in -5.0f32..12.0,
        ) {
            let likeness = Likeness::for_contract(same);
            let (one, other) = (basis(one.0, one.1), basis(other.0, other.1));
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
