//! One part of a video: `shard.json`, and where a run over it ends.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{BatchError, ExtractHeader, FileFingerprint, ShardSpan};
use crate::files::write_whole;
use crate::observe::{Finished, Flow, FrameNo, Observation, ObservationSink, RunState, SinkError};

/// The name under which a folder says which part it is. Written last.
pub const SHARD_FILE: &str = "shard.json";
const FORMAT: &str = "rollcall-shard-1";
/// A video has no more shards.
const SHARDS_MAX: u32 = 65_536;

/// Which part of what a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    format: String,
    /// From 0.
    pub index: u32,
    /// Of how many.
    pub n: u32,
    /// Its first frame.
    pub begin: u64,
    /// The frame after its last.
    pub end: u64,
    /// The video.
    pub file: FileFingerprint,
    /// The contract of its embeddings.
    pub contract: String,
    /// Hash of everything that shapes its tracks.
    pub pipeline: String,
    /// Everything is there.
    pub complete: bool,
}

impl ShardInfo {
    /// Part `index` of `n`, complete.
    #[must_use]
    pub fn new(
        (index, n): (u32, u32),
        span: ShardSpan,
        file: FileFingerprint,
        header: &ExtractHeader,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            index,
            n,
            begin: span.begin.get(),
            end: span.end.get(),
            file,
            contract: header.contract.clone(),
            pipeline: header.pipeline.clone(),
            complete: true,
        }
    }

    /// The folder of this part under `out`.
    #[must_use]
    pub fn folder(out: &Path, index: u32, n: u32) -> PathBuf {
        out.join(format!("shard-{index:03}-of-{n:03}"))
    }

    /// Reads what the file at `path` says. Where there is none, the part is not complete.
    ///
    /// # Errors
    /// [`BatchError::Damaged`], [`BatchError::Incomplete`], [`BatchError::Io`].
    pub fn read(path: &Path) -> Result<Self, BatchError> {
        let bytes = fs::read(path).map_err(|why| {
            if why.kind() != io::ErrorKind::NotFound {
                return BatchError::io(path)(why);
            }
            BatchError::Incomplete {
                path: path.parent().unwrap_or(path).to_owned(),
                why: format!("there is no {SHARD_FILE}, which is written last"),
            }
        })?;
        let damaged = |line, why| BatchError::Damaged {
            path: path.to_owned(),
            line,
            why,
        };
        let info: Self =
            serde_json::from_slice(&bytes).map_err(|why| damaged(why.line(), why.to_string()))?;
        if info.format != FORMAT || info.index >= info.n || info.begin > info.end {
            return Err(damaged(1, format!("not {FORMAT}")));
        }
        if !info.complete {
            return Err(BatchError::Incomplete {
                path: path.to_owned(),
                why: "it says so itself".to_owned(),
            });
        }
        Ok(info)
    }

    /// Writes it to `path`, whole or not at all.
    ///
    /// # Errors
    /// [`BatchError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), BatchError> {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        write_whole(path, text.as_bytes()).map_err(BatchError::io(path))
    }

    /// Checks that the parts, each with its path, are all those of one extraction, and puts them in
    /// order.
    ///
    /// # Errors
    /// [`BatchError::Mixed`], [`BatchError::Doubled`], [`BatchError::Missing`].
    pub fn check_all(parts: &mut [(PathBuf, Self)]) -> Result<(), BatchError> {
        parts.sort_by_key(|(_, info)| info.index);
        let Some((first, rest)) = parts.split_first() else {
            return Ok(());
        };
        for other in rest {
            first.1.check_belongs(other, &first.0)?;
        }
        for pair in parts.windows(2) {
            if pair[0].1.index == pair[1].1.index {
                return Err(BatchError::Doubled {
                    first: pair[0].0.clone(),
                    second: pair[1].0.clone(),
                    what: format!("shard {}", pair[0].1.index),
                });
            }
        }
        let n = parts[0].1.n;
        if n > SHARDS_MAX {
            let what = format!("its shard.json speaks of {n} shards; {SHARDS_MAX} are possible");
            return Err(BatchError::Damaged {
                path: parts[0].0.clone(),
                line: 0,
                why: what,
            });
        }
        let is_there = |index: &u32| parts.binary_search_by_key(index, |(_, i)| i.index).is_ok();
        let missing: Vec<u32> = (0..n).filter(|index| !is_there(index)).collect();
        if !missing.is_empty() {
            let begun = Vec::new();
            return Err(BatchError::Missing { n, missing, begun });
        }
        let fits = |pair: &&[(PathBuf, Self)]| pair[0].1.end == pair[1].1.begin;
        if let Some(pair) = parts.windows(2).find(|pair| !fits(pair)) {
            return Err(mixed(
                "SHARD_OF_OTHER_SETTINGS",
                "where one ends and the next begins",
                (
                    (&pair[0].0, pair[0].1.end.to_string()),
                    (&pair[1].0, pair[1].1.begin.to_string()),
                ),
            ));
        }
        Ok(())
    }

    fn check_belongs(&self, (path, other): &(PathBuf, Self), own: &Path) -> Result<(), BatchError> {
        let file = |info: &Self| format!("{} bytes, {}", info.file.bytes, info.file.sha256);
        let each = [
            ("SHARD_OF_OTHER_FILE", "the video", file(self), file(other)),
            (
                "SHARD_OF_OTHER_MODEL",
                "the contract of embeddings",
                self.contract.clone(),
                other.contract.clone(),
            ),
            (
                "SHARD_OF_OTHER_SETTINGS",
                "models or settings",
                self.pipeline.clone(),
                other.pipeline.clone(),
            ),
            (
                "SHARD_OF_OTHER_NUMBER",
                "the number of shards",
                self.n.to_string(),
                other.n.to_string(),
            ),
        ];
        for (code, what, left, right) in each {
            if left != right {
                return Err(mixed(code, what, ((own, left), (path, right))));
            }
        }
        Ok(())
    }
}

fn mixed(
    code: &'static str,
    what: &'static str,
    ((first, left), (second, right)): ((&Path, String), (&Path, String)),
) -> BatchError {
    BatchError::Mixed {
        code,
        what,
        parts: Box::new((first.to_owned(), second.to_owned())),
        values: Box::new((left, right)),
    }
}

/// Ends a run where its shard ends.
///
/// The run reads on for the few frames that a decision about a cut takes; what it says of those is
/// the next shard's to say, and is dropped here.
pub struct ShardSink<'a> {
    inner: &'a mut dyn ObservationSink,
    /// `None` for the last shard, which ends with the source.
    end: Option<FrameNo>,
    reached: bool,
}

impl<'a> ShardSink<'a> {
    /// Hands to `inner` what lies in `span`.
    #[must_use]
    pub fn new(inner: &'a mut dyn ObservationSink, span: ShardSpan) -> Self {
        Self {
            inner,
            end: (!span.is_last).then_some(span.end),
            reached: span.is_last,
        }
    }

    /// How the run over the shard ended, where `finished` says how the run over the source did.
    ///
    /// # Errors
    /// [`BatchError::Incomplete`] if the source ended before the shard should.
    pub fn outcome(&self, finished: Finished, path: &Path) -> Result<Finished, BatchError> {
        match (self.end, finished.state) {
            (Some(_), RunState::Stopped) if self.reached => Ok(Finished {
                state: RunState::Ended,
                fault: None,
                ..finished
            }),
            (Some(end), RunState::Ended) if !self.reached => Err(BatchError::Incomplete {
                path: path.to_owned(),
                why: format!("the video ends before frame {end}, where the plan has a cut"),
            }),
            _ => Ok(finished),
        }
    }
}

impl ObservationSink for ShardSink<'_> {
    fn observe(&mut self, observation: Observation) -> Result<Flow, SinkError> {
        let Some(end) = self.end else {
            return self.inner.observe(observation);
        };
        match observation {
            Observation::Track(_) | Observation::Checkpoint { .. } if self.reached => {
                Ok(Flow::Stop)
            }
            Observation::Checkpoint { frame, .. } if frame > end => Err(SinkError::Write(format!(
                "frame {end} begins no shot, though the plan says so: the plan was made elsewhere; \
                 remove it"
            ))),
            Observation::Checkpoint { frame, .. } if frame == end => {
                self.reached = true;
                self.inner.observe(observation)?;
                Ok(Flow::Stop)
            }
            Observation::Finished(finished) if self.reached => {
                self.inner.observe(Observation::Finished(Finished {
                    state: RunState::Ended,
                    fault: None,
                    ..finished
                }))
            }
            Observation::Track(_)
            | Observation::Checkpoint { .. }
            | Observation::Report(_)
            | Observation::Finished(_) => self.inner.observe(observation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(index: u32) -> (PathBuf, ShardInfo) {
        let header = ExtractHeader {
            uri: "a.mp4".to_owned(),
            contract: "c".to_owned(),
            dimension: 4,
            pipeline: "p".to_owned(),
        };
        let file = FileFingerprint {
            bytes: 1,
            sha256: "00".to_owned(),
        };
        let (begin, end) = (u64::from(index) * 10, u64::from(index) * 10 + 10);
        let span = ShardSpan {
            begin: FrameNo::new(begin),
            end: FrameNo::new(end),
            resume: None,
            is_last: false,
        };
        let path = ShardInfo::folder(Path::new("out"), index, 3);
        (path, ShardInfo::new((index, 3), span, file, &header))
    }

    fn check(change: impl Fn(&mut Vec<(PathBuf, ShardInfo)>), code: &str, names: &[&str]) {
        let mut parts = vec![info(2), info(0), info(1)];
        change(&mut parts);
        let said = ShardInfo::check_all(&mut parts).unwrap_err().to_string();
        assert!(said.starts_with(code), "{said}");
        names
            .iter()
            .for_each(|name| assert!(said.contains(name), "{said}"));
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let mut parts = vec![info(2), info(0), info(1)];
        ShardInfo::check_all(&mut parts).unwrap();
        assert!(parts.iter().map(|(_, i)| i.index).eq(0..3));
        check(|p| drop(p.remove(2)), "SHARD_MISSING", &[": 1;"]);
        check(|p| p.truncate(1), "SHARD_MISSING", &[": 0, 1;"]);
        check(
            |p| p.push(info(1)),
            "SHARD_DOUBLED",
            &["shard 1", "shard-001-of-003"],
        );
        check(
            |p| p[0].1.contract.push('x'),
            "SHARD_OF_OTHER_MODEL",
            &["'c'", "'cx'", "shard-002"],
        );
        check(
            |p| p[1].1.pipeline.push('x'),
            "SHARD_OF_OTHER_SETTINGS",
            &["'px'"],
        );
        check(
            |p| p[1].1.file.bytes = 9,
            "SHARD_OF_OTHER_FILE",
            &["9 bytes"],
        );
        check(|p| p[0].1.n = 4, "SHARD_OF_OTHER_NUMBER", &["'3'", "'4'"]);
        check(
            |p| p[2].1.end = 19,
            "SHARD_OF_OTHER_SETTINGS",
            &["'19'", "'20'"],
        );
    }
}
