//! What would a clustering change of the identities that there are?
//!
//! A cluster goes to the identity that is named, if its faces hold one that is, else to the one with most of its faces; an
//! identity whose faces lie in several clusters stays with the one that holds most. Whoever else had faces there has
//! merged with it, or, if it lives on in another cluster, was split. Names never change hands: faces of two named
//! identities in one cluster are a [`Conflict`], which is listed and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// Faces that are shown of a change, at most.
const EXAMPLES: usize = 5;

/// What there is to change. All lists are in order of their identities, then clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// In numbers.
    pub counts: Counts,
    /// Clusters of faces without an identity, or of some that were split off: new identities.
    pub created: Vec<Created>,
    /// Identities that get faces which have none yet.
    pub grown: Vec<Grown>,
    /// Identities that become part of another.
    pub merged: Vec<Merged>,
    /// Identities whose faces lie in several clusters.
    pub split: Vec<Split>,
    /// Faces that go from one identity that stays to another.
    pub moved: Vec<Moved>,
    /// Clusters that nothing is done about.
    pub conflicts: Vec<Conflict>,
}

/// How much would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Faces that were clustered.
    pub faces: u64,
    /// Faces whose identity changes, or that get one.
    pub faces_changed: u64,
    /// Clusters.
    pub clusters: u64,
    /// Identities before.
    pub identities_before: u64,
    /// Identities after.
    pub identities_after: u64,
    /// New identities.
    pub created: u64,
    /// Identities with new faces.
    pub grown: u64,
    /// Identities that become part of another.
    pub merged: u64,
    /// Identities that are split.
    pub split: u64,
    /// From one identity to another, how often.
    pub moved: u64,
    /// Clusters that nothing is done about.
    pub conflicts: u64,
}

/// A new identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The cluster that it is.
    pub cluster: u32,
    /// Faces in it.
    pub faces: u64,
    /// The identity that most of them are split from, if they had one.
    pub split_from: Option<u64>,
    /// Rows of some of them.
    pub examples: Vec<u32>,
}

/// An identity that gets faces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grown {
    /// Who.
    pub identity: u64,
    /// The cluster in which it is.
    pub cluster: u32,
    /// Faces that had no identity.
    pub faces: u64,
    /// Rows of some of them.
    pub examples: Vec<u32>,
}

/// An identity that becomes part of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Who is no more.
    pub identity: u64,
    /// Who it becomes part of.
    pub into: u64,
    /// The cluster of both.
    pub cluster: u32,
    /// Faces that go along.
    pub faces: u64,
    /// Rows of some of them.
    pub examples: Vec<u32>,
}

/// An identity whose faces lie in several clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Who.
    pub identity: u64,
    /// Its parts, the largest first.
    pub parts: Vec<Part>,
}

/// A part of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The cluster in which it lies.
    pub cluster: u32,
    /// Faces in it.
    pub faces: u64,
    /// Whose the cluster is; none if that is a new identity, or a conflict.
    pub identity: Option<u64>,
    /// Rows of some of them.
    pub examples: Vec<u32>,
}

/// Faces that go from one identity to another while both stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Whose they were.
    pub from: u64,
    /// Whose they are.
    pub to: u64,
    /// The cluster that says so.
    pub cluster: u32,
    /// How many.
    pub faces: u64,
    /// Rows of some of them.
    pub examples: Vec<u32>,
}

/// A cluster with faces of several named identities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The cluster.
    pub cluster: u32,
    /// Who, and with how many faces; most first.
    pub named: Vec<(u64, u64)>,
    /// Rows of some of their faces.
    pub examples: Vec<u32>,
}

/// Faces of one identity, or of none, in one cluster.
#[derive(Clone, Debug, Default)]
struct Cell {
    faces: u64,
    examples: Vec<u32>,
}

/// Compares `labels`, the cluster of each face, with `identities`, whose each is; `named` are the identities with a name.
///
/// Cost: some maps as large as there are pairs of cluster and identity.
///
/// # Panics
/// If the two differ in length.
#[must_use]
pub fn diff(labels: &[u32], identities: &[Option<u64>], named: &HashSet<u64>) -> Diff {
    assert_eq!(labels.len(), identities.len(), "an identity a face");
    let mut cells: BTreeMap<u32, BTreeMap<Option<u64>, Cell>> = BTreeMap::new();
    for ((row, label), identity) in (0u32..).zip(labels).zip(identities) {
        let cell = cells
            .entry(*label)
            .or_default()
            .entry(*identity)
            .or_default();
        cell.faces += 1;
        if cell.examples.len() < EXAMPLES {
            cell.examples.push(row);
        }
    }
    let mut diff = Diff::default();
    diff.counts.faces = labels.len() as u64;
    diff.counts.clusters = cells.len() as u64;
    let conflicts = conflicts(&cells, named, &mut diff);
    let owners = owners(&cells, named, &conflicts);
    for (cluster, of) in &cells {
        if !conflicts.contains(cluster) {
            changes(*cluster, of, &owners, &mut diff);
        }
    }
    diff.split = splits(&cells, &owners);
    diff.merged
        .sort_by_key(|merged| (merged.identity, merged.cluster));
    diff.grown
        .sort_by_key(|grown| (grown.identity, grown.cluster));
    diff.moved
        .sort_by_key(|moved| (moved.from, moved.to, moved.cluster));
    count(&cells, &mut diff);
    diff
}

type Cells = BTreeMap<u32, BTreeMap<Option<u64>, Cell>>;

/// Clusters with faces of two who are named.
fn conflicts(cells: &Cells, named: &HashSet<u64>, diff: &mut Diff) -> HashSet<u32> {
    for (cluster, of) in cells {
        let with_name = of.iter().filter_map(|(identity, cell)| {
            let identity = identity.filter(|identity| named.contains(identity))?;
            Some((identity, cell))
        });
        let with_name: Vec<(u64, &Cell)> = with_name.collect();
        if with_name.len() < 2 {
            continue;
        }
        let mut who: Vec<(u64, u64)> = with_name
            .iter()
            .map(|(identity, cell)| (*identity, cell.faces))
            .collect();
        who.sort_by_key(|(identity, faces)| (std::cmp::Reverse(*faces), *identity));
        let examples = with_name
            .iter()
            .flat_map(|(_, cell)| cell.examples.iter().take(2));
        diff.conflicts.push(Conflict {
            cluster: *cluster,
            named: who,
            examples: examples.copied().take(2 * EXAMPLES).collect(),
        });
    }
    diff.conflicts
        .iter()
        .map(|conflict| conflict.cluster)
        .collect()
}

/// Who owns which clusters, and which cluster each owner lives on in.
#[derive(Default)]
struct Owners {
    of_cluster: HashMap<u32, u64>,
    /// Identities that stay, whether or not they own a cluster.
    stay: HashSet<u64>,
}

/// An identity owns one cluster at most, and a cluster has one owner at most. Pairs are taken with names first, then with
/// most faces.
fn owners(cells: &Cells, named: &HashSet<u64>, conflicts: &HashSet<u32>) -> Owners {
    let mut owners = Owners::default();
    let mut pairs = Vec::new();
    for (cluster, of) in cells {
        for (identity, cell) in of.iter().filter_map(|(id, cell)| Some(((*id)?, cell))) {
            if conflicts.contains(cluster) {
                owners.stay.insert(identity);
            } else {
                pairs.push((
                    !named.contains(&identity),
                    std::cmp::Reverse(cell.faces),
                    *cluster,
                    identity,
                ));
            }
        }
    }
    pairs.sort_unstable();
    let mut owning = HashSet::new();
    for (_, _, cluster, identity) in pairs {
        if !owners.of_cluster.contains_key(&cluster) && owning.insert(identity) {
            owners.of_cluster.insert(cluster, identity);
            owners.stay.insert(identity);
        }
    }
    owners
}

/// What becomes of the faces of a cluster.
fn changes(cluster: u32, of: &BTreeMap<Option<u64>, Cell>, owners: &Owners, diff: &mut Diff) {
    let Some(owner) = owners.of_cluster.get(&cluster).copied() else {
        let most = of
            .iter()
            .filter_map(|(id, cell)| Some(((*id)?, cell.faces)));
        let most = most.max_by_key(|(identity, faces)| (*faces, std::cmp::Reverse(*identity)));
        let examples = of.values().flat_map(|cell| cell.examples.iter().copied());
        diff.created.push(Created {
            cluster,
            faces: of.values().map(|cell| cell.faces).sum(),
            split_from: most.map(|(identity, _)| identity),
            examples: examples.take(EXAMPLES).collect(),
        });
        return;
    };
    for (identity, cell) in of {
        let (faces, examples) = (cell.faces, cell.examples.clone());
        match *identity {
            Some(identity) if identity == owner => {}
            None => diff.grown.push(Grown {
                identity: owner,
                cluster,
                faces,
                examples,
            }),
            Some(from) if owners.stay.contains(&from) => {
                diff.moved.push(Moved {
                    from,
                    to: owner,
                    cluster,
                    faces,
                    examples,
                });
            }
            Some(identity) => {
                diff.merged.push(Merged {
                    identity,
                    into: owner,
                    cluster,
                    faces,
                    examples,
                });
            }
        }
    }
}

/// Identities in several clusters.
fn splits(cells: &Cells, owners: &Owners) -> Vec<Split> {
    let mut parts: BTreeMap<u64, Vec<Part>> = BTreeMap::new();
    for (cluster, of) in cells {
        for (identity, cell) in of.iter().filter_map(|(id, cell)| Some(((*id)?, cell))) {
            parts.entry(identity).or_default().push(Part {
                cluster: *cluster,
                faces: cell.faces,
                identity: owners.of_cluster.get(cluster).copied(),
                examples: cell.examples.clone(),
            });
        }
    }
    let several = parts.into_iter().filter(|(_, parts)| parts.len() > 1);
    let split = several.map(|(identity, mut parts)| {
        parts.sort_by_key(|part| (std::cmp::Reverse(part.faces), part.cluster));
        Split { identity, parts }
    });
    split.collect()
}

fn count(cells: &Cells, diff: &mut Diff) {
    let before = cells.values().flat_map(|of| of.keys().flatten());
    let before: HashSet<u64> = before.copied().collect();
    let gone: HashSet<u64> = diff.merged.iter().map(|merged| merged.identity).collect();
    let grown: HashSet<u64> = diff.grown.iter().map(|grown| grown.identity).collect();
    let changed = diff.created.iter().map(|created| created.faces);
    let changed = changed.chain(diff.grown.iter().map(|grown| grown.faces));
    let changed = changed.chain(diff.merged.iter().map(|merged| merged.faces));
    let changed = changed.chain(diff.moved.iter().map(|moved| moved.faces));
    diff.counts.faces_changed = changed.sum();
    diff.counts.identities_before = before.len() as u64;
    diff.counts.created = diff.created.len() as u64;
    diff.counts.grown = grown.len() as u64;
    diff.counts.merged = gone.len() as u64;
    diff.counts.split = diff.split.len() as u64;
    diff.counts.moved = diff.moved.len() as u64;
    diff.counts.conflicts = diff.conflicts.len() as u64;
    diff.counts.identities_after =
        diff.counts.identities_before + diff.counts.created - diff.counts.merged;
}

#[cfg(test)]
mod tests;
