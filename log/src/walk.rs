//! Walks the entries of a record segment, from one place to another, in large reads.
use std::sync::Arc;

use crate::error::WalkError;
use crate::format::entry::{self, Entry};
use crate::format::{FormatError, Salt};
use crate::storage::StorageFile;

const READ_BYTES: usize = 256 << 10;

/// A cursor over the entries of a segment.
pub(crate) struct Walk {
    file: Arc<dyn StorageFile>,
    salt: Salt,
    /// File offset of the next entry.
    at: u64,
    /// File offset at which to stop.
    end: u64,
    buffer: Vec<u8>,
    /// File offset of the buffer's first byte.
    buffer_at: u64,
}

impl Walk {
    /// Starts at the entry at `at`; bytes from `end` on are not looked at.
    pub(crate) fn new(file: Arc<dyn StorageFile>, salt: Salt, at: u64, end: u64) -> Self {
        Self {
            file,
            salt,
            at,
            end,
            buffer: Vec::new(),
            buffer_at: at,
        }
    }

    /// Returns the next entry and its file offset, or `None` exactly at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Entry<'_>)>, WalkError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let offset = self.at;
        let damaged = |what| WalkError::Damaged { offset, what };
        self.fill(entry::ENTRY_HEADER_BYTES)
            .map_err(WalkError::Io)?;
        let total = entry::entry_bytes(self.ahead()).map_err(damaged)?;
        if total as u64 > self.end - offset {
            let found = self.end - offset;
            return Err(damaged(FormatError::Short {
                needed: total as u64,
                found,
            }));
        }
        self.fill(total).map_err(WalkError::Io)?;
        self.at += total as u64;
        let start = usize::try_from(offset - self.buffer_at).unwrap_or(usize::MAX);
        let bytes = self.buffer.get(start..).unwrap_or_default();
        let entry = entry::decode(bytes, self.salt).map_err(damaged)?;
        Ok(Some((offset, entry)))
    }

    /// The buffered bytes from the next entry on.
    fn ahead(&self) -> &[u8] {
        let start = usize::try_from(self.at - self.buffer_at).unwrap_or(usize::MAX);
        self.buffer.get(start..).unwrap_or_default()
    }

    /// Makes `needed` bytes ahead available, fewer where the segment ends. `needed` is bounded by
    /// the longest entry.
    fn fill(&mut self, needed: usize) -> std::io::Result<()> {
        if self.ahead().len() >= needed {
            return Ok(());
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let kept = self.ahead().to_vec();
        let from = kept.len();
        self.buffer = kept;
        self.buffer_at = self.at;
        self.buffer
            .resize(left.min(needed.max(READ_BYTES)).max(from), 0);
        let read = self
            .file
            .read_at(self.at + from as u64, &mut self.buffer[from..])?;
        self.buffer.truncate(from + read);
        Ok(())
    }
}
