//! The command `plan`, and `extract` of one part of a video.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use rollcall_ingest::{
    Assets, Classifiers, Subnormals,
    capture::{FileSource, Patience, system_clock},
    extract::{
        CutPlan, FileFingerprint, FolderSink, PLAN_FILE, SHARD_FILE, ShardInfo, prepare_folder,
    },
    observe::ResumePoint,
    pipeline::{PipelineSettings, ShotRule},
    shot::CutPlanner,
    source::StopToken,
};

use crate::{
    run_extract::{
        Extract, Job, Profile, extract_one, header, locate, open_models, settings,
        stop_on_interrupt,
    },
    run_facerec,
    run_many::{replace, unfinished},
};

/// So long that a run is never begun anew in a stretch without faces.
const NEVER: std::time::Duration = std::time::Duration::from_secs(1 << 40);

/// Options of `plan`.
#[derive(Args)]
pub(crate) struct Plan {
    /// What is to be extracted, with the same options as `extract`.
    #[command(flatten)]
    extract: Extract,
}

/// Finds the cuts of a video and writes them to `cuts.json` in the folder, for all shards to read.
pub(crate) fn plan(options: &Plan) -> anyhow::Result<()> {
    let options = &options.extract;
    let video = Video::of(options)?;
    let stop = StopToken::default();
    stop_on_interrupt(stop.clone())?;
    let plan = video.make_plan(&stop)?;
    let path = plan_path(options)?;
    plan.write(&path)?;
    eprintln!(
        "{} frames, {} cuts; written to {}",
        plan.frames,
        plan.cuts.len(),
        path.display()
    );
    Ok(())
}

/// Where the plan lies; its folder is made.
pub(crate) fn plan_path(options: &Extract) -> anyhow::Result<PathBuf> {
    if let Some(path) = &options.plan {
        return Ok(path.clone());
    }
    let folder = match options.profile {
        Some(Profile::Facerec) => run_facerec::folder(options)?.root().to_owned(),
        None => options.out.clone(),
    };
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(PLAN_FILE))
}

/// A file that can be read from any place, and how.
pub(crate) struct Video<'a> {
    pub(crate) name: &'a str,
    pub(crate) print: FileFingerprint,
    pub(crate) settings: PipelineSettings,
    /// Cuts as facerec itself finds them.
    is_facerec: bool,
}

impl<'a> Video<'a> {
    pub(crate) fn of(options: &'a Extract) -> anyhow::Result<Self> {
        let [name] = options.files.as_slice() else {
            bail!("shards are of one video; run this for each");
        };
        let location = locate(name)?;
        if name == "-" || !location.is_file() {
            bail!(
                "'{}' is no file; only files can be divided",
                location.shown()
            );
        }
        let path = Path::new(name.strip_prefix("file://").unwrap_or(name));
        let print = FileFingerprint::of(path).with_context(|| name.clone())?;
        let is_facerec = options.profile == Some(Profile::Facerec);
        let mut settings = settings(options);
        if is_facerec {
            settings = settings.with_shots(ShotRule::Facerec);
        }
        if settings.cuts.facerec {
            // This rule sees no cut in the frames right after a beginning: there is none but at cuts.
            settings.checkpoint_after = NEVER;
        }
        Ok(Self {
            name,
            print,
            settings,
            is_facerec,
        })
    }

    /// The video from `resume` on.
    pub(crate) fn open(
        &self,
        resume: Option<ResumePoint>,
        stop: &StopToken,
    ) -> anyhow::Result<FileSource> {
        let (location, wall) = (locate(self.name)?, system_clock()());
        let source = FileSource::new(
            location,
            Patience::default(),
            false,
            resume,
            wall,
            stop.clone(),
        );
        Ok(source.with_mode(self.settings.decode))
    }

    fn rules(&self) -> String {
        let rules = CutPlan::rules_of(&self.settings);
        if self.is_facerec {
            format!("facerec-{rules}")
        } else {
            rules
        }
    }

    pub(crate) fn make_plan(&self, stop: &StopToken) -> anyhow::Result<CutPlan> {
        let mut source = self.open(None, stop)?;
        let planner = if self.is_facerec {
            CutPlanner::facerec()
        } else {
            CutPlanner::new(self.settings.cuts)
        };
        let rules = self.rules();
        let plan = CutPlan::make(&mut source, planner, self.print.clone(), rules)?;
        if stop.is_requested() {
            bail!("stopped; nothing was written");
        }
        Ok(plan)
    }

    /// The plan at `path`, made if it is not there.
    pub(crate) fn plan(&self, path: &Path, stop: &StopToken) -> anyhow::Result<CutPlan> {
        if path.exists() {
            return Ok(CutPlan::read(path, &self.print, &self.rules())?);
        }
        let plan = self.make_plan(stop)?;
        // Whoever else makes it at the same time writes the same.
        plan.write(path)?;
        Ok(plan)
    }
}

/// Extracts part `index` of `n`, unless that was done before.
pub(crate) fn extract_shard(options: &Extract, (index, n): (u32, u32)) -> anyhow::Result<()> {
    if index >= n {
        bail!("there is no shard {index} of {n}; they are counted from 0");
    }
    let video = Video::of(options)?;
    let assets = Assets::locate(options.assets.as_deref())?;
    let models = open_models(&assets, options)?;
    let classifiers = Classifiers::open(&assets, &options.attributes, Subnormals::default())?;
    let stop = StopToken::default();
    stop_on_interrupt(stop.clone())?;
    fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let path: PathBuf = options
        .plan
        .clone()
        .unwrap_or_else(|| options.out.join(PLAN_FILE));
    let span = video.plan(&path, &stop)?.span(index, n);
    let header = header(video.name, &video.settings, &models, &classifiers);
    let info = ShardInfo::new((index, n), span, video.print.clone(), &header);

    let folder = ShardInfo::folder(&options.out, index, n);
    if folder.exists() && !options.force {
        if ShardInfo::read(&folder.join(SHARD_FILE))? == info {
            eprintln!("{} was done before", folder.display());
            return Ok(());
        }
        bail!(
            "{} holds a shard of another video or of other settings; --force replaces it",
            folder.display()
        );
    }
    let out = unfinished(&folder);
    prepare_folder(&out, true)?;
    if span.is_empty() {
        FolderSink::create(&out, &header, system_clock(), &mut |_| ())?;
        eprintln!("no cut lies in the share of shard {index}: it is empty");
    } else {
        let job = Job {
            file: video.name,
            out: &out,
            shown: &folder,
            span: Some(span),
        };
        extract_one(
            options,
            &video.settings,
            (&models, &classifiers),
            job,
            &stop,
        )?;
    }
    info.write(&out.join(SHARD_FILE))?;
    replace(&out, &folder)
}
