//! Enrolled photos, and their undoing: those that were enrolled no longer count, those that no longer counted are back.

use super::super::super::writer::Refusal;
use super::super::plan::refuse_erased;
use super::{Undoing, as_edited, part_of};
use rollcall_log::record::{Edited, TrackObserved, TrackRetracted};
use std::collections::BTreeSet;

impl Undoing<'_> {
    /// The photos of an edit that enrolled them.
    pub(super) fn enrolled(&mut self, edit: &Edited) -> Result<(), Refusal> {
        let ours: BTreeSet<u64> = edit.enrolled.iter().map(|it| it.track_id).collect();
        let mut people = BTreeSet::new();
        for photo in &edit.enrolled {
            let (track, id) = (photo.track_id, owner(photo));
            let catalog = &self.truth.catalog;
            refuse_erased(id, &catalog.profile(id)?.unwrap_or_default())?;
            people.insert(id);
            match catalog.track_place(track)? {
                Some(place) if place.identity == id => {
                    self.planned.retracted.push(TrackRetracted {
                        track_id: track,
                        identity_id: id,
                        reason: "UNDONE".to_owned(),
                        ..TrackRetracted::default()
                    });
                }
                Some(_) => {
                    let what = match catalog.absorber(id)? {
                        Some(into) => part_of(id, into),
                        None => format!("photo {track} has been moved out of identity {id} since"),
                    };
                    self.left(photo, what);
                }
                None => {}
            }
        }
        for id in people {
            let since = self.truth.catalog.joined_since(id, self.sequence)?;
            let left = since.into_iter().filter(|track| !ours.contains(track));
            self.planned.left_track_ids.extend(left);
        }
        Ok(())
    }

    /// The photos that an edit took away again, by undoing another one.
    pub(super) fn retracted(&mut self, edit: &Edited) -> Result<(), Refusal> {
        if edit.retracted.is_empty() {
            return Ok(());
        }
        let enrolled = as_edited(self.truth, edit.undoes)?
            .unwrap_or_default()
            .enrolled;
        let gone: BTreeSet<u64> = edit.retracted.iter().map(|it| it.track_id).collect();
        let back = enrolled
            .into_iter()
            .filter(|it| gone.contains(&it.track_id));
        let catalog = &self.truth.catalog;
        let then = catalog.contracts_after(edit.undoes);
        let same_contract = then.in_service().id == catalog.contracts().in_service().id;
        for photo in back {
            let id = owner(&photo);
            refuse_erased(id, &catalog.profile(id)?.unwrap_or_default())?;
            let way = if catalog.is_erased_track(photo.track_id)? {
                Some(format!("photo {} was erased", photo.track_id))
            } else if let Some(into) = catalog.absorber(id)? {
                Some(part_of(id, into))
            } else if let Some((again, _)) = catalog.photo(photo.track_key)? {
                Some(format!(
                    "photo {} has been enrolled again since, as {again}",
                    photo.track_id
                ))
            } else {
                // Its embedding would be compared with others that mean something else.
                let what = "the collection has gone over to another model since; enrol the photos \
                            again";
                (!same_contract).then(|| what.to_owned())
            };
            match way {
                Some(what) => self.left(&photo, what),
                None => self.planned.enrolled.push(photo),
            }
        }
        Ok(())
    }

    /// Leaves a photo that facts stand against where it is; whether it would have been back.
    pub(super) fn leave_photo(&mut self, track: u64, what: &str) -> bool {
        let mut enrolled = self.planned.enrolled.iter();
        let Some(at) = enrolled.position(|photo| photo.track_id == track) else {
            return false;
        };
        let photo = self.planned.enrolled.remove(at);
        self.left(&photo, format!("photo {track} stays away: {what}"));
        true
    }

    fn left(&mut self, photo: &TrackObserved, what: String) {
        self.blocked(owner(photo), "TRACKS", what);
        self.planned.left_track_ids.push(photo.track_id);
    }
}

fn owner(photo: &TrackObserved) -> u64 {
    photo.decision.as_ref().map_or(0, |it| it.identity_id)
}
