//! Who is this, and which faces look like this?
//!
//! Sketches say roughly how similar everything worth looking at is; codes say it well for the best
//! of those. How much is worth looking at is the [`Effort`].

mod best;
mod faces;
mod people;
mod truth;
mod under_way;

pub use truth::{ExactError, Truth};

use std::sync::Arc;

use rayon::prelude::*;

use best::{Best, Near, Ranked};
use truth::Rivals;

use crate::{
    blocks::at,
    code::{Code, Probe},
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
/// Embeddings of fewer values are told apart by their codes alone: errors of sketches are as good as
/// normal only where many values add up.
const SKETCH_DIMENSION_MIN: usize = 64;
/// Everything is looked at by its code where there is no more than this.
const FEW: usize = 64;
/// Queries that are asked together: their tables and a block of sketches fit the nearest cache.
const TOGETHER: usize = 8;
/// Queries that are under way at once: some kilobytes each, and a bit for each block.
const AT_ONCE: usize = 1024;
/// Blocks of sketches asked for ahead of their use.
const BLOCKS_AHEAD: usize = 2;

/// How much of the index a search for people looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// The nearest cells only, as many as this, or until somebody is sure as with [`Effort::Normal`],
    /// which decides itself how many. For measuring.
    Cells(usize),
    /// The nearest cells first, sixteen at least, then everybody else's sketch, until somebody is at
    /// least [`SURE`] similar and reaches the floor; where there are few people (4,096), everybody's.
    /// Where somebody is sure, the other hits are the best of the cells looked at. Of whoever may reach
    /// the floor by the error bound, the code: somebody exactly at the floor is overlooked with a
    /// probability of one in 370, and more similar ones with less (of 512 values, one in 300,000 at
    /// 0.08 above it).
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

/// A cosine that nobody but the same person reaches: whoever has it is not looked for elsewhere.
pub const SURE: f32 = 0.6;

/// An identity found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdentityHit {
    /// The identity.
    pub identity: IdentityId,
    /// What the writer says it is.
    pub state: IdentityState,
    /// Cosine of the query to the most similar of the identity's representatives.
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
    /// Sketches looked at, those included of which the head was enough.
    pub sketches: usize,
    /// Codes compared.
    pub codes: usize,
    /// Embeddings read from the truth.
    pub embeddings: usize,
    /// Bytes of sketches and codes read.
    pub bytes: usize,
    /// Everything was looked at.
    pub exhaustive: bool,
}

/// A search under way.
struct Search<'a> {
    state: &'a State,
    probe: Arc<Probe>,
    sieve: Sieve<'a>,
    work: Work,
    /// Of a search for faces whose hits the truth decides.
    rivals: Option<Rivals>,
}

/// For each query, what was found, and what it took.
type Answers<Hit> = Vec<(Vec<Hit>, Work)>;

/// The answers to all queries, of which some are asked `together`.
fn in_parallel<Hit: Send>(
    queries: &[Embedding],
    together: impl Fn(&[Embedding]) -> Result<Answers<Hit>, SearchError> + Sync + Send,
) -> Result<Answers<Hit>, SearchError> {
    let answers: Result<Vec<_>, _> = queries.par_chunks(TOGETHER).map(together).collect();
    Ok(answers?.into_iter().flatten().collect())
}

impl State {
    /// The `k` identities whose representatives are most similar to `query`, most similar first;
    /// ties go to the lower id. Fewer if there are fewer; none for `k` = 0.
    ///
    /// An identity counts if at least one of its faces passes `filter`. Its representative is the
    /// mean of all its faces, those that do not pass included, except the excluded track's. Where
    /// its faces are of several kinds, the mean of each kind is one too, and the most similar counts.
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
    /// whoever is at least `floor` similar is found, unless somebody is sure; the other hits are the
    /// most similar of those who happened to be looked at.
    ///
    /// Cost: with [`Effort::Normal`], sketches, or the heads of sketches, of everybody until somebody is
    /// sure, at 1 to 4 nanoseconds each, and some tens of codes; `benches/README.md` has what was
    /// measured.
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
        let ask = |some: &[Embedding]| self.who_together(some, k, floor, filter, effort);
        if effort == Effort::Normal {
            let answers: Result<Vec<_>, _> = queries.chunks(AT_ONCE).map(ask).collect();
            return Ok(answers?.into_iter().flatten().collect());
        }
        in_parallel(queries, ask)
    }

    fn who_together(
        &self,
        queries: &[Embedding],
        k: usize,
        floor: Similarity,
        filter: &Filter,
        effort: Effort,
    ) -> Result<Answers<IdentityHit>, SearchError> {
        let find = |searches: &mut [Search]| people::identities(searches, k, floor.get(), effort);
        let hit = |(similarity, person)| IdentityHit {
            identity: IdentityId::new(self.people.get(person).id),
            state: self.people.get(person).state(),
            similarity,
        };
        self.together(queries, k, filter, find, hit)
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
        in_parallel(queries, |some| self.faces_together(some, k, filter, effort))
    }

    fn faces_together(
        &self,
        queries: &[Embedding],
        k: usize,
        filter: &Filter,
        effort: FaceEffort,
    ) -> Result<Answers<FaceHit>, SearchError> {
        let find = |searches: &mut [Search]| faces::faces(self, searches, k, effort);
        let hit = |(similarity, slot)| self.face_hit(slot, similarity);
        self.together(queries, k, filter, find, hit)
    }

    /// What `find` finds for each query, and what that took; nothing for `k` = 0.
    fn together<Hit>(
        &self,
        queries: &[Embedding],
        k: usize,
        filter: &Filter,
        find: impl FnOnce(&mut [Search]) -> Vec<Best<u64>>,
        hit: impl Fn((Similarity, u32)) -> Hit,
    ) -> Result<Answers<Hit>, SearchError> {
        let mut searches = self.searches(queries, filter)?;
        let found = if k == 0 {
            searches.iter().map(|_| Best::new(0, 0)).collect()
        } else {
            find(&mut searches)
        };
        let answers = found.into_iter().zip(&searches);
        let answers = answers.map(|(best, s)| (best.into_slots().map(&hit).collect(), s.work));
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
        if queries.len() == 1 {
            return queries.iter().map(search).collect();
        }
        queries.par_iter().map(search).collect()
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
        let bar = plane.bars(&search.probe, DEVIATIONS).above(least);
        let mut near = Vec::with_capacity(BLOCK);
        for block in 0..plane.blocks() {
            near.clear();
            plane.above(&search.probe, block, u32::MAX, bar, |one| near.push(one));
            for Estimate(_, slot) in &near {
                if let Some(similarity) = search.face(*slot).filter(|s| *s >= floor) {
                    best.offer(similarity, self.faces.get(*slot).face, *slot);
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
            probe: Arc::new(Probe::of(&state.rotation.forward(query.as_slice()))),
            sieve: Sieve::new(filter),
            work: Work::default(),
            rivals: None,
        }
    }

    /// How far estimates may be off.
    fn margin(&self, plane: &Plane) -> f32 {
        if self.state.dimension < SKETCH_DIMENSION_MIN {
            return f32::INFINITY;
        }
        DEVIATIONS * self.probe.estimate_deviation(plane.widest(), 1.0)
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

    /// Counts a block of sketches of `plane` that was looked at, `whole` or its heads alone.
    fn scanned(&mut self, plane: &Plane, whole: bool) {
        self.scanned_heads(plane, 1, u32::from(whole));
    }

    /// Counts blocks of which the heads were looked at, and those of them that were as a whole.
    fn scanned_heads(&mut self, plane: &Plane, heads: u32, whole: u32) {
        self.work.sketches += at(heads) * BLOCK;
        self.work.bytes += at(whole) * plane.block_bytes(true);
        self.work.bytes += at(heads - whole) * plane.block_bytes(false);
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
        if !self.sieve.narrows() {
            return true;
        }
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
}
