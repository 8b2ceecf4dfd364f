//! Checking the whole index against what it is derived from.

use crate::{
    blocks::at,
    code::Code,
    faces::Face,
    id::{FaceId, IdentityId, SourceId},
    identity_state::IdentityState,
    people::source_bit,
    state::{State, Stats, direction},
    store::Damage,
};

/// What is wrong with an index: damaged memory or our own bug. Rebuild it from the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A code is not of length 1.
    #[error("the code of face {face} is not of length 1")]
    Vector {
        /// The face.
        face: FaceId,
    },
    /// An identity is in a state that there is not, or its summary does not cover its faces.
    #[error("identity {identity} has no state, or does not cover its faces")]
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
    /// An identity's representative, or one of its modes', is not the mean of its faces.
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
        // First: what follows trusts every list. Who is listed where is all settled by it.
        self.check_tables()
            .map_err(|what| VerifyError::Tables { what })?;
        self.faces
            .slots()
            .try_for_each(|slot| self.verify_vector(slot))?;
        self.people
            .all()
            .try_for_each(|person| self.verify_identity(person))?;
        Ok(self.stats())
    }

    fn verify_vector(&self, slot: u32) -> Result<(), VerifyError> {
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
            let face = FaceId::new(self.faces.get(slot).face);
            Err(VerifyError::Vector { face })
        }
    }

    fn verify_identity(&self, person: u32) -> Result<(), VerifyError> {
        let row = self.people.get(person);
        let identity = IdentityId::new(row.id);
        let covers = |slot: u32| {
            let face = self.faces.get(slot);
            row.sources & source_bit(SourceId::new(face.source)) != 0
                && row.attributes & face.attributes == face.attributes
                && (row.seen_first_us..=row.seen_last_us).contains(&face.seen_us)
        };
        if IdentityState::new(row.state).is_none() || !self.slots_of(person).all(covers) {
            return Err(VerifyError::Identity { identity });
        }
        let kept = self.people.sum(person);
        if kept.is_some_and(|sum| sum != self.sum_of(person)) {
            return Err(VerifyError::Sum { identity });
        }
        let code = Code::of(&self.representative_of(person));
        if code != self.cells.plane.code(at(row.representative)) {
            return Err(VerifyError::Representative { identity });
        }
        self.verify_modes(person, identity)
    }

    fn verify_modes(&self, person: u32, identity: IdentityId) -> Result<(), VerifyError> {
        for mode in self.people.modes_of(person) {
            let row = self.people.modes.get(mode);
            let mine = |face: &Face| u32::from(face.mode) == row.number;
            let (sum, total) = self.sum_where(person, mine);
            if sum != self.people.modes.sum(mode) {
                return Err(VerifyError::Sum { identity });
            }
            let code = direction(&sum, total).map(|direction| Code::of(&direction));
            let kept = self.cells.plane.code(at(row.representative));
            if code.is_some_and(|code| code != kept) {
                return Err(VerifyError::Representative { identity });
            }
        }
        Ok(())
    }
}
