//! Checking the whole index against what it is derived from.

use std::collections::HashSet;

use crate::{
    blocks::{NONE, at},
    code::Code,
    faces::Face,
    id::{FaceId, IdentityId, SourceId, TrackId},
    identity_state::IdentityState,
    people::{Owner, source_bit},
    state::{State, Stats, direction, weight},
    store::Damage,
};

/// What is wrong with an index: damaged memory or our own bug. Rebuild it from the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A list and the records disagree on how many there are.
    #[error("{listed} {what} are listed, {found} are there")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many are listed.
        listed: usize,
        /// How many there are.
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
    /// A code is not of length 1.
    #[error("the code of face {face} is not of length 1")]
    Vector {
        /// The face.
        face: FaceId,
    },
    /// An identity is not where the map says, or empty, or in a state that there is not, or its
    /// summary does not cover its faces.
    #[error(
        "identity {identity} is not listed, has no face or no state, or does not cover its faces"
    )]
    Identity {
        /// The identity.
        identity: IdentityId,
    },
    /// An identity's sum is not the sum of its faces.
    #[error("the sum of identity {identity} is not that of its faces")]
    Sum {
        /// The identity.
        identity: IdentityId,
    },
    /// An identity's representative is not the mean of its faces, or is not its own.
    #[error("the representative of identity {identity} is not the mean of its faces")]
    Representative {
        /// The identity.
        identity: IdentityId,
    },
    /// A file of the index is not what was written to it.
    #[error("{0}")]
    Damaged(Damage),
    /// Rows, lists and maps do not fit together.
    #[error("{what}")]
    Tables {
        /// What is wrong.
        what: String,
    },
}

impl State {
    /// Checks that every face is listed by its map, its track and its identity and by no other,
    /// that codes have length 1, and that sums and representatives, made anew from the faces, are
    /// the ones kept.
    ///
    /// Cost: a few passes over every face.
    ///
    /// # Errors
    /// The first [`VerifyError`] found.
    pub fn verify(&self) -> Result<Stats, VerifyError> {
        let verified = self.verify_tables();
        match self.damage.get() {
            None => verified,
            Some(damage) => Err(VerifyError::Damaged(damage.clone())),
        }
    }

    fn verify_tables(&self) -> Result<Stats, VerifyError> {
        // First: what follows trusts every list.
        self.check_tables()
            .map_err(|what| VerifyError::Tables { what })?;
        let mut of_people = HashSet::new();
        let mut taken = 0;
        for person in self.people.all() {
            self.verify_identity(person)?;
            taken += 1usize << self.people.get(person).tail_length;
            taken += (at(self.people.get(person).faces) - 1) / 32 * 32;
            of_people.extend(self.slots_of(person));
        }
        // A whole tail is counted as such above.
        let mut tracks = HashSet::new();
        for slot in self.faces.slots() {
            self.verify_face(slot)?;
            tracks.insert(self.faces.get(slot).track);
            if !of_people.contains(&slot) {
                let face = FaceId::new(self.faces.get(slot).face);
                return Err(VerifyError::Face {
                    face,
                    by: "identity",
                });
            }
        }
        same("faces of identities", of_people.len(), self.faces.len())?;
        same("slots", self.faces.blocks.taken(), taken)?;
        same("tracks", self.faces.tracks(), tracks.len())?;
        Ok(self.stats())
    }

    fn verify_face(&self, slot: u32) -> Result<(), VerifyError> {
        let row = self.faces.get(slot);
        let face = FaceId::new(row.face);
        if self.faces.slot(face) != Some(slot) {
            return Err(VerifyError::Face { face, by: "map" });
        }
        if !self
            .faces
            .track(TrackId::new(row.track))
            .any(|other| other == slot)
        {
            return Err(VerifyError::Face { face, by: "track" });
        }
        let code = self.faces.plane.code(at(slot));
        let length: i64 = code
            .values
            .iter()
            .map(|v| i64::from(*v) * i64::from(*v))
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
        let length = (length as f32).sqrt() * code.step;
        // Written so that NaN fails.
        let unit = (length - 1.0).abs() <= 1e-3 && code.scale.is_finite();
        if unit {
            Ok(())
        } else {
            Err(VerifyError::Vector { face })
        }
    }

    fn verify_identity(&self, person: u32) -> Result<(), VerifyError> {
        let row = self.people.get(person);
        let identity = IdentityId::new(row.id);
        let unsound = VerifyError::Identity { identity };
        let listed = self.people.row(identity) == Some(person);
        let whole = row.faces > 0 && row.representative != NONE;
        if !listed || !whole || IdentityState::new(row.state).is_none() {
            return Err(unsound);
        }
        let (mut faces, mut total) = (0, 0);
        for slot in self.slots_of(person) {
            let face = self.faces.get(slot);
            let covered = row.sources & source_bit(SourceId::new(face.source)) != 0
                && row.attributes & face.attributes == face.attributes
                && (row.seen_first_us..=row.seen_last_us).contains(&face.seen_us);
            if face.identity != person || !covered {
                return Err(unsound);
            }
            faces += 1;
            total += u64::from(weight(face.quality));
        }
        if faces != row.faces || total != row.weight {
            return Err(unsound);
        }
        if self
            .people
            .sum(person)
            .is_some_and(|sum| sum != self.sum_of(person))
        {
            return Err(VerifyError::Sum { identity });
        }
        let code = Code::of(&self.representative_of(person));
        let kept = self.cells.plane.code(at(row.representative));
        let whose = self.people.owner(self.cells.owner(row.representative));
        let modal = self.people.first_mode(person) != NONE;
        if code != kept || whose != (Owner { person, modal }) {
            return Err(VerifyError::Representative { identity });
        }
        self.verify_modes(person)
    }

    fn verify_modes(&self, person: u32) -> Result<(), VerifyError> {
        let identity = IdentityId::new(self.people.get(person).id);
        let modes: Vec<u32> = self.people.modes_of(person).collect();
        let mut faces = 0;
        for mode in &modes {
            let row = self.people.modes.get(*mode);
            let mine = |face: &Face| u32::from(face.mode) == row.number;
            let (sum, total) = self.sum_where(person, mine);
            if sum != self.people.modes.sum(*mode) || total != row.weight {
                return Err(VerifyError::Sum { identity });
            }
            let whose = self.people.owner(self.cells.owner(row.representative));
            let code = direction(&sum, total).map(|direction| Code::of(&direction));
            let kept = self.cells.plane.code(at(row.representative));
            let own = whose
                == (Owner {
                    person,
                    modal: true,
                })
                && row.person == person;
            if !own || row.faces == 0 || code.is_some_and(|code| code != kept) {
                return Err(VerifyError::Representative { identity });
            }
            faces += row.faces;
        }
        let covered = faces == self.people.get(person).faces;
        if modes.is_empty() || modes.len() > 1 && covered {
            Ok(())
        } else {
            Err(VerifyError::Identity { identity })
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
