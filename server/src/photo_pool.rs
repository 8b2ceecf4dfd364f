//! Threads that look at query photos, each with models of its own: inference sessions cannot be
//! shared.

use crate::error::ApiError;
use crate::pb;
use crate::vision::{InService, LoadedModels};
use rollcall_index::Embedding;
use rollcall_ingest::align::{align, loose_crop};
use rollcall_ingest::crop::{ALIGNED_JPEG_QUALITY, LOOSE_JPEG_QUALITY, to_jpeg};
use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{DetectedFace, FaceRejection, PhotoFace, PhotoReader, Picture};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Makes a reader for a thread; called again if one was lost to a panic.
pub type MakeReader = Arc<dyn Fn() -> Result<PhotoReader, String> + Send + Sync>;

/// What was seen in a photo.
#[derive(Debug)]
pub struct PhotoAnswer {
    /// Every face, those that cannot be used included.
    pub faces: Vec<pb::QueryFace>,
    /// Those that were asked for, each with its embedding; never empty.
    pub embedded: Vec<(u32, Embedding)>,
    /// Of [`Wanted::Portrait`], what is kept of the face.
    pub portrait: Option<Portrait>,
    /// The models that made it.
    pub models: Arc<LoadedModels>,
    /// Time to read the picture.
    pub decode: Duration,
    /// Time to find faces.
    pub detect: Duration,
    /// Time to embed those that were asked for.
    pub embed: Duration,
}

/// What is kept of a face, beside its embedding.
#[derive(Debug)]
pub struct Portrait {
    /// Five points, x then y, fractions of the picture.
    pub landmarks: Vec<f32>,
    /// Aligned crop, JPEG.
    pub crop: Vec<u8>,
    /// Looser crop, JPEG.
    pub loose_crop: Vec<u8>,
}

/// Which faces of a photo are embedded.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// The only one that may be meant, or the one with this number; with what is kept of it.
    Portrait(Option<u32>),
    /// The one with this number.
    Number(u32),
    /// Those that can be used, largest first, up to so many.
    Largest(usize),
}

struct Job {
    image: Vec<u8>,
    wanted: Wanted,
    reply: oneshot::Sender<Result<PhotoAnswer, ApiError>>,
}

/// The threads. How many photos may wait is up to the caller.
#[derive(Debug)]
pub struct PhotoPool {
    // Its end is the threads' sign to leave.
    jobs: Option<mpsc::Sender<Job>>,
}

impl PhotoPool {
    /// Starts `threads` threads and waits until each has its models.
    ///
    /// # Errors
    /// What making a reader says.
    pub fn start(
        threads: usize,
        limits: PhotoLimits,
        models: &Arc<InService>,
    ) -> Result<Self, String> {
        let (jobs, inbox) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let (ready, readiness) = mpsc::channel();
        for number in 0..threads {
            let (models, inbox) = (Arc::clone(models), Arc::clone(&inbox));
            let (limits, ready) = (limits, ready.clone());
            std::thread::Builder::new()
                .name(format!("photo-{number}"))
                .spawn(move || work(&models, &inbox, &limits, &ready))
                .map_err(|error| format!("a photo thread cannot be started: {error}"))?;
        }
        for _ in 0..threads {
            readiness
                .recv()
                .map_err(|_| "a photo thread was lost".to_owned())??;
        }
        Ok(Self { jobs: Some(jobs) })
    }

    /// No threads: every photo is refused.
    pub fn none() -> Self {
        Self { jobs: None }
    }

    /// Finds the faces of a photo and embeds those that are wanted.
    ///
    /// # Errors
    /// Those of a photo that cannot be used.
    pub async fn look(&self, image: Vec<u8>, wanted: Wanted) -> Result<PhotoAnswer, ApiError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self
            .jobs
            .as_ref()
            .ok_or(ApiError::Internal("no models are loaded"))?;
        jobs.send(Job {
            image,
            wanted,
            reply,
        })
        .map_err(|_| ApiError::Internal("the photo threads are gone"))?;
        answer
            .await
            .map_err(|_| ApiError::Internal("the photo was lost"))?
    }
}

/// A thread's reader, and the models it was made of.
struct Reader {
    reader: PhotoReader,
    models: Arc<LoadedModels>,
}

impl Reader {
    /// One of the models in service: `kept`, if it is.
    fn newest(models: &InService, kept: Option<Self>) -> Result<Self, String> {
        let models = models.newest();
        match kept.filter(|kept| Arc::ptr_eq(&kept.models, &models)) {
            Some(kept) => Ok(kept),
            None => Ok(Self {
                reader: (models.make_reader)()?,
                models,
            }),
        }
    }
}

fn work(
    models: &InService,
    inbox: &Mutex<mpsc::Receiver<Job>>,
    limits: &PhotoLimits,
    ready: &mpsc::Sender<Result<(), String>>,
) {
    let mut reader = match Reader::newest(models, None) {
        Ok(reader) => Some(reader),
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    loop {
        let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if job.reply.is_closed() {
            continue;
        }
        let Ok(mut ours) = Reader::newest(models, reader.take()) else {
            let _ = job
                .reply
                .send(Err(ApiError::Internal("the models cannot be loaded again")));
            continue;
        };
        let answer = catch_unwind(AssertUnwindSafe(|| look(&mut ours, &job, limits)));
        match answer {
            Ok(answer) => {
                reader = Some(ours);
                let _ = job.reply.send(answer);
            }
            // The reader may be in any state: the next photo gets another one.
            Err(_) => tracing::error!("looking at a photo panicked"),
        }
    }
}

fn look(
    Reader { reader, models }: &mut Reader,
    job: &Job,
    limits: &PhotoLimits,
) -> Result<PhotoAnswer, ApiError> {
    let begun = Instant::now();
    let picture = photo::decode(&job.image, limits)?;
    let decode = begun.elapsed();
    let begun = Instant::now();
    let faces = reader.read(&picture)?;
    let detect = begun.elapsed();
    let chosen = choose(&faces, job.wanted)?;
    let begun = Instant::now();
    let wanted: Vec<_> = chosen.iter().map(|number| &faces[*number].face).collect();
    let embeddings = reader.embed(&picture, &wanted)?;
    if embeddings.len() != chosen.len() {
        return Err(ApiError::Internal("the embedder left out a face"));
    }
    let embed = begun.elapsed();
    let portrait = match (job.wanted, wanted.first()) {
        (Wanted::Portrait(_), Some(face)) => Some(portrait(&picture, face)),
        (Wanted::Portrait(_) | Wanted::Number(_) | Wanted::Largest(_), _) => None,
    };
    let faces = faces
        .iter()
        .map(|face| query_face(face, &picture))
        .collect();
    let numbers = chosen.iter().map(|n| u32::try_from(*n).unwrap_or(u32::MAX));
    Ok(PhotoAnswer {
        faces,
        embedded: numbers.zip(embeddings).collect(),
        portrait,
        models: Arc::clone(models),
        decode,
        detect,
        embed,
    })
}

/// Which faces to use: one at least.
fn choose(faces: &[PhotoFace], wanted: Wanted) -> Result<Vec<usize>, ApiError> {
    if faces.is_empty() {
        return Err(ApiError::NoFaceFound);
    }
    match wanted {
        Wanted::Portrait(None) => {
            let count = faces.iter().filter(|face| may_be_meant(face)).count();
            if count > 1 {
                return Err(ApiError::SeveralFaces { count });
            }
            choose(faces, Wanted::Largest(1))
        }
        Wanted::Number(asked) | Wanted::Portrait(Some(asked)) => {
            let index = usize::try_from(asked).unwrap_or(usize::MAX);
            let out = ApiError::FaceIndexOutOfRange {
                asked,
                count: faces.len(),
            };
            let face = faces.get(index).ok_or(out)?;
            match &face.quality {
                Ok(_) => Ok(vec![index]),
                Err(rejection) => Err(ApiError::FaceRejected {
                    reasons: vec![rejection.code()],
                }),
            }
        }
        Wanted::Largest(most) => {
            let usable = faces.iter().enumerate();
            let usable = usable.filter(|(_, face)| face.quality.is_ok());
            let mut largest: Vec<usize> = usable.map(|(index, _)| index).collect();
            let area = |index: &usize| faces[*index].face.rect.area();
            // Of equally large ones the later comes first.
            largest.sort_by(|a, b| area(b).total_cmp(&area(a)).then(b.cmp(a)));
            largest.truncate(most.max(1));
            if largest.is_empty() {
                let reasons = faces.iter().filter_map(|face| face.quality.as_ref().err());
                return Err(ApiError::FaceRejected {
                    reasons: reasons.map(|rejection| rejection.code()).collect(),
                });
            }
            Ok(largest)
        }
    }
}

/// Somebody far in the background is not, nor what is hardly a face.
fn may_be_meant(face: &PhotoFace) -> bool {
    !matches!(
        face.quality,
        Err(FaceRejection::FaceTooSmall | FaceRejection::LowConfidence)
    )
}

fn portrait(picture: &Picture, face: &DetectedFace) -> Portrait {
    // Pictures are at most 65535 pixels a side: exact in f32.
    #[expect(clippy::cast_precision_loss, reason = "sides are below 2^16")]
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let points = face.landmarks.iter();
    let crop = align(picture.view(), &face.landmarks);
    let loose = loose_crop(picture.view(), &face.rect);
    Portrait {
        landmarks: points.flat_map(|p| [p.x / width, p.y / height]).collect(),
        crop: to_jpeg(crop.picture().view(), ALIGNED_JPEG_QUALITY),
        loose_crop: to_jpeg(loose.view(), LOOSE_JPEG_QUALITY),
    }
}

fn query_face(found: &PhotoFace, picture: &Picture) -> pb::QueryFace {
    // Pictures are at most 65535 pixels a side: exact in f32.
    #[expect(clippy::cast_precision_loss, reason = "sides are below 2^16")]
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let rect = found.face.rect;
    pb::QueryFace {
        r#box: Some(pb::Box {
            x: rect.x / width,
            y: rect.y / height,
            width: rect.width / width,
            height: rect.height / height,
        }),
        confidence: found.face.score,
        quality: found.quality.as_ref().map_or(0.0, |quality| quality.get()),
        rejection: found
            .quality
            .as_ref()
            .err()
            .map(|r| r.code().to_owned())
            .unwrap_or_default(),
    }
}
