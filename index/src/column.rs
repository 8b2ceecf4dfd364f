//! Rows of fixed width in pages that are copied on write: a copy of a column costs a handful of
//! reference counts, and a change after it copies one page, not all of them. A page that has not
//! changed since the last checkpoint lies in a mapped file.

use std::sync::Arc;

use bytemuck::{AnyBitPattern, NoUninit};

use crate::{
    arena::{Arena, Words},
    store::MappedPage,
};

/// Pages take about this many bytes, or one row where that is more.
const PAGE_BYTES: usize = 16 << 10;
/// Pages that are counted together.
const NODE_PAGES: usize = 64;
const WORD: usize = size_of::<u64>();

/// A page: words, so that rows are aligned. It is in memory, in a file as it was checkpointed, or in
/// both.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    memory: Option<Words>,
    file: Option<Arc<MappedPage>>,
}

impl Page {
    /// A page in a file alone.
    pub(crate) fn mapped(file: MappedPage) -> Self {
        Self {
            memory: None,
            file: Some(Arc::new(file)),
        }
    }

    /// Where it is in a file, if it is in one.
    pub(crate) fn file(&self) -> Option<&Arc<MappedPage>> {
        self.file.as_ref()
    }

    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        match (&self.memory, &self.file) {
            (Some(words), _) => words.get(),
            (None, Some(page)) => page.words(),
            (None, None) => &[],
        }
    }

    fn words_mut(&mut self, arena: &Arc<Arena>) -> &mut [u64] {
        self.load(arena);
        self.file = None;
        self.memory.as_mut().expect("loaded above").make_mut()
    }

    /// Copies it into memory if it is in a file alone.
    fn load(&mut self, arena: &Arc<Arena>) {
        if self.memory.is_none() {
            self.memory = Some(arena.copied(self.words()));
        }
    }
}

/// Rows of the same number of bytes, a multiple of 8, numbered from 0. New rows are all zero.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    row_words: usize,
    /// Rows of a page, as a power of two.
    shift: u32,
    nodes: Vec<Arc<Vec<Page>>>,
    /// What stands for a row that is not there, which only a damaged file asks for: all ones.
    void: Arc<[u64]>,
    arena: Arc<Arena>,
    /// Its pages stay in memory, in huge pages if there are such, when they are in a file too.
    hot: bool,
}

impl Column {
    /// An empty column of rows of `row_bytes` bytes, rounded up to a multiple of 8.
    pub(crate) fn new(row_bytes: usize) -> Self {
        let row_words = row_bytes.div_ceil(WORD);
        let rows = (PAGE_BYTES / (row_words * WORD).max(1)).max(1);
        Self {
            row_words,
            shift: rows.ilog2(),
            nodes: Vec::new(),
            void: vec![u64::MAX; row_words].into(),
            arena: Arc::new(Arena::new(row_words << rows.ilog2())),
            hot: false,
        }
    }

    /// The same column, but hot: what every search reads.
    pub(crate) fn hot(self) -> Self {
        Self { hot: true, ..self }
    }

    /// This column's rows with the pages of `saved`; `None` if they are of another size.
    pub(crate) fn with_pages_of(self, saved: Self) -> Option<Self> {
        (saved.page_words() == self.page_words()).then_some(Self {
            nodes: saved.nodes,
            arena: saved.arena,
            ..self
        })
    }

    /// A column without pages that goes on from this one.
    pub(crate) fn without_pages(&self) -> Self {
        Self {
            nodes: Vec::new(),
            ..self.clone()
        }
    }

    /// Adds a page that a checkpoint has written, of which `memory` was written.
    pub(crate) fn push_written(&mut self, file: MappedPage, memory: &Page) {
        self.push(Page {
            memory: memory.memory.clone().filter(|_| self.hot),
            file: Some(Arc::new(file)),
        });
    }

    /// Reads every page, which checks those that were not checked yet, and gets those of a hot
    /// column into memory.
    pub(crate) fn warm(&mut self) {
        for node in &mut self.nodes {
            if self.hot {
                for page in Arc::make_mut(node) {
                    page.load(&self.arena);
                }
            } else {
                node.iter().for_each(|page| _ = page.words());
            }
        }
    }

    /// A column of pages of `words` words, whose rows are not known.
    pub(crate) fn with_page_words(words: usize) -> Self {
        Self {
            row_words: words,
            shift: 0,
            nodes: Vec::new(),
            void: Arc::default(),
            arena: Arc::new(Arena::new(words)),
            hot: false,
        }
    }

    /// Words of a page.
    pub(crate) fn page_words(&self) -> usize {
        self.row_words << self.shift
    }

    /// Rows there is room for.
    pub(crate) fn rows(&self) -> usize {
        self.page_count() << self.shift
    }

    /// Bytes held, in memory and in files.
    pub(crate) fn bytes(&self) -> usize {
        self.rows() * self.row_words * WORD
    }

    pub(crate) fn page_count(&self) -> usize {
        let full = self.nodes.len().saturating_sub(1) * NODE_PAGES;
        full + self.nodes.last().map_or(0, |node| node.len())
    }

    /// Its pages, in order.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &Page> {
        self.nodes.iter().flat_map(|node| node.iter())
    }

    /// Adds a page of [`Self::page_words`] words.
    pub(crate) fn push(&mut self, page: Page) {
        match self.nodes.last_mut() {
            Some(node) if node.len() < NODE_PAGES => Arc::make_mut(node).push(page),
            _ => {
                let mut node = Vec::with_capacity(NODE_PAGES);
                node.push(page);
                self.nodes.push(Arc::new(node));
            }
        }
    }

    /// Makes room for `row`.
    pub(crate) fn reach(&mut self, row: usize) {
        while self.rows() <= row {
            self.push(Page {
                memory: Some(self.arena.filled(0)),
                file: None,
            });
        }
    }

    /// Node, page and first word of a row.
    #[inline]
    fn place(&self, row: usize) -> (usize, usize, usize) {
        let page = row >> self.shift;
        let start = (row & ((1 << self.shift) - 1)) * self.row_words;
        (page / NODE_PAGES, page % NODE_PAGES, start)
    }

    /// The bytes of a row; all ones if there is no such row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let (node, page, start) = self.place(row);
        let words = match self.nodes.get(node).and_then(|node| node.get(page)) {
            Some(page) => &page.words()[start..start + self.row_words],
            None => &self.void,
        };
        bytemuck::cast_slice(words)
    }

    /// The rows of each page, in order, as many as [`Self::page_rows`], one after the other.
    pub(crate) fn rows_by_page(&self) -> impl Iterator<Item = &[u8]> {
        self.pages().map(|page| bytemuck::cast_slice(page.words()))
    }

    /// Rows of a page.
    pub(crate) fn page_rows(&self) -> usize {
        1 << self.shift
    }

    /// The bytes of a row, to be changed. Copies the page if it is shared.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [u8] {
        let (node, page, start) = self.place(row);
        let words = Arc::make_mut(&mut self.nodes[node])[page].words_mut(&self.arena);
        bytemuck::cast_slice_mut(&mut words[start..start + self.row_words])
    }

    /// The row as a value; `T` is no longer than a row.
    #[inline]
    pub(crate) fn get<T: AnyBitPattern>(&self, row: usize) -> &T {
        bytemuck::from_bytes(&self.row(row)[..size_of::<T>()])
    }

    /// The row as a value to be changed.
    pub(crate) fn get_mut<T: AnyBitPattern + NoUninit>(&mut self, row: usize) -> &mut T {
        bytemuck::from_bytes_mut(&mut self.row_mut(row)[..size_of::<T>()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_what_is_written_and_copies_what_they_had() {
        let mut column = Column::new(12);
        column.reach(5000);
        assert!(column.rows() > 5000 && column.bytes() >= 5001 * 16);
        for row in 0..5000u32 {
            *column.get_mut::<u32>(row as usize) = row;
        }
        let copy = column.clone();
        *column.get_mut::<u32>(4321) = 7;
        assert_eq!(
            (*copy.get::<u32>(4321), *column.get::<u32>(4321)),
            (4321, 7)
        );
        assert_eq!(
            (*copy.get::<u32>(4999), *column.get::<u32>(4999)),
            (4999, 4999)
        );
        let shared = |row: usize| std::ptr::eq(copy.row(row), column.row(row));
        assert!(shared(0) && !shared(4321) && shared(2000));
        column.reach(10);
        assert_eq!(column.rows(), copy.rows());
        assert_eq!(*column.get::<u64>(1 << 40), u64::MAX);
    }

    #[test]
    fn a_row_wider_than_a_page_is_a_page() {
        let mut column = Column::new(PAGE_BYTES + 1);
        column.reach(70);
        column.row_mut(70)[PAGE_BYTES] = 3;
        assert_eq!(column.row(70)[PAGE_BYTES], 3);
        assert_eq!(column.rows(), 71);
    }
}
