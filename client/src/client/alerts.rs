//! Alert rules and alerts.
use super::{Client, fill_request_id};
use crate::error::Error;
use crate::pb;

impl Client {
    /// Makes a rule: whom to watch for, and who is told.
    pub async fn create_alert_rule(
        &self,
        mut request: pb::CreateAlertRuleRequest,
    ) -> Result<pb::AlertRule, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            alert_service_client::AlertServiceClient.create_alert_rule(request)
        )
    }

    /// One rule.
    pub async fn alert_rule(&self, rule_id: u64) -> Result<pb::AlertRule, Error> {
        let request = pb::GetAlertRuleRequest { rule_id };
        call!(
            self,
            read,
            alert_service_client::AlertServiceClient.get_alert_rule(request)
        )
    }

    /// One page of rules, oldest first; [`Client::all_alert_rules`] turns the pages.
    pub async fn list_alert_rules(
        &self,
        request: pb::ListAlertRulesRequest,
    ) -> Result<pb::ListAlertRulesResponse, Error> {
        call!(
            self,
            read,
            alert_service_client::AlertServiceClient.list_alert_rules(request)
        )
    }

    /// Changes a rule; what is absent stays.
    pub async fn update_alert_rule(
        &self,
        mut request: pb::UpdateAlertRuleRequest,
    ) -> Result<pb::AlertRule, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            alert_service_client::AlertServiceClient.update_alert_rule(request)
        )
    }

    /// Deletes a rule; its alerts stay.
    pub async fn delete_alert_rule(
        &self,
        mut request: pb::DeleteAlertRuleRequest,
    ) -> Result<pb::DeleteAlertRuleResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            alert_service_client::AlertServiceClient.delete_alert_rule(request)
        )
    }

    /// One page of alerts, newest first; [`Client::all_alerts`] turns the pages.
    pub async fn list_alerts(
        &self,
        request: pb::ListAlertsRequest,
    ) -> Result<pb::ListAlertsResponse, Error> {
        call!(
            self,
            read,
            alert_service_client::AlertServiceClient.list_alerts(request)
        )
    }
}
