//! The faces: what is known of each, their codes, and where each is.

use bytemuck::{Pod, Zeroable};

use crate::{
    blocks::{Blocks, at},
    code::Code,
    column::Column,
    id::{FaceId, SourceId, TrackId},
    kernel::BLOCK,
    plane::Plane,
    slots::Slots,
    sound::{Marks, sound},
    store::{Parts, PartsReader},
};

pub(crate) use crate::blocks::NONE;

/// A face's own facts.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Face {
    pub(crate) face: u64,
    pub(crate) track: u64,
    pub(crate) source: u64,
    pub(crate) seen_us: i64,
    pub(crate) quality: f32,
    /// The row of its identity.
    pub(crate) identity: u32,
    /// The slot of the next face of its track.
    next: u32,
    /// What the writer says of it, a bit each.
    pub(crate) attributes: u16,
    /// The number of its identity's mode that it belongs to. Of an identity without modes: anything.
    pub(crate) mode: u8,
    unused: u8,
}

const _: () = assert!(size_of::<Face>() == 48);

impl Face {
    pub(crate) fn new(
        face: FaceId,
        track: TrackId,
        source: SourceId,
        seen_us: i64,
        quality: f32,
        attributes: u16,
    ) -> Self {
        Self {
            face: face.get(),
            track: track.get(),
            source: source.get(),
            seen_us,
            quality,
            identity: NONE,
            next: NONE,
            attributes,
            mode: 0,
            unused: 0,
        }
    }
}

/// Every face, by slot.
#[derive(Clone, Debug)]
pub(crate) struct Faces {
    pub(crate) plane: Plane,
    pub(crate) blocks: Blocks,
    rows: Column,
    by_id: Slots,
    /// The first face of each track.
    by_track: Slots,
}

impl Faces {
    pub(crate) fn new(padded: usize) -> Self {
        Self {
            plane: Plane::new(padded),
            blocks: Blocks::new(),
            rows: Column::new(size_of::<Face>()),
            by_id: Slots::new(),
            by_track: Slots::new(),
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        self.plane.save(parts);
        self.blocks.save(parts);
        parts.save(&self.rows);
        self.by_id.save(parts);
        self.by_track.save(parts);
    }

    pub(crate) fn load(padded: usize, parts: &mut PartsReader) -> Option<Self> {
        let new = Self::new(padded);
        let faces = Self {
            plane: new.plane.load(parts)?,
            blocks: Blocks::load(parts)?,
            rows: parts.column(new.rows)?,
            by_id: Slots::load(parts)?,
            by_track: Slots::load(parts)?,
        };
        let blocks = faces.blocks.count();
        (blocks <= faces.plane.blocks() && blocks * BLOCK <= faces.rows.rows()).then_some(faces)
    }

    /// Checks that the maps, the lists of tracks and the vectors are those of the faces in `taken`.
    pub(crate) fn check(&self, taken: &Marks) -> Result<(), String> {
        let slots = self.blocks.count() * BLOCK;
        let face = |slot: u32| taken.contains(slot).then(|| self.get(slot));
        self.by_id.check(slots, |slot| Some(face(slot)?.face))?;
        self.by_track.check(slots, |slot| Some(face(slot)?.track))?;
        let mut listed = Marks::new(slots);
        for head in self.by_track.iter() {
            let mut slot = head;
            while slot != NONE {
                let fits = face(slot).is_some_and(|face| face.track == self.get(head).track);
                sound(fits && listed.add(slot), || {
                    format!("the list of a track leads to face slot {slot}")
                })?;
                slot = self.get(slot).next;
            }
        }
        sound([self.len(), listed.len()] == [taken.len(); 2], || {
            let (mapped, tracked) = (self.len(), listed.len());
            format!("{} faces, {mapped} by id, {tracked} by track", taken.len())
        })?;
        self.plane.check(|slot| taken.contains(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn tracks(&self) -> usize {
        self.by_track.len()
    }

    /// Bytes that every search of faces may read, and the others.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let (hot, cold) = self.plane.bytes();
        let maps = self.by_id.bytes() + self.by_track.bytes();
        (hot, cold + self.rows.bytes() + self.blocks.bytes() + maps)
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Face {
        self.rows.get(at(slot))
    }

    pub(crate) fn slot(&self, face: FaceId) -> Option<u32> {
        self.by_id.get(face.get(), |slot| self.get(slot).face)
    }

    /// Slots of the faces of a track, the newest first.
    pub(crate) fn track(&self, track: TrackId) -> impl Iterator<Item = u32> {
        let mut next = self.track_head(track.get()).unwrap_or(NONE);
        let slots = std::iter::from_fn(move || {
            let slot = next;
            (slot != NONE).then(|| {
                next = self.get(slot).next;
                slot
            })
        });
        // The lists of a damaged file may be circles.
        slots.take(self.rows.rows())
    }

    fn track_head(&self, track: u64) -> Option<u32> {
        self.by_track.get(track, |slot| self.get(slot).track)
    }

    /// All slots with a face, in no order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        self.by_id.iter()
    }

    /// Puts a new face into a taken slot.
    pub(crate) fn insert(&mut self, slot: u32, mut face: Face, code: &Code) {
        self.reach(slot);
        let head = self.track_head(face.track);
        face.next = head.unwrap_or(NONE);
        *self.rows.get_mut(at(slot)) = face;
        self.plane.set(at(slot), code);
        let rows = &self.rows;
        let of = |slot: u32| rows.get::<Face>(at(slot));
        self.by_id.insert(face.face, slot, |slot| of(slot).face);
        match head {
            Some(head) => self.by_track.moved(face.track, head, slot),
            None => self
                .by_track
                .insert(face.track, slot, |slot| of(slot).track),
        }
    }

    fn reach(&mut self, slot: u32) {
        self.rows.reach(at(slot));
        self.plane.reach(at(slot) / BLOCK);
    }

    /// Takes a face out; its slot stays taken.
    pub(crate) fn remove(&mut self, slot: u32) {
        let face = *self.get(slot);
        self.by_id.remove(face.face, slot);
        if self.track_head(face.track) == Some(slot) {
            match face.next {
                NONE => self.by_track.remove(face.track, slot),
                next => self.by_track.moved(face.track, slot, next),
            }
        } else {
            self.set_next_of_previous(&face, slot, face.next);
        }
        *self.edit(slot) = Face::zeroed();
        self.plane.clear(at(slot));
    }

    /// Moves a face to another taken slot.
    pub(crate) fn relocate(&mut self, from: u32, to: u32) {
        self.reach(to);
        let face = *self.get(from);
        let code = self.plane.code(at(from));
        *self.rows.get_mut(at(to)) = face;
        self.plane.set(at(to), &code);
        self.by_id.moved(face.face, from, to);
        if self.track_head(face.track) == Some(from) {
            self.by_track.moved(face.track, from, to);
        } else {
            self.set_next_of_previous(&face, from, to);
        }
        *self.edit(from) = Face::zeroed();
        self.plane.clear(at(from));
    }

    /// The face before `slot` in its track's list is followed by `next` from here on.
    fn set_next_of_previous(&mut self, face: &Face, slot: u32, next: u32) {
        let previous = self
            .track(TrackId::new(face.track))
            .find(|other| self.get(*other).next == slot)
            .expect("a face is in its track's list");
        self.edit(previous).next = next;
    }

    pub(crate) fn set_identity(&mut self, slot: u32, identity: u32) {
        self.edit(slot).identity = identity;
    }

    pub(crate) fn set_mode(&mut self, slot: u32, mode: u8) {
        self.edit(slot).mode = mode;
    }

    fn edit(&mut self, slot: u32) -> &mut Face {
        self.rows.get_mut(at(slot))
    }
}
