//! Everybody, with a picture.

use super::form::{Query, address};
use super::guard::Visit;
use super::layout::{Here, Layout, Person};
use super::trouble::{Trouble, shown};
use crate::pb;
use crate::service::Identities;
use askama::Template;
use axum::response::Response;
use std::sync::Arc;

/// People of a page.
const PEOPLE: i32 = 60;

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    layout: Layout,
    people: Vec<Person>,
    total: u64,
    name: String,
    /// `all`, `named` or `unnamed`.
    which: &'static str,
    hidden: bool,
    newest: bool,
    /// The address of the next page; empty: this is the last one.
    next: String,
}

/// A page of people, oldest first; newest first if that is asked for, or people without a name and nothing else is.
pub(super) async fn page(visit: Visit, query: Query) -> Result<Response, Trouble> {
    let fields = &query.fields;
    let which = match fields.text("which") {
        "named" => "named",
        "unnamed" => "unnamed",
        _ => "all",
    };
    let (name, hidden) = (
        fields.text("name").trim().to_owned(),
        fields.is_set("hidden"),
    );
    let newest = match fields.text("order") {
        "newest" => true,
        "oldest" => false,
        _ => which == "unnamed",
    };
    let request = pb::ListIdentitiesRequest {
        page_size: PEOPLE,
        page_token: fields.text("page").to_owned(),
        name_contains: name.clone(),
        named_only: which == "named",
        include_hidden: hidden,
        unnamed_only: which == "unnamed",
        newest_first: newest,
    };
    let found = Identities(Arc::clone(&visit.edge)).list(request).await?;
    let token = found.next_page_token;
    let kept = fields
        .iter()
        .filter(|(field, _)| !["page", "done"].contains(field));
    let next = address("/people", kept.chain([("page", token.as_str())]));
    let layout = Layout::new(visit, Here::People, &query).await?;
    Ok(shown(&PeoplePage {
        layout,
        people: found.identities.iter().map(Person::of).collect(),
        total: found.total_count,
        name,
        which,
        hidden,
        newest,
        next: if token.is_empty() { token } else { next },
    }))
}
