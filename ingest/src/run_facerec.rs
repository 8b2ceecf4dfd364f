//! `extract --profile facerec`: a film's folder as facerec writes it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use rollcall_ingest::{
    Assets, Classifiers, Subnormals,
    extract::{ExtractHeader, ShardInfo},
    facerec::{Extraction, FacerecFolder, FacerecSettings, FacerecWriter, display_size, movie_of},
    source::StopToken,
    worker::model_names,
};

use crate::{
    run_extract::{Extract, open_models, stop_on_interrupt},
    run_shard::{Video, plan_path},
};

/// What facerec's `extract.py` is told beside shards.
#[derive(Args)]
#[command(next_help_heading = "With --profile facerec")]
pub(crate) struct FacerecOptions {
    /// The number of the film (default: what the file's name says before its first `-`).
    #[arg(long, value_name = "NUMBER", requires = "profile")]
    movie_id: Option<u64>,
    /// Embed the faces of every n-th frame, and keep their pictures.
    #[arg(long, requires = "profile", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// Search every n-th frame whole, and the frames between where faces should be; 1: every frame, as facerec
    /// does. Faces that are there in fewer frames may be missed.
    #[arg(long, requires = "profile", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10))]
    search_every: u64,
    /// Do not see faces whose shorter side is less.
    #[arg(long, requires = "profile", value_name = "PIXELS", default_value_t = 0)]
    min_face_size: u16,
    /// Least overlap (IoU) of a face and the box foreseen for it.
    #[arg(
        long,
        requires = "profile",
        value_name = "SHARE",
        default_value_t = 0.5
    )]
    iou_threshold: f32,
    /// Detections in a row that make a trajectory.
    #[arg(long, requires = "profile", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    min_trajectory: u64,
    /// Frames in a row that a face may be missed in.
    #[arg(long, requires = "profile", value_name = "N", default_value_t = 5)]
    max_trajectory_age: u64,
    /// At which size films are to be shown: a table with the columns filename, display_width and
    /// display_height (default: what the file says).
    #[arg(long, value_name = "FILE", requires = "profile")]
    aspect_ratios: Option<PathBuf>,
}

/// The folder of the film that is to be extracted.
pub(crate) fn folder(options: &Extract) -> anyhow::Result<FacerecFolder> {
    let [file] = options.files.as_slice() else {
        bail!("--profile facerec takes one video; run it for each");
    };
    let movie = options
        .facerec
        .movie_id
        .or_else(|| movie_of(Path::new(file)));
    let movie = movie
        .with_context(|| format!("'{file}' is not named NUMBER-TITLE; say --movie-id NUMBER"))?;
    Ok(FacerecFolder::of(&options.out, movie))
}

fn film_settings(options: &Extract) -> anyhow::Result<FacerecSettings> {
    let given = &options.facerec;
    if !(0.0..1.0).contains(&given.iou_threshold) {
        bail!(
            "--iou-threshold {} is no share from 0 to below 1",
            given.iou_threshold
        );
    }
    let file = Path::new(&options.files[0]);
    let table = given.aspect_ratios.as_deref();
    let display = table
        .map(|table| display_size(table, file))
        .transpose()?
        .flatten();
    Ok(FacerecSettings {
        save_every: given.save_every,
        search_every: given.search_every,
        min_face_size: f32::from(given.min_face_size),
        iou_threshold: given.iou_threshold,
        min_trajectory: given.min_trajectory,
        max_trajectory_age: given.max_trajectory_age,
        detect_sizes: options.detect_size.clone(),
        display,
    })
}

/// Extracts a film, or a part of it, unless that was done before.
pub(crate) fn extract_film(options: &Extract) -> anyhow::Result<()> {
    let (index, n) = options.shard.zip(options.n).unwrap_or((0, 1));
    if index >= n {
        bail!("there is no shard {index} of {n}; they are counted from 0");
    }
    let (folder, video) = (folder(options)?, Video::of(options)?);
    let settings = film_settings(options)?;
    let assets = Assets::locate(options.assets.as_deref())?;
    let models = open_models(&assets, options)?;
    let none = Classifiers::open(&assets, &[], Subnormals::default())?;
    let stop = StopToken::default();
    stop_on_interrupt(stop.clone())?;
    let plan = video.plan(&plan_path(options)?, &stop)?;
    let span = plan.span(index, n);
    let header = ExtractHeader {
        uri: video.name.to_owned(),
        contract: models.contract().id().to_owned(),
        dimension: models.contract().dimension(),
        pipeline: settings.fingerprint(&model_names(&models, &none)),
    };
    let info = ShardInfo::new((index, n), span, video.print.clone(), &header);
    let done = folder.shard_info(index, n);
    if done.exists() && !options.force {
        if ShardInfo::read(&done)? == info {
            eprintln!(
                "shard {index} of {n} in {} was done before",
                folder.root().display()
            );
            return Ok(());
        }
        bail!(
            "{} says that this shard is of another video or of other settings; --force replaces it",
            done.display()
        );
    }

    // From here on it is not complete.
    if done.exists() {
        std::fs::remove_file(&done).with_context(|| done.display().to_string())?;
    }
    let writer = FacerecWriter::create(folder.clone(), (span.begin.get(), span.end.get()))?;
    if span.is_empty() {
        eprintln!("no cut lies in the share of shard {index}: it is empty");
        writer.finish()?;
    } else {
        let extraction = Extraction::new(settings, models.detector()?, models.embedder()?);
        let mut source = video.open(span.resume, &stop)?;
        let (found, fault) = extraction.run(&mut source, (&plan, span), writer, &stop)?;
        if let Some(fault) = fault {
            eprintln!("rollcall-ingest: {fault}");
        }
        eprintln!(
            "{} trajectories with {} faces in {} frames, {} of them searched whole, {} cuts",
            found.trajectories, found.features, found.frames, found.searched, found.cuts
        );
    }
    let beside = done.parent().unwrap_or(folder.root());
    std::fs::create_dir_all(beside).with_context(|| beside.display().to_string())?;
    info.write(&done)?;
    eprintln!("written to {}", folder.root().display());
    Ok(())
}
