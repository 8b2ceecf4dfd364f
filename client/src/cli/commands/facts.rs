//! The commands of `rollcall identity` that say who is who, and the list of what was said.
use rollcall_client::{Client, pb};
use serde_json::json;

use super::edit::{Editor, show};
use super::{found, limit};
use crate::cli::Outcome;
use crate::cli::args::{
    FactsList, Format, IdentitySplit, Separate, TracksLink, TracksMove, TracksReject, Why,
};
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

impl Editor<'_> {
    pub(super) async fn move_tracks(
        &self,
        command: &TracksMove,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::MoveTracksRequest {
            track_ids: command.tracks.clone(),
            into_identity_id: command.into.unwrap_or(0),
            into_etag: command.into_etag.clone(),
            name: command.name.clone(),
            allow_duplicate_name: command.allow_duplicate_name,
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.move_tracks(request).await?, out)
    }

    pub(super) async fn split(
        &self,
        command: &IdentitySplit,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::SplitIdentityRequest {
            identity_id: command.id,
            etag: command.etag.clone(),
            track_ids: command.tracks.clone(),
            name: command.name.clone(),
            allow_duplicate_name: command.allow_duplicate_name,
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.split_identity(request).await?, out)
    }

    pub(super) async fn link(
        &self,
        command: &TracksLink,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::LinkTracksRequest {
            track_ids: command.tracks.clone(),
            etag: command.etag.clone(),
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.link_tracks(request).await?, out)
    }

    pub(super) async fn separate(
        &self,
        command: &Separate,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let mut request = pb::SeparateRequest {
            etag: command.etag.clone(),
            other_etag: command.other_etag.clone(),
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        let both = (command.one, command.other);
        if command.tracks {
            (request.track_id, request.other_track_id) = both;
        } else {
            (request.identity_id, request.other_identity_id) = both;
        }
        show(&self.client.separate(request).await?, out)
    }

    pub(super) async fn reject(
        &self,
        command: &TracksReject,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::RejectTracksRequest {
            identity_id: command.id,
            etag: command.etag.clone(),
            track_ids: command.tracks.clone(),
            author: self.author.to_owned(),
            reason: command.why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.reject_tracks(request).await?, out)
    }

    pub(super) async fn forget(
        &self,
        fact: u64,
        why: &Why,
        out: &mut Out,
    ) -> Result<Outcome, Failure> {
        let request = pb::ForgetFactRequest {
            fact_id: fact,
            author: self.author.to_owned(),
            reason: why.reason.clone(),
            ..Default::default()
        };
        show(&self.client.forget_fact(request).await?, out)
    }
}

pub(super) async fn list(
    client: &Client,
    command: &FactsList,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let mut kinds = vec![
        pb::FactKind::OnePerson.into(),
        pb::FactKind::TwoPeople.into(),
    ];
    if command.placed {
        kinds.push(pb::FactKind::Placed.into());
    }
    let request = pb::ListFactsRequest {
        identity_id: command.id,
        track_id: command.track.unwrap_or(0),
        kinds,
        ..Default::default()
    };
    let facts = client.all_facts(request, limit(command.limit)).await?;
    let views = || facts.iter().map(view::Fact::from);
    match out.format {
        Format::Json => out.json(&json!({ "facts": views().collect::<Vec<_>>() }))?,
        Format::Jsonl => {
            for view in views() {
                out.json(&view)?;
            }
        }
        Format::Table if facts.is_empty() => out.note("nothing was said about who is who"),
        Format::Table => {
            let mut table = Table::new(&[
                ("FACT", Side::Right),
                ("EDIT", Side::Right),
                ("WHAT", Side::Left),
            ]);
            for fact in &facts {
                table.row([
                    fact.id.to_string(),
                    fact.sequence.to_string(),
                    in_words(fact),
                ]);
            }
            out.line(&table.render(out.style))?;
        }
    }
    Ok(found(!facts.is_empty()))
}

/// A fact in a few words.
pub(super) fn in_words(fact: &pb::Fact) -> String {
    let side = |track, identity| match track {
        0 => format!("identity {identity}"),
        track => format!("track {track}"),
    };
    let one = side(fact.track_id, fact.identity_id);
    let other = side(fact.other_track_id, fact.other_identity_id);
    match fact.kind() {
        pb::FactKind::OnePerson => format!("{one} and {other} are one person"),
        pb::FactKind::TwoPeople => format!("{one} and {other} are two people"),
        pb::FactKind::Placed => format!("{one} was put into {other}"),
        pb::FactKind::Unspecified => "a fact this client does not know".to_owned(),
    }
}
