//! The part of the fake that has alert rules.
use super::rpc::alert_service_server::AlertService;
use super::{Answer, Fake, error};
use rollcall_client::pb;
use tonic::{Code, Request, Response};

fn rule(id: u64, name: &str) -> pb::AlertRule {
    let identities = pb::WatchedIdentities {
        identity_ids: vec![1, 2],
    };
    pb::AlertRule {
        id,
        name: name.to_owned(),
        enabled: true,
        watches: Some(pb::alert_rule::Watches::Identities(identities)),
        settings: Some(pb::AlertSettings {
            confirm_faces: Some(3),
            ..Default::default()
        }),
        webhook: Some(pb::AlertWebhook {
            url: "https://example.org/hook".to_owned(),
            gone: id == 2,
            ..Default::default()
        }),
        etag: "e5".to_owned(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl AlertService for Fake {
    async fn create_alert_rule(
        &self,
        r: Request<pb::CreateAlertRuleRequest>,
    ) -> Answer<pb::AlertRule> {
        let r = r.into_inner();
        self.0.rules.lock().unwrap().push(r.clone());
        Ok(Response::new(rule(1, &r.name)))
    }

    async fn get_alert_rule(&self, r: Request<pb::GetAlertRuleRequest>) -> Answer<pb::AlertRule> {
        match r.into_inner().rule_id {
            id @ 1..=2 => Ok(Response::new(rule(id, "on air"))),
            id => {
                let what = format!("there is no alert rule {id}");
                Err(error(Code::NotFound, "ALERT_RULE_NOT_FOUND", &what))
            }
        }
    }

    /// Two rules, one a page.
    async fn list_alert_rules(
        &self,
        r: Request<pb::ListAlertRulesRequest>,
    ) -> Answer<pb::ListAlertRulesResponse> {
        let first = r.into_inner().page_token.is_empty();
        Ok(Response::new(pb::ListAlertRulesResponse {
            rules: vec![rule(if first { 1 } else { 2 }, "on air")],
            next_page_token: if first { "2" } else { "" }.to_owned(),
        }))
    }

    async fn update_alert_rule(
        &self,
        r: Request<pb::UpdateAlertRuleRequest>,
    ) -> Answer<pb::AlertRule> {
        let r = r.into_inner();
        self.0.rule_updates.lock().unwrap().push(r.clone());
        Ok(Response::new(rule(r.rule_id, "on air")))
    }

    async fn delete_alert_rule(
        &self,
        _: Request<pb::DeleteAlertRuleRequest>,
    ) -> Answer<pb::DeleteAlertRuleResponse> {
        Ok(Response::new(pb::DeleteAlertRuleResponse { sequence: 9 }))
    }

    /// One alert of rule 1; none of any other.
    async fn list_alerts(
        &self,
        r: Request<pb::ListAlertsRequest>,
    ) -> Answer<pb::ListAlertsResponse> {
        let alert = pb::Alert {
            sequence: 8,
            rule_id: 1,
            rule_name: "on air".to_owned(),
            kind: pb::AlertKind::Appeared.into(),
            identity_id: 1,
            identity_name: "Ada Lovelace".to_owned(),
            source_name: "clip.mp4".to_owned(),
            appearance: 1,
            ..Default::default()
        };
        let known = r.into_inner().rule_id <= 1;
        Ok(Response::new(pb::ListAlertsResponse {
            alerts: Vec::from_iter(known.then_some(alert)),
            next_page_token: String::new(),
        }))
    }
}
