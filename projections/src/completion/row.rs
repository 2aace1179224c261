//! The rows of completions and their usage, and how an event changes them.

use std::collections::BTreeMap;
use std::time::Duration;

use counterfoil_events::completion::{CompletionEvent, FailureCode, Usage};
use counterfoil_events::ids::{AgentId, ApiKeyId, Position};
use counterfoil_events::money::{Currency, Micros, Money};
use counterfoil_events::text::{Code, ModelName};
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::{FoldError, FoldEvent};

/// How a completion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletionStatus {
    /// The provider is, or was, being called.
    Authorized,
    /// Never called.
    Denied,
    /// Answered whole.
    Settled,
    /// Not answered whole.
    Failed,
    /// Nobody said how it ended; booked at its upper bound.
    Lost,
}

/// A completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionRow {
    /// Who asked.
    pub agent: AgentId,
    /// By which key.
    pub api_key: ApiKeyId,
    /// For which model; none if it was none of ours.
    pub model: Option<ModelName>,
    /// At which provider; none if denied.
    pub provider: Option<Code>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// The UTC day on which it was asked for, such as `2026-11-20`.
    pub day: String,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it ended; none while it is under way.
    pub ended_at: Option<Timestamp>,
    /// How it stands.
    pub status: CompletionStatus,
    /// Whether it counted as lost first.
    pub corrected: bool,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Whether the tokens are our estimate.
    pub estimated: bool,
    /// What it cost; none before it ended, and if denied.
    pub cost: Option<Money>,
    /// Which step denied it.
    pub step: Option<Code>,
    /// With which code it was denied or failed.
    pub code: Option<String>,
    /// The policies' reasons for the denial.
    pub reasons: Vec<Code>,
    /// The last event that the row stands on.
    pub position: Position,
    /// When the whole call must be over; none unless it is under way. Well after that it counts as lost.
    pub settle_by: Option<Timestamp>,
}

impl CompletionRow {
    /// The row that a completion's first event makes; none for any other event.
    pub(super) fn first(event: &FoldEvent<'_>, change: &CompletionEvent) -> Option<Self> {
        use CompletionEvent as E;

        let open = |agent: AgentId, api_key: ApiKeyId, model: Option<ModelName>| Self {
            agent,
            api_key,
            model,
            provider: None,
            stream: false,
            day: event.recorded_at.as_datetime().date_naive().to_string(),
            asked_at: event.recorded_at,
            ended_at: None,
            status: CompletionStatus::Authorized,
            corrected: false,
            input_tokens: 0,
            output_tokens: 0,
            estimated: false,
            cost: None,
            step: None,
            code: None,
            reasons: Vec::new(),
            position: event.position,
            settle_by: None,
        };
        match change {
            E::CompletionAuthorized {
                agent,
                key_id,
                model,
                provider,
                stream,
                timeout_ms,
                ..
            } => Some(Self {
                provider: Some(provider.clone()),
                stream: *stream,
                settle_by: event
                    .recorded_at
                    .checked_add(Duration::from_millis(u64::from(*timeout_ms))),
                ..open(*agent, *key_id, Some(model.clone()))
            }),
            E::CompletionDenied {
                agent,
                key_id,
                model,
                step,
                code,
                reasons,
                ..
            } => Some(Self {
                status: CompletionStatus::Denied,
                ended_at: Some(event.recorded_at),
                step: Some(step.clone()),
                code: Some(code.as_str().to_owned()),
                reasons: reasons.to_vec(),
                ..open(*agent, *key_id, model.clone())
            }),
            _ => None,
        }
    }

    /// The row after an event that ends or corrects it.
    pub(super) fn after(mut self, event: &FoldEvent<'_>, change: &CompletionEvent) -> Self {
        use {CompletionEvent as E, CompletionStatus as S};

        match change {
            // A first event never comes here: `first` takes it.
            E::CompletionAuthorized { .. } | E::CompletionDenied { .. } => {}
            E::CompletionSettled { usage, cost, .. } => self.end(S::Settled, None, *usage, *cost),
            E::CompletionFailed {
                code, usage, cost, ..
            } => self.end(S::Failed, Some(*code), *usage, *cost),
            E::CompletionLost { usage, cost } => self.end(S::Lost, None, *usage, *cost),
            E::CompletionCorrected {
                failure, usage, cost, ..
            } => {
                let status = if failure.is_some() { S::Failed } else { S::Settled };
                self.end(status, *failure, *usage, *cost);
                self.corrected = true;
            }
        }
        self.ended_at = Some(event.recorded_at);
        self.settle_by = None;
        self.position = event.position;
        self
    }

    fn end(&mut self, status: CompletionStatus, failure: Option<FailureCode>, usage: Usage, cost: Money) {
        self.status = status;
        // A failure's code is a unit variant, which always serialises as text.
        self.code = failure.and_then(|code| serde_json::to_value(code).ok()?.as_str().map(str::to_owned));
        self.input_tokens = usage.input_tokens;
        self.output_tokens = usage.output_tokens;
        self.estimated = usage.estimated;
        self.cost = Some(cost);
    }

    /// The key of the usage row that it counts in.
    pub(super) fn usage_key(&self) -> String {
        // The model comes last: it alone is free text.
        let model = self.model.as_ref().map_or("", ModelName::as_str);
        format!("{}|{}|{model}", self.day, self.agent)
    }
}

/// Exact sums of money, one per currency: amounts of different currencies do not add.
pub type Costs = BTreeMap<Currency, Micros>;

/// What an agent used of a model on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Who asked.
    pub agent: AgentId,
    /// For which model; none: for one that is none of ours.
    pub model: Option<ModelName>,
    /// The UTC day.
    pub day: String,
    /// All completions, those under way included.
    pub completions: i64,
    /// Of these, answered whole.
    pub settled: i64,
    /// Of these, denied.
    pub denied: i64,
    /// Of these, not answered whole.
    pub failed: i64,
    /// Of these, booked at their upper bound.
    pub lost: i64,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of answers.
    pub output_tokens: i64,
    /// What it cost.
    pub cost: Costs,
}

impl UsageRow {
    pub(super) fn empty(of: &CompletionRow) -> Self {
        Self {
            agent: of.agent,
            model: of.model.clone(),
            day: of.day.clone(),
            completions: 0,
            settled: 0,
            denied: 0,
            failed: 0,
            lost: 0,
            input_tokens: 0,
            output_tokens: 0,
            cost: Costs::new(),
        }
    }

    /// Counts a completion in (`times` is 1) or out again (−1).
    pub(super) fn count(&mut self, row: &CompletionRow, times: i64) -> Result<(), FoldError> {
        self.completions += times;
        match row.status {
            CompletionStatus::Authorized => {}
            CompletionStatus::Denied => self.denied += times,
            CompletionStatus::Settled => self.settled += times,
            CompletionStatus::Failed => self.failed += times,
            CompletionStatus::Lost => self.lost += times,
        }
        self.input_tokens += times * i64::from(row.input_tokens);
        self.output_tokens += times * i64::from(row.output_tokens);
        if let Some(cost) = row.cost {
            let sum = self.cost.entry(cost.currency).or_default();
            let added = if times < 0 {
                sum.checked_sub(cost.micros)
            } else {
                sum.checked_add(cost.micros)
            };
            *sum = added.map_err(|error| FoldError::Contradiction(error.to_string()))?;
        }
        Ok(())
    }
}
