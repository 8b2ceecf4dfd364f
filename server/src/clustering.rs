//! All tracks clustered anew, as a whole: what that would change of the identities there are, and making it so.
//!
//! Computed on a reader's view, on one thread of its own, so that searches and the writer are not kept waiting. Changes are
//! ordinary edits with their author, which can be undone one by one; whoever was edited in between is left as they are.

use crate::core::{Change, Core, Edit, Target, View, WriteError};
use crate::error::ApiError;
use crate::pb;
use crate::repair::said_of;
use rollcall_index::TrackId;
use rollcall_ingest::cluster::offline::diff::{Diff, diff};
use rollcall_ingest::cluster::offline::evidence::{EvidenceRules, by_evidence};
use rollcall_ingest::cluster::offline::matrix::Rows;
use rollcall_ingest::cluster::offline::tracks::Tracks;
use rollcall_ingest::cluster::repair::Said;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Changes of an answer at most, the largest first; the next answer has others.
const CHANGES_MAX: usize = 10_000;
/// Tracks that are named of a change.
const EXAMPLES: usize = 5;

/// What is to be changed, as it was found.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The state that it was found in.
    sequence: u64,
    changes: Vec<Planned>,
    answer: pb::ClusterIdentitiesResponse,
}

/// One change. Those of one cluster lie behind one another.
#[derive(Debug)]
struct Planned {
    kind: pb::ClusterChangeKind,
    cluster: u32,
    /// Whose tracks, and the etag then.
    from: (u64, String),
    /// Who gets them, if that is nobody new.
    to: Option<(u64, String)>,
    tracks: Vec<u64>,
}

/// Finds what would change. Blocking; takes at most one core.
///
/// Cost: memory of 4 bytes for each value of each face, and [`EvidenceRules::bytes`] for its tracks; see [`by_evidence`] for
/// time.
pub(crate) fn find(core: &Core, view: &View, same_cosine: f32) -> Result<Plan, ApiError> {
    let all = Everybody::read(view);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let cluster = || {
        let rules = EvidenceRules::for_contract(same_cosine);
        let rows = Rows::new(&all.values, view.index.dimension());
        let tracks = Tracks::new(&all.track_of_row);
        by_evidence(rows, Some(&tracks), &rules, &mut |_| {})
    };
    let of_row = match threads {
        Ok(threads) => threads.install(cluster),
        Err(_) => cluster(),
    };
    // A row a track from here on: the first of each.
    let mut labels = Vec::with_capacity(all.tracks.len());
    let mut last = None;
    for (track, label) in all.track_of_row.iter().zip(&of_row) {
        if last.replace(*track) != Some(*track) {
            labels.push(*label);
        }
    }
    let identities: Vec<Option<u64>> = all.tracks.iter().map(|(_, of)| Some(*of)).collect();
    let mut known = Known::of(core, view.sequence, &labels, &identities)?;
    let diff = diff(&labels, &identities, &known.named);
    known.meet(core, &diff)?;
    Ok(plan(view.sequence, &all, &labels, &diff, &known))
}

/// Every face of everybody, track by track.
struct Everybody {
    values: Vec<f32>,
    track_of_row: Vec<u64>,
    /// With their identities.
    tracks: Vec<(u64, u64)>,
}

impl Everybody {
    fn read(view: &View) -> Self {
        let state = &view.index;
        let mut tracks: Vec<(u64, u64)> = Vec::new();
        for (identity, _) in state.identities() {
            let faces = state.identity_faces(identity);
            let of: HashSet<u64> = faces.map(|face| face.track.get()).collect();
            tracks.extend(of.into_iter().map(|track| (track, identity.get())));
        }
        tracks.sort_unstable();
        let faces = state.stats().faces;
        let mut values = Vec::with_capacity(faces * state.dimension());
        let mut track_of_row = Vec::with_capacity(faces);
        for (track, _) in &tracks {
            for face in state.track_faces(TrackId::new(*track)) {
                values.extend_from_slice(face.embedding().as_slice());
                track_of_row.push(*track);
            }
        }
        Self {
            values,
            track_of_row,
            tracks,
        }
    }
}

/// What the catalog knows of those whom a change may concern.
#[derive(Debug, Default)]
struct Known {
    etags: HashMap<u64, String>,
    /// People have said something of them: a name, a fact, photos.
    named: HashSet<u64>,
    /// Nothing is taken from them, and nobody becomes part of them: confirmed, hidden, or changed since the state that was
    /// clustered.
    left_alone: HashSet<u64>,
    /// Pairs that an edit has named together: somebody has had both before them.
    seen_together: HashSet<(u64, u64)>,
}

impl Known {
    fn of(
        core: &Core,
        sequence: u64,
        labels: &[u32],
        identities: &[Option<u64>],
    ) -> Result<Self, ApiError> {
        let mut clusters: HashMap<u64, u32> = HashMap::new();
        let mut owners: HashMap<u32, u64> = HashMap::new();
        let mut concerned: HashSet<u64> = HashSet::new();
        for (label, identity) in labels.iter().zip(identities) {
            let Some(identity) = *identity else { continue };
            let (cluster, owner) = (
                *clusters.entry(identity).or_insert(*label),
                *owners.entry(*label).or_insert(identity),
            );
            if cluster != *label {
                concerned.insert(identity);
            }
            if owner != identity {
                concerned.extend([owner, identity]);
            }
        }
        let mut known = Self::default();
        for id in concerned {
            let Some(identity) = core.catalog().identity(id)? else {
                known.left_alone.insert(id);
                continue;
            };
            let said = said_of(core.catalog(), &identity)?;
            if said >= Said::Something {
                known.named.insert(id);
            }
            let as_it_was = identity.id == id && edited(&identity.etag) <= sequence;
            let active = identity.state() == pb::IdentityState::Active;
            if said == Said::Confirmed || !as_it_was || !active {
                known.left_alone.insert(id);
            }
            known.etags.insert(id, identity.etag);
        }
        Ok(known)
    }

    /// Finds out which of the pairs that may become one somebody has had before them.
    fn meet(&mut self, core: &Core, diff: &Diff) -> Result<(), ApiError> {
        for merged in &diff.merged {
            if core
                .catalog()
                .edited_together(merged.identity, merged.into)?
            {
                self.seen_together.insert((merged.identity, merged.into));
            }
        }
        Ok(())
    }

    fn seen(&self, identity: u64) -> (u64, String) {
        let etag = self.etags.get(&identity).cloned().unwrap_or_default();
        (identity, etag)
    }

    /// Whether people have said what stands against tracks of `from` becoming those of `to`.
    fn forbids(&self, from: u64, to: Option<u64>) -> bool {
        let pair = to.is_some_and(|to| self.seen_together.contains(&(from, to)));
        pair || [Some(from), to]
            .into_iter()
            .flatten()
            .any(|id| self.left_alone.contains(&id))
    }
}

/// The sequence in an etag: that of the last edit; never, if it is none of ours.
fn edited(etag: &str) -> u64 {
    let digits = etag.strip_prefix('e').unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or(u64::MAX)
}

fn plan(sequence: u64, all: &Everybody, labels: &[u32], diff: &Diff, known: &Known) -> Plan {
    let mut cells: HashMap<(u32, u64), Vec<u64>> = HashMap::new();
    for ((track, identity), label) in all.tracks.iter().zip(labels) {
        cells.entry((*label, *identity)).or_default().push(*track);
    }
    let tracks =
        |cluster: u32, identity: u64| cells.get(&(cluster, identity)).cloned().unwrap_or_default();
    let conflicts: HashSet<u32> = diff
        .conflicts
        .iter()
        .map(|conflict| conflict.cluster)
        .collect();
    let mut changes = Vec::new();
    let mut add = |kind, cluster, from: u64, to: Option<u64>| {
        let kind = if known.forbids(from, to) {
            pb::ClusterChangeKind::Conflict
        } else {
            kind
        };
        changes.push(Planned {
            kind,
            cluster,
            from: known.seen(from),
            to: to.map(|to| known.seen(to)),
            tracks: tracks(cluster, from),
        });
    };
    for split in &diff.split {
        for part in &split.parts {
            if part.identity.is_none() && !conflicts.contains(&part.cluster) {
                add(
                    pb::ClusterChangeKind::Split,
                    part.cluster,
                    split.identity,
                    None,
                );
            }
        }
    }
    for moved in &diff.moved {
        add(
            pb::ClusterChangeKind::Move,
            moved.cluster,
            moved.from,
            Some(moved.to),
        );
    }
    // Whoever goes to several people goes to whom most of them are, and the others get their own before that.
    let mut merged: Vec<_> = diff.merged.iter().collect();
    merged.sort_by_key(|merged| {
        (
            merged.identity,
            std::cmp::Reverse(tracks(merged.cluster, merged.identity).len()),
        )
    });
    let mut last = None;
    for merged in merged {
        let whole = last.replace(merged.identity) != Some(merged.identity);
        let kind = if whole {
            pb::ClusterChangeKind::Merge
        } else {
            pb::ClusterChangeKind::Move
        };
        add(kind, merged.cluster, merged.identity, Some(merged.into));
    }
    for conflict in &diff.conflicts {
        if let [(one, _), (other, _), ..] = conflict.named.as_slice() {
            add(
                pb::ClusterChangeKind::Conflict,
                conflict.cluster,
                *one,
                Some(*other),
            );
        }
    }
    let found = changes.len();
    if found > CHANGES_MAX {
        // What can be changed goes before what is only told.
        let told = |change: &Planned| change.kind == pb::ClusterChangeKind::Conflict;
        changes.sort_by_key(|change| (told(change), std::cmp::Reverse(change.tracks.len())));
        changes.truncate(CHANGES_MAX);
    }
    // Splits before moves before merges: who is left of somebody is known when they become part of another.
    changes.sort_by_key(|change| {
        (
            order(change.kind),
            change.cluster,
            std::cmp::Reverse(change.tracks.len()),
        )
    });
    let answer = pb::ClusterIdentitiesResponse {
        sequence,
        tracks: all.tracks.len() as u64,
        identities_before: diff.counts.identities_before,
        identities_after: diff.counts.identities_after,
        left_out: (found - changes.len()) as u64,
        changes: changes.iter().map(shown).collect(),
    };
    Plan {
        sequence,
        changes,
        answer,
    }
}

fn order(kind: pb::ClusterChangeKind) -> u8 {
    match kind {
        pb::ClusterChangeKind::Split => 0,
        pb::ClusterChangeKind::Move => 1,
        pb::ClusterChangeKind::Merge => 2,
        pb::ClusterChangeKind::Conflict | pb::ClusterChangeKind::Unspecified => 3,
    }
}

fn shown(change: &Planned) -> pb::ClusterChange {
    pb::ClusterChange {
        kind: change.kind.into(),
        identity_id: change.from.0,
        other_identity_id: change.to.as_ref().map_or(0, |(id, _)| *id),
        track_count: change.tracks.len() as u64,
        track_ids: change.tracks.iter().take(EXAMPLES).copied().collect(),
        edit_sequence: 0,
        refused: String::new(),
    }
}

impl Plan {
    /// The state that it was found in.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// As it is told.
    pub(crate) fn answer(&self) -> pb::ClusterIdentitiesResponse {
        self.answer.clone()
    }

    /// Makes the changes, one after the other; what is refused is told with its reason.
    pub(crate) async fn apply(
        self,
        core: &Core,
        author: &str,
        reason: &str,
    ) -> pb::ClusterIdentitiesResponse {
        let mut answer = self.answer;
        // Etags that our own edits have changed, and who has come of a cluster.
        let (mut now, mut made) = (HashMap::new(), BTreeMap::new());
        for (change, told) in self.changes.into_iter().zip(&mut answer.changes) {
            if change.kind == pb::ClusterChangeKind::Conflict {
                continue;
            }
            match make(core, &change, (&mut now, &mut made), (author, reason)).await {
                Ok(sequence) => told.edit_sequence = sequence,
                Err(error) => told.refused = error.to_string(),
            }
        }
        answer
    }
}

type Etags = HashMap<u64, String>;

async fn make(
    core: &Core,
    change: &Planned,
    (now, made): (&mut Etags, &mut BTreeMap<u32, u64>),
    (author, reason): (&str, &str),
) -> Result<u64, ApiError> {
    let etag =
        |seen: &(u64, String), now: &Etags| Some(now.get(&seen.0).unwrap_or(&seen.1).clone());
    let from = change.from.0;
    let to = change.to.as_ref().map(|(to, _)| *to);
    for seen in [Some(&change.from), change.to.as_ref()]
        .into_iter()
        .flatten()
    {
        as_seen(core, seen, now)?;
    }
    still_theirs(core, change)?;
    let new = made.get(&change.cluster).copied();
    let edit = match (&change.to, new) {
        (None, None) => Change::Split {
            identity_id: from,
            etag: etag(&change.from, now),
            track_ids: change.tracks.clone(),
            name: String::new(),
            allow_duplicate_name: false,
        },
        // Others have come to the new one before.
        (None, Some(new)) => into(change, new, None),
        (Some(to), _) if change.kind == pb::ClusterChangeKind::Merge => Change::Merge {
            from,
            into: to.0,
            from_etag: etag(&change.from, now),
            into_etag: etag(to, now),
        },
        (Some(to), _) => into(change, to.0, etag(to, now)),
    };
    let sequence = core
        .edit(Edit {
            change: edit,
            author: author.to_owned(),
            reason: reason.to_owned(),
            request_id: String::new(),
        })
        .await?;
    if change.to.is_none() && new.is_none() {
        let owner = change
            .tracks
            .first()
            .map(|track| core.catalog().track(*track));
        if let Some(sighting) = owner.transpose()?.flatten() {
            made.insert(change.cluster, sighting.identity_id);
        }
    }
    for id in [Some(from), to].into_iter().flatten() {
        if let Some(identity) = core.catalog().identity(id)? {
            now.insert(id, identity.etag);
        }
    }
    Ok(sequence)
}

fn into(change: &Planned, id: u64, etag: Option<String>) -> Change {
    Change::Move {
        track_ids: change.tracks.clone(),
        into: Target::Identity { id, etag },
    }
}

/// Refuses somebody who was edited in between, or has become part of another, whom what was found is not about. A move
/// names no etag of those whose tracks go; the writer looks at the others' again.
fn as_seen(core: &Core, (id, etag): &(u64, String), now: &Etags) -> Result<(), ApiError> {
    let id = *id;
    let identity = core.catalog().identity(id)?;
    let identity = identity.ok_or(WriteError::IdentityNotFound { id })?;
    if identity.id == id && identity.etag == *now.get(&id).unwrap_or(etag) {
        return Ok(());
    }
    let current = identity.etag;
    Err(WriteError::EtagMismatch { id, current }.into())
}

/// Refuses tracks that have become somebody else's.
fn still_theirs(core: &Core, change: &Planned) -> Result<(), ApiError> {
    if change.kind == pb::ClusterChangeKind::Merge {
        return Ok(());
    }
    let id = change.from.0;
    for track in &change.tracks {
        let owner = core.catalog().track(*track)?.map(|track| track.identity_id);
        match owner {
            Some(owner) if owner == id => {}
            Some(owner) => {
                let track = *track;
                return Err(WriteError::TrackElsewhere { track, owner, id }.into());
            }
            None => return Err(WriteError::TrackNotFound { id: *track }.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Identity 9 has two tracks of 1's cluster and one of 2's.
    fn mixed() -> (Everybody, Vec<u32>) {
        let tracks = [
            (1, 1),
            (2, 1),
            (3, 1),
            (4, 2),
            (5, 2),
            (6, 9),
            (7, 9),
            (8, 9),
        ];
        let labels = vec![0, 0, 0, 1, 1, 0, 0, 1];
        let all = Everybody {
            values: Vec::new(),
            track_of_row: Vec::new(),
            tracks: tracks.to_vec(),
        };
        (all, labels)
    }

    fn planned(known: &Known) -> Vec<(pb::ClusterChangeKind, u64, Option<u64>, Vec<u64>)> {
        let (all, labels) = mixed();
        let identities: Vec<Option<u64>> = all.tracks.iter().map(|(_, of)| Some(*of)).collect();
        let diff = diff(&labels, &identities, &known.named);
        let plan = plan(1, &all, &labels, &diff, known);
        let changes = plan.changes.into_iter();
        changes
            .map(|it| (it.kind, it.from.0, it.to.map(|(to, _)| to), it.tracks))
            .collect()
    }

    #[test]
    fn two_people_never_become_one_through_a_third() {
        use pb::ClusterChangeKind::{Merge, Move};
        let expected = [(Move, 9, Some(2), vec![8]), (Merge, 9, Some(1), vec![6, 7])];
        assert_eq!(planned(&Known::default()), expected);
    }

    #[test]
    fn who_is_left_alone_neither_gives_nor_takes() {
        let known = Known {
            left_alone: HashSet::from([2]),
            seen_together: HashSet::from([(9, 1)]),
            ..Known::default()
        };
        let kinds: Vec<_> = planned(&known).into_iter().map(|change| change.0).collect();
        assert_eq!(kinds, [pb::ClusterChangeKind::Conflict; 2]);
    }

    #[test]
    fn an_etag_says_when() {
        assert_eq!(edited("e1f"), 31);
        assert_eq!(edited("x"), u64::MAX);
    }
}
