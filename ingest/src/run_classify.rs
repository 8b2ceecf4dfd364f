//! The command `classify`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use rollcall_ingest::{
    Assets, ModelOptions, Models, PhotoReader,
    facerec::{
        ActorFaces, Clusters, FacerecFolder, PredictRules, predict, read_actors, read_gallery,
        read_trajectories,
    },
};

/// Options of `classify`.
#[derive(Args)]
pub(crate) struct Classify {
    /// A film's folder, NUMBER-data, with trajectories.jsonl, features.jsonl and clusters.json; gets
    /// predictions.json.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Who plays in which film: a table with the columns movie_id and id.
    #[arg(long, value_name = "FILE", requires_all = ["actor_images", "actor_embeddings"], conflicts_with = "gallery")]
    actors: Option<PathBuf>,
    /// Who is in which picture: a table with the columns actor_id and filename.
    #[arg(long, value_name = "FILE", requires = "actors")]
    actor_images: Option<PathBuf>,
    /// The faces in the pictures, a line a picture: image, n, and faces with a vector each.
    #[arg(long, value_name = "FILE", requires = "actors")]
    actor_embeddings: Option<PathBuf>,
    /// In place of these: photos, a folder an actor, named by the actor's id.
    #[arg(long, value_name = "FOLDER")]
    gallery: Option<PathBuf>,
    /// Folder with models and ONNX Runtime, as `make setup` fills it; for --gallery.
    #[arg(long, env = "ROLLCALL_ASSETS", value_name = "FOLDER")]
    assets: Option<PathBuf>,
    /// Neighbours that vote.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    neighbours: u16,
    /// Name nobody if fewer actors have a face.
    #[arg(long, value_name = "N", default_value_t = 3)]
    actors_min: usize,
}

pub(crate) fn classify(options: &Classify) -> anyhow::Result<()> {
    let folder = FacerecFolder::open(&options.folder)?;
    let trajectories = read_trajectories(&folder.path("trajectories.jsonl"))?;
    let clusters = Clusters::read(&folder.path("clusters.json"), trajectories.len())?;
    let actors = actors(options, clusters.movie_id)?;
    let rules = PredictRules {
        neighbours: usize::from(options.neighbours),
        actors_min: options.actors_min,
        ..PredictRules::default()
    };
    let features = folder.path("features.jsonl");
    let named = predict(&features, &trajectories, &clusters, &actors, &rules)?;
    let path = folder.path("predictions.json");
    named.write(&path)?;
    let sure = named
        .clusters
        .iter()
        .filter(|cluster| !cluster.is_empty())
        .count();
    eprintln!(
        "{} actors with faces; {sure} of {} clusters named; written to {}",
        actors.len(),
        named.clusters.len(),
        path.display()
    );
    Ok(())
}

fn actors(options: &Classify, movie: u64) -> anyhow::Result<Vec<ActorFaces>> {
    if let Some(gallery) = &options.gallery {
        return photos(gallery, options.assets.as_deref());
    }
    let files = (
        &options.actors,
        &options.actor_images,
        &options.actor_embeddings,
    );
    let (Some(actors), Some(images), Some(embeddings)) = files else {
        bail!(
            "say whose faces: --gallery FOLDER, or --actors, --actor-images and --actor-embeddings"
        );
    };
    Ok(read_actors(movie, actors, images, embeddings)?)
}

fn photos(gallery: &Path, assets: Option<&Path>) -> anyhow::Result<Vec<ActorFaces>> {
    let assets = Assets::locate(assets)?;
    let models = Models::open(&assets, &ModelOptions::default())?;
    let mut reader = PhotoReader::open(&models)?;
    let skipped = |path: &Path, why: &str| eprintln!("{}: passed over: {why}", path.display());
    read_gallery(gallery, &mut reader, skipped).context("the photos of actors")
}
