//! What becomes of a batch that was not written: refused, failed, or of unknown outcome.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Lane, answer_all};
use crate::ids::KeyId;
use crate::ledger::call::{CALL_TIMEOUT, within};
use crate::ledger::draft::Draft;
use crate::ledger::place::Head;
use crate::ledger::request::{AppendError, AppendRequest, Appended};
use crate::ledger::unknown::{Resolved, resolve};
use crate::ledger::waiting::Waiting;
use crate::ledger::write::{Outcome, Refusal, RefusedItem};

const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long one look for an unknown outcome takes at most, once nobody waits for it any more.
const LATE_LOOK: Duration = Duration::from_secs(3);

impl Lane {
    /// Step 3.
    pub(super) async fn settle(&mut self, outcome: Outcome, draft: Draft) {
        match outcome {
            // Both ways of writing see to it themselves, since what follows stands on it.
            Outcome::Written => self.answer_written(Some(draft)),
            Outcome::Refused(refusal) => self.settle_refused(&refusal, draft).await,
            Outcome::Missing => draft.answer_all(&AppendError::MissingTenant(self.tenant)),
            Outcome::Superseded(current) => self.settle_superseded(current, draft).await,
            Outcome::Failed { reason, permanent } => {
                self.settle_failed(&reason, permanent, draft.into_waiting());
            }
            Outcome::Unreached(reason) => draft.answer_all(&AppendError::Unavailable(reason)),
            Outcome::Unknown(reason) => {
                tracing::warn!(tenant = %self.tenant, reason, "the outcome of an append is unknown; finding out");
                self.find_out(draft).await;
            }
        }
    }

    /// One request may have spoiled it for all of them.
    fn settle_failed(&mut self, reason: &str, permanent: bool, batch: Vec<Waiting>) {
        self.head = None;
        tracing::error!(tenant = %self.tenant, requests = batch.len(), reason, "Postgres refused an append");
        if batch.len() == 1 {
            let error = match permanent {
                true => AppendError::Impossible(reason.to_owned()),
                false => AppendError::Unavailable("Postgres refused the append".to_owned()),
            };
            return answer_all(batch, &error);
        }
        self.waiting.put_back_singly(batch);
    }

    async fn settle_refused(&mut self, refusal: &Refusal, draft: Draft) {
        self.head = Some(Head::from(&refusal.head));
        if let Some(reason) = &refusal.quarantine {
            let error = AppendError::Quarantined {
                tenant: self.tenant,
                reason: reason.clone(),
            };
            return draft.answer_all(&error);
        }
        if refusal.refused.is_empty() {
            self.misses += 1;
            metrics::counter!("counterfoil_append_head_misses_total").increment(1);
        }
        let mut batch: Vec<Option<Waiting>> = draft.into_waiting().into_iter().map(Some).collect();
        // A key that was used answers before a sequence that moved: the first receipt is the right answer.
        let (keys, sequences): (Vec<_>, Vec<_>) = refusal
            .refused
            .iter()
            .partition(|item| matches!(item, RefusedItem::Key { .. }));
        for refused in keys.into_iter().chain(sequences) {
            let item = match refused {
                RefusedItem::Key { item, .. } | RefusedItem::Sequence { item, .. } => *item,
            };
            if let Some(waiting) = batch.get_mut(item).and_then(Option::take) {
                let result = self.refused(refused, &waiting.request).await;
                waiting.answer(result);
            }
        }
        self.waiting.put_back(batch.into_iter().flatten().collect());
    }

    /// Takes the key that signs now and places again; without it nothing can be appended.
    async fn settle_superseded(&mut self, current: KeyId, draft: Draft) {
        let ours = self.shared.key.get().public_key().id();
        if self.shared.key.change_to(current).await {
            tracing::info!(%ours, %current, "the signing key was rotated; the new one is in use");
            return self.waiting.put_back(draft.into_waiting());
        }
        tracing::error!(%ours, %current, "the signing key was rotated, and the new one is not in place here");
        draft.answer_all(&AppendError::KeySuperseded { ours, current });
    }

    async fn refused(&self, refused: &RefusedItem, request: &AppendRequest) -> Result<Appended, AppendError> {
        match refused {
            RefusedItem::Sequence {
                aggregate,
                aggregate_id,
                actual,
                ..
            } => Err(AppendError::conflict(aggregate, aggregate_id, *actual)),
            RefusedItem::Key {
                fingerprint,
                position,
                count,
                ..
            } => {
                let ours = request.idempotency.map(|key| hex::encode(key.fingerprint));
                if ours.as_ref() != Some(fingerprint) {
                    return Err(AppendError::KeyReused);
                }
                let receipts = self.shared.reader.receipts(self.tenant, *position, *count);
                let receipts = within(CALL_TIMEOUT, receipts).await.map_err(|error| {
                    tracing::warn!(tenant = %self.tenant, %error, "the receipts of an earlier request cannot be read");
                    AppendError::ReceiptsUnread(self.tenant)
                })?;
                if receipts.len() != *count as usize {
                    tracing::error!(tenant = %self.tenant, %position, count, "events of an earlier request are missing");
                    return Err(AppendError::ReceiptsUnread(self.tenant));
                }
                Ok(Appended {
                    receipts,
                    replayed: true,
                })
            }
        }
    }

    /// Step 4. Nothing else is taken until the truth is known; who waits too long is told that it is not.
    async fn find_out(&mut self, draft: Draft) {
        self.head = None;
        let deadline = Instant::now() + self.shared.options.unknown_timeout;
        let Draft { batch, .. } = &draft;
        let truth = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            match resolve(self.shared.database.log(), batch, left).await {
                Ok(truth) => break Some(truth),
                Err(error) => tracing::warn!(tenant = %self.tenant, %error, "the outcome is still unknown"),
            }
            sleep(RETRY_PAUSE).await;
        };
        match truth {
            Some(truth) => self.settle_resolved(truth, draft),
            None => self.find_out_late(draft).await,
        }
    }

    /// Nobody is kept waiting for it any more, but nothing is taken either.
    async fn find_out_late(&mut self, draft: Draft) {
        let unknown = AppendError::OutcomeUnknown(self.tenant);
        let batch = draft.answer_unknown(&unknown);
        self.waiting
            .leave()
            .for_each(|waiting| waiting.answer(Err(unknown.clone())));
        loop {
            self.refuse_queued();
            if self.queue.is_closed() && self.queue.is_empty() {
                return;
            }
            match resolve(self.shared.database.log(), &batch, LATE_LOOK).await {
                Ok(truth) => {
                    tracing::info!(tenant = %self.tenant, written = truth.written, "the outcome is known");
                    self.head = Some(truth.head);
                    return;
                }
                Err(error) => tracing::warn!(tenant = %self.tenant, %error, "the outcome is still unknown"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    fn settle_resolved(&mut self, truth: Resolved, draft: Draft) {
        tracing::info!(tenant = %self.tenant, written = truth.written, "the outcome is known");
        self.head = Some(truth.head);
        match truth.written {
            true => {
                self.note_written(&draft);
                self.answer_written(Some(draft));
            }
            // Never written: it is as if it had not been tried.
            false => self.waiting.put_back(draft.into_waiting()),
        }
    }

    /// Requests that came while the outcome is unknown have not been tried: nothing was written of them.
    fn refuse_queued(&mut self) {
        while let Ok(waiting) = self.queue.try_recv() {
            let reason = "an earlier append's outcome is being found out".to_owned();
            waiting.answer(Err(AppendError::Unavailable(reason)));
        }
    }
}
