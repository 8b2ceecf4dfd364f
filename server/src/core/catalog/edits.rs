//! Edits in the catalog: what their records change, and what the writer must know to make one.

use super::read::redirect;
use super::{Catalog, CatalogError, CatalogWriter, EditPlace, history, sql, unsql};
use crate::core::fact::{Side, sides};
use crate::core::marks::Marks;
use rollcall_log::record::{
    Edited, IdentityRenamed, IdentityState, Profile, ProfileChange, Record, TrackObserved,
    TracksMoved,
};
use rusqlite::{Connection, OptionalExtension, Statement, params};

/// What two names must not have in common: the name without case, and without space around it.
pub(crate) fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// The table's word for a state: one that says nothing is active.
fn state_column(state: IdentityState) -> i32 {
    match state {
        IdentityState::Unspecified | IdentityState::Active => IdentityState::Active.into(),
        IdentityState::Hidden => IdentityState::Hidden.into(),
        IdentityState::Erased => IdentityState::Erased.into(),
    }
}

/// What records change.
impl CatalogWriter {
    /// Nothing is said of an identity any more.
    pub(super) fn forget_marks(&mut self, identity: u64) {
        self.note_marks(identity, Marks::default());
    }

    pub(super) fn load_marks(&mut self) -> Result<(), CatalogError> {
        let text =
            "SELECT id, state = ?1, name <> '' FROM identities WHERE state = ?1 OR name <> ''";
        let mut statement = self.db.prepare(text)?;
        let marked = statement.query_map([i32::from(IdentityState::Hidden)], |row| {
            let marks = Marks {
                hidden: row.get(1)?,
                named: row.get(2)?,
            };
            Ok((unsql(row.get(0)?), marks))
        })?;
        let marked: Vec<(u64, Marks)> = marked.collect::<Result<_, _>>()?;
        drop(statement);
        for (identity, marks) in marked {
            self.note_marks(identity, marks);
        }
        Ok(())
    }

    fn note_marks(&mut self, identity: u64, marks: Marks) {
        let sets = [
            (&mut self.hidden, marks.hidden),
            (&mut self.named, marks.named),
        ];
        for (set, is) in sets {
            if is {
                set.insert(identity);
            } else {
                set.remove(&identity);
            }
        }
    }

    pub(super) fn renamed(
        &mut self,
        record: &Record,
        rename: &IdentityRenamed,
    ) -> Result<(), CatalogError> {
        self.db
            .prepare_cached("UPDATE identities SET name = ?2, name_key = ?3 WHERE id = ?1")?
            .execute(params![
                sql(rename.identity_id),
                rename.name,
                name_key(&rename.name)
            ])?;
        let marks = Marks {
            named: !rename.name.is_empty(),
            ..self.marks(rename.identity_id)
        };
        self.note_marks(rename.identity_id, marks);
        self.note_edit(record, (0, 0), &[rename.identity_id])
    }

    pub(super) fn edited(&mut self, record: &Record, edited: &Edited) -> Result<(), CatalogError> {
        for change in &edited.profiles {
            self.change_profile(record, change)?;
        }
        for moved in &edited.moves {
            self.move_tracks(moved)?;
        }
        for change in &edited.redirects {
            self.redirect(
                change.identity_id,
                Some(change.after).filter(|after| *after != 0),
            )?;
        }
        self.change_facts(record, &edited.facts)?;
        for gone in &edited.retracted {
            self.track_retracted(gone.track_id, gone.identity_id)?;
        }
        for photo in &edited.enrolled {
            self.enrolled(record, photo)?;
        }
        let mut named = named(edited);
        for fact in edited.facts.iter().filter_map(|change| change.fact) {
            for side in sides(&fact) {
                if let Side::Identity(id) = side {
                    named.push(id);
                }
                named.extend(self.stands_for(side)?);
            }
        }
        named.sort_unstable();
        named.dedup();
        named.retain(|id| *id != 0);
        self.note_edit(record, (edited.undoes, edited.key), &named)
    }

    fn change_profile(
        &mut self,
        record: &Record,
        change: &ProfileChange,
    ) -> Result<(), CatalogError> {
        let id = change.identity_id;
        if change.created && id > self.ids.identity {
            self.new_identity(record, id)?;
        }
        let after = change.after.clone().unwrap_or_default();
        self.db
            .prepare_cached(
                "UPDATE identities SET name = ?2, name_key = ?3, external_id = ?4, state = ?5, \
                 confirmed = ?6, seal = max(seal, ?7) WHERE id = ?1",
            )?
            .execute(params![
                sql(id),
                after.name,
                name_key(&after.name),
                after.external_id,
                state_column(after.state()),
                after.confirmed,
                sql(change.key)
            ])?;
        self.db
            .prepare_cached("DELETE FROM metadata WHERE identity_id = ?1")?
            .execute([sql(id)])?;
        for (key, value) in &after.metadata {
            self.db
                .prepare_cached("INSERT INTO metadata VALUES (?1, ?2, ?3)")?
                .execute(params![sql(id), key, value])?;
        }
        self.note_marks(id, Marks::of(&after));
        Ok(())
    }

    fn move_tracks(&mut self, moved: &TracksMoved) -> Result<(), CatalogError> {
        let (from, into) = (moved.from_identity_id, moved.into_identity_id);
        if moved.all {
            self.db
                .prepare_cached("UPDATE tracks SET identity_id = ?2 WHERE identity_id = ?1")?
                .execute([sql(from), sql(into)])?;
            self.alerts_follow(from, into)?;
        } else {
            let mut statement = self
                .db
                .prepare_cached("UPDATE tracks SET identity_id = ?2 WHERE id = ?1")?;
            for track in &moved.track_ids {
                statement.execute([sql(*track), sql(into)])?;
            }
            drop(statement);
            if self.any_alert_of(from)? {
                for track in &moved.track_ids {
                    self.alerts_follow_track(*track, (from, into))?;
                }
            }
        }
        self.recompute(from)?;
        self.recompute(into)
    }

    fn enrolled(&mut self, record: &Record, photo: &TrackObserved) -> Result<(), CatalogError> {
        let identity = photo.decision.as_ref().map_or(0, |it| it.identity_id);
        self.ids.track = self.ids.track.max(photo.track_id);
        // It may be back, by an undo.
        self.db
            .prepare_cached("DELETE FROM retracted_tracks WHERE track_id = ?1")?
            .execute([sql(photo.track_id)])?;
        self.put_track(photo, identity, Some(record.sequence))?;
        for exemplar in &photo.exemplars {
            self.ids.exemplar = self.ids.exemplar.max(exemplar.exemplar_id);
            self.put_exemplar(photo.track_id, exemplar)?;
        }
        self.recompute(identity)
    }

    /// From here on `from` resolves to `into`, or to itself.
    pub(super) fn redirect(&mut self, from: u64, into: Option<u64>) -> Result<(), CatalogError> {
        match into {
            Some(into) => self
                .db
                .prepare_cached("INSERT OR REPLACE INTO redirects VALUES (?1, ?2)")?
                .execute([sql(from), sql(into)])?,
            None => self
                .db
                .prepare_cached("DELETE FROM redirects WHERE identity_id = ?1")?
                .execute([sql(from)])?,
        };
        Ok(())
    }

    /// Notes the edit in the history of everybody whom it names, that it takes another back, and the key of its reason.
    fn note_edit(
        &mut self,
        record: &Record,
        (undoes, seal): (u64, u64),
        identities: &[u64],
    ) -> Result<(), CatalogError> {
        let sequence = sql(record.sequence);
        for identity in identities {
            self.db
                .prepare_cached("UPDATE identities SET edit_sequence = ?2 WHERE id = ?1")?
                .execute([sql(*identity), sequence])?;
            self.db
                .prepare_cached("INSERT OR REPLACE INTO edit_identities VALUES (?1, ?2)")?
                .execute([sql(*identity), sequence])?;
        }
        self.db
            .prepare_cached("INSERT INTO edits VALUES (?1, ?2, NULL, ?3)")?
            .execute([sequence, sql(undoes), sql(seal)])?;
        // What is taken back may itself have taken something back, which is in effect again; and so on.
        let (mut by, mut edit, mut in_effect) = (sequence, sql(undoes), false);
        while edit != 0 {
            self.db
                .prepare_cached("UPDATE edits SET undone_by = ?2 WHERE sequence = ?1")?
                .execute(params![edit, (!in_effect).then_some(by)])?;
            by = edit;
            edit = self
                .db
                .prepare_cached("SELECT undoes FROM edits WHERE sequence = ?1")?
                .query_row([edit], |row| row.get(0))
                .optional()?
                .unwrap_or(0);
            in_effect = !in_effect;
        }
        Ok(())
    }
}

/// Everybody whom an edit names, facts apart; more than once, and 0 for nobody.
fn named(edited: &Edited) -> Vec<u64> {
    let profiles = edited.profiles.iter().map(|change| change.identity_id);
    let moves = edited.moves.iter();
    let moves = moves.flat_map(|moved| [moved.from_identity_id, moved.into_identity_id]);
    let redirects = edited.redirects.iter();
    let redirects = redirects.flat_map(|change| [change.identity_id, change.before, change.after]);
    let enrolled = edited.enrolled.iter();
    let enrolled = enrolled.filter_map(|photo| Some(photo.decision.as_ref()?.identity_id));
    let retracted = edited.retracted.iter().map(|gone| gone.identity_id);
    let photos = enrolled.chain(retracted);
    profiles
        .chain(moves)
        .chain(redirects)
        .chain(photos)
        .collect()
}

/// What the writer looks up to make an edit, uncommitted changes included.
impl CatalogWriter {
    /// What the index is to know of an identity.
    pub(crate) fn marks(&self, identity: u64) -> Marks {
        Marks {
            hidden: self.hidden.contains(&identity),
            named: self.named.contains(&identity),
        }
    }

    pub(crate) fn any_hidden(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// What people say about this very identity, redirects not followed.
    pub(crate) fn profile(&self, id: u64) -> Result<Option<Profile>, CatalogError> {
        let row = self
            .db
            .prepare_cached(
                "SELECT name, external_id, state, confirmed FROM identities WHERE id = ?1",
            )?
            .query_row([sql(id)], |row| {
                Ok(Profile {
                    name: row.get(0)?,
                    external_id: row.get(1)?,
                    state: row.get(2)?,
                    confirmed: row.get(3)?,
                    ..Profile::default()
                })
            })
            .optional()?;
        let Some(mut profile) = row else {
            return Ok(None);
        };
        let mut statement = self
            .db
            .prepare_cached("SELECT key, value FROM metadata WHERE identity_id = ?1")?;
        let metadata = statement.query_map([sql(id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        profile.metadata = metadata.collect::<Result<_, _>>()?;
        Ok(Some(profile))
    }

    /// What this very identity was made a part of, if it was.
    pub(crate) fn absorber(&self, id: u64) -> Result<Option<u64>, CatalogError> {
        redirect(&self.db, id)
    }

    /// Whether somebody was made a part of this very identity.
    pub(crate) fn has_absorbed(&self, id: u64) -> Result<bool, CatalogError> {
        let mut statement = self
            .db
            .prepare_cached("SELECT 1 FROM redirects WHERE into_id = ?1")?;
        Ok(statement.exists([sql(id)])?)
    }

    /// The tracks of an identity, by id.
    pub(crate) fn tracks_of(&self, id: u64) -> Result<Vec<u64>, CatalogError> {
        let text = "SELECT id FROM tracks WHERE identity_id = ?1 ORDER BY id";
        ids(&mut *self.db.prepare_cached(text)?, [sql(id)])
    }

    /// The enrolled photo of this key: its track, and whose it is.
    pub(crate) fn photo(&self, key: u64) -> Result<Option<(u64, u64)>, CatalogError> {
        photo(&self.db, key)
    }

    /// Tracks that were decided to be of an identity after record `sequence`, by id.
    pub(crate) fn joined_since(&self, id: u64, sequence: u64) -> Result<Vec<u64>, CatalogError> {
        let text = "SELECT id FROM tracks WHERE identity_id = ?1 AND decided_sequence > ?2 \
                    ORDER BY id";
        ids(
            &mut *self.db.prepare_cached(text)?,
            [sql(id), sql(sequence)],
        )
    }

    pub(crate) fn edit(&self, sequence: u64) -> Result<Option<EditPlace>, CatalogError> {
        history::edit(&self.db, sequence)
    }

    /// Edits in effect after the one at `sequence` that name the identity, oldest first: those that were
    /// undone, and those that undid them, left out.
    pub(crate) fn edits_since(&self, id: u64, sequence: u64) -> Result<Vec<u64>, CatalogError> {
        let text = "SELECT e.sequence FROM edit_identities i JOIN edits e USING (sequence) \
                    WHERE i.identity_id = ?1 AND e.sequence > ?2 AND e.undone_by IS NULL \
                    AND e.undoes <= ?2 ORDER BY e.sequence";
        ids(
            &mut *self.db.prepare_cached(text)?,
            [sql(id), sql(sequence)],
        )
    }

    /// Edits before the one at `sequence` that name the identity, newest first.
    pub(crate) fn edits_before(&self, id: u64, sequence: u64) -> Result<Vec<u64>, CatalogError> {
        let text = "SELECT sequence FROM edit_identities WHERE identity_id = ?1 AND sequence < ?2 \
                    ORDER BY sequence DESC";
        ids(
            &mut *self.db.prepare_cached(text)?,
            [sql(id), sql(sequence)],
        )
    }

    /// Identities that are not absorbed and bear this name, but for case, by id.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<u64>, CatalogError> {
        named_so(&self.db, name)
    }

    /// Identities that are not absorbed and have this external id, by id.
    pub(crate) fn known_as(&self, external_id: &str) -> Result<Vec<u64>, CatalogError> {
        known_so(&self.db, external_id)
    }
}

fn photo(db: &Connection, key: u64) -> Result<Option<(u64, u64)>, CatalogError> {
    let text = "SELECT id, identity_id FROM tracks WHERE source_id = 0 AND run = 0 AND key = ?1";
    let row = db.prepare_cached(text)?.query_row([sql(key)], |row| {
        Ok((unsql(row.get(0)?), unsql(row.get(1)?)))
    });
    Ok(row.optional()?)
}

fn named_so(db: &Connection, name: &str) -> Result<Vec<u64>, CatalogError> {
    let text = "SELECT id FROM identities WHERE name_key = ?1 AND name_key <> '' AND NOT \
                EXISTS (SELECT 1 FROM redirects WHERE identity_id = id) ORDER BY id";
    ids(&mut *db.prepare_cached(text)?, [name_key(name)])
}

fn known_so(db: &Connection, external_id: &str) -> Result<Vec<u64>, CatalogError> {
    let text = "SELECT id FROM identities WHERE external_id = ?1 AND external_id <> '' AND NOT \
                EXISTS (SELECT 1 FROM redirects WHERE identity_id = id) ORDER BY id";
    ids(&mut *db.prepare_cached(text)?, [external_id])
}

/// What readers ask before they ask for an edit.
impl Catalog {
    /// Whose the enrolled photo of this key is; `None` if there is none.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn photo_owner(&self, key: u64) -> Result<Option<u64>, CatalogError> {
        self.read(|db| Ok(photo(db, key)?.map(|(_, identity)| identity)))
    }

    /// The first who bears the name, but for case, and the first who has the external id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn bearers(
        &self,
        name: &str,
        external_id: &str,
    ) -> Result<(Option<u64>, Option<u64>), CatalogError> {
        self.read(|db| {
            let (named, known) = (named_so(db, name)?, known_so(db, external_id)?);
            Ok((named.first().copied(), known.first().copied()))
        })
    }
}

fn ids(
    statement: &mut Statement<'_>,
    values: impl rusqlite::Params,
) -> Result<Vec<u64>, CatalogError> {
    let rows = statement.query_map(values, |row| row.get(0).map(unsql))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
