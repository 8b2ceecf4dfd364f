//! The index and its snapshots: what is stored, and how a reader gets at it.

use std::{
    cmp::Ordering,
    ops::Deref,
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::{
    blocks::at,
    cells::{Cells, decode},
    code::Probe,
    embedding::{Embedding, WEIGHT_MIN},
    faces::{Face, Faces},
    id::{FaceId, IdentityId, SourceId, TrackId},
    identity_state::IdentityState,
    kernel,
    people::People,
    plane::Plane,
    rotate::Rotation,
    store::{Checkpoint, Damage, Disk, Parts, RealDisk, Store, StoreError, Wanted, made_for},
};

/// Sums are kept in steps of one over this, so that they are exact and the same in any order: up
/// to 131,072 faces of weight 1 fit, whatever their direction.
const SUM_ONE: f32 = 16_384.0;
/// A mean shorter than this, of vectors of length 1, points nowhere: it is within what 8-bit codes
/// are off by.
const CANCELLED: f64 = 0.01;

/// What a face of this quality counts in its identity's mean.
pub(crate) fn weight(quality: f32) -> u32 {
    u32::try_from(kernel::nearest(quality.max(WEIGHT_MIN) * SUM_ONE)).unwrap_or(0)
}

/// Adds a face's part, `sign` times, to the sum of its identity.
pub(crate) fn term(plane: &Plane, slot: u32, quality: f32, sign: f32, sum: &mut [i32]) {
    let (values, step) = plane.values(at(slot));
    kernel::add_scaled(sum, values, sign * quality.max(WEIGHT_MIN) * step * SUM_ONE);
}

/// One state of the index, at one sequence of the log.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) sequence: u64,
    pub(crate) dimension: usize,
    pub(crate) rotation: Arc<Rotation>,
    pub(crate) faces: Faces,
    pub(crate) people: People,
    pub(crate) cells: Cells,
    /// The first damage found in a file that this state reads.
    pub(crate) damage: Arc<OnceLock<Damage>>,
}

/// How much a [`State`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// People with at least one face.
    pub identities: usize,
    /// Faces.
    pub faces: usize,
    /// Tracks with at least one face.
    pub tracks: usize,
    /// Memory of everything, in bytes, free rows included.
    pub bytes: usize,
    /// Of it, what searches read as a rule: sketches, representatives, what is known of identities.
    pub hot_bytes: usize,
}

/// A face as the index knows it.
#[derive(Clone, Copy, Debug)]
pub struct FaceEntry<'a> {
    /// The face.
    pub face: FaceId,
    /// Whose it is.
    pub identity: IdentityId,
    /// The track it was seen in.
    pub track: TrackId,
    /// The source it was seen in.
    pub source: SourceId,
    /// When it was seen, wall clock, Unix microseconds.
    pub seen_us: i64,
    /// 0 to 1, higher is better.
    pub quality: f32,
    /// What the writer says of it, a bit each.
    pub attributes: u16,
    state: &'a State,
    slot: u32,
}

impl FaceEntry<'_> {
    /// Its embedding, as far as 8 bits a value tell: the cosine to the one that was inserted is
    /// above 0.999.
    #[must_use]
    pub fn embedding(&self) -> Embedding {
        self.state.embedding_at(self.slot)
    }
}

impl State {
    pub(crate) fn new(dimension: usize) -> Self {
        let rotation = Rotation::new(dimension);
        let padded = rotation.padded();
        Self {
            sequence: 0,
            dimension,
            rotation: Arc::new(rotation),
            faces: Faces::new(padded),
            people: People::new(padded),
            cells: Cells::new(padded),
            damage: Arc::default(),
        }
    }

    fn save(&self) -> Parts {
        let mut parts = Parts::default();
        self.faces.save(&mut parts);
        self.people.save(&mut parts);
        self.cells.save(&mut parts);
        parts
    }

    fn load(dimension: usize, sequence: u64, parts: Parts) -> Option<Self> {
        let empty = Self::new(dimension);
        let padded = empty.rotation.padded();
        let mut parts = parts.reader();
        let state = Self {
            sequence,
            faces: Faces::load(padded, &mut parts)?,
            people: People::load(padded, &mut parts)?,
            cells: Cells::load(padded, &mut parts)?,
            ..empty
        };
        parts.is_empty().then_some(state)
    }

    /// The same, of other copies of its parts.
    fn with(&self, parts: Parts) -> Self {
        let state = Self::load(self.dimension, self.sequence, parts);
        Self {
            damage: Arc::clone(&self.damage),
            ..state.expect("saved a moment ago")
        }
    }

    /// The log's sequence up to which operations were applied; 0: none yet.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many values an embedding here has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How many representatives each cell has. Cost: a look at every cell.
    pub fn cell_fill(&self) -> impl Iterator<Item = usize> {
        self.cells.fill()
    }

    /// Bytes of representatives and their cells.
    pub(crate) fn cells_bytes(&self) -> usize {
        let (hot, cold) = self.cells.bytes();
        hot + cold
    }

    /// How many faces each identity has. Cost: a look at every identity.
    pub fn identity_fill(&self) -> impl Iterator<Item = usize> {
        self.people
            .all()
            .map(|person| at(self.people.get(person).faces))
    }

    /// Every identity that has a face, and what the writer says it is, in no order that means
    /// anything. Cost: a look at every identity.
    pub fn identities(&self) -> impl Iterator<Item = (IdentityId, IdentityState)> {
        let people = self.people.all().map(|person| self.people.get(person));
        people.map(|person| (IdentityId::new(person.id), person.state()))
    }

    /// How much is stored. Cost: constant.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let parts = [self.faces.bytes(), self.people.bytes(), self.cells.bytes()];
        let hot_bytes = parts.iter().map(|(hot, _)| hot).sum();
        let cold: usize = parts.iter().map(|(_, cold)| cold).sum();
        Stats {
            identities: self.people.len(),
            faces: self.faces.len(),
            tracks: self.faces.tracks(),
            bytes: hot_bytes + cold,
            hot_bytes,
        }
    }

    /// The face, if it is here. Cost: one look-up.
    #[must_use]
    pub fn face(&self, face: FaceId) -> Option<FaceEntry<'_>> {
        self.faces.slot(face).map(|slot| self.entry(slot))
    }

    /// The identity's faces, lowest id first; none if there is no such identity. Cost: a sort.
    pub fn identity_faces(&self, identity: IdentityId) -> impl Iterator<Item = FaceEntry<'_>> {
        let person = self.people.row(identity);
        self.entries(person.into_iter().flat_map(|person| self.slots_of(person)))
    }

    /// The track's faces, lowest id first; none if there is no such track. Cost: a sort.
    pub fn track_faces(&self, track: TrackId) -> impl Iterator<Item = FaceEntry<'_>> {
        self.entries(self.faces.track(track))
    }

    /// What the writer says the identity is; `None` if there is no such identity. Cost: one look-up.
    #[must_use]
    pub fn identity_state(&self, identity: IdentityId) -> Option<IdentityState> {
        let person = self.people.row(identity)?;
        Some(self.people.get(person).state())
    }

    /// Where the identity lies in the space of faces: the mean of its faces weighted by quality,
    /// scaled to length 1. `None` if there is no such identity.
    ///
    /// Faces that cancel each other out have no mean; the best one (ties: lowest id) stands in.
    #[must_use]
    pub fn representative(&self, identity: IdentityId) -> Option<Embedding> {
        let person = self.people.row(identity)?;
        Some(self.unrotated(self.representative_of(person)))
    }

    fn entries(&self, slots: impl Iterator<Item = u32>) -> impl Iterator<Item = FaceEntry<'_>> {
        let mut entries: Vec<_> = slots.map(|slot| self.entry(slot)).collect();
        entries.sort_unstable_by_key(|entry| entry.face);
        entries.into_iter()
    }

    fn entry(&self, slot: u32) -> FaceEntry<'_> {
        let face = self.faces.get(slot);
        FaceEntry {
            face: FaceId::new(face.face),
            identity: IdentityId::new(self.people.get(face.identity).id),
            track: TrackId::new(face.track),
            source: SourceId::new(face.source),
            seen_us: face.seen_us,
            quality: face.quality,
            attributes: face.attributes,
            state: self,
            slot,
        }
    }

    fn embedding_at(&self, slot: u32) -> Embedding {
        self.unrotated(decode(&self.faces.plane.code(at(slot))))
    }

    fn unrotated(&self, rotated: Vec<f32>) -> Embedding {
        // A damaged code may have no direction.
        Embedding::normalise(self.rotation.backward(rotated))
            .unwrap_or_else(|_| Embedding::axis(self.dimension))
    }

    /// Runs of slots with the identity's faces: whole blocks, then the tail.
    pub(crate) fn runs(&self, person: u32) -> impl Iterator<Item = (u32, u32)> {
        let row = self.people.get(person);
        let (tail, used) = (row.tail, row.tail_faces());
        let whole = at((row.faces - used) / 32);
        let blocks = self.faces.blocks.list(row.chain, whole);
        let blocks = blocks.map(|block| (block * 32, 32));
        blocks.chain((used > 0).then_some((tail, used)))
    }

    /// Slots of the identity's faces.
    pub(crate) fn slots_of(&self, person: u32) -> impl Iterator<Item = u32> {
        self.runs(person)
            .flat_map(|(first, count)| first..first.saturating_add(count))
    }

    /// The sum of the identity's faces, made anew.
    pub(crate) fn sum_of(&self, person: u32) -> Vec<i32> {
        self.sum_where(person, |_| true).0
    }

    /// The sum of those faces of the identity, and of their weights.
    pub(crate) fn sum_where(&self, person: u32, counts: impl Fn(&Face) -> bool) -> (Vec<i32>, u64) {
        let mut sum = vec![0; self.rotation.padded()];
        let mut total = 0;
        for slot in self.slots_of(person) {
            let face = self.faces.get(slot);
            if counts(face) {
                term(&self.faces.plane, slot, face.quality, 1.0, &mut sum);
                total += u64::from(weight(face.quality));
            }
        }
        (sum, total)
    }

    /// The representative, rotated.
    pub(crate) fn representative_of(&self, person: u32) -> Vec<f32> {
        let total = self.people.get(person).weight;
        let direction = match self.people.sum(person) {
            Some(sum) => direction(sum, total),
            None => direction(&self.sum_of(person), total),
        };
        direction.unwrap_or_else(|| self.best_of(person, |_| true))
    }

    /// The representative without the faces of a track, rotated; `None` if there are no others.
    pub(crate) fn representative_without(&self, person: u32, track: TrackId) -> Option<Vec<f32>> {
        let (sum, total) = self.sum_without(person, track)?;
        let counts = |face: &Face| face.track != track.get();
        Some(direction(&sum, total).unwrap_or_else(|| self.best_of(person, counts)))
    }

    /// The sum of the identity's faces without those of a track, and of their weights; `None` if
    /// there are no others.
    pub(crate) fn sum_without(&self, person: u32, track: TrackId) -> Option<(Vec<i32>, u64)> {
        let mut gone: Vec<u32> = self.faces.track(track).collect();
        gone.retain(|slot| self.faces.get(*slot).identity == person);
        let row = self.people.get(person);
        if gone.len() == at(row.faces) {
            return None;
        }
        Some(match self.people.sum(person) {
            Some(sum) => {
                let (mut sum, mut total) = (sum.to_vec(), row.weight);
                for slot in gone {
                    let quality = self.faces.get(slot).quality;
                    term(&self.faces.plane, slot, quality, -1.0, &mut sum);
                    // Less than nothing only if the identity is damaged.
                    total = total.saturating_sub(u64::from(weight(quality)));
                }
                (sum, total)
            }
            None => self.sum_where(person, |face| face.track != track.get()),
        })
    }

    /// How long the mean of the identity's faces is, without those of a track if given; 0 without
    /// faces.
    pub(crate) fn length_of(&self, person: u32, without: Option<TrackId>) -> f32 {
        let length = |sum: &[i32], total: u64| {
            let norm = kernel::norm(sum.iter().map(|value| f64::from(*value)));
            #[expect(clippy::cast_precision_loss, reason = "a length")]
            let length = norm / total.max(1) as f64;
            kernel::round(length)
        };
        match (without, self.people.sum(person)) {
            (Some(track), _) => {
                let rest = self.sum_without(person, track);
                rest.map_or(0.0, |(sum, total)| length(&sum, total))
            }
            (None, Some(sum)) => length(sum, self.people.get(person).weight),
            (None, None) => length(&self.sum_of(person), self.people.get(person).weight),
        }
    }

    /// The identity's mode whose representative is most similar to a face; it has some.
    pub(crate) fn nearest_mode(&self, person: u32, slot: u32) -> u32 {
        let probe = Probe::of(&decode(&self.faces.plane.code(at(slot))));
        let similarity = |mode: &u32| {
            let slot = self.people.modes.get(*mode).representative;
            self.cells.plane.cosine(&probe, at(slot))
        };
        let modes = self.people.modes_of(person);
        let best = modes.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        best.expect("the identity has modes")
    }

    /// The representatives of an identity's modes without the faces of a track, rotated; those of
    /// modes that have others.
    pub(crate) fn modes_without(&self, person: u32, track: TrackId) -> Vec<Vec<f32>> {
        let gone = self
            .faces
            .track(track)
            .map(|slot| (slot, *self.faces.get(slot)));
        let gone: Vec<(u32, Face)> = gone.filter(|(_, face)| face.identity == person).collect();
        let without = |mode: u32| {
            let row = self.people.modes.get(mode);
            let mine = |face: &Face| u32::from(face.mode) == row.number;
            let (mut sum, mut total) = (self.people.modes.sum(mode).to_vec(), row.weight);
            for (slot, face) in gone.iter().filter(|(_, face)| mine(face)) {
                term(&self.faces.plane, *slot, face.quality, -1.0, &mut sum);
                total = total.saturating_sub(u64::from(weight(face.quality)));
            }
            (total > 0).then(|| direction(&sum, total)).flatten()
        };
        self.people.modes_of(person).filter_map(without).collect()
    }

    /// The best of those faces. There is one, unless the identity is damaged.
    fn best_of(&self, person: u32, counts: impl Fn(&Face) -> bool) -> Vec<f32> {
        let better = |a: &u32, b: &u32| {
            let (a, b) = (self.faces.get(*a), self.faces.get(*b));
            let by_quality = a.quality.total_cmp(&b.quality);
            by_quality.then_with(|| Ord::cmp(&b.face, &a.face))
        };
        let slots = self
            .slots_of(person)
            .filter(|slot| counts(self.faces.get(*slot)));
        match slots.max_by(better) {
            Some(best) => decode(&self.faces.plane.code(at(best))),
            None => vec![0.0; self.rotation.padded()],
        }
    }
}

/// The length of the mean of unit vectors with this sum, whose weights sum to `total`: 1 if they are
/// equal, 0 if they cancel each other out.
pub(crate) fn concentration(sum: &[i32], total: u64) -> f32 {
    let norm = kernel::norm(sum.iter().map(|value| f64::from(*value)));
    #[expect(clippy::cast_precision_loss, reason = "compared with a threshold")]
    let total = total.max(1) as f64;
    kernel::round(norm / total)
}

/// The direction of a sum whose weights sum to `total`; `None` if it points nowhere.
pub(crate) fn direction(sum: &[i32], total: u64) -> Option<Vec<f32>> {
    let norm = kernel::norm(sum.iter().map(|value| f64::from(*value)));
    #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
    let least = total as f64 * CANCELLED;
    let longer = norm.partial_cmp(&least) == Some(Ordering::Greater);
    longer.then(|| {
        sum.iter()
            .map(|v| kernel::round(f64::from(*v) / norm))
            .collect()
    })
}

/// An immutable state of the index, shared by any number of threads. Derefs to [`State`].
#[derive(Debug)]
pub struct Snapshot(State);

impl Deref for Snapshot {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// The writer's end of the index: its newest state, and the door to publish it.
///
/// In memory alone, or in a folder too: then what was applied up to the last [`Index::checkpoint`]
/// is there again when the folder is opened, and the caller replays its log from
/// [`State::sequence`].
#[derive(Debug)]
pub struct Index {
    pub(crate) state: State,
    store: Option<Store>,
    /// The files' pages were not all checked yet.
    unchecked: bool,
}

impl Index {
    /// An empty index for embeddings of `dimension` values.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            state: State::new(dimension),
            store: None,
            unchecked: false,
        }
    }

    /// The index in `folder`, as of its last checkpoint; an empty one if there is none, in a new
    /// folder if need be. `contract` names the model whose embeddings these are.
    ///
    /// Cost: the manifest is read (about 40 bytes for every 32 faces) and the segments are mapped;
    /// no page is. Each page is checked when it is first touched, all of them before the first
    /// change.
    ///
    /// # Errors
    /// [`StoreError`]. Whatever it is, the folder can be deleted and the index made anew.
    pub fn open(folder: &Path, contract: &str, dimension: usize) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(RealDisk), folder, contract, dimension)
    }

    /// As [`Self::open`], on another disk: for tests that let it fail.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        contract: &str,
        dimension: usize,
    ) -> Result<Self, StoreError> {
        let wanted = Wanted {
            contract,
            dimension,
        };
        let (store, saved) = Store::open(folder, disk, &wanted)?;
        let mut state = match saved {
            None => State::new(dimension),
            Some((sequence, parts)) => {
                State::load(dimension, sequence, parts).ok_or_else(|| StoreError::Damaged {
                    path: folder.to_owned(),
                    what: "its tables do not fit together".to_owned(),
                })?
            }
        };
        state.damage = Arc::clone(store.damage());
        Ok(Self {
            state,
            store: Some(store),
            unchecked: true,
        })
    }

    /// The index in `folder`, whatever model it was made for.
    ///
    /// Cost: as [`Self::open`].
    ///
    /// # Errors
    /// [`StoreError`]; that it is not there ([`StoreError::Io`]) included.
    pub fn open_existing(folder: &Path) -> Result<Self, StoreError> {
        let (contract, dimension) = made_for(folder)?;
        Self::open(folder, &contract, dimension)
    }

    /// Bytes that are in memory alone, for they are new since the last checkpoint. Cost: a look at
    /// every page.
    pub(crate) fn fresh_bytes(&self) -> usize {
        self.state.save().fresh_bytes()
    }

    /// Puts the cells right as a whole.
    pub(crate) fn settle(&mut self) {
        let State { people, cells, .. } = &mut self.state;
        cells.settle(&mut |owner, slot| people.placed(owner, slot));
    }

    /// Makes the newest state durable: what changed since the last checkpoint is written. Nothing
    /// happens to an index in memory alone.
    ///
    /// Cost: 17 KiB are written for each page that changed, and the manifest.
    ///
    /// # Errors
    /// [`StoreError`]; the state of the last checkpoint stays in the folder, the newest in memory.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        self.write(false)
    }

    /// As [`Index::checkpoint`], but every page is written anew and all earlier files are removed: what was taken out
    /// of the index is in none of its files then. (Bytes of what is taken out are zeros at once; earlier files have
    /// the pages as they were.)
    ///
    /// Cost: all of the index is read and written.
    ///
    /// # Errors
    /// [`StoreError`], also if an earlier file cannot be removed.
    pub fn rewrite(&mut self) -> Result<Checkpoint, StoreError> {
        self.write(true)
    }

    fn write(&mut self, anew: bool) -> Result<Checkpoint, StoreError> {
        let Some(store) = &mut self.store else {
            return Ok(Checkpoint::default());
        };
        let State {
            sequence,
            dimension,
            ..
        } = self.state;
        let (parts, done) = store.checkpoint(sequence, dimension, &self.state.save(), anew)?;
        self.state = self.state.with(parts);
        Ok(done)
    }

    /// Checks every page that was not touched yet, and copies what every search reads into memory
    /// (in huge pages where the system has them), once; [`Index::apply`] does so before its first
    /// change: what is built on a damaged page is worse than nothing. Then checks that rows, lists
    /// and maps fit together, which checksums say nothing of if it was not this program that wrote
    /// them. Until then searches work on the mapped files; their answers may be wrong, if those are.
    ///
    /// Cost: the files are read, and a few passes over the rows of faces and identities.
    ///
    /// # Errors
    /// [`Damage`], the first found.
    pub fn check(&mut self) -> Result<(), Damage> {
        if std::mem::take(&mut self.unchecked) {
            let mut parts = self.state.save();
            parts.warm();
            self.state = self.state.with(parts);
            if let Some(store) = &self.store
                && self.state.damage.get().is_none()
                && let Err(what) = self.state.check_tables()
            {
                let path = store.folder().to_owned();
                let _ = self.state.damage.set(Damage { path, what });
            }
        }
        match self.state.damage.get() {
            None => Ok(()),
            Some(damage) => Err(damage.clone()),
        }
    }

    /// The model that the folder was made for; nothing for an index in memory alone.
    #[must_use]
    pub fn contract(&self) -> &str {
        self.store.as_ref().map_or("", Store::contract)
    }

    /// Where it is kept; nowhere for an index in memory alone.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.store.as_ref().map(Store::folder)
    }

    /// The newest state, published or not.
    #[must_use]
    pub fn newest(&self) -> &State {
        &self.state
    }

    /// An immutable copy of the newest state.
    ///
    /// Cost: one reference count for every MiB; nothing is copied now. The first change to a page
    /// after this copies that page.
    #[must_use]
    pub fn publish(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot(self.state.clone()))
    }
}
