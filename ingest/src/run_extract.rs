//! The command `extract`.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

use anyhow::{Context, anyhow, bail};
use clap::Args;

use rollcall_ingest::{
    Assets, Classifiers, DetectSizes, ModelOptions, Models, Provider, Subnormals,
    capture::{AccessRules, FileSource, Location, Patience, system_clock},
    extract::{ExtractHeader, FolderSink, ShardSink, ShardSpan, prepare_folder},
    observe::{Finished, Report, RunState},
    pipeline::{GateRule, Pipeline, PipelineSettings, ShotRule, Vision},
    source::{Overflow, StopToken},
    track::TrackerRule,
    worker::model_names,
};

use crate::{
    run_facerec::{self, FacerecOptions},
    run_many, run_shard,
};

mod told;

use told::{Progress, summary, timings};

/// Options of `extract`.
#[derive(Args)]
pub(crate) struct Extract {
    /// A video file, a URL with an end, or `-` for standard input; or several, folders and patterns
    /// such as 'videos/**/*.mp4', each video of which gets a folder of its own under FOLDER. Run
    /// again, what is done is passed over.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Where to: gets `log/`, `tracks.jsonl` and `crops/`.
    #[arg(long, alias = "out-path", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Folder with models and ONNX Runtime, as `make setup` fills it.
    #[arg(long, env = "ROLLCALL_ASSETS", value_name = "FOLDER")]
    pub(crate) assets: Option<PathBuf>,
    /// Look for faces in every n-th frame of a shot, or in key frames alone ("key": those that
    /// decode without others; the rest is not decoded) (default: five times a second where
    /// something goes on, less often where all stays as it is; frames that no other refers to
    /// are not decoded then).
    #[arg(long, value_name = "N|key")]
    every: Option<Every>,
    /// Longest side of the picture the detector sees at most, in pixels, 32 to 2048; several,
    /// separated by commas, look for small faces as well as large ones (640,1280).
    #[arg(
        long,
        value_name = "PIXELS",
        default_value = "640",
        alias = "detect-sizes"
    )]
    pub(crate) detect_size: DetectSizes,
    /// The id of the detector: a manifest in the folder of models, such as yunet-2023mar.
    #[arg(long, value_name = "ID", default_value_t = ModelOptions::default().detector)]
    detector: String,
    /// By which rule shots are told apart.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    shots: ShotRule,
    /// By which gates frames and faces are refused.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    gates: GateRule,
    /// By which rule faces are followed; `facerec` looks for faces in every frame, unless `--every`
    /// says otherwise.
    #[arg(long, value_enum, value_name = "RULE", default_value_t)]
    tracker: TrackerRule,
    /// What to read off the faces that are kept, such as `age,gender`, or `all` (default: nothing;
    /// docs/attributes.md has the names and the costs).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) attributes: Vec<String>,
    /// Threads that share the work of a model, beside the one that decodes (default: two, where
    /// there are as many cores).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: Option<u8>,
    /// What runs the models: others than `cpu` need a build with that feature, and fall back.
    #[arg(long, value_enum, value_name = "PROVIDER", default_value_t)]
    provider: Provider,
    /// Replace earlier extractions in the folder.
    #[arg(long)]
    pub(crate) force: bool,
    /// Write the files of another program in place of ours: `facerec` (docs/batch.md).
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["every", "shots", "tracker", "gates", "attributes"])]
    pub(crate) profile: Option<Profile>,
    #[command(flatten)]
    pub(crate) facerec: FacerecOptions,
    /// Print what each stage cost.
    #[arg(long)]
    timings: bool,
    /// Only the part I of N (from 0) of one video: FOLDER gets `shard-I-of-N`, and `cuts.json` if it
    /// is not there. `merge` makes one folder of all parts.
    #[arg(long, visible_alias = "shard-i", value_name = "I", requires = "n")]
    pub(crate) shard: Option<u32>,
    /// Into how many parts the video is divided, 1 to 10000. Parts begin at cuts.
    #[arg(long, visible_alias = "n-shards", value_name = "N", requires = "shard",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) n: Option<u32>,
    /// Where the video is divided, as `plan` wrote it (default: FOLDER/cuts.json).
    #[arg(long, value_name = "FILE", requires = "shard")]
    pub(crate) plan: Option<PathBuf>,
}

/// Whose files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// `MOVIE-data/` with trajectories, features, scene changes and images.
    Facerec,
}

/// Which frames are looked at.
#[derive(Clone, Copy, Debug)]
enum Every {
    Nth(NonZeroU32),
    Key,
}

impl FromStr for Every {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "key" => Ok(Self::Key),
            number => number
                .parse()
                .map(Self::Nth)
                .map_err(|_| "must be a whole number from 1 on, or `key`"),
        }
    }
}

pub(crate) fn extract(options: &Extract) -> anyhow::Result<()> {
    if options.profile == Some(Profile::Facerec) {
        return run_facerec::extract_film(options);
    }
    if let (Some(index), Some(n)) = (options.shard, options.n) {
        return run_shard::extract_shard(options, (index, n));
    }
    let several = run_many::plan(&options.files, &options.out)?;
    if let ([file], None) = (options.files.as_slice(), &several) {
        locate(file)?;
    }
    let assets = Assets::locate(options.assets.as_deref())?;
    let models = open_models(&assets, options)?;
    let classifiers = Classifiers::open(&assets, &options.attributes, Subnormals::default())?;
    let stop = StopToken::default();
    stop_on_interrupt(stop.clone())?;
    let one = |file: &str, out: &Path| {
        let job = Job {
            file,
            out,
            shown: out,
            span: None,
        };
        extract_one(
            options,
            &settings(options),
            (&models, &classifiers),
            job,
            &stop,
        )
    };
    match several {
        Some(videos) => run_many::run(&videos, options.force, &stop, one),
        None => {
            prepare_folder(&options.out, options.force)?;
            one(&options.files[0], &options.out)
        }
    }
}

pub(crate) fn locate(file: &str) -> anyhow::Result<Location> {
    Ok(match file {
        "-" => Location::standard_input()?,
        file => Location::check(file, &AccessRules::default())?,
    })
}

/// What is extracted to where.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) file: &'a str,
    /// Empty.
    pub(crate) out: &'a Path,
    /// Its name in the end.
    pub(crate) shown: &'a Path,
    /// Absent: all of it.
    pub(crate) span: Option<ShardSpan>,
}

pub(crate) fn header(
    file: &str,
    settings: &PipelineSettings,
    models: &Models,
    classifiers: &Classifiers,
) -> ExtractHeader {
    ExtractHeader {
        uri: file.to_owned(),
        contract: models.contract().id().to_owned(),
        dimension: models.contract().dimension(),
        pipeline: settings.fingerprint(&model_names(models, classifiers)),
    }
}

/// Extracts what `job` says.
pub(crate) fn extract_one(
    options: &Extract,
    settings: &PipelineSettings,
    (models, classifiers): (&Models, &Classifiers),
    job: Job<'_>,
    stop: &StopToken,
) -> anyhow::Result<()> {
    let header = header(job.file, settings, models, classifiers);
    let clock = system_clock();
    let resume = job.span.and_then(|span| span.resume);
    let wall = clock().plus_micros(resume.map_or(0, |point| point.time.micros()));
    let source = FileSource::new(
        locate(job.file)?,
        Patience::default(),
        false,
        resume,
        wall,
        stop.clone(),
    );
    let source = source.with_mode(settings.decode);
    let vision = Vision {
        detector: models.detector()?,
        embedder: models.embedder()?,
        classifiers: classifiers.readers()?,
    };
    let pipeline = Pipeline {
        settings: settings.clone(),
        vision,
        overflow: Overflow::Wait,
        stop: stop.clone(),
    };

    let progress = Progress::new();
    let mut last = Report::default();
    let begun = Instant::now();
    let (finished, written) = {
        let mut watch = |report: &Report| {
            progress.show(report);
            last.clone_from(report);
        };
        let mut sink = FolderSink::create(job.out, &header, clock, &mut watch)?;
        let finished = match job.span {
            None => pipeline.run(Box::new(source), None, &mut sink)?,
            Some(span) => {
                let mut part = ShardSink::new(&mut sink, span);
                let finished = pipeline.run(Box::new(source), resume, &mut part)?;
                part.outcome(finished, job.out)?
            }
        };
        (finished, sink.written)
    };
    progress.clear();
    eprintln!("{}", summary(&finished, written, &last, begun.elapsed()));
    eprintln!("written to {}", job.shown.display());
    if options.timings {
        eprint!("{}", timings(&last, begun.elapsed()));
    }
    judge(&finished)
}

pub(crate) fn open_models(assets: &Assets, options: &Extract) -> anyhow::Result<Models> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let options = ModelOptions {
        detector: options.detector.clone(),
        threads: options.threads.map_or(cores.min(2), usize::from),
        provider: options.provider,
        ..ModelOptions::default()
    };
    let models = Models::open(assets, &options)?;
    if let Some(why) = models.fallback() {
        eprintln!("rollcall-ingest: {why}");
    }
    Ok(models)
}

pub(crate) fn settings(options: &Extract) -> PipelineSettings {
    let settings = PipelineSettings::default();
    let settings = match options.every {
        Some(Every::Nth(n)) => settings.with_every(n),
        Some(Every::Key) | None => settings,
    }
    .with_detect_sizes(options.detect_size.clone())
    .with_shots(options.shots)
    .with_gates(options.gates)
    .with_tracker(options.tracker);
    if matches!(options.every, Some(Every::Key)) {
        settings.for_key_frames()
    } else {
        settings
    }
}

/// A video that ended early was extracted all the same: that is said, and is no error.
fn judge(finished: &Finished) -> anyhow::Result<()> {
    match (finished.state, &finished.fault) {
        (RunState::Ended, None) => Ok(()),
        (RunState::Ended, Some(fault)) => {
            eprintln!("rollcall-ingest: {fault}");
            Ok(())
        }
        (RunState::Stopped, _) => bail!(
            "stopped at {}; what was seen so far is kept",
            finished.position
        ),
        (_, Some(fault)) => Err(anyhow!("{fault}")),
        (_, None) => bail!("the run failed"),
    }
}

/// Ctrl-C closes what is open and keeps what was seen; a second one ends the process.
pub(crate) fn stop_on_interrupt(stop: StopToken) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    stop.request();
                    let _ = tokio::signal::ctrl_c().await;
                    std::process::exit(i32::from(crate::FAILED));
                }
            });
        })
        .context("no thread for signals")?;
    Ok(())
}
