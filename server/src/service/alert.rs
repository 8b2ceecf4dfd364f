//! `AlertService`.

use super::alert_check::{checked_rule, checked_update};
use super::edit::Said;
use crate::core::{AlertQuery, Core, RuleChange, RuleEdit, as_shown_alert, as_shown_rule};
use crate::edge::{Edge, check_contract};
use crate::error::ApiError;
use crate::page::{cut, page_size};
use crate::pb::{self, AlertKind, create_alert_rule_request::Watches};
use crate::photo_pool::Wanted;
use crate::time::timestamp_us;
use rollcall_index::Embedding;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Pictures of a rule at most.
const PHOTOS_MAX: usize = 8;

/// Watch-lists, and what they brought.
#[derive(Clone, Debug)]
pub(crate) struct Alerts(pub Arc<Edge>);

#[tonic::async_trait]
impl pb::alert_service_server::AlertService for Alerts {
    async fn create_alert_rule(
        &self,
        request: Request<pb::CreateAlertRuleRequest>,
    ) -> Result<Response<pb::AlertRule>, Status> {
        Ok(Response::new(self.create(request.into_inner()).await?))
    }

    async fn get_alert_rule(
        &self,
        request: Request<pb::GetAlertRuleRequest>,
    ) -> Result<Response<pb::AlertRule>, Status> {
        Ok(Response::new(self.get(request.into_inner().rule_id).await?))
    }

    async fn list_alert_rules(
        &self,
        request: Request<pb::ListAlertRulesRequest>,
    ) -> Result<Response<pb::ListAlertRulesResponse>, Status> {
        Ok(Response::new(self.list_rules(request.into_inner()).await?))
    }

    async fn update_alert_rule(
        &self,
        request: Request<pb::UpdateAlertRuleRequest>,
    ) -> Result<Response<pb::AlertRule>, Status> {
        Ok(Response::new(self.update(request.into_inner()).await?))
    }

    async fn delete_alert_rule(
        &self,
        request: Request<pb::DeleteAlertRuleRequest>,
    ) -> Result<Response<pb::DeleteAlertRuleResponse>, Status> {
        Ok(Response::new(self.delete(request.into_inner()).await?))
    }

    async fn list_alerts(
        &self,
        request: Request<pb::ListAlertsRequest>,
    ) -> Result<Response<pb::ListAlertsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }
}

impl Alerts {
    async fn create(
        &self,
        mut request: pb::CreateAlertRuleRequest,
    ) -> Result<pb::AlertRule, ApiError> {
        let images = match &mut request.watches {
            Some(Watches::Photos(photos)) => std::mem::take(&mut photos.images),
            Some(Watches::Identities(_) | Watches::Strangers(_)) | None => Vec::new(),
        };
        let photo = matches!(request.watches, Some(Watches::Photos(_)));
        if photo && (images.is_empty() || images.len() > PHOTOS_MAX) {
            let what = format!("has {} pictures; 1 to {PHOTOS_MAX} may be", images.len());
            let field = "photos.images";
            return Err(ApiError::InvalidField { field, what });
        }
        let said = Said::new(
            std::mem::take(&mut request.author),
            std::mem::take(&mut request.reason),
            std::mem::take(&mut request.request_id),
        );
        let rule = Box::new(checked_rule(&self.0, request)?);
        let photo = rule.photo.as_ref();
        let contract = photo.map_or_else(String::new, |photo| photo.contract.clone());
        let photos = self.faces(images, &contract).await?;
        let change = RuleChange::Create { rule, photos };
        let id = self.edit(said, change).await?;
        self.get(id).await
    }

    /// The face of each picture, by models of that contract.
    async fn faces(
        &self,
        images: Vec<Vec<u8>>,
        contract: &str,
    ) -> Result<Vec<Embedding>, ApiError> {
        let mut faces = Vec::with_capacity(images.len());
        for image in images {
            let _place = self.0.pool.admit()?;
            let answer = self.0.pool.photo(image, Wanted::Largest(1)).await?;
            // Another model may have taken the place of the one that the rule was checked by.
            check_contract(&answer.models.collection.contract, contract)?;
            faces.extend(answer.embedded.into_iter().map(|(_, face)| face));
        }
        Ok(faces)
    }

    async fn update(
        &self,
        mut request: pb::UpdateAlertRuleRequest,
    ) -> Result<pb::AlertRule, ApiError> {
        let said = Said::new(
            std::mem::take(&mut request.author),
            std::mem::take(&mut request.reason),
            std::mem::take(&mut request.request_id),
        );
        let (rule_id, etag) = (request.rule_id, given(&request.etag));
        let update = Box::new(checked_update(&self.0, request)?);
        let change = RuleChange::Update {
            rule_id,
            etag,
            update,
        };
        self.edit(said, change).await?;
        self.get(rule_id).await
    }

    async fn delete(
        &self,
        request: pb::DeleteAlertRuleRequest,
    ) -> Result<pb::DeleteAlertRuleResponse, ApiError> {
        let change = RuleChange::Delete {
            rule_id: request.rule_id,
            etag: given(&request.etag),
        };
        let said = Said::new(request.author, request.reason, request.request_id);
        let sequence = self.edit(said, change).await?;
        Ok(pb::DeleteAlertRuleResponse { sequence })
    }

    async fn edit(&self, said: Said, change: RuleChange) -> Result<u64, ApiError> {
        let (author, reason, request_id) = said.checked()?;
        let edit = RuleEdit {
            change,
            author,
            reason,
            request_id,
        };
        let made = self.0.core.edit_alert_rule(edit).await?;
        // A rule that is deleted leaves its photos to be erased.
        self.0.eraser.nudge();
        self.0.rule_news.tell();
        Ok(made)
    }

    async fn get(&self, id: u64) -> Result<pb::AlertRule, ApiError> {
        let found = self.0.read(move |catalog| catalog.alert_rule(id)).await?;
        let found = found.ok_or(ApiError::AlertRuleNotFound { id })?;
        Ok(as_shown_rule(&found))
    }

    async fn list_rules(
        &self,
        request: pb::ListAlertRulesRequest,
    ) -> Result<pb::ListAlertRulesResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let seal = self.0.seal("ListAlertRules");
        let after = seal
            .open(&request.page_token)?
            .map_or(0, |[after]| after.cast_unsigned());
        let read = self
            .0
            .read(move |catalog| catalog.alert_rules(after, size + 1));
        let mut rules = read.await?;
        let more = cut(&mut rules, size);
        let last = rules.last().filter(|_| more);
        let next_page_token = last
            .map(|last| seal.token([last.id.cast_signed()]))
            .unwrap_or_default();
        Ok(pb::ListAlertRulesResponse {
            rules: rules.iter().map(as_shown_rule).collect(),
            next_page_token,
        })
    }

    async fn list(
        &self,
        request: pb::ListAlertsRequest,
    ) -> Result<pb::ListAlertsResponse, ApiError> {
        let size = page_size(request.page_size)?;
        let kind = AlertKind::try_from(request.kind).map_err(|_| ApiError::InvalidField {
            field: "kind",
            what: format!("{} is no kind of alert", request.kind),
        })?;
        let some = |id: u64| Some(id).filter(|id| *id != 0);
        let mut query = AlertQuery {
            rule: some(request.rule_id),
            person: some(request.identity_id),
            source: some(request.source_id),
            kind: Some(i32::from(kind)).filter(|_| kind != AlertKind::Unspecified),
            raised_after_us: request.raised_after.as_ref().map(timestamp_us),
            raised_before_us: request.raised_before.as_ref().map(timestamp_us),
            before: None,
            limit: size + 1,
        };
        let seal = self
            .0
            .seal("ListAlerts")
            .with(format!("{query:?}").as_bytes());
        let before = seal.open(&request.page_token)?;
        query.before = before.map(|[before]| before.cast_unsigned());
        let (mut alerts, more) = self.0.blocking(move |core| page(core, query, size)).await?;
        let last = alerts.last_mut().filter(|_| more);
        let next_page_token = last
            .map(|last| seal.token([last.sequence.cast_signed()]))
            .unwrap_or_default();
        Ok(pb::ListAlertsResponse {
            alerts,
            next_page_token,
        })
    }
}

/// A page of alerts with the names of now, and whether there are more.
fn page(core: &Core, mut query: AlertQuery, size: u32) -> Result<(Vec<pb::Alert>, bool), ApiError> {
    let catalog = core.catalog();
    if let Some(id) = query.person {
        let person = catalog.resolve(id)?;
        query.person = Some(person.ok_or(ApiError::IdentityNotFound { id })?);
    }
    let mut rows = catalog.alerts(&query)?;
    let more = cut(&mut rows, size);
    let mut alerts: Vec<pb::Alert> = rows.iter().map(as_shown_alert).collect();
    for alert in &mut alerts {
        let identity = catalog.identity(alert.identity_id)?;
        alert.identity_name = identity.map(|identity| identity.name).unwrap_or_default();
        let source = catalog.source(alert.source_id)?;
        alert.source_name = source.map(|source| source.name).unwrap_or_default();
    }
    Ok((alerts, more))
}

/// Empty text is none.
fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
