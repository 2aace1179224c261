//! Checks every log while its rows go into a backup: hash, signature, chain, sequence, columns and head of each event,
//! by the verifier that `audit verify` uses. So it is the bytes in the backup that are judged.
//!
//! What it finds stops nothing: a damaged log is backed up as it is, since it is evidence, and the caller is told.
//! Documents and kept head notes are not looked at here; a restore and `audit verify` look at those, too.

use std::collections::BTreeMap;

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::verify::{
    Anchor, AnchorSource, Entry, FindingKind, Findings, LogVerifier, Options, Unchecked,
};

use super::copied::{self, Lines};
use super::error::BackupError;
use super::manifest::BackedUpLog;
use crate::audit::{AuditError, Keys};

/// Rows checked at once, on all cores: as many as `audit verify` reads at once.
const BATCH_EVENTS: usize = 2000;

/// The logs of one snapshot, while they pass in the order of tenant and position.
pub(super) struct LogCheck {
    keys: Keys,
    /// Of logs whose events have not come yet.
    heads: BTreeMap<TenantId, BackedUpLog>,
    lines: Lines,
    current: Option<(TenantId, LogVerifier)>,
    batch: Vec<Entry>,
    findings: Findings,
}

impl LogCheck {
    /// Of these logs, signed by these keys.
    pub fn begin(keys: Keys, logs: &[BackedUpLog]) -> Self {
        let mut findings = Findings::default();
        if let Some(report) = keys.report() {
            findings.merge(report.findings);
        }
        Self {
            keys,
            heads: logs.iter().map(|log| (log.tenant, log.clone())).collect(),
            lines: Lines::default(),
            current: None,
            batch: Vec::new(),
            findings,
        }
    }

    /// Takes a piece of the events' file.
    pub async fn take(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        let mut events = Vec::new();
        self.lines.feed(piece, |line| events.push(copied::event(line)));
        for (tenant, entry) in events {
            // A row whose tenant cannot be read belongs to the log that it stands in.
            let same =
                |(current, _): &(TenantId, LogVerifier)| tenant.is_none_or(|tenant| tenant == *current);
            if !self.current.as_ref().is_some_and(same) {
                self.finish_log().await?;
                self.begin_log(tenant.unwrap_or(TenantId::PLATFORM));
            }
            self.batch.push(entry);
            if self.batch.len() >= BATCH_EVENTS {
                self.check_batch().await?;
            }
        }
        Ok(())
    }

    /// What was found in all of them, once every row has passed.
    pub async fn end(mut self) -> Result<Findings, BackupError> {
        self.finish_log().await?;
        // Heads of logs that no event stands in.
        while let Some(tenant) = self.heads.keys().next().copied() {
            self.begin_log(tenant);
            self.finish_log().await?;
        }
        Ok(self.findings)
    }

    fn begin_log(&mut self, tenant: TenantId) {
        let mut verifier = LogVerifier::new(tenant, self.keys.trusted.clone(), Options::default());
        match self.heads.remove(&tenant) {
            Some(head) => verifier.expect(Anchor {
                source: AnchorSource::Head,
                position: head.position,
                hash: Some(head.hash),
            }),
            None => {
                let detail = "events are there, but the log has no head".to_owned();
                verifier.find(Position(1), FindingKind::Ahead, detail);
            }
        }
        self.current = Some((tenant, verifier));
    }

    async fn check_batch(&mut self) -> Result<(), BackupError> {
        let Some((tenant, mut verifier)) = self.current.take() else {
            return Ok(());
        };
        let batch = std::mem::take(&mut self.batch);
        let checking = tokio::task::spawn_blocking(move || {
            verifier.verify_batch(&batch, &Unchecked);
            verifier
        });
        let verifier = checking.await.map_err(AuditError::from)?;
        self.current = Some((tenant, verifier));
        Ok(())
    }

    async fn finish_log(&mut self) -> Result<(), BackupError> {
        self.check_batch().await?;
        if let Some((_, verifier)) = self.current.take() {
            self.findings.merge(verifier.finish().findings);
        }
        Ok(())
    }
}
