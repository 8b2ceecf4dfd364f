//! How right is a clustering? Faces have true people and were given identities.
//!
//! With n(i, j) the number of faces of person i in identity j:
//! - **pairwise**: of all pairs of faces in one identity the share that shows one person
//!   (precision), and of all pairs that show one person the share in one identity (recall);
//! - **`BCubed`** (Bagga and Baldwin, "Entity-Based Cross-Document Coreferencing Using the Vector
//!   Space Model", COLING 1998): the same for each face and those that share its identity or its
//!   person, itself included, averaged over faces;
//! - **NMI**: the mutual information of people and identities over the mean of their entropies;
//! - **ARI** (Hubert and Arabie, "Comparing partitions", Journal of Classification 2, 1985): of the
//!   pairs that both put together, those beyond what chance gives, over the most there can be;
//! - **purity**: the share of faces that are of the person whom most faces of their identity show;
//!   **inverse purity** the same with people and identities changed.

use std::collections::BTreeMap;

/// From how many faces on an identity counts as one to be looked at.
pub const FACES_OF_NOTE: u64 = 5;

/// A share of what was found, a share of what there was to find, and their harmonic mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// 0 to 1; 1 if nothing was found, for then nothing is wrong.
    pub precision: f64,
    /// 0 to 1; 1 if there was nothing to find.
    pub recall: f64,
}

impl Agreement {
    /// The harmonic mean, 0 to 1.
    #[must_use]
    pub fn f(&self) -> f64 {
        let sum = self.precision + self.recall;
        if sum == 0.0 {
            0.0
        } else {
            2.0 * self.precision * self.recall / sum
        }
    }
}

/// What there is to say of a clustering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Over pairs of faces.
    pub pairwise: Agreement,
    /// Over faces.
    pub bcubed: Agreement,
    /// Normalised mutual information, 0 to 1; 1 if both are one group.
    pub nmi: f64,
    /// The adjusted Rand index: 1 at best, about 0 by chance.
    pub ari: f64,
    /// Of faces, those of their identity's main person, 0 to 1.
    pub purity: f64,
    /// Of faces, those in their person's main identity, 0 to 1.
    pub inverse_purity: f64,
    /// Identities found.
    pub identities: u64,
    /// Those with at least [`FACES_OF_NOTE`] faces.
    pub identities_of_note: u64,
    /// People with as many.
    pub people_of_note: u64,
    /// In how many identities a person's faces are, on average over people; 1 at best.
    pub fragments_per_person: f64,
}

/// Compares `found`, the identity that each face was given, with `people`, whom it shows.
///
/// Cost: that of sorting faces. The same faces in another order give the same to the last bit.
///
/// # Panics
/// If the two differ in length or are empty.
#[must_use]
pub fn score<P: Copy + Ord, I: Copy + Ord>(people: &[P], found: &[I]) -> Scores {
    assert_eq!(people.len(), found.len(), "an identity a face");
    assert!(!people.is_empty(), "there is nothing to score");
    let both = counts(people.iter().copied().zip(found.iter().copied()));
    let people = counts(people.iter().copied());
    let identities = counts(found.iter().copied());
    let faces = found.len() as f64;

    let together = pairs(both.values());
    let mut bcubed = Agreement {
        precision: 0.0,
        recall: 0.0,
    };
    let mut information = 0.0;
    for ((person, identity), count) in &both {
        let (of_person, of_identity) = (people[person] as f64, identities[identity] as f64);
        let count = *count as f64;
        bcubed.precision += count * count / of_identity / faces;
        bcubed.recall += count * count / of_person / faces;
        information += count / faces * (count * faces / (of_person * of_identity)).ln();
    }
    let entropies = (entropy(people.values(), faces) + entropy(identities.values(), faces)) / 2.0;
    let of_note = |sizes: &mut dyn Iterator<Item = &u64>| {
        sizes.filter(|size| **size >= FACES_OF_NOTE).count() as u64
    };
    Scores {
        pairwise: Agreement {
            precision: share(together, pairs(identities.values())),
            recall: share(together, pairs(people.values())),
        },
        bcubed,
        nmi: if entropies == 0.0 {
            1.0
        } else {
            (information / entropies).clamp(0.0, 1.0)
        },
        ari: adjusted_rand(
            together as f64,
            pairs(people.values()) as f64,
            pairs(identities.values()) as f64,
            faces,
        ),
        purity: of_largest(
            both.iter()
                .map(|((_, identity), count)| (*identity, *count)),
        ) / faces,
        inverse_purity: of_largest(both.iter().map(|((person, _), count)| (*person, *count)))
            / faces,
        identities: identities.len() as u64,
        identities_of_note: of_note(&mut identities.values()),
        people_of_note: of_note(&mut people.values()),
        fragments_per_person: both.len() as f64 / people.len() as f64,
    }
}

/// How often each is there, in order: a sum of floats depends on its order.
fn counts<T: Copy + Ord>(of: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    let mut all: Vec<T> = of.collect();
    all.sort_unstable();
    let groups = all.chunk_by(|a, b| a == b);
    groups.map(|group| (group[0], group.len() as u64)).collect()
}

/// The ordered pairs within groups of these sizes.
fn pairs<'a>(sizes: impl Iterator<Item = &'a u64>) -> u64 {
    sizes.map(|size| size * (size - 1)).sum()
}

/// Of the ordered pairs that both put together, that people do and that identities do.
fn adjusted_rand(together: f64, of_people: f64, of_identities: f64, faces: f64) -> f64 {
    let all = faces * (faces - 1.0);
    let by_chance = if all == 0.0 {
        0.0
    } else {
        of_people * of_identities / all
    };
    let most = f64::midpoint(of_people, of_identities);
    if most == by_chance {
        1.0
    } else {
        (together - by_chance) / (most - by_chance)
    }
}

/// The sum of each group's largest part.
fn of_largest<G: Ord>(parts: impl Iterator<Item = (G, u64)>) -> f64 {
    let mut largest: BTreeMap<G, u64> = BTreeMap::new();
    for (group, count) in parts {
        let most = largest.entry(group).or_insert(0);
        *most = count.max(*most);
    }
    largest.values().sum::<u64>() as f64
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// In nats.
fn entropy<'a>(sizes: impl Iterator<Item = &'a u64>, faces: f64) -> f64 {
    sizes
        .map(|size| *size as f64 / faces)
        .map(|share| -share * share.ln())
        .sum()
}

#[cfg(test)]
mod tests;
