//! The writing side of the blob segments.
use std::sync::Arc;

use crate::directory::Shared;
use crate::error::Trouble;
use crate::format::blob;
use crate::format::header::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::record::BlobRef;
use crate::segment::{self, OpenSegment};
use crate::storage::StorageFile;

/// Blobs gathered in memory before they are written, in bytes. They are still not durable then.
const GATHERED_BYTES_MAX: usize = 4 << 20;

/// The blob segment that grows.
pub(crate) struct Growing {
    pub(crate) segment: OpenSegment,
    /// Bytes in the file; what is gathered comes behind.
    pub(crate) written: u64,
}

/// Where a segment ended when the last sync was through.
struct Mark {
    file: Arc<dyn StorageFile>,
    number: u64,
    end: u64,
}

/// Appends blobs.
pub(crate) struct BlobWriter {
    segment_bytes_max: u64,
    growing: Option<Growing>,
    next_number: u64,
    gathered: Vec<u8>,
    /// The segments touched since the last sync, as they were then: the way back.
    touched: Vec<Mark>,
    /// Bytes of all blob segments, gathered ones included.
    bytes: u64,
    durable_bytes: u64,
}

impl BlobWriter {
    pub(crate) fn new(
        segment_bytes_max: u64,
        growing: Option<Growing>,
        next_number: u64,
        bytes: u64,
    ) -> Self {
        let (gathered, touched) = (Vec::new(), Vec::new());
        let durable_bytes = bytes;
        Self {
            segment_bytes_max,
            growing,
            next_number,
            gathered,
            touched,
            bytes,
            durable_bytes,
        }
    }

    /// Bytes of all blob segments that are durable.
    pub(crate) fn durable_bytes(&self) -> u64 {
        self.durable_bytes
    }

    /// Appends a blob, in memory at first, and says where it will lie.
    ///
    /// `key` seals the payload already; 0: it is not sealed.
    pub(crate) fn put(
        &mut self,
        shared: &Shared,
        payload: &[u8],
        key: u64,
    ) -> Result<BlobRef, Trouble> {
        let needed = (blob::BLOB_HEADER_BYTES + crate::format::padded(payload.len())) as u64;
        let fits = self.growing.as_ref().is_some_and(|growing| {
            let end = growing.written + self.gathered.len() as u64;
            end + needed <= self.segment_bytes_max || end == HEADER_BYTES as u64
        });
        if !fits {
            self.next_segment(shared)?;
        }
        let growing = self
            .growing
            .as_ref()
            .expect("made just above where there was none");
        let number = growing.segment.header.number;
        if self.touched.last().is_none_or(|mark| mark.number != number) {
            let (file, end) = (Arc::clone(&growing.segment.file), growing.written);
            self.touched.push(Mark { file, number, end });
        }
        let offset = growing.written + self.gathered.len() as u64;
        let digest = blob::push(&mut self.gathered, growing.segment.salt, offset, payload);
        self.bytes += needed;
        if self.gathered.len() >= GATHERED_BYTES_MAX {
            self.write_out(shared)?;
        }
        let length = u32::try_from(payload.len()).expect("at most BLOB_BYTES_MAX");
        Ok(BlobRef {
            segment: number,
            offset,
            length,
            digest: digest.to_vec(),
            key,
        })
    }

    /// Makes every blob durable. Costs nothing if none was put since the last time.
    pub(crate) fn sync(&mut self, shared: &Shared) -> Result<(), Trouble> {
        self.write_out(shared)?;
        if let (Some(growing), false) = (&self.growing, self.touched.is_empty()) {
            sync(shared, growing)?;
        }
        self.touched.clear();
        self.durable_bytes = self.bytes;
        Ok(())
    }

    /// Forgets every blob since the last sync, on disk too, durably.
    pub(crate) fn cut_back(&mut self, shared: &Shared) -> Result<(), Trouble> {
        self.gathered.clear();
        for mark in self.touched.drain(..) {
            let path = || {
                shared
                    .storage
                    .locate(&segment::name(SegmentKind::Blobs, mark.number))
            };
            mark.file
                .truncate(mark.end)
                .map_err(Trouble::fatal(path(), "cut back"))?;
            mark.file.sync().map_err(Trouble::fatal(path(), "sync"))?;
            if let Some(growing) = &mut self.growing
                && growing.segment.header.number == mark.number
            {
                growing.written = mark.end;
            }
        }
        self.bytes = self.durable_bytes;
        Ok(())
    }

    /// Seals the growing segment, if any, and starts the next.
    fn next_segment(&mut self, shared: &Shared) -> Result<(), Trouble> {
        self.write_out(shared)?;
        if let Some(growing) = &self.growing {
            sync(shared, growing)?;
        }
        let (kind, number) = (SegmentKind::Blobs, self.next_number);
        let header = SegmentHeader {
            kind,
            log: shared.id,
            epoch: shared.epoch,
            number,
            version: crate::format::FORMAT_VERSION,
        };
        let segment = segment::create(&*shared.storage, header)?;
        let written = HEADER_BYTES as u64;
        // The header stays even if what comes after is cut back.
        self.bytes += written;
        self.durable_bytes += written;
        self.next_number += 1;
        self.growing = Some(Growing { segment, written });
        Ok(())
    }

    fn write_out(&mut self, shared: &Shared) -> Result<(), Trouble> {
        let Some(growing) = self.growing.as_mut().filter(|_| !self.gathered.is_empty()) else {
            return Ok(());
        };
        let file = &growing.segment.file;
        file.write_at(growing.written, &self.gathered)
            .map_err(Trouble::at(locate(shared, growing), "write"))?;
        growing.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

fn sync(shared: &Shared, growing: &Growing) -> Result<(), Trouble> {
    growing
        .segment
        .file
        .sync()
        .map_err(Trouble::fatal(locate(shared, growing), "sync"))
}

fn locate(shared: &Shared, growing: &Growing) -> String {
    shared.storage.locate(&segment::name(
        SegmentKind::Blobs,
        growing.segment.header.number,
    ))
}
