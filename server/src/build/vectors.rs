//! A file of vectors: each source of it, track by track.
//!
//! Nothing is known of pictures, so faces have no box and no crop. Where times are known, stream time begins with the
//! source's first face, at 25 frames a second; else tracks come one after the other, a second apart, so that none is taken
//! to be on screen with another.

use super::extracted::finished;
use super::given::{Given, GivenRule, GivenSource, majority, read_names};
use super::{BuildError, BuildInput, Material, request_id};
use crate::core::{NewSource, Observed};
use crate::hex::to_hex;
use crate::pb;
use crate::time::{duration, timestamp};
use rollcall_index::Embedding;
use rollcall_index::vectors::Known;
use rollcall_ingest::faceset::FaceSet;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Exemplars in an observation at most: what a run may send.
const EXEMPLARS_MAX: usize = 64;
/// Where no times are known: from one track to the next, and from one face to the next.
const TRACK_US: i64 = 1_000_000;
const FACE_US: i64 = 1;
/// Where they are: length of a frame.
const FRAME_US: i64 = 40_000;
/// Tracks between two checkpoints at least.
const CHECKPOINT_TRACKS: usize = 256;

/// One source of a file of vectors.
pub(super) struct Vectors {
    path: PathBuf,
    faces: Arc<FaceSet>,
    number: Option<u64>,
    contract: String,
    digest: String,
    tracks: Vec<Track>,
    /// Of the whole file, with its last source.
    given: Option<Arc<Given>>,
}

/// A track's rows, in order of time, with the stream time of each.
struct Track {
    key: u64,
    rows: Vec<(usize, i64)>,
}

impl Track {
    fn start_us(&self) -> i64 {
        self.rows.first().map_or(0, |(_, time_us)| *time_us)
    }

    fn end_us(&self) -> i64 {
        self.rows.last().map_or(0, |(_, time_us)| *time_us)
    }
}

impl Vectors {
    /// Reads the file, and gives its sources in the order of their numbers.
    pub(super) fn of(input: &BuildInput) -> Result<Vec<Self>, BuildError> {
        let path = &input.path;
        let faces = Arc::new(FaceSet::read(path, &input.model, &input.sides)?);
        let digest = digest(&faces);
        let path = path.canonicalize().map_err(|source| BuildError::Io {
            path: path.clone(),
            source,
        })?;
        let keys = faces.tracks();
        let mut sources: BTreeMap<Option<u64>, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
        for (row, key) in keys.into_iter().enumerate() {
            let source = sources.entry(faces.known()[row].source).or_default();
            source.entry(key).or_default().push(row);
        }
        let whole = sources.into_iter().map(|(number, tracks)| Self {
            path: path.clone(),
            tracks: in_time(&faces, tracks),
            faces: Arc::clone(&faces),
            number,
            contract: input.contract.clone(),
            digest: digest.clone(),
            given: None,
        });
        let mut whole: Vec<Self> = whole.collect();
        let given = given(input, &whole)?.map(Arc::new);
        if let Some(last) = whole.last_mut() {
            last.given = given;
        }
        Ok(whole)
    }

    /// The given identity of each track that has one, and how many have several.
    fn given_of_tracks(&self) -> (BTreeMap<u64, u64>, u64) {
        let (mut tracks, mut mixed) = (BTreeMap::new(), 0);
        for track in &self.tracks {
            let faces = track.rows.iter();
            let of = majority(faces.map(|(row, _)| self.faces.known()[*row].identity));
            if let Some((identity, all)) = of {
                tracks.insert(track.key, identity);
                mixed += u64::from(!all);
            }
        }
        (tracks, mixed)
    }

    fn wall_us(&self, track: &Track) -> i64 {
        let first = track.rows.first();
        first.map_or(0, |(row, _)| self.faces.known()[*row].time_us.unwrap_or(0))
    }

    fn observations(&self, track: &Track) -> Vec<Observed> {
        let parts = track.rows.chunks(EXEMPLARS_MAX);
        let count = parts.len();
        let observation = |(part, rows): (usize, &[(usize, i64)])| {
            let first = part * EXEMPLARS_MAX;
            let exemplars = rows.iter().enumerate().map(|(place, (row, time_us))| {
                let number = u32::try_from(first + place + 1).unwrap_or(u32::MAX);
                self.exemplar(number, *row, *time_us)
            });
            Observed::Track(pb::TrackObservation {
                track_key: track.key,
                revision: u32::try_from(part + 1).unwrap_or(u32::MAX),
                closed: part + 1 == count,
                start: Some(duration(track.start_us())),
                end: Some(duration(track.end_us())),
                start_frame: track.start_us() / FRAME_US,
                end_frame: track.end_us() / FRAME_US,
                wall_start: Some(timestamp(self.wall_us(track))),
                exemplars: exemplars.collect(),
                ..pb::TrackObservation::default()
            })
        };
        parts.enumerate().map(observation).collect()
    }

    fn exemplar(&self, number: u32, row: usize, time_us: i64) -> pb::ObservedExemplar {
        let values = self.faces.embedding(row).to_vec();
        let embedding = Embedding::normalise(values).expect("a face set holds unit vectors");
        pb::ObservedExemplar {
            number,
            face: Some(pb::ObservedFace {
                frame: time_us / FRAME_US,
                time: Some(duration(time_us)),
                r#box: Some(pb::Box::default()),
                confidence: 1.0,
            }),
            quality: 1.0,
            embedding: embedding.to_f16_bytes(),
            ..pb::ObservedExemplar::default()
        }
    }
}

/// Tracks in the order in which they begin, with the stream time of each row.
fn in_time(faces: &FaceSet, tracks: BTreeMap<u64, Vec<usize>>) -> Vec<Track> {
    let time = |row: &usize| faces.known()[*row].time_us;
    let rows = || tracks.values().flatten();
    let origin_us = rows().map(time).min().flatten();
    let mut timed: Vec<Track> = match origin_us {
        // The least of all is there: so are all others.
        Some(origin_us) => {
            let of = |(key, rows): (u64, Vec<usize>)| {
                let at = |row: usize| {
                    (
                        row,
                        time(&row).unwrap_or(origin_us).saturating_sub(origin_us),
                    )
                };
                let mut rows: Vec<_> = rows.into_iter().map(at).collect();
                rows.sort_by_key(|(row, time_us)| (*time_us, *row));
                Track { key, rows }
            };
            tracks.into_iter().map(of).collect()
        }
        None => {
            let mut whole: Vec<(u64, Vec<usize>)> = tracks.into_iter().collect();
            whole.sort_by_key(|(_, rows)| rows.first().copied());
            let mut start_us = 0;
            let of = |(key, rows): (u64, Vec<usize>)| {
                let rows: Vec<_> = rows
                    .into_iter()
                    .zip(0..)
                    .map(|(row, place)| (row, start_us + place * FACE_US))
                    .collect();
                let track = Track { key, rows };
                start_us = track.end_us() + TRACK_US;
                track
            };
            whole.into_iter().map(of).collect()
        }
    };
    timed.sort_by_key(|track| (track.start_us(), track.rows.first().map(|(row, _)| *row)));
    timed
}

/// What the sources of a file say of who their tracks are.
fn given(input: &BuildInput, sources: &[Vectors]) -> Result<Option<Given>, BuildError> {
    if input.given == GivenRule::Ignore {
        return Ok(None);
    }
    let names = input.names.as_deref().map(read_names).transpose()?;
    let (mut all, mut mixed) = (Vec::with_capacity(sources.len()), 0);
    for source in sources {
        let (tracks, more) = source.given_of_tracks();
        mixed += more;
        all.push(GivenSource {
            request_id: request_id(&source.source().uri, &source.digest),
            tracks,
        });
    }
    let given = Given::new(&input.path, all, names.unwrap_or_default(), mixed);
    match (&input.names, &given) {
        (Some(path), None) => Err(BuildError::NamesOfNobody {
            path: path.clone(),
            vectors: input.path.clone(),
        }),
        _ => Ok(given),
    }
}

/// Of everything that the file says, but for identities: the same tracks may be given other ones later.
fn digest(faces: &FaceSet) -> String {
    let mut hash = Sha256::new();
    for value in faces.embeddings() {
        hash.update(value.to_le_bytes());
    }
    for known in faces.known() {
        let seen = Known {
            identity: None,
            ..*known
        };
        hash.update(format!("{seen:?}"));
    }
    to_hex(&hash.finalize())
}

impl Material for Vectors {
    fn place(&self) -> &Path {
        &self.path
    }

    fn source(&self) -> NewSource {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        let (mut uri, mut name) = (
            format!("vectors:{}", self.path.display()),
            file.into_owned(),
        );
        if let Some(number) = self.number {
            uri += &format!("#{number}");
            name += &format!(" #{number}");
        }
        NewSource {
            uri,
            name,
            kind: pb::SourceKind::Remote,
            realtime: false,
            author: String::new(),
            request_id: String::new(),
        }
    }

    fn contract(&self) -> (&str, usize) {
        (&self.contract, self.faces.dimension())
    }

    fn pipeline(&self) -> String {
        self.digest.clone()
    }

    fn id(&self) -> String {
        self.digest.clone()
    }

    fn tracks(&self) -> u64 {
        u64::try_from(self.tracks.len()).unwrap_or(u64::MAX)
    }

    fn given(&self) -> Option<Arc<Given>> {
        self.given.clone()
    }

    fn read(self: Box<Self>, take: &mut dyn FnMut(Observed) -> bool) -> Result<(), BuildError> {
        let (mut since, mut end_us) = (0, -1);
        for track in &self.tracks {
            let start_us = track.start_us();
            if since >= CHECKPOINT_TRACKS && end_us < start_us {
                since = 0;
                let checkpoint = pb::Checkpoint {
                    complete_up_to: Some(duration(start_us)),
                    complete_up_to_frame: start_us / FRAME_US,
                };
                if !take(Observed::Checkpoint(checkpoint)) {
                    return Ok(());
                }
            }
            since += 1;
            end_us = end_us.max(track.end_us());
            if !self.observations(track).into_iter().all(&mut *take) {
                return Ok(());
            }
        }
        take(finished(end_us.max(0)));
        Ok(())
    }
}
