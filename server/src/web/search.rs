//! Search by photo: who is on it, and where they were seen.

use super::form::Query;
use super::guard::Visit;
use super::layout::{Here, Layout, Person};
use super::trouble::{Refusal, Trouble, shown};
use super::words::{self, Moment};
use crate::error::ApiError;
use crate::pb::{self, Verdict};
use crate::photo_pool::Wanted;
use crate::service;
use crate::time::duration_us;
use askama::Template;
use axum::extract::Multipart;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

/// Faces of a photo that are looked up, the largest ones.
const FACES: usize = 16;
/// People shown for each.
const HITS: u32 = 5;
/// Sightings shown of each.
const SIGHTINGS: u32 = 5;

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    layout: Layout,
    bytes_max: usize,
    answer: Option<Answer>,
    /// What is wrong with the photo, and the reason.
    trouble: Option<(String, &'static str)>,
}

struct Answer {
    faces: Vec<Face>,
    boxes: Vec<Outline>,
    milliseconds: i64,
}

/// One of all faces: its place and size in fractions of the photo.
struct Outline {
    /// From the left, from 1.
    number: u32,
    /// In the order in which they were found, from 0.
    index: u32,
    x: String,
    y: String,
    width: String,
    height: String,
    /// Why it cannot be used; empty if it can.
    rejection: String,
}

/// What is said of one face.
struct Face {
    number: u32,
    /// `found`, `ambiguous` or `unknown`.
    verdict: &'static str,
    words: String,
    hits: Vec<Hit>,
}

struct Hit {
    person: Person,
    cosine: String,
    /// How far behind the next is; empty: there is none.
    margin: String,
    /// The face most like the photo.
    best: u64,
    sightings: Vec<Place>,
}

/// Where somebody was seen.
struct Place {
    source: String,
    from: String,
    to: String,
    time: Moment,
}

/// Asks for a photo.
pub(super) async fn page(visit: Visit, query: Query) -> Result<Response, Trouble> {
    respond(visit, &query, StatusCode::OK, None, None).await
}

/// Looks up a photo that was sent.
pub(super) async fn answer(
    visit: Visit,
    query: Query,
    upload: Result<Multipart, MultipartRejection>,
) -> Result<Response, Trouble> {
    let upload = upload.map_err(|_| Refusal::NotAForm)?;
    match look(&visit, upload).await {
        Ok(answer) => respond(visit, &query, StatusCode::OK, Some(answer), None).await,
        Err(trouble) => {
            let told = (trouble.sentence(), trouble.reason());
            respond(visit, &query, trouble.status(), None, Some(told)).await
        }
    }
}

async fn respond(
    visit: Visit,
    query: &Query,
    status: StatusCode,
    answer: Option<Answer>,
    trouble: Option<(String, &'static str)>,
) -> Result<Response, Trouble> {
    let bytes_max = visit.edge.config.grpc.message_bytes_max;
    let layout = Layout::new(visit, Here::Search, query).await?;
    let page = SearchPage {
        layout,
        bytes_max,
        answer,
        trouble,
    };
    Ok((status, shown(&page)).into_response())
}

async fn look(visit: &Visit, upload: Multipart) -> Result<Answer, Trouble> {
    // Taken before the photo is read: so many of them lie in memory at most.
    let _upload = visit.upload()?;
    let photo = photo(visit, upload).await?;
    let edge = &visit.edge;
    let _place = edge.pool.admit()?;
    let options = pb::SearchOptions {
        limit: HITS,
        sightings_per_hit: SIGHTINGS,
        ..pb::SearchOptions::default()
    };
    let wanted = Wanted::Largest(FACES);
    let queries = service::Query::of_faces(edge, photo, wanted, Some(options)).await?;
    let (mut faces, mut boxes, mut milliseconds) = (Vec::new(), Vec::new(), 0);
    for query in queries {
        let same_cosine = query.same_cosine();
        let found = query.look_up(edge).await?;
        if boxes.is_empty() {
            boxes = outlines(&found.faces);
        }
        let total = found.timings.and_then(|timings| timings.total);
        milliseconds = total.map_or(0, |total| duration_us(&total) / 1000);
        let number = boxes
            .iter()
            .find(|outline| outline.index == found.used_face_index);
        let number = number.map_or(1, |outline| outline.number);
        faces.push(face(&found, number, same_cosine));
    }
    faces.sort_by_key(|face| face.number);
    Ok(Answer {
        faces,
        boxes,
        milliseconds,
    })
}

/// The photo of a form, whose token comes before it.
async fn photo(visit: &Visit, mut upload: Multipart) -> Result<Vec<u8>, Trouble> {
    let max = visit.edge.config.grpc.message_bytes_max;
    let broken = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Trouble::from(ApiError::MessageTooLarge { max, picture: true })
        }
        _ => Refusal::NotAForm.into(),
    };
    let mut known = false;
    while let Some(field) = upload.next_field().await.map_err(broken)? {
        match field.name() {
            Some("csrf") => known = visit.knows(&field.text().await.map_err(broken)?),
            Some("photo") if known => return Ok(field.bytes().await.map_err(broken)?.into()),
            Some("photo") => return Err(Refusal::Token.into()),
            Some(_) | None => {}
        }
    }
    Err(if known {
        Refusal::NotAForm
    } else {
        Refusal::Token
    }
    .into())
}

/// All faces, numbered from the left.
fn outlines(faces: &[pb::QueryFace]) -> Vec<Outline> {
    let places = faces.iter().map(|face| face.r#box.unwrap_or_default());
    let mut all: Vec<_> = (0u32..).zip(places).zip(faces).collect();
    all.sort_by(|((_, a), _), ((_, b), _)| a.x.total_cmp(&b.x));
    let text = |part: f32| format!("{part:.4}");
    let outline =
        |(number, ((index, place), face)): (u32, ((u32, pb::Box), &pb::QueryFace))| Outline {
            number,
            index,
            x: text(place.x),
            y: text(place.y),
            width: text(place.width),
            height: text(place.height),
            rejection: face.rejection.to_lowercase().replace('_', " "),
        };
    (1..).zip(all).map(outline).collect()
}

fn face(found: &pb::SearchResponse, number: u32, same_cosine: f32) -> Face {
    let called = |number: usize| {
        let identity = found.hits.get(number).and_then(|hit| hit.identity.as_ref());
        identity.map_or_else(String::new, |who| words::called(who.id, &who.name))
    };
    let (verdict, words) = match found.verdict() {
        Verdict::Found => ("found", format!("This is {}", called(0))),
        Verdict::Ambiguous => {
            let (one, other) = (called(0), called(1));
            ("ambiguous", format!("{one} or {other}: too close to tell"))
        }
        Verdict::Unknown | Verdict::Unspecified => {
            let least = words::cosine(same_cosine);
            ("unknown", format!("Nobody known: none reaches {least}"))
        }
    };
    Face {
        number,
        verdict,
        words,
        hits: found.hits.iter().filter_map(hit).collect(),
    }
}

fn hit(hit: &pb::SearchHit) -> Option<Hit> {
    let place = |sighting: &pb::Sighting| Place {
        source: sighting.source_name.clone(),
        from: words::stream_time(sighting.start.as_ref()),
        to: words::stream_time(sighting.end.as_ref()),
        time: Moment::of(sighting.wall_start.as_ref()).unwrap_or_default(),
    };
    Some(Hit {
        person: Person::of(hit.identity.as_ref()?),
        cosine: words::cosine(hit.cosine),
        // No two cosines lie farther apart than 2, which stands for "nobody comes after".
        margin: Some(hit.margin)
            .filter(|margin| *margin < 2.0)
            .map(words::cosine)
            .unwrap_or_default(),
        best: hit.best_exemplar_id,
        sightings: hit.sightings.iter().map(place).collect(),
    })
}
