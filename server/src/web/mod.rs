//! The web page: a live feed, people, an identity's sightings, search by photo, the review queue.
//!
//! Pages are made here from templates (`server/templates`) and hold everything; the script (`server/static`) adds the
//! keyboard, the live feed and dropping photos. What is shown and done goes through the functions of `service`, as the
//! API's calls do. [`guard`] keeps other web sites out and, once there are keys, everybody who is not signed in with one or
//! may not do what they ask for; without keys, whoever reaches the address may look and edit, as with the API.

mod author;
mod card;
mod edits;
mod facts;
mod files;
mod form;
mod guard;
mod layout;
mod live;
mod people;
mod person;
mod refused;
mod review;
mod rows;
mod search;
mod session;
mod sign_in;
mod sources;
mod ticked;
mod timeline;
mod track;
mod trouble;
mod words;

pub(crate) use guard::Site;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;

/// Room beside the photo in an upload.
const ENVELOPE_BYTES: usize = 64 << 10;

/// The pages.
pub(crate) fn router(site: Arc<Site>, photo_bytes_max: usize) -> Router {
    let upload = DefaultBodyLimit::max(photo_bytes_max.saturating_add(ENVELOPE_BYTES));
    Router::new()
        .route("/", get(live::page))
        .route("/events", get(live::events))
        .route("/people", get(people::page))
        .route("/people/{id}", get(person::page))
        .route("/people/{id}/update", post(edits::update))
        .route("/people/{id}/merge", post(edits::merge))
        .route("/people/{id}/separate", post(edits::separate))
        .route("/people/{id}/split", post(ticked::split))
        .route("/people/{id}/move", post(ticked::move_there))
        .route("/people/{id}/reject", post(ticked::reject))
        .route("/people/{id}/link", post(ticked::link))
        .route("/tracks/{id}", get(track::page))
        .route("/facts/{id}/forget", post(edits::forget))
        .route("/edits/{sequence}/undo", post(edits::undo))
        .route(
            "/search",
            get(search::page).post(search::answer).layer(upload),
        )
        .route("/review", get(review::page))
        .route("/sources", get(sources::page))
        .route("/author", get(author::page).post(author::save))
        .route("/sign-in", get(sign_in::page).post(sign_in::begin))
        .route("/sign-out", post(sign_in::end))
        .route("/thumb/{exemplar}", get(files::thumbnail))
        .route("/static/{name}", get(files::asset))
        .route_layer(from_fn_with_state(site, guard::guard))
}
