//! From an id to the slot that has it: linear hashing (Litwin, "Linear Hashing: A New Tool for File
//! and Table Addressing", VLDB 1980), which grows by one bucket at a time, so that no insertion
//! costs more than another.

use bytemuck::{Pod, Zeroable};

use crate::{
    column::Column,
    sound::{Marks, sound},
    store::{Parts, PartsReader},
};

/// Entries of a bucket.
const ENTRIES: usize = 12;
/// Entries of a bucket, on average, before another is made.
const LOAD: usize = 8;
/// No overflow bucket; overflow buckets are numbered from 1.
const NONE: u32 = 0;

/// One cache line: entries with a tag that is not 0, and where the bucket goes on.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Bucket {
    tags: [u8; ENTRIES],
    slots: [u32; ENTRIES],
    next: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// Tags and slots of the entries in use.
    fn entries(self) -> impl Iterator<Item = (u8, u32)> {
        let all = self.tags.into_iter().zip(self.slots);
        all.filter(|(tag, _)| *tag != 0)
    }
}

/// Slots by id. The ids themselves are kept by the slots.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    buckets: Column,
    /// How many buckets there are.
    count: usize,
    overflow: Column,
    /// Overflow buckets ever made, and a list, linked by `next`, of those free again.
    overflow_count: u32,
    overflow_free: u32,
    entries: usize,
}

impl Slots {
    pub(crate) fn new() -> Self {
        let mut buckets = Column::new(size_of::<Bucket>());
        buckets.reach(0);
        Self {
            buckets,
            count: 1,
            overflow: Column::new(size_of::<Bucket>()),
            overflow_count: 0,
            overflow_free: NONE,
            entries: 0,
        }
    }

    pub(crate) fn save(&self, parts: &mut Parts) {
        parts.save(&self.buckets);
        parts.save(&self.overflow);
        parts.number(u64::try_from(self.count).unwrap_or(u64::MAX));
        parts.number(self.overflow_count);
        parts.number(self.overflow_free);
        parts.number(u64::try_from(self.entries).unwrap_or(u64::MAX));
    }

    pub(crate) fn load(parts: &mut PartsReader) -> Option<Self> {
        let new = Self::new();
        let slots = Self {
            buckets: parts.column(new.buckets)?,
            overflow: parts.column(new.overflow)?,
            count: parts.number()?,
            overflow_count: parts.number()?,
            overflow_free: parts.number()?,
            entries: parts.number()?,
        };
        let overflow = index(slots.overflow_count);
        let fits = (1..=slots.buckets.rows()).contains(&slots.count)
            && (overflow == 0 || overflow < slots.overflow.rows())
            && slots.overflow_free <= slots.overflow_count
            && slots.entries <= (slots.count + overflow) * ENTRIES;
        fits.then_some(slots)
    }

    /// Checks that every entry is where its id is looked for, that no id and no slot has two, and that
    /// every overflow bucket is in one list. `id_of` says whose a slot below `slots` is; `None` if it
    /// is nobody's.
    pub(crate) fn check(
        &self,
        slots: usize,
        id_of: impl Fn(u32) -> Option<u64>,
    ) -> Result<(), String> {
        let mut found = Marks::new(slots);
        let mut listed = Marks::new(index(self.overflow_count) + 1);
        let mut list = |number| {
            sound(listed.add(number), || {
                format!("a list of a map leads to overflow bucket {number}")
            })
        };
        let mut ids = Vec::new();
        for home in 0..self.count {
            ids.clear();
            let mut overflow = NONE;
            loop {
                let bucket = self.bucket(home, overflow);
                for (entry, slot) in bucket.entries() {
                    let id = if found.add(slot) { id_of(slot) } else { None };
                    let here = |id: &u64| {
                        let hash = hash(*id);
                        tag(hash) == entry && self.bucket_of(hash) == home
                    };
                    let id = id.filter(here);
                    ids.push(id.ok_or_else(|| format!("a map has an entry for slot {slot}"))?);
                }
                overflow = bucket.next;
                if overflow == NONE {
                    break;
                }
                list(overflow)?;
            }
            ids.sort_unstable();
            let twice = ids.windows(2).any(|pair| pair[0] == pair[1]);
            sound(!twice, || format!("bucket {home} of a map has an id twice"))?;
        }
        let mut free = self.overflow_free;
        while free != NONE {
            list(free)?;
            free = self.bucket(0, free).next;
        }
        sound(listed.len() == index(self.overflow_count), || {
            "overflow buckets of a map are in no list".to_owned()
        })?;
        sound(found.len() == self.entries, || {
            format!("a map has {} entries, not {}", found.len(), self.entries)
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buckets.bytes() + self.overflow.bytes()
    }

    fn bucket_of(&self, hash: u64) -> usize {
        let low = self.count.next_power_of_two();
        let hash = usize::try_from(hash >> 8 & 0xFFFF_FFFF).unwrap_or(0);
        let at = hash & (low - 1);
        if at < self.count {
            at
        } else {
            at & (low / 2 - 1)
        }
    }

    /// The slot of `id`, if it is there; `id_of` says whose a slot is.
    pub(crate) fn get(&self, id: u64, id_of: impl Fn(u32) -> u64) -> Option<u32> {
        let hash = hash(id);
        let mut bucket: &Bucket = self.buckets.get(self.bucket_of(hash));
        let mut left = self.overflow_count;
        loop {
            for (entry, slot) in bucket.tags.iter().zip(bucket.slots) {
                if *entry == tag(hash) && id_of(slot) == id {
                    return Some(slot);
                }
            }
            // A bucket of a damaged file may lead anywhere, and in circles.
            if bucket.next == NONE || bucket.next > self.overflow_count || left == 0 {
                return None;
            }
            left -= 1;
            bucket = self.overflow.get(index(bucket.next));
        }
    }

    /// Adds `id`, which must not be there.
    pub(crate) fn insert(&mut self, id: u64, slot: u32, id_of: impl Fn(u32) -> u64) {
        self.put(hash(id), slot);
        self.entries += 1;
        if self.entries > self.count * LOAD {
            self.split(id_of);
        }
    }

    /// Takes `id`, which is at `slot`, out.
    pub(crate) fn remove(&mut self, id: u64, slot: u32) {
        self.replace(id, slot, None);
        self.entries -= 1;
    }

    /// `id`, which was at `from`, is at `to`.
    pub(crate) fn moved(&mut self, id: u64, from: u32, to: u32) {
        self.replace(id, from, Some(to));
    }

    fn replace(&mut self, id: u64, from: u32, to: Option<u32>) {
        let hash = hash(id);
        let mut overflow = NONE;
        loop {
            let bucket = self.bucket(self.bucket_of(hash), overflow);
            let mine = |(entry, slot): (&u8, &u32)| *entry == tag(hash) && *slot == from;
            let found = bucket.tags.iter().zip(&bucket.slots).position(mine);
            if let Some(at) = found {
                let bucket = self.bucket_mut(self.bucket_of(hash), overflow);
                match to {
                    Some(to) => bucket.slots[at] = to,
                    None => bucket.tags[at] = 0,
                }
                return;
            }
            assert!(bucket.next != NONE, "what is replaced is there");
            overflow = bucket.next;
        }
    }

    fn bucket(&self, bucket: usize, overflow: u32) -> &Bucket {
        if overflow == NONE {
            self.buckets.get(bucket)
        } else {
            self.overflow.get(index(overflow))
        }
    }

    fn bucket_mut(&mut self, bucket: usize, overflow: u32) -> &mut Bucket {
        if overflow == NONE {
            self.buckets.get_mut(bucket)
        } else {
            self.overflow.get_mut(index(overflow))
        }
    }

    fn put(&mut self, hash: u64, slot: u32) {
        let home = self.bucket_of(hash);
        let mut overflow = NONE;
        loop {
            let bucket = self.bucket(home, overflow);
            if let Some(at) = bucket.tags.iter().position(|entry| *entry == 0) {
                let bucket = self.bucket_mut(home, overflow);
                bucket.tags[at] = tag(hash);
                bucket.slots[at] = slot;
                return;
            }
            if bucket.next == NONE {
                let next = self.new_overflow();
                self.bucket_mut(home, overflow).next = next;
            }
            overflow = self.bucket(home, overflow).next;
        }
    }

    fn new_overflow(&mut self) -> u32 {
        if self.overflow_free != NONE {
            let number = self.overflow_free;
            let bucket: &mut Bucket = self.overflow.get_mut(index(number));
            self.overflow_free = bucket.next;
            *bucket = Bucket::zeroed();
            return number;
        }
        self.overflow_count += 1;
        self.overflow.reach(index(self.overflow_count));
        // A file may have anything behind the last.
        *self.overflow.get_mut(index(self.overflow_count)) = Bucket::zeroed();
        self.overflow_count
    }

    /// Makes one more bucket and shares one's entries with it.
    fn split(&mut self, id_of: impl Fn(u32) -> u64) {
        let low = self.count.next_power_of_two();
        let from = if self.count == low {
            0
        } else {
            self.count - low / 2
        };
        let mut entries = Vec::with_capacity(2 * ENTRIES);
        let mut overflow = NONE;
        loop {
            let bucket = *self.bucket(from, overflow);
            entries.extend(bucket.entries().map(|(_, slot)| slot));
            if overflow == NONE {
                *self.bucket_mut(from, NONE) = Bucket::zeroed();
            } else {
                self.overflow.get_mut::<Bucket>(index(overflow)).next = self.overflow_free;
                self.overflow_free = overflow;
            }
            if bucket.next == NONE {
                break;
            }
            overflow = bucket.next;
        }
        self.buckets.reach(self.count);
        *self.buckets.get_mut(self.count) = Bucket::zeroed();
        self.count += 1;
        for slot in entries {
            self.put(hash(id_of(slot)), slot);
        }
    }

    /// Every entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let (mut home, mut overflow) = (0, NONE);
        // Each overflow bucket is in one list; those of a damaged file may be circles.
        let mut left = self.overflow_count;
        let buckets = std::iter::from_fn(move || {
            let bucket = (home < self.count).then(|| *self.bucket(home, overflow))?;
            overflow = bucket.next;
            if overflow == NONE || overflow > self.overflow_count || left == 0 {
                (home, overflow) = (home + 1, NONE);
            } else {
                left -= 1;
            }
            Some(bucket)
        });
        buckets.flat_map(|bucket| bucket.entries().map(|(_, slot)| slot))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The finaliser of SplitMix64.
fn hash(id: u64) -> u64 {
    let mixed = (id ^ (id >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Seven bits of the hash that choose no bucket, and one that says that the entry is used.
fn tag(hash: u64) -> u8 {
    u8::try_from(hash & 0x7F).unwrap_or(0) | 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::RngSeed};
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Move(usize),
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(4),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn it_does_what_a_map_does(steps in prop::collection::vec(prop_oneof![
            6 => prop_oneof![0u64..300, any::<u64>()].prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Remove),
            2 => any::<usize>().prop_map(Step::Move),
        ], 0..600)) {
            let mut model: BTreeMap<u64, u32> = BTreeMap::new();
            // By slot, the id; slots are never used again here.
            let mut ids: Vec<u64> = Vec::new();
            let mut slots = Slots::new();
            for step in steps {
                let pick = |at: usize| model.iter().nth(at % model.len().max(1)).map(|(i, s)| (*i, *s));
                match step {
                    Step::Insert(id) if !model.contains_key(&id) => {
                        let slot = u32::try_from(ids.len()).unwrap();
                        ids.push(id);
                        slots.insert(id, slot, |slot| ids[slot as usize]);
                        model.insert(id, slot);
                    }
                    Step::Insert(_) => {}
                    Step::Remove(at) => if let Some((id, slot)) = pick(at) {
                        slots.remove(id, slot);
                        model.remove(&id);
                    },
                    Step::Move(at) => if let Some((id, from)) = pick(at) {
                        let to = u32::try_from(ids.len()).unwrap();
                        ids.push(id);
                        slots.moved(id, from, to);
                        model.insert(id, to);
                    },
                }
            }
            for id in ids.iter().copied().chain([1 << 40, 301]) {
                let found = slots.get(id, |slot| ids[slot as usize]);
                prop_assert_eq!(found, model.get(&id).copied());
            }
            let mut all: Vec<u32> = slots.iter().collect();
            all.sort_unstable();
            let mut expected: Vec<u32> = model.values().copied().collect();
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
            prop_assert_eq!(slots.len(), model.len());
        }
    }
}
