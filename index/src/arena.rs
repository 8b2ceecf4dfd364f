//! Memory for the pages of a column, in few large pieces: lists of the system's pages (4 KiB each
//! as a rule) take longer to walk than many a search, so pieces that are large enough are asked for
//! in huge pages (2 MiB).

#![allow(
    unsafe_code,
    reason = "parts of one mapping are owned one by one, which slices cannot say"
)]

use std::{
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use memmap2::{MmapMut, MmapOptions};

const WORD: usize = size_of::<u64>();
/// Pieces of at least this many bytes are asked for in huge pages, and begin with one.
const HUGE: usize = 2 << 20;
/// Pages of the first piece; each further one is as large as all before it.
const FIRST: usize = 4;
/// No piece has more bytes, unless one page does.
const PIECE_MAX: usize = 64 << 20;
/// Pages begin at multiples of this many words: a line of the caches.
const LINE_WORDS: usize = 8;

/// Where pages of one number of words come from.
#[derive(Debug)]
pub(crate) struct Arena {
    /// Words of a page, and from one page to the next.
    words: usize,
    stride: usize,
    pieces: Mutex<Pieces>,
}

#[derive(Debug, Default)]
struct Pieces {
    /// Those given back are gaps.
    all: Vec<Option<Piece>>,
    /// Pages in all pieces, and those not in use.
    pages: usize,
    free: usize,
}

#[derive(Debug)]
struct Piece {
    /// Keeps the memory; only [`Words`] look into it.
    _map: MmapMut,
    first: NonNull<u64>,
    pages: usize,
    /// Pages from here on were never used.
    fresh: usize,
    given_back: Vec<usize>,
}

// SAFETY: `first` points into `_map`, which may be sent; nothing is reached through it but the
// pages that `Words` own.
unsafe impl Send for Piece {}

impl Arena {
    /// For pages of `words` words.
    pub(crate) fn new(words: usize) -> Self {
        Self {
            words,
            stride: words.next_multiple_of(LINE_WORDS).max(LINE_WORDS),
            pieces: Mutex::default(),
        }
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        // Nothing below panics with pieces half changed.
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page with `fill` in every word.
    pub(crate) fn filled(self: &Arc<Self>, fill: u64) -> Words {
        let mut words = self.take();
        words.owned().expect("nobody else has it yet").fill(fill);
        words
    }

    /// A page with these words, as many as a page has.
    pub(crate) fn copied(self: &Arc<Self>, from: &[u64]) -> Words {
        let mut words = self.take();
        words
            .owned()
            .expect("nobody else has it yet")
            .copy_from_slice(from);
        words
    }

    /// A page with anything in it.
    fn take(self: &Arc<Self>) -> Words {
        let mut pieces = self.pieces();
        if pieces.free == 0 {
            let pages = pieces.pages.max(FIRST);
            pieces.add(
                pages.min((PIECE_MAX / (self.stride * WORD)).max(1)),
                self.stride,
            );
        }
        pieces.free -= 1;
        let has_room = |piece: &Option<Piece>| piece.as_ref().is_some_and(Piece::has_room);
        let number = pieces.all.iter().position(has_room);
        let number = number.expect("a page is free somewhere");
        let piece = pieces.all[number].as_mut().expect("it has room");
        let page = piece.given_back.pop().unwrap_or_else(|| {
            piece.fresh += 1;
            piece.fresh - 1
        });
        // SAFETY: `page` is below `piece.pages`, so the page lies in the mapping.
        let first = unsafe { piece.first.add(page * self.stride) };
        Words {
            words: NonNull::slice_from_raw_parts(first, self.words),
            page: Arc::new(Page {
                arena: Arc::clone(self),
                piece: number,
                page,
            }),
        }
    }

    fn give_back(&self, number: usize, page: usize) {
        let mut pieces = self.pieces();
        pieces.free += 1;
        let free = pieces.free;
        let piece = pieces.all[number]
            .as_mut()
            .expect("a page of it was in use");
        piece.given_back.push(page);
        let count = piece.pages;
        // Kept if it is the only room there is: what was given back may be wanted again.
        if piece.is_free() && free > count {
            pieces.all[number] = None;
            pieces.free -= count;
            pieces.pages -= count;
        }
    }
}

impl Pieces {
    fn add(&mut self, pages: usize, stride: usize) {
        let piece = Piece::new(pages, stride);
        self.pages += pages;
        self.free += pages;
        match self.all.iter().position(Option::is_none) {
            Some(gap) => self.all[gap] = Some(piece),
            None => self.all.push(Some(piece)),
        }
    }
}

impl Piece {
    fn new(pages: usize, stride: usize) -> Self {
        let bytes = pages * stride * WORD;
        let huge = bytes >= HUGE;
        // Room to begin at a multiple of a huge page. What is never touched takes no memory.
        let room = if huge { bytes + HUGE } else { bytes };
        let map = MmapOptions::new().len(room).map_anon();
        let mut map = map.expect("there is memory for more pages");
        let start = map.as_mut_ptr();
        let skip = if huge { start.align_offset(HUGE) } else { 0 };
        #[cfg(target_os = "linux")]
        if huge {
            // A system without them has said no; small pages do too.
            let _ = map.advise_range(memmap2::Advice::HugePage, skip, bytes);
        }
        // SAFETY: `skip` is below HUGE, and HUGE more bytes were mapped than are needed.
        let first = unsafe { start.add(skip) };
        // Mappings begin at pages of the system, and `skip` ends at one.
        let first = NonNull::new(first.cast::<u64>()).expect("a mapping is not at 0");
        Self {
            _map: map,
            first,
            pages,
            fresh: 0,
            given_back: Vec::new(),
        }
    }

    fn has_room(&self) -> bool {
        self.fresh < self.pages || !self.given_back.is_empty()
    }

    fn is_free(&self) -> bool {
        self.given_back.len() == self.fresh
    }
}

/// A page in use. Given back when its last owner lets go of it.
#[derive(Debug)]
struct Page {
    arena: Arc<Arena>,
    piece: usize,
    page: usize,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.arena.give_back(self.piece, self.page);
    }
}

/// The words of a page, shared by those who have it and changed by nobody who is not alone.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    words: NonNull<[u64]>,
    page: Arc<Page>,
}

// SAFETY: as `Arc<[u64]>`: what several threads share is read only, and the count is atomic.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// What is in them.
    #[inline]
    pub(crate) fn get(&self) -> &[u64] {
        // SAFETY: `page` keeps the memory and nobody else was given it; it was filled when it was
        // taken, and changes need `&mut` of its only owner.
        unsafe { self.words.as_ref() }
    }

    /// To be changed; `None` if somebody else has them too.
    fn owned(&mut self) -> Option<&mut [u64]> {
        Arc::get_mut(&mut self.page)?;
        // SAFETY: `page` has no other owner, so there are no other `Words` of it, and these are
        // borrowed for as long. Memory of an anonymous mapping is never uninitialised.
        Some(unsafe { self.words.as_mut() })
    }

    /// To be changed; a copy of their own if somebody else has them too.
    pub(crate) fn make_mut(&mut self) -> &mut [u64] {
        if Arc::get_mut(&mut self.page).is_none() {
            *self = self.page.arena.copied(self.get());
        }
        self.owned().expect("nobody else has the copy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(arena: &Arena) -> usize {
        arena.pieces().all.iter().flatten().count()
    }

    #[test]
    fn pages_are_their_own_and_come_back() {
        let arena = Arc::new(Arena::new(2050));
        let mut pages: Vec<Words> = (0..600).map(|n| arena.filled(n)).collect();
        for (number, page) in (0u64..).zip(&pages) {
            assert!(page.get().len() == 2050 && page.get().iter().all(|word| *word == number));
            assert!(page.get().as_ptr().addr().is_multiple_of(64));
        }
        let copy = pages[7].clone();
        pages[7].make_mut()[3] = 1;
        let own = pages[8].get().as_ptr();
        pages[8].make_mut()[3] = 2;
        assert_eq!((copy.get()[3], pages[7].get()[3]), (7, 1));
        assert_eq!(own, pages[8].get().as_ptr(), "alone: changed where it is");
        assert!(mapped(&arena) > 3);
        drop(pages);
        assert!(mapped(&arena) <= 2, "what is free is given back");
        assert_eq!(copy.get()[3], 7);
        let again: Vec<Words> = (0..50).map(|_| arena.filled(0)).collect();
        assert!(again.iter().all(|page| page.get().iter().all(|w| *w == 0)));
    }

    #[test]
    fn threads_share_pages() {
        let arena = Arc::new(Arena::new(100));
        let page = arena.filled(1);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let mut mine = page.clone();
                let arena = &arena;
                scope.spawn(move || {
                    for round in 0..500 {
                        mine.make_mut()[0] = number;
                        let other = arena.copied(mine.get());
                        assert_eq!((other.get()[0], other.get()[1]), (number, 1), "{round}");
                        mine = other;
                    }
                });
            }
        });
        assert!(page.get().iter().all(|word| *word == 1));
    }
}
