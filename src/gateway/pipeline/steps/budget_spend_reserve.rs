//! budget.spend_reserve: what the call costs at most, by the price of the day and the upper bounds of its tokens. A model
//! without a price is denied: what cannot be counted cannot be limited.

use counterfoil_events::text::Code;
use hyper::StatusCode;

use crate::gateway::pipeline::context::Reservation;
use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::tokens;
use crate::gateway::wire::{ApiError, Retry};

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("budget.spend_reserve"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Request,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    let (request, model) = match (context.request(), context.model()) {
        (Ok(request), Ok(model)) => (request, model),
        (Err(verdict), _) | (_, Err(verdict)) => return verdict,
    };
    let today = context.now.as_datetime().date_naive();
    let prices = &context.services.catalogue.prices;
    let Some(price) = prices.find(model.provider.name(), &model.upstream_model, today) else {
        return unpriced();
    };
    let input_tokens = tokens::prompt_upper_bound(
        context.request_bytes,
        request.prompt.opaque_parts,
        model.context_window_tokens,
    );
    let output_tokens =
        tokens::completion_upper_bound(context.max_tokens, request.choices, model.max_output_tokens);
    context.reservation = Some(Reservation {
        price: price.clone(),
        input_tokens,
        output_tokens,
        max_cost: price.worst_case(input_tokens, output_tokens),
    });
    Verdict::Pass
}

fn unpriced() -> Verdict {
    let message =
        "The model has no price in force today, so its cost cannot be bounded. Ask an operator to price it.";
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", message)
        .with_param("model")
        .with_code("insufficient_quota")
        .with_retry(Retry::Never);
    Verdict::deny(Code::literal("model_unpriced"), error)
}
