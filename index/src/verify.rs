//! Checking the whole index against what it is derived from.

use crate::{
    embedding::UNIT_TOLERANCE,
    id::{FaceId, IdentityId, TrackId},
    kernel,
    state::{Face, Identity, Members, State, Stats},
};

/// How far sums kept up to date may drift from sums made anew, per unit of weight. Each of up to
/// millions of additions in double precision may be off by 1e-16 of the sum.
const DRIFT: f64 = 1e-9;

/// What is wrong with an index: damaged memory or our own bug. Rebuild it from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Free rows and records disagree.
    #[error("{rows} rows of the table of {table} are neither free nor in use")]
    Rows {
        /// Which table: faces or identities.
        table: &'static str,
        /// How many rows.
        rows: usize,
    },
    /// A map and the records disagree on how many there are.
    #[error("{listed} {what} are listed, {found} are there")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many the map or members list.
        listed: usize,
        /// How many records there are.
        found: usize,
    },
    /// A face is not where the maps say.
    #[error("face {face} is not listed by its {by}")]
    Face {
        /// The face.
        face: FaceId,
        /// What should list it: map, track or identity.
        by: &'static str,
    },
    /// A vector is not finite or not of length 1.
    #[error("the vector of face {face} is not of length 1")]
    Vector {
        /// The face.
        face: FaceId,
    },
    /// An identity is not where the map says, or empty.
    #[error("identity {identity} is not listed, or has no face")]
    Identity {
        /// The identity.
        identity: IdentityId,
    },
    /// A track is listed that has no face.
    #[error("track {track} is listed and has no face")]
    Track {
        /// The track.
        track: TrackId,
    },
    /// An identity's sum is not the sum of its faces.
    #[error("the sum of identity {identity} is not that of its faces")]
    Sum {
        /// The identity.
        identity: IdentityId,
    },
    /// An identity's representative is not the direction of its sum.
    #[error("the representative of identity {identity} is not the mean of its faces")]
    Representative {
        /// The identity.
        identity: IdentityId,
    },
}

impl State {
    /// Checks that every face is listed by its map, its track and its identity and by no other,
    /// that vectors have length 1, and that sums and representatives, made anew from the faces,
    /// are the ones kept.
    ///
    /// Cost: two passes over every face.
    ///
    /// # Errors
    /// The first [`VerifyError`] found.
    pub fn verify(&self) -> Result<Stats, VerifyError> {
        self.verify_rows()?;
        for (slot, face, vector) in self.faces.iter() {
            self.verify_face(slot, face, vector)?;
        }
        for (slot, identity, representative) in self.identities.iter() {
            self.verify_identity(slot, identity, representative)?;
        }
        if let Some((track, _)) = self.tracks.iter().find(|(_, members)| members.is_empty()) {
            return Err(VerifyError::Track { track: *track });
        }
        // Every face was found in its own lists; equal totals leave no room for strangers in them.
        let by_track: usize = self.tracks.values().map(Members::size).sum();
        let by_identity: usize = self.identities.iter().map(|row| row.1.members.size()).sum();
        let (faces, identities) = (self.faces.len(), self.identities.len());
        same("faces", self.face_slots.size(), faces)?;
        same("faces of tracks", by_track, faces)?;
        same("faces of identities", by_identity, faces)?;
        same("identities", self.identity_slots.size(), identities)?;
        Ok(self.stats())
    }

    fn verify_rows(&self) -> Result<(), VerifyError> {
        let tables = [
            ("faces", self.faces.misplaced()),
            ("identities", self.identities.misplaced()),
        ];
        match tables.into_iter().find(|(_, rows)| *rows > 0) {
            Some((table, rows)) => Err(VerifyError::Rows { table, rows }),
            None => Ok(()),
        }
    }

    fn verify_face(&self, slot: usize, face: &Face, vector: &[f32]) -> Result<(), VerifyError> {
        let id = face.face;
        let identity = self.identities.get(face.identity_slot);
        let identity = identity.filter(|identity| identity.identity == face.identity);
        let listed = [
            ("map", self.face_slots.get(&id)),
            (
                "track",
                self.tracks
                    .get(&face.track)
                    .and_then(|members| members.get(&id)),
            ),
            (
                "identity",
                identity.and_then(|identity| identity.members.get(&id)),
            ),
        ];
        if let Some((by, _)) = listed
            .into_iter()
            .find(|(_, listed)| *listed != Some(&slot))
        {
            return Err(VerifyError::Face { face: id, by });
        }
        let norm = kernel::norm(vector.iter().map(|value| f64::from(*value)));
        // Written so that NaN fails.
        if (norm - 1.0).abs() <= UNIT_TOLERANCE {
            Ok(())
        } else {
            Err(VerifyError::Vector { face: id })
        }
    }

    fn verify_identity(
        &self,
        slot: usize,
        identity: &Identity,
        representative: &[f32],
    ) -> Result<(), VerifyError> {
        let id = identity.identity;
        if self.identity_slots.get(&id) != Some(&slot) || identity.members.is_empty() {
            return Err(VerifyError::Identity { identity: id });
        }
        let mut sum = vec![0.0; self.dimension];
        let mut total = 0.0;
        for face in identity.members.values() {
            let record = self
                .faces
                .get(*face)
                .ok_or(VerifyError::Sum { identity: id })?;
            total += record.weight();
            for (sum, value) in sum.iter_mut().zip(self.faces.vector(*face)) {
                *sum += f64::from(*value) * record.weight();
            }
        }
        let near = |kept: f64, made: f64| (kept - made).abs() <= DRIFT * (1.0 + total);
        let mut pairs = identity.sum.iter().zip(&sum);
        if !near(identity.weight, total) || !pairs.all(|(kept, made)| near(*kept, *made)) {
            return Err(VerifyError::Sum { identity: id });
        }
        let members = identity.members.values().copied();
        let direction = self.direction(&identity.sum, identity.weight, members);
        match direction {
            Some(direction) if direction.as_slice() == representative => Ok(()),
            Some(_) | None => Err(VerifyError::Representative { identity: id }),
        }
    }
}

fn same(what: &'static str, listed: usize, found: usize) -> Result<(), VerifyError> {
    if listed == found {
        Ok(())
    } else {
        Err(VerifyError::Count {
            what,
            listed,
            found,
        })
    }
}
