//! `rollcall export`: timelines, and videos with what was seen drawn on them.
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rollcall_client::{Client, pb, time};
use tokio::process::Command;

use super::{connect, found};
use crate::cli::Outcome;
use crate::cli::args::{Args, Export, ExportOf, ExportTimeline, ExportVideo, Form};
use crate::cli::failure::Failure;
use crate::cli::file::{Workshop, write_whole};
use crate::cli::format::printable;
use crate::cli::out::Out;
use crate::cli::timeline::ass::Seen;
use crate::cli::timeline::{FrameRate, Media, Timeline, ass, csv, eaf, edl, otio, spans, webvtt};

/// Where the server does not know how large the picture is: after a restart, and for what came from outside.
const SIZE: (u32, u32) = (1920, 1080);
/// Of what ffmpeg said last, so much is told.
const SAID_BYTES: usize = 500;
const OVERLAY: &str = "overlay.ass";

pub(crate) async fn run(args: &Args, command: &Export, out: &mut Out) -> Result<Outcome, Failure> {
    match command {
        Export::Timeline(command) => timeline(args, command, out).await,
        Export::Video(command) => video(args, command, out).await,
    }
}

async fn timeline(
    args: &Args,
    command: &ExportTimeline,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let client = connect(args).await?;
    // Boxes are of tracks, whatever is joined.
    let join = command.join.0.filter(|_| command.form != Form::Ass);
    let timeline = read(&client, &command.of, join).await?;
    let text = match command.form {
        Form::Csv => csv::write(&timeline),
        Form::Webvtt => webvtt::write(&timeline),
        Form::Ass => ass::write(&timeline, &faces(&client, &timeline, out).await?),
        Form::Edl => edl::write(&timeline).map_err(|why| unfit(&why))?,
        Form::Otio => otio::write(&timeline),
        Form::Eaf => eaf::write(&timeline, &args.global.author, &SystemTime::now().into()),
    };
    if command.output == Path::new("-") {
        out.bytes(text.as_bytes())?;
    } else {
        write_whole(&command.output, text.as_bytes())?;
        out.note(&format!(
            "{}: {} sightings at {} frames a second",
            command.output.display(),
            timeline.spans.len(),
            timeline.media.rate.get()
        ));
    }
    if timeline.spans.is_empty() {
        out.note("no sightings");
    }
    Ok(found(!timeline.spans.is_empty()))
}

fn unfit(why: &edl::Unfit) -> Failure {
    Failure::Local {
        reason: "INVALID_ARGUMENT",
        message: why.to_string(),
    }
}

/// Who was seen on the source, with what is known of the source.
async fn read(client: &Client, of: &ExportOf, join: Option<Duration>) -> Result<Timeline, Failure> {
    let source = client.source(of.source).await?;
    let request = pb::ListSightingsRequest {
        identity_id: of.identity,
        source_id: of.source,
        seen_after: of.window.since.map(|moment| moment.0),
        seen_before: of.window.until.map(|moment| moment.0),
        ..Default::default()
    };
    let sightings = client.all_sightings(request, usize::MAX).await?.items;
    let named = pb::ListIdentitiesRequest {
        named_only: true,
        include_hidden: true,
        ..Default::default()
    };
    let named = client.all_identities(named, usize::MAX).await?.items;
    let names = named.into_iter().map(|it| (it.id, it.name)).collect();
    Ok(Timeline {
        media: media(source, of.fps, &sightings),
        spans: spans(&sightings, &names, join),
    })
}

fn media(source: pb::Source, fps: Option<FrameRate>, sightings: &[pb::Sighting]) -> Media {
    let known = source.media.unwrap_or_default();
    let late = sightings.iter().max_by_key(|sighting| sighting.end_frame);
    let guess = || {
        let end = late.and_then(|it| it.end.as_ref()).map(time::duration);
        let frame = late.map_or(0, |it| it.end_frame);
        FrameRate::guess(frame, end.unwrap_or_default())
    };
    let rate = fps.or_else(|| FrameRate::new(known.frames_per_second));
    Media {
        id: source.id,
        name: source.name,
        uri: source.uri,
        rate: rate.unwrap_or_else(guess),
        size: if known.width > 0 && known.height > 0 {
            (known.width, known.height)
        } else {
            SIZE
        },
        duration: known.duration.as_ref().map(time::duration),
    }
}

/// The boxes of each track; none, with a warning, if the server is too old to give them.
async fn faces(
    client: &Client,
    timeline: &Timeline,
    out: &Out,
) -> Result<HashMap<u64, Vec<Seen>>, Failure> {
    let mut seen: HashMap<u64, Vec<Seen>> = HashMap::new();
    let tracks = timeline.spans.iter().flat_map(|span| &span.tracks);
    seen.extend(tracks.map(|track| (*track, Vec::new())));
    if seen.is_empty() {
        return Ok(seen);
    }
    let spans = timeline.spans.iter();
    let request = pb::ListTrackFacesRequest {
        source_id: timeline.media.id,
        start: spans.clone().map(|span| span.first).min().map(time::to_api),
        end: spans.map(|span| span.last).max().map(time::to_api),
    };
    let mut stream = match client.track_faces(request).await {
        Ok(stream) => stream,
        Err(error) if error.reason() == "UNIMPLEMENTED" => {
            out.warn("the server is too old to give boxes: names only");
            return Ok(seen);
        }
        Err(error) => return Err(error.into()),
    };
    while let Some(message) = stream.next().await? {
        if let Some(track) = seen.get_mut(&message.track_id) {
            track.extend(message.faces.iter().filter_map(face));
        }
    }
    Ok(seen)
}

fn face(face: &pb::SeenFace) -> Option<Seen> {
    let rect = face.r#box.as_ref()?;
    Some(Seen {
        at: time::duration(face.time.as_ref()?),
        rect: [rect.x, rect.y, rect.width, rect.height],
    })
}

async fn video(args: &Args, command: &ExportVideo, out: &mut Out) -> Result<Outcome, Failure> {
    let video = std::fs::canonicalize(&command.video)
        .map_err(|error| Failure::file(&command.video, "read", &error))?;
    if std::fs::canonicalize(&command.output).is_ok_and(|output| output == video) {
        return Err(Failure::Local {
            reason: "INVALID_ARGUMENT",
            message: "the video would be written over itself: name another file with -o".to_owned(),
        });
    }
    let client = connect(args).await?;
    let timeline = read(&client, &command.of, None).await?;
    if timeline.spans.is_empty() {
        out.note("no sightings: nothing was written");
        return Ok(Outcome::Nothing);
    }
    let overlay = ass::write(&timeline, &faces(&client, &timeline, out).await?);
    let workshop = Workshop::beside(&command.output)?;
    workshop.write(OVERLAY, overlay.as_bytes())?;
    let mut made = PathBuf::from("video");
    made.set_extension(command.output.extension().unwrap_or_default());
    out.note(&format!(
        "drawing {} sightings with {}",
        timeline.spans.len(),
        command.ffmpeg.display()
    ));
    draw(&command.ffmpeg, &video, &workshop.folder(), &made).await?;
    workshop.finish(&made.to_string_lossy())?;
    out.note(&command.output.display().to_string());
    Ok(Outcome::Found)
}

/// Runs ffmpeg in `folder`, so that no path has to be written in the language of its filters.
async fn draw(ffmpeg: &Path, video: &Path, folder: &Path, made: &Path) -> Result<(), Failure> {
    let fail = |reason, why: String| Failure::Local {
        reason,
        message: format!("{}: {why}", ffmpeg.display()),
    };
    let log = folder.join("said");
    let file = File::create(&log).map_err(|error| Failure::file(&log, "write", &error))?;
    // A name is looked up, a path is one from here.
    let program = if ffmpeg.components().count() > 1 {
        std::path::absolute(ffmpeg).unwrap_or_else(|_| ffmpeg.to_owned())
    } else {
        ffmpeg.to_owned()
    };
    let mut input = std::ffi::OsString::from("file:");
    input.push(video);
    let status = Command::new(&program)
        .current_dir(folder)
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-i"])
        .arg(&input)
        .args(["-map", "0:v:0", "-map", "0:a?", "-vf"])
        .arg(format!("ass={OVERLAY}"))
        .arg(made)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        // Ctrl-C ends it too.
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| {
            let what = "cannot be run; install FFmpeg, or name the program with --ffmpeg";
            fail("FFMPEG_NOT_FOUND", format!("{what}: {error}"))
        })?;
    if status.success() {
        return Ok(());
    }
    let said = std::fs::read(&log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID_BYTES)..]).into_owned();
    let said = printable(said.trim().rsplit('\n').next().unwrap_or_default());
    Err(fail("FFMPEG_FAILED", format!("{status}: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(end_frame: i64, end_ms: u64) -> pb::Sighting {
        pb::Sighting {
            end_frame,
            end: Some(time::to_api(Duration::from_millis(end_ms))),
            ..Default::default()
        }
    }

    #[test]
    fn the_rate_is_asked_for_or_known_or_guessed() {
        let known = |frames_per_second| pb::Source {
            media: Some(pb::SourceMedia {
                frames_per_second,
                ..Default::default()
            }),
            ..Default::default()
        };
        let rate = |source, fps, sightings: &[_]| media(source, fps, sightings).rate.get();
        let late = [sighting(10, 1), sighting(5000, 100_000), sighting(0, 0)];
        assert_eq!(rate(known(24.0), FrameRate::new(30.0), &late), 30.0);
        assert_eq!(rate(known(24.0), None, &late), 24.0);
        assert_eq!(rate(known(0.0), None, &late), 50.0);
        assert_eq!(rate(pb::Source::default(), None, &late), 50.0);
        assert_eq!(rate(pb::Source::default(), None, &[]), 25.0);
        assert_eq!(media(known(24.0), None, &[]).size, SIZE);
    }
}
