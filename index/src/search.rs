//! Who is this, and which faces look like this?
//!
//! Sketches say roughly how similar everything worth looking at is; codes say it well for the best
//! of those. How much is worth looking at is the [`Effort`].

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use rayon::prelude::*;

use crate::{
    blocks::{at, row},
    code::{Code, Probe, sketch_deviation},
    embedding::{Embedding, Similarity},
    faces::Face,
    filter::{Filter, Sieve},
    id::{FaceId, IdentityId, SourceId, TrackId},
    identity_state::IdentityState,
    kernel::BLOCK,
    people::Owner,
    plane::{Estimate, Plane},
    state::State,
    store::Damage,
};

/// Estimates may be off by this many standard deviations before something is overlooked: one in
/// 300,000 is, if errors are as good as normal.
const DEVIATIONS: f32 = 4.5;
/// The share of that for [`Effort::Normal`], 3.5 deviations: of people exactly at the floor, one in
/// 4,000 is overlooked.
const NORMAL: f32 = 3.5 / DEVIATIONS;
/// Embeddings of fewer values are told apart by their codes alone: errors of sketches are as good as
/// normal only where many values add up.
const SKETCH_DIMENSION_MIN: usize = 64;
/// Everything is looked at by its code where there is no more than this.
const FEW: usize = 64;
/// The best by estimate that are looked at by code, for each one asked for, and at least.
const PER_HIT: usize = 2;
const RANKED_MIN: usize = 24;
/// As [`FaceEffort::Open`]'s deviations, for the best face of an identity.
const BEST_FACE_DEVIATIONS: f32 = 1.5;
/// Faces of an identity whose codes are compared for its best one, the best by sketch.
const BEST_FACE_CODES: usize = 16;
/// Queries that are asked together: their tables and a block of sketches fit the nearest cache.
const TOGETHER: usize = 8;
/// Identities opened before it is decided how many more are: they give a good bar.
const OPENED_FIRST: usize = 64;
/// Where one in this many is opened, all faces are looked at: they lie in a row.
const MANY: usize = 3;
/// Of identities that may have hits, as many are put in order at once.
const OPENED_MORE: usize = 512;
/// Faces gathered at most before their codes are compared.
const NEAR_MAX: usize = 4096;
/// Rows of identities asked for ahead of their use.
const AHEAD: usize = 8;
/// Blocks of sketches asked for ahead of their use.
const BLOCKS_AHEAD: usize = 2;
/// Identities whose faces are gathered before codes are compared. A good bar early saves most of the
/// work; later, fewer and longer lists do.
const OPENED_AT_ONCE: usize = 8;

/// How much of the index a search for people looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// The nearest cells only, as many as this. For measuring; [`Effort::Normal`] decides itself.
    Cells(usize),
    /// The nearest cells; where nobody there is at least [`SURE`] similar, and where there are few
    /// people, everybody's sketch, and the code of whoever may reach the floor by the error bound.
    /// So whoever reaches the floor is found as surely as by [`Effort::Certified`], unless somebody
    /// else in the nearest cells is sure.
    Normal,
    /// Everybody's sketch, and the code of whoever may be among the hits by the error bound: a hit
    /// is overlooked with a probability below one in 300,000.
    Certified,
    /// Everybody's code.
    Exact,
}

/// How much of the index a search for faces looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaceEffort {
    /// The faces of the identities most similar to the query, until the others lie so far below the
    /// worst hit that few of their faces can be hits; all faces where that would be most.
    Open {
        /// An identity is opened if its representative's estimated similarity is at most this many
        /// standard deviations of those of all identities below the worst hit.
        reach: f32,
        /// The code of a face is looked at if its sketch is at most this many standard deviations
        /// below the worst hit.
        deviations: f32,
    },
    /// Every face's sketch, and the code of each that may be among the hits by the error bound.
    Certified,
    /// Every face's code.
    Exact,
}

impl FaceEffort {
    /// What is right for most: at least 0.98 of the best ten are found on the corpora of
    /// `benches/README.md`.
    pub const NORMAL: Self = Self::Open {
        reach: 2.5,
        deviations: 2.0,
    };
}

/// The cells looked at first by [`Effort::Normal`].
const CELLS: usize = 24;
/// With no more people than this, [`Effort::Normal`] looks at everybody's sketch at once.
const PEOPLE_FEW: usize = 16 << 10;
/// A cosine that nobody but the same person reaches: whoever has it is not looked for elsewhere.
pub const SURE: f32 = 0.5;

/// An identity found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdentityHit {
    /// The identity.
    pub identity: IdentityId,
    /// What the writer says it is.
    pub state: IdentityState,
    /// Cosine of the query to the identity's representative.
    pub similarity: Similarity,
}

/// A face found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceHit {
    /// The face.
    pub face: FaceId,
    /// Whose it is.
    pub identity: IdentityId,
    /// The track it was seen in.
    pub track: TrackId,
    /// The source it was seen in.
    pub source: SourceId,
    /// What the writer says of it, a bit each.
    pub attributes: u16,
    /// Cosine of the query to the face.
    pub similarity: Similarity,
}

/// Why a search was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The query comes from another model than the index's.
    #[error(
        "the query has {found} values, the index holds embeddings of {expected}; ask with the model \
         that the index was made with"
    )]
    WrongDimension {
        /// How many values the query has.
        found: usize,
        /// How many it must have.
        expected: usize,
    },
    /// A file of the index is not what was written to it; answers would be wrong.
    #[error("the index is damaged: {0}; it has to be made anew from the log")]
    Damaged(Damage),
}

/// What a search did, for whoever wants to know why it took as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Sketches estimated.
    pub sketches: usize,
    /// Codes compared.
    pub codes: usize,
    /// Bytes of sketches and codes read.
    pub bytes: usize,
    /// Everything was looked at.
    pub exhaustive: bool,
}

/// The k best of what was offered, best first; ties go to the lower id.
struct Best<Id> {
    k: usize,
    /// Rows of identities with several representatives that were offered, or refused.
    modal: HashSet<u32>,
    /// The worst of them on top.
    heap: BinaryHeap<Reverse<(Similarity, Reverse<Id>, u32)>>,
}

impl<Id: Ord + Copy> Best<Id> {
    /// Holds at most `k`, out of `of`.
    fn new(k: usize, of: usize) -> Self {
        Self {
            k,
            modal: HashSet::new(),
            heap: BinaryHeap::with_capacity(k.min(of)),
        }
    }

    fn offer(&mut self, similarity: Similarity, id: Id, slot: u32) {
        let entry = Reverse((similarity, Reverse(id), slot));
        if self.heap.len() < self.k {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    /// What has to be reached to get in: the worst of k, or less than anything.
    fn bar(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse((similarity, ..))) if self.is_full() => similarity.get(),
            _ => f32::NEG_INFINITY,
        }
    }

    fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    fn best(&self) -> f32 {
        let best = self
            .heap
            .iter()
            .map(|Reverse((similarity, ..))| similarity.get());
        best.fold(f32::NEG_INFINITY, f32::max)
    }

    fn into_slots(self) -> impl Iterator<Item = (Similarity, u32)> {
        let best_first = self.heap.into_sorted_vec().into_iter();
        best_first.map(|Reverse((similarity, _, slot))| (similarity, slot))
    }
}

/// Of all estimates that were offered, those above a floor, and the best of the others.
struct Ranked {
    entries: Vec<Estimate>,
    /// How many of the best are kept whatever the floor.
    keep: usize,
    /// What is above this is kept even if it is not among the best.
    floor: f32,
    /// Nothing below has a chance any more.
    bar: f32,
}

impl Ranked {
    fn new(keep: usize, floor: f32) -> Self {
        Self {
            entries: Vec::with_capacity(keep * 8),
            keep,
            floor,
            bar: f32::NEG_INFINITY,
        }
    }

    #[inline]
    fn offer(&mut self, estimate: Estimate) {
        self.entries.push(estimate);
        if self.entries.len() >= self.keep * 8 {
            self.shrink();
        }
    }

    /// Drops what has no chance.
    fn shrink(&mut self) {
        if self.entries.len() <= self.keep {
            return;
        }
        let keep = self.keep - 1;
        let (_, worst, _) = self.entries.select_nth_unstable_by(keep, |a, b| b.cmp(a));
        self.bar = worst.0.min(self.floor);
        let bar = self.bar;
        if bar < worst.0 {
            self.entries.retain(|entry| entry.0 >= bar);
            // What the floor keeps may be many: do not sort it again and again.
            if self.entries.len() * 2 > self.keep * 8 {
                self.keep = self.entries.len();
            }
        } else {
            self.entries.truncate(self.keep);
        }
    }

    /// What is left, best first.
    fn sorted(mut self) -> Vec<Estimate> {
        self.shrink();
        self.entries.sort_unstable_by(|a, b| b.cmp(a));
        self.entries
    }
}

/// A search under way.
struct Search<'a> {
    state: &'a State,
    probe: Probe,
    sieve: Sieve<'a>,
    work: Work,
}

impl State {
    /// The `k` identities whose representatives are most similar to `query`, most similar first;
    /// ties go to the lower id. Fewer if there are fewer; none for `k` = 0.
    ///
    /// An identity counts if at least one of its faces passes `filter`. Its representative is the
    /// mean of all its faces, those that do not pass included, except the excluded track's.
    ///
    /// As [`State::who`] with [`Effort::Certified`].
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn search_identities(
        &self,
        query: &Embedding,
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<IdentityHit>, SearchError> {
        Ok(self
            .who(query, k, Similarity::LEAST, filter, Effort::Certified)?
            .0)
    }

    /// As [`State::search_identities`], with an effort, and what it took. With [`Effort::Normal`]
    /// whoever is at least `floor` similar is found; the other hits are the most similar of those
    /// who happened to be looked at.
    ///
    /// Cost: with [`Effort::Normal`], the sketches of the nearest cells, or everybody's, at 3 to 8
    /// nanoseconds each, and some tens of codes; `benches/README.md` has what was measured.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn who(
        &self,
        query: &Embedding,
        k: usize,
        floor: Similarity,
        filter: &Filter,
        effort: Effort,
    ) -> Result<(Vec<IdentityHit>, Work), SearchError> {
        let queries = std::slice::from_ref(query);
        let mut answers = self.who_together(queries, k, floor, filter, effort)?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// [`State::who`] for each of many queries, in their order, with the same answers.
    ///
    /// Cost: sketches are read once for every eight queries; the threads of the rayon pool that this
    /// is called in share the work.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`] if one of the queries is of another dimension.
    pub fn who_batch(
        &self,
        queries: &[Embedding],
        k: usize,
        floor: Similarity,
        filter: &Filter,
        effort: Effort,
    ) -> Result<Vec<(Vec<IdentityHit>, Work)>, SearchError> {
        let answers: Result<Vec<_>, _> = queries
            .par_chunks(TOGETHER)
            .map(|queries| self.who_together(queries, k, floor, filter, effort))
            .collect();
        Ok(answers?.into_iter().flatten().collect())
    }

    fn who_together(
        &self,
        queries: &[Embedding],
        k: usize,
        floor: Similarity,
        filter: &Filter,
        effort: Effort,
    ) -> Result<Vec<(Vec<IdentityHit>, Work)>, SearchError> {
        let mut searches = self.searches(queries, filter)?;
        let found = if k == 0 {
            searches.iter().map(|_| Best::new(0, 0)).collect()
        } else {
            identities(&mut searches, k, floor.get(), effort)
        };
        let hit = |(similarity, person)| IdentityHit {
            identity: IdentityId::new(self.people.get(person).id),
            state: self.people.get(person).state(),
            similarity,
        };
        let answers = found.into_iter().zip(&searches);
        let answers = answers.map(|(best, s)| (best.into_slots().map(hit).collect(), s.work));
        self.sound(answers.collect())
    }

    /// The face of `identity` most similar to `query` among those that pass `filter`, and the cosine
    /// to it; ties go to the lower id. `None` if there is none.
    ///
    /// Cost: the sketches of all the identity's faces, and the codes of the best sixteen: where none
    /// of those is the most similar one, another that comes near it is returned.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn best_face(
        &self,
        query: &Embedding,
        identity: IdentityId,
        filter: &Filter,
    ) -> Result<Option<(FaceId, Similarity)>, SearchError> {
        self.check(query)?;
        let mut search = Search::new(self, query, filter);
        let person = self.people.row(identity);
        let best = person.and_then(|person| search.best_face(person));
        self.sound(best.map(|(similarity, slot)| {
            let face = self.faces.get(slot).face;
            (FaceId::new(face), similarity)
        }))
    }

    /// The `k` faces most similar to `query` among those that pass `filter`, most similar first;
    /// ties go to the lower id. Fewer if there are fewer; none for `k` = 0.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn search_faces(
        &self,
        query: &Embedding,
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<FaceHit>, SearchError> {
        Ok(self.faces_like(query, k, filter, FaceEffort::Certified)?.0)
    }

    /// As [`State::search_faces`], with an effort.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn faces_like(
        &self,
        query: &Embedding,
        k: usize,
        filter: &Filter,
        effort: FaceEffort,
    ) -> Result<(Vec<FaceHit>, Work), SearchError> {
        let queries = std::slice::from_ref(query);
        let mut answers = self.faces_together(queries, k, filter, effort)?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// [`State::faces_like`] for each of many queries, in their order, with the same answers.
    ///
    /// Cost: where all faces are looked at, their sketches are read once for every eight queries; the
    /// threads of the rayon pool that this is called in share the work.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`] if one of the queries is of another dimension.
    pub fn faces_batch(
        &self,
        queries: &[Embedding],
        k: usize,
        filter: &Filter,
        effort: FaceEffort,
    ) -> Result<Vec<(Vec<FaceHit>, Work)>, SearchError> {
        let answers: Result<Vec<_>, _> = queries
            .par_chunks(TOGETHER)
            .map(|queries| self.faces_together(queries, k, filter, effort))
            .collect();
        Ok(answers?.into_iter().flatten().collect())
    }

    fn faces_together(
        &self,
        queries: &[Embedding],
        k: usize,
        filter: &Filter,
        effort: FaceEffort,
    ) -> Result<Vec<(Vec<FaceHit>, Work)>, SearchError> {
        let mut searches = self.searches(queries, filter)?;
        let found = if k == 0 {
            searches.iter().map(|_| Best::new(0, 0)).collect()
        } else {
            faces(self, &mut searches, k, effort)
        };
        let hit = |(similarity, slot)| self.face_hit(slot, similarity);
        let answers = found.into_iter().zip(&searches);
        let answers = answers.map(|(best, s)| (best.into_slots().map(hit).collect(), s.work));
        self.sound(answers.collect())
    }

    fn searches<'a>(
        &'a self,
        queries: &[Embedding],
        filter: &'a Filter,
    ) -> Result<Vec<Search<'a>>, SearchError> {
        let search = |query| {
            self.check(query)?;
            Ok(Search::new(self, query, filter))
        };
        queries.iter().map(search).collect()
    }

    /// Every face at least `floor` similar to `query` that passes `filter`, most similar first; ties
    /// go to the lower id. At most `limit`.
    ///
    /// Cost: every face's sketch, and the code of each that may be similar enough.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn faces_above(
        &self,
        query: &Embedding,
        floor: Similarity,
        limit: usize,
        filter: &Filter,
    ) -> Result<Vec<FaceHit>, SearchError> {
        self.check(query)?;
        let mut search = Search::new(self, query, filter);
        let mut best = Best::new(limit, self.faces.len());
        let least = floor.get() - search.margin(&self.faces.plane);
        let plane = &self.faces.plane;
        for block in 0..plane.blocks() {
            for Estimate(_, slot) in plane.above(&search.probe, block, u32::MAX, least) {
                if let Some(similarity) = search.face(slot).filter(|s| *s >= floor) {
                    best.offer(similarity, self.faces.get(slot).face, slot);
                }
            }
        }
        let hits = best
            .into_slots()
            .map(|(similarity, slot)| self.face_hit(slot, similarity));
        self.sound(hits.collect())
    }

    /// Cosine of `query` to one identity's representative, computed without `exclude_track` if
    /// given. `None` if there is no such identity, or no face of it outside that track.
    ///
    /// # Errors
    /// [`SearchError::WrongDimension`].
    pub fn identity_similarity(
        &self,
        query: &Embedding,
        identity: IdentityId,
        exclude_track: Option<TrackId>,
    ) -> Result<Option<Similarity>, SearchError> {
        self.check(query)?;
        let filter = Filter {
            exclude_track,
            ..Filter::default()
        };
        let mut search = Search::new(self, query, &filter);
        let person = self.people.row(identity);
        self.sound(person.and_then(|person| {
            if search.excluded().contains(&person) {
                search.without(person)
            } else {
                Some(search.most_similar(person))
            }
        }))
    }

    fn check(&self, query: &Embedding) -> Result<(), SearchError> {
        let (found, expected) = (query.dimension(), self.dimension);
        if found == expected {
            Ok(())
        } else {
            Err(SearchError::WrongDimension { found, expected })
        }
    }

    /// `answer`, unless something was damaged that it may rest on.
    fn sound<T>(&self, answer: T) -> Result<T, SearchError> {
        match self.damage.get() {
            None => Ok(answer),
            Some(damage) => Err(SearchError::Damaged(damage.clone())),
        }
    }

    fn face_hit(&self, slot: u32, similarity: Similarity) -> FaceHit {
        let &Face {
            face,
            identity,
            track,
            source,
            attributes,
            ..
        } = self.faces.get(slot);
        FaceHit {
            face: FaceId::new(face),
            identity: IdentityId::new(self.people.get(identity).id),
            track: TrackId::new(track),
            source: SourceId::new(source),
            attributes,
            similarity,
        }
    }
}

impl<'a> Search<'a> {
    fn new(state: &'a State, query: &Embedding, filter: &'a Filter) -> Self {
        Self {
            state,
            probe: Probe::of(&state.rotation.forward(query.as_slice())),
            sieve: Sieve::new(filter),
            work: Work::default(),
        }
    }

    /// How far estimates may be off.
    fn margin(&self, plane: &Plane) -> f32 {
        if self.state.dimension < SKETCH_DIMENSION_MIN {
            return f32::INFINITY;
        }
        let sketch = sketch_deviation(plane.widest(), self.state.rotation.padded());
        let table = self.probe.table_deviation(plane.widest());
        DEVIATIONS * sketch.hypot(table)
    }

    /// Rows of identities with faces in the excluded track.
    fn excluded(&self) -> Vec<u32> {
        let slots = self
            .sieve
            .excluded_track()
            .map(|track| self.state.faces.track(track));
        let faces = slots
            .into_iter()
            .flatten()
            .map(|slot| self.state.faces.get(slot));
        let mut people: Vec<u32> = faces.map(|face| face.identity).collect();
        people.sort_unstable();
        people.dedup();
        people
    }

    /// Cosine to the identity's representative without the excluded track; `None` if nothing is
    /// left of it.
    fn without(&self, person: u32) -> Option<Similarity> {
        let track = self.sieve.excluded_track()?;
        let rest = self.state.representative_without(person, track)?;
        let modes = self.state.modes_without(person, track);
        let similarity = |vector: &Vec<f32>| {
            let code = Code::of(vector);
            Similarity::from_dot(self.probe.cosine(&code.values, code.step))
        };
        modes.iter().chain([&rest]).map(similarity).max()
    }

    fn representative(&mut self, slot: u32) -> Similarity {
        self.work.codes += 1;
        self.work.bytes += self.state.rotation.padded();
        Similarity::from_dot(self.state.cells.plane.cosine(&self.probe, at(slot)))
    }

    /// The cosine of a face, if it passes the filter.
    fn face(&mut self, slot: u32) -> Option<Similarity> {
        if !self.sieve.is_open() && !self.passes(self.state.faces.get(slot)) {
            return None;
        }
        self.work.codes += 1;
        self.work.bytes += self.state.rotation.padded();
        let cosine = self.state.faces.plane.cosine(&self.probe, at(slot));
        Some(Similarity::from_dot(cosine))
    }

    fn scanned(&mut self, blocks: usize) {
        self.work.sketches += blocks * BLOCK;
        self.work.bytes += blocks * BLOCK * (self.state.rotation.padded() / 8 + 4);
    }

    /// Whether a face passes the filter.
    fn passes(&self, face: &Face) -> bool {
        let identity = || self.state.people.get(face.identity);
        self.sieve.passes(face) && (!self.sieve.by_state() || self.sieve.takes_state(identity()))
    }

    fn owner(&self, slot: u32) -> Owner {
        self.state.people.owner(self.state.cells.owner(slot))
    }

    /// The cosine to the most similar of the identity's representatives.
    fn most_similar(&mut self, person: u32) -> Similarity {
        let people = &self.state.people;
        let modes = people.modes_of(person);
        let modes = modes.map(|mode| people.modes.get(mode).representative);
        let all = std::iter::once(people.get(person).representative).chain(modes);
        let similarities = all.map(|slot| self.representative(slot));
        similarities.max().unwrap_or(Similarity::LEAST)
    }

    /// Whether a face of the identity passes the filter.
    fn counts(&self, person: u32) -> bool {
        let state = self.state;
        let identity = state.people.get(person);
        self.sieve.may_pass(identity)
            && (self.sieve.passes_all(identity)
                || state
                    .slots_of(person)
                    .any(|slot| self.sieve.passes(state.faces.get(slot))))
    }

    /// False only if no face of whoever has this representative passes the filter, by what is known
    /// of them as a whole.
    fn may_count(&self, slot: u32) -> bool {
        let state = self.state;
        !self.sieve.narrows()
            || self
                .sieve
                .may_pass(state.people.get(self.owner(slot).person))
    }

    /// Hits to begin with: the identities with faces in the excluded track, which have other
    /// representatives than the cells do.
    fn begin(&self, k: usize, excluded: &[u32]) -> Best<u64> {
        let people = &self.state.people;
        let mut best = Best::new(k, people.len());
        for person in excluded {
            if self.counts(*person)
                && let Some(similarity) = self.without(*person)
            {
                best.offer(similarity, people.get(*person).id, *person);
            }
        }
        best
    }

    /// As many of the best estimates as are looked at by code for `k` hits.
    fn ranked(&self, k: usize, floor: f32) -> Ranked {
        let keep = RANKED_MIN.max(k.saturating_mul(PER_HIT));
        Ranked::new(keep.min(self.state.cells.len().max(1)), floor)
    }

    /// Everybody, by code.
    fn exact(&mut self, excluded: &[u32], best: &mut Best<u64>) {
        let cells = &self.state.cells;
        for slot in 0..row(cells.blocks() * BLOCK) {
            if cells.plane.holds(at(slot)) {
                self.offer_person(slot, excluded, best);
            }
        }
        self.work.exhaustive = true;
    }

    fn offer_person(&mut self, slot: u32, excluded: &[u32], best: &mut Best<u64>) {
        let Owner { person, modal } = self.owner(slot);
        // Of several representatives the most similar one counts, and the others no more.
        if modal && !best.modal.insert(person) {
            return;
        }
        // A look at all faces may cost more than one at a code: it comes last where the code can
        // say no.
        let full = best.is_full();
        if excluded.contains(&person) || !full && !self.counts(person) {
            return;
        }
        let similarity = if modal {
            self.most_similar(person)
        } else {
            self.representative(slot)
        };
        if !full || similarity.get() >= best.bar() && self.counts(person) {
            best.offer(similarity, self.state.people.get(person).id, person);
        }
    }

    /// Everybody, in the order of their estimates, until nobody further down can be among the hits, or
    /// reach `floor` or whoever was found.
    fn in_order(&mut self, floor: f32, margin: f32, excluded: &[u32], best: &mut Best<u64>) {
        let all = estimate_all(self.state, std::slice::from_mut(self)).pop();
        let all = all.unwrap_or_default();
        self.work.exhaustive = true;
        let mut heap = BinaryHeap::from(all);
        while let Some(Estimate(estimate, slot)) = heap.pop() {
            let most = estimate + margin;
            if most < best.bar() || most < floor && most < best.best() {
                break;
            }
            self.offer_person(slot, excluded, best);
        }
    }

    /// The representatives of the nearest cells.
    fn in_cells(
        &mut self,
        many: usize,
        k: usize,
        margin: f32,
        excluded: &[u32],
        best: &mut Best<u64>,
    ) {
        let cells = &self.state.cells;
        let mut ranked = self.ranked(k, f32::INFINITY);
        let near = cells.nearest(&self.probe, many);
        let blocks = near.iter().flat_map(|cell| cells.blocks_of(*cell));
        rank(blocks.collect(), &mut [(&mut *self, &mut ranked)]);
        self.compare(ranked.sorted(), f32::NEG_INFINITY, margin, excluded, best);
    }

    /// Looks at codes, best estimates first, until the others can neither be hits nor reach `floor`.
    fn compare(
        &mut self,
        ranked: Vec<Estimate>,
        floor: f32,
        margin: f32,
        excluded: &[u32],
        best: &mut Best<u64>,
    ) {
        let cells = &self.state.cells;
        let more = |slot| cells.prefetch_owner(slot);
        for Estimate(estimate, slot) in cells.plane.in_turn(&ranked, more) {
            if estimate + margin < best.bar().max(floor.min(best.best())) {
                break;
            }
            self.offer_person(slot, excluded, best);
        }
    }

    /// The identity's face most similar to the query.
    fn best_face(&mut self, person: u32) -> Option<(Similarity, u32)> {
        let state = self.state;
        let mut best = Best::new(1, 1);
        let margin = self.margin(&state.faces.plane);
        let mut near = Near::new(1, margin / DEVIATIONS * BEST_FACE_DEVIATIONS);
        if margin.is_finite() {
            near.limit = BEST_FACE_CODES;
        }
        self.scan_people(&[person], &mut near, &mut best);
        self.compare_faces(&mut near, &mut best);
        best.into_slots().next()
    }

    fn offer_exact(&mut self, slot: u32, best: &mut Best<u64>) {
        if let Some(similarity) = self.face(slot) {
            best.offer(similarity, self.state.faces.get(slot).face, slot);
        }
    }

    /// Offers the faces of identities.
    fn scan_people(&mut self, people: &[u32], near: &mut Near, best: &mut Best<u64>) {
        let state = self.state;
        for person in people.iter().take(AHEAD) {
            state.people.prefetch(*person);
        }
        // First where they are, then a look at each: so the next can be asked for in time.
        let mut runs = Vec::with_capacity(people.len() * 2);
        for (number, person) in people.iter().enumerate() {
            if let Some(ahead) = people.get(number + AHEAD) {
                state.people.prefetch(*ahead);
            }
            runs.extend(state.runs(*person));
        }
        for (number, (first, count)) in runs.iter().enumerate() {
            if let Some((ahead, _)) = runs.get(number + BLOCKS_AHEAD) {
                state.faces.plane.prefetch_block(at(*ahead) / BLOCK);
            }
            let run = u64::from(u32::MAX) >> (32 - count) << (first % row(BLOCK));
            let run = u32::try_from(run & u64::from(u32::MAX)).unwrap_or(u32::MAX);
            self.scan_block(at(*first) / BLOCK, run, near, best);
        }
        self.scanned(runs.len());
    }

    /// Offers those faces of a block.
    #[inline]
    fn scan_block(&mut self, block: usize, faces: u32, near: &mut Near, best: &mut Best<u64>) {
        let state = self.state;
        for estimate in state.faces.plane.above(&self.probe, block, faces, near.bar) {
            if near.opened.is_empty() && self.sieve.is_open()
                || self.takes(state.faces.get(estimate.1), near)
            {
                near.entries.push(estimate);
            }
        }
        if near.entries.len() >= NEAR_MAX {
            self.compare_faces(near, best);
        }
    }

    fn takes(&self, face: &Face, near: &Near) -> bool {
        self.passes(face) && near.opened.binary_search(&face.identity).is_err()
    }

    /// Looks at the codes of the faces gathered, best estimates first, as far as they may be hits.
    fn compare_faces(&mut self, near: &mut Near, best: &mut Best<u64>) {
        let plane = &self.state.faces.plane;
        let entries = near.drain();
        for Estimate(estimate, slot) in plane.in_turn(&entries, |_| {}) {
            if estimate < best.bar() - near.margin {
                break;
            }
            self.offer_exact(slot, best);
        }
        near.bar = best.bar() - near.margin;
    }

    /// Offers the faces of the identities that may have hits, most similar first. True: they are so
    /// many that all faces not offered yet have to be looked at.
    fn open(
        &mut self,
        mut estimates: Vec<Estimate>,
        reach: f32,
        near: &mut Near,
        best: &mut Best<u64>,
    ) -> bool {
        let people = estimates.len();
        // Where sketches say nothing, everybody may have hits.
        let reach = if reach.is_finite() && near.margin.is_finite() {
            reach * spread(&estimates)
        } else {
            f32::INFINITY
        };
        let (mut opened, mut modal) = (Vec::new(), HashSet::new());
        let mut most = OPENED_FIRST;
        while !estimates.is_empty() {
            let rest = if estimates.len() > most {
                estimates.select_nth_unstable_by(most, |a, b| b.cmp(a));
                estimates.split_off(most)
            } else {
                Vec::new()
            };
            estimates.sort_unstable_by(|a, b| b.cmp(a));
            for some in estimates.chunks(OPENED_AT_ONCE) {
                if some[0].0 + reach < best.bar() {
                    return false;
                }
                let owners = some.iter().map(|Estimate(_, slot)| self.owner(*slot));
                let new = owners.filter(|owner| !owner.modal || modal.insert(owner.person));
                let owners: Vec<u32> = new.map(|owner| owner.person).collect();
                self.scan_people(&owners, near, best);
                self.compare_faces(near, best);
                opened.extend(owners);
            }
            estimates = rest;
            estimates.retain(|estimate| estimate.0 + reach >= best.bar());
            if estimates.len() * MANY > people {
                opened.sort_unstable();
                near.opened = opened;
                return true;
            }
            most = OPENED_MORE;
        }
        false
    }
}

/// The standard deviation of estimates.
fn spread(estimates: &[Estimate]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a standard deviation")]
    let count = estimates.len().max(1) as f32;
    let mean = estimates.iter().map(|one| one.0).sum::<f32>() / count;
    let squares = estimates.iter().map(|one| (one.0 - mean) * (one.0 - mean));
    (squares.sum::<f32>() / count).sqrt()
}

/// Searches for people. All are of one state, with one filter.
fn identities(searches: &mut [Search], k: usize, floor: f32, effort: Effort) -> Vec<Best<u64>> {
    let Some(Search { state, .. }) = searches.first() else {
        return Vec::new();
    };
    let state = *state;
    let excluded = searches[0].excluded();
    let mut found: Vec<_> = searches.iter().map(|s| s.begin(k, &excluded)).collect();
    let effort = match effort {
        Effort::Certified if state.cells.len() <= FEW => Effort::Exact,
        Effort::Cells(_) | Effort::Normal | Effort::Certified | Effort::Exact => effort,
    };
    let few = state.people.len() <= PEOPLE_FEW;
    let mut all: Vec<(&mut Search, &mut Best<u64>)> = searches.iter_mut().zip(&mut found).collect();
    for (search, best) in &mut all {
        let margin = search.margin(&state.cells.plane);
        match effort {
            Effort::Exact => search.exact(&excluded, best),
            Effort::Certified => {
                search.in_order(f32::NEG_INFINITY, margin, &excluded, best);
            }
            Effort::Cells(many) => search.in_cells(many, k, margin, &excluded, best),
            Effort::Normal if !few => {
                search.in_cells(CELLS, k, margin * NORMAL, &excluded, best);
            }
            Effort::Normal => {}
        }
    }
    if effort == Effort::Normal {
        all.retain(|(_, best)| few || best.best() < SURE);
        everywhere(all, k, floor, &excluded);
    }
    found
}

/// Everybody who may be at least `floor` similar, or more than whoever was found.
fn everywhere(mut all: Vec<(&mut Search, &mut Best<u64>)>, k: usize, floor: f32, excluded: &[u32]) {
    let Some((Search { state, .. }, _)) = all.first() else {
        return;
    };
    let blocks = state.cells.taken_blocks();
    let bounds: Vec<(f32, f32)> = all
        .iter()
        .map(|(search, best)| {
            let margin = search.margin(&search.state.cells.plane) * NORMAL;
            (floor.max(best.bar()), margin)
        })
        .collect();
    let begun = all.iter().zip(&bounds);
    let begun = begun.map(|((search, _), (floor, margin))| search.ranked(k, floor - margin));
    let mut ranked: Vec<Ranked> = begun.collect();
    let mut together: Vec<_> = all
        .iter_mut()
        .map(|(s, _)| &mut **s)
        .zip(&mut ranked)
        .collect();
    rank(blocks, &mut together);
    for (((search, best), mut ranked), (floor, margin)) in all.into_iter().zip(ranked).zip(bounds) {
        search.work.exhaustive = true;
        *best = search.begin(k, excluded);
        ranked.shrink();
        let everybody = ranked.bar == f32::NEG_INFINITY;
        search.compare(ranked.sorted(), floor, margin, excluded, best);
        // Whether they count is known only after a look at their faces: the best may all not.
        if !everybody && best.heap.is_empty() {
            search.in_order(floor, margin, excluded, best);
        }
    }
}

/// For each search, the estimates of everybody who may count.
fn estimate_all(state: &State, searches: &mut [Search]) -> Vec<Vec<Estimate>> {
    let mut all: Vec<Vec<Estimate>> = searches.iter().map(|_| Vec::new()).collect();
    let plane = &state.cells.plane;
    let blocks = state.cells.taken_blocks();
    for block in blocks.iter().copied() {
        for (search, all) in searches.iter().zip(&mut all) {
            let everybody = plane.above(&search.probe, block, u32::MAX, f32::NEG_INFINITY);
            all.extend(everybody.filter(|one| search.may_count(one.1)));
        }
    }
    for search in searches {
        search.scanned(blocks.len());
    }
    all
}

/// Ranks the representatives of some blocks for each search; all are of one state.
fn rank(blocks: Vec<usize>, searches: &mut [(&mut Search, &mut Ranked)]) {
    let Some((Search { state, .. }, _)) = searches.first() else {
        return;
    };
    let plane = &state.cells.plane;
    for (number, block) in blocks.iter().enumerate() {
        if let Some(ahead) = blocks.get(number + BLOCKS_AHEAD) {
            plane.prefetch_block(*ahead);
        }
        for (search, ranked) in &mut *searches {
            for estimate in plane.above(&search.probe, *block, u32::MAX, ranked.bar) {
                if search.may_count(estimate.1) {
                    ranked.offer(estimate);
                }
            }
        }
    }
    for (search, _) in searches {
        search.scanned(blocks.len());
    }
}

/// Searches for faces. All are of one state, with one filter.
fn faces(state: &State, searches: &mut [Search], k: usize, effort: FaceEffort) -> Vec<Best<u64>> {
    let mut found: Vec<_> = searches
        .iter()
        .map(|_| Best::new(k, state.faces.len()))
        .collect();
    let few = state.faces.len() <= FEW;
    let (reach, deviations) = match effort {
        FaceEffort::Exact => return exact_faces(state, searches, found),
        FaceEffort::Certified if few => return exact_faces(state, searches, found),
        FaceEffort::Certified => (f32::INFINITY, DEVIATIONS),
        FaceEffort::Open { reach, deviations } => (reach, deviations),
    };
    let estimates = estimate_all(state, searches);
    let mut more = Vec::new();
    for ((search, best), estimates) in searches.iter_mut().zip(&mut found).zip(estimates) {
        let margin = search.margin(&state.faces.plane) / DEVIATIONS * deviations;
        let mut near = Near::new(k, margin);
        if search.open(estimates, reach, &mut near, best) {
            more.push((search, near, best));
        }
    }
    others(state, more);
    found
}

/// Every face, by code.
fn exact_faces(
    state: &State,
    searches: &mut [Search],
    mut found: Vec<Best<u64>>,
) -> Vec<Best<u64>> {
    for (search, best) in searches.iter_mut().zip(&mut found) {
        for slot in state.faces.slots() {
            search.offer_exact(slot, best);
        }
        search.work.exhaustive = true;
    }
    found
}

/// Offers the faces of all identities that were not opened.
fn others(state: &State, mut searches: Vec<(&mut Search, Near, &mut Best<u64>)>) {
    if searches.is_empty() {
        return;
    }
    let plane = &state.faces.plane;
    let blocks = plane.blocks();
    for block in 0..blocks {
        if block + BLOCKS_AHEAD < blocks {
            plane.prefetch_block(block + BLOCKS_AHEAD);
        }
        for (search, near, best) in &mut searches {
            search.scan_block(block, u32::MAX, near, best);
        }
    }
    for (search, mut near, best) in searches {
        search.compare_faces(&mut near, best);
        search.scanned(blocks);
        search.work.exhaustive = true;
    }
}

/// Faces gathered until their codes are compared.
struct Near {
    /// Hits asked for.
    k: usize,
    /// How far below a hit's cosine its estimate may be.
    margin: f32,
    /// Codes compared at once, at most.
    limit: usize,
    /// Estimates below are not gathered.
    bar: f32,
    entries: Vec<Estimate>,
    /// Rows of identities whose faces were offered before, in order.
    opened: Vec<u32>,
}

impl Near {
    fn new(k: usize, margin: f32) -> Self {
        Self {
            k,
            margin,
            limit: usize::MAX,
            bar: f32::NEG_INFINITY,
            entries: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// What was gathered and may be a hit, best first.
    fn drain(&mut self) -> Vec<Estimate> {
        let mut entries = std::mem::take(&mut self.entries);
        if entries.len() > self.k {
            // The k-th hit is about as similar as the k-th estimate.
            let (_, at_k, _) = entries.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            let least = at_k.0 - 1.5 * self.margin;
            entries.retain(|entry| entry.0 >= least);
        }
        entries.sort_unstable_by(|a, b| b.cmp(a));
        entries.truncate(self.limit);
        entries
    }
}
