//! What taking an edit back should come to, told with plain maps.

use super::model::{Field, Made, Model, Refused, Set, Side};

impl Model {
    pub(super) fn undo(&mut self, sequence: u64, edit: u64, partial: bool) -> Result<(), Refused> {
        let target = self.edits.get(&edit).ok_or("EDIT_NOT_FOUND")?.clone();
        if target.undone {
            return Err("ALREADY_UNDONE");
        }
        let mut made = Made {
            undoes: Some(edit),
            ..Made::default()
        };
        let profiles = self.undo_profiles(&target, &mut made);
        let redirect = self.undo_redirect(&target, &mut made);
        let moves = self.undo_moves(edit, &target, &mut made);
        let photos = self.undo_photos(&target, &mut made);
        let mut whole = profiles && redirect && moves && photos;
        for (id, fact, holds) in &target.facts {
            if self.facts.contains_key(id) == *holds {
                made.facts.push((*id, *fact, !holds));
            } else {
                whole = false;
            }
        }
        if !whole && !partial {
            return Err("BUILT_UPON");
        }
        while partial && self.leave(&mut made) {
            whole = false;
        }
        made.moved.retain(|(.., tracks)| !tracks.is_empty());
        let nothing = made.sets.is_empty() && made.moved.is_empty() && made.facts.is_empty();
        if !whole && nothing && made.enrolled.is_empty() && made.retracted.is_empty() {
            return Err("BUILT_UPON");
        }
        self.make(sequence, made)
    }

    fn absorbed(&self, id: u64) -> bool {
        !self.get(id, Field::PartOf).is_empty()
    }

    fn undo_profiles(&self, target: &Made, made: &mut Made) -> bool {
        let mut whole = true;
        for set in target.sets.iter().filter(|set| set.field != Field::PartOf) {
            let id = set.id;
            if set.before == set.after && !target.created.contains(&id) {
                continue;
            }
            let filled = target.moved.iter().any(|(_, into, _)| *into == id)
                || target.enrolled.iter().any(|(_, into, _)| *into == id);
            let has_absorbed =
                (1..=self.last).any(|other| self.get(other, Field::PartOf) == id.to_string());
            let used = has_absorbed || (!filled && !self.tracks_of(id).is_empty());
            // Whoever has become a part of somebody has nothing of its own.
            if self.absorbed(id) || (target.created.contains(&id) && used) {
                whole = false;
            } else if set.before != set.after {
                whole &= self.turn(set, made);
            }
        }
        whole
    }

    /// Turns one set round, if it is still as it was left.
    fn turn(&self, set: &Set, made: &mut Made) -> bool {
        let still = self.get(set.id, set.field) == set.after;
        if still {
            made.sets.push(Set {
                before: set.after.clone(),
                after: set.before.clone(),
                ..set.clone()
            });
        }
        still
    }

    fn undo_redirect(&self, target: &Made, made: &mut Made) -> bool {
        let Some(part) = target.sets.iter().find(|set| set.field == Field::PartOf) else {
            return true;
        };
        let merged = part.before.is_empty();
        let absorber = if merged { &part.after } else { &part.before };
        let absorber: u64 = absorber.parse().unwrap();
        if self.absorbed(absorber) || !self.turn(part, made) {
            return false;
        }
        if !merged {
            made.moved
                .push((part.id, absorber, self.tracks_of(part.id)));
        }
        true
    }

    fn undo_moves(&self, edit: u64, target: &Made, made: &mut Made) -> bool {
        let mut whole = true;
        let part = target.sets.iter().find(|set| set.field == Field::PartOf);
        for (from, into, tracks) in &target.moved {
            if let Some(part) = part {
                let turned = made.sets.iter().any(|set| set.field == Field::PartOf);
                if !turned || !part.before.is_empty() {
                    continue;
                }
            } else if self.absorbed(*from) {
                whole = false;
                continue;
            }
            let here = |track: &&u64| self.tracks.get(track) == Some(into);
            let back = tracks.iter().filter(here).copied().collect();
            made.moved.push((*into, *from, back));
            let moved_since = |track: &u64| {
                let known = self.tracks.get(track);
                known.is_some_and(|now| now != into) && self.decided[track] <= edit
            };
            whole &= !tracks.iter().any(moved_since);
        }
        whole
    }

    /// Photos that were enrolled go, those that went are back.
    fn undo_photos(&self, target: &Made, made: &mut Made) -> bool {
        let mut whole = true;
        for photo in &target.enrolled {
            match self.tracks.get(&photo.0) {
                Some(owner) if *owner == photo.1 => made.retracted.push(*photo),
                Some(_) => whole = false,
                None => {}
            }
        }
        for photo in &target.retracted {
            let again = self.photos.contains_key(&photo.2);
            if self.absorbed(photo.1) || again {
                whole = false;
            } else {
                made.enrolled.push(*photo);
            }
        }
        whole
    }

    /// Leaves whatever breaks facts; whether there was anything of the kind.
    fn leave(&self, made: &mut Made) -> bool {
        let after = self.after(made);
        let mut left = false;
        for id in after.broken() {
            let facts = made.facts.len();
            made.facts.retain(|(fact, ..)| *fact != id);
            if made.facts.len() < facts {
                left = true;
                continue;
            }
            let (_, one, other) = after.facts[&id];
            for side in [one, other] {
                let count = made.enrolled.len();
                let stays_away = |it: &(u64, u64, u64)| side == Side::Track(it.0);
                made.enrolled.retain(|it| !stays_away(it));
                left |= made.enrolled.len() < count;
                left |= Self::leave_apart(made, side);
                for (.., tracks) in &mut made.moved {
                    let count = tracks.len();
                    tracks.retain(|track| side != Side::Track(*track));
                    left |= tracks.len() < count;
                }
            }
        }
        left
    }

    /// Whoever was to be absorbed again with that track is not absorbed.
    fn leave_apart(made: &mut Made, side: Side) -> bool {
        let again = |set: &&Set| set.field == Field::PartOf && !set.after.is_empty();
        let Some(from) = made.sets.iter().find(again).map(|set| set.id) else {
            return false;
        };
        let goes = |moved: &(u64, u64, Vec<u64>)| {
            moved.0 == from && moved.2.iter().any(|track| side == Side::Track(*track))
        };
        if !made.moved.iter().any(goes) {
            return false;
        }
        made.moved.retain(|moved| moved.0 != from);
        made.sets
            .retain(|set| set.field != Field::PartOf || set.id != from);
        true
    }
}
