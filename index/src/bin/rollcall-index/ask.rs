//! `rollcall-index who` and `rollcall-index faces`.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::Args;
use rollcall_index::{
    Effort, Embedding, FaceEffort, Filter, IdentityHit, Index, Similarity, State,
    vectors::{Array, SideFiles, VectorFile},
};
use serde_json::{Value, json};

use crate::build::similarity;

/// Queries read at once.
const BATCH: usize = 256;

#[derive(Args)]
pub(crate) struct Options {
    /// The folder.
    folder: PathBuf,
    /// The queries: .npy, .jsonl or .parquet.
    #[arg(long, value_name = "FILE")]
    vectors: PathBuf,
    /// Hits for each query, at most.
    #[arg(short, value_name = "N", default_value_t = 5)]
    k: usize,
    /// The least cosine of a hit.
    #[arg(long, value_name = "COSINE", default_value = "0.4", value_parser = similarity)]
    threshold: Similarity,
}

#[derive(Args)]
pub(crate) struct FaceOptions {
    #[command(flatten)]
    ask: Options,
    /// The .npy file that the folder was built from: cosines are then those of its vectors, not of
    /// their 8-bit codes, and faces are in their order.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

/// Who each query is; true if anybody was found.
pub(crate) fn who(options: &Options, out: &mut impl Write) -> Result<bool> {
    each(options, out, |state, query| {
        let (floor, filter) = (options.threshold, Filter::default());
        let (hits, _) = state.who(query, options.k, floor, &filter, Effort::Normal)?;
        let hits = hits.iter().filter(|hit| hit.similarity >= floor);
        let hit = |hit: &IdentityHit| {
            let best = state.best_face(query, hit.identity, &filter)?;
            Ok(json!({
                "identity": hit.identity.get(), "cosine": hit.similarity.get(),
                "best_face": best.map(|(face, _)| face.get()),
                "best_face_cosine": best.map(|(_, cosine)| cosine.get()),
            }))
        };
        hits.map(hit).collect()
    })
}

/// Which faces are like each query; true if any was found.
pub(crate) fn faces(options: &FaceOptions, out: &mut impl Write) -> Result<bool> {
    let truth = options.truth.as_deref().map(Array::open_vectors);
    let (truth, options) = (truth.transpose()?, &options.ask);
    each(options, out, |state, query| {
        let (all, effort) = (Filter::default(), FaceEffort::NORMAL);
        let (hits, _) = match &truth {
            Some(truth) => state.faces_exactly(query, options.k, &all, effort, truth)?,
            None => state.faces_like(query, options.k, &all, effort)?,
        };
        let hits = hits
            .iter()
            .filter(|hit| hit.similarity >= options.threshold);
        let hit = hits.map(|hit| {
            json!({
                "face": hit.face.get(), "cosine": hit.similarity.get(), "identity": hit.identity.get(),
                "track": hit.track.get(), "source": hit.source.get(),
            })
        });
        Ok(hit.collect())
    })
}

fn each(
    options: &Options,
    out: &mut impl Write,
    hits: impl Fn(&State, &Embedding) -> Result<Vec<Value>>,
) -> Result<bool> {
    let index = Index::open_existing(&options.folder)?;
    let state = index.newest();
    let mut input = VectorFile::open(&options.vectors, index.contract(), &SideFiles::default())?;
    let mut found = false;
    loop {
        let queries = input.batch(BATCH)?;
        if queries.is_empty() {
            return Ok(found);
        }
        for query in queries {
            let hits = hits(state, &query.embedding)?;
            found |= !hits.is_empty();
            writeln!(out, "{}", json!({"query": query.row, "hits": hits}))?;
        }
    }
}
