//! What a request is told when nothing was written, and when that would not be true.

use counterfoil::commands::Commands;
use counterfoil::http::ApiError;
use counterfoil_events::actor::Actor;
use counterfoil_events::command::{CommandContext, CommandError, Extras, Target};
use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::ledger::{AppendError, IdempotencyClaim};
use counterfoil_events::organisation::{OrganisationCommand, OrganisationKind};

use crate::audit::support::tamper;
use crate::support::ledger::{TestLedger, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgres_can_never_take_is_a_defect_and_does_not_spoil_its_batch() {
    let ledger = TestLedger::new().await;
    let (tenant, sequencer) = (ledger.tenant, &ledger.sequencer);
    // No text column takes U+0000 (22021). Commands are checked for it; what comes here all the same is a defect.
    let requests = ["a", "b\0", "c"].map(|id| sequencer.append(request(tenant, "thing", id, 0)));
    let [first, impossible, last] = requests;
    let (first, impossible, last) = tokio::join!(first, impossible, last);
    first.unwrap();
    last.unwrap();
    let error = impossible.unwrap_err();
    assert!(matches!(error, AppendError::Impossible(_)), "{error}");
    assert!(!error.is_retryable() && !error.may_be_written());
    assert_eq!(ApiError::from(error).status().as_u16(), 500);
    // The first key, the tenant, and two of the three.
    assert_eq!(ledger.verify().await, 4);
}

#[tokio::test]
async fn a_repeat_whose_first_receipts_cannot_be_read_is_not_told_that_nothing_was_done() {
    let ledger = TestLedger::new().await;
    let commands = Commands::new(ledger.sequencer.clone(), 1);
    let organisation = OrganisationId::generate();
    let context = CommandContext {
        tenant: TenantId::PLATFORM,
        actor: Actor::system("test"),
        request_id: "r".to_owned(),
        traceparent: None,
        causation: None,
        idempotency: Some(IdempotencyClaim::new("test", "/test", "key", b"body")),
    };
    let create = || {
        let command = OrganisationCommand::Create {
            kind: OrganisationKind::Company,
            name: "Acme".parse().unwrap(),
            home_tenant: ledger.tenant,
        };
        let target = Target::New(organisation.to_string());
        commands
            .organisations
            .execute(&context, target, command, Extras::default())
    };
    let done = create().await.unwrap();
    let again = create().await.unwrap();
    assert!(again.replayed && again.aggregate_id == done.aggregate_id);

    let lose = format!(
        "DELETE FROM counterfoil.events WHERE tenant_id = '{}' AND position = {}",
        TenantId::PLATFORM,
        done.receipts[0].position
    );
    tamper(&ledger, &lose).await;
    let Err(CommandError::Append(error)) = create().await else {
        panic!("its receipts are gone")
    };
    assert!(matches!(error, AppendError::ReceiptsUnread(_)), "{error}");
    assert!(error.is_retryable() && error.may_be_written());
    let error = ApiError::from(error);
    assert_eq!(error.status().as_u16(), 503);
    let text = format!("{error:?}");
    assert!(
        text.contains("outcome-unknown") && !text.contains("nothing was"),
        "{text}"
    );
}
