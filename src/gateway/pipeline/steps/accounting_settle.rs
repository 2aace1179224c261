//! accounting.settle: what the call used and cost. The provider's own count where it gave one for the whole answer; else
//! an estimate of what was seen (or what was reported, if that is more), or the upper bound where nothing is known;
//! both flagged. Priced with the price that was reserved.

use counterfoil_events::completion::Usage as RecordedUsage;
use counterfoil_events::text::Code;

use crate::gateway::ending::{Ending, Used};
use crate::gateway::pipeline::context::{Bill, Reservation};
use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::tokens;
use crate::gateway::wire::response::Usage;

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("accounting.settle"),
        version: 1,
        class: Class::Local,
        phase: Phase::Ending,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    let used = match &context.ending {
        None => return Verdict::missing("ending"),
        Some(Ending::Denied(_)) => return Verdict::Pass,
        Some(Ending::Answered(answered)) => answered.used,
        Some(Ending::Failed(failed)) => failed.used,
    };
    let Some(reservation) = &context.reservation else {
        return Verdict::missing("reservation");
    };
    let bill = bill(used, reservation, context.request_bytes);
    context.bill = Some(bill);
    if bill.usage.estimated {
        Verdict::Flag
    } else {
        Verdict::Pass
    }
}

/// What was used, and what that costs.
#[must_use]
pub fn bill(used: Used, reservation: &Reservation, body_bytes: u64) -> Bill {
    let (usage, estimated) = match used {
        Used::Nothing => (Usage::default(), false),
        Used::Reported(usage) => (usage, false),
        Used::Seen { output_bytes } => {
            let prompt_tokens = tokens::estimate(body_bytes).min(reservation.input_tokens);
            let completion_tokens = tokens::estimate(output_bytes).min(reservation.output_tokens);
            (
                Usage {
                    prompt_tokens,
                    completion_tokens,
                    ..Usage::default()
                },
                true,
            )
        }
        // The larger of both: neither says how much the provider had written when the answer broke off.
        Used::Part {
            reported,
            output_bytes,
        } => {
            let seen = tokens::estimate(output_bytes).min(reservation.output_tokens);
            let completion_tokens = reported.completion_tokens.max(seen);
            (
                Usage {
                    completion_tokens,
                    ..reported
                },
                true,
            )
        }
        Used::Unknown => {
            let (prompt_tokens, completion_tokens) = (reservation.input_tokens, reservation.output_tokens);
            (
                Usage {
                    prompt_tokens,
                    completion_tokens,
                    ..Usage::default()
                },
                true,
            )
        }
    };
    Bill {
        usage: recorded(&usage, estimated),
        cost: reservation.price.cost(&usage),
    }
}

/// As events hold it: 32 bits wide, saturating.
fn recorded(usage: &Usage, estimated: bool) -> RecordedUsage {
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    RecordedUsage {
        input_tokens: narrow(usage.prompt_tokens),
        output_tokens: narrow(usage.completion_tokens),
        cached_tokens: narrow(usage.cached_tokens),
        estimated,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::gateway::prices::{DEFAULT_TABLE, PriceTable};

    fn reservation() -> Reservation {
        let table = PriceTable::parse(DEFAULT_TABLE).unwrap();
        let day = "2026-11-20".parse().unwrap();
        let price = table
            .find(&Code::literal("demo"), &"demo-large".parse().unwrap(), day)
            .unwrap()
            .clone();
        let max_cost = price.worst_case(1000, 100);
        Reservation {
            price,
            input_tokens: 1000,
            output_tokens: 100,
            max_cost,
        }
    }

    fn billed(used: Used) -> (u32, u32, bool, i64) {
        let bill = bill(used, &reservation(), 400);
        let usage = bill.usage;
        (
            usage.input_tokens,
            usage.output_tokens,
            usage.estimated,
            bill.cost.micros.0,
        )
    }

    #[test]
    fn what_the_provider_says_is_billed_even_when_it_is_zero() {
        let reported = Usage {
            prompt_tokens: 10,
            completion_tokens: 0,
            ..Usage::default()
        };
        assert_eq!(billed(Used::Reported(reported)), (10, 0, false, 25));
        assert_eq!(billed(Used::Nothing), (0, 0, false, 0));
    }

    #[test]
    fn what_was_seen_is_estimated_and_what_is_unknown_costs_its_bound() {
        assert_eq!(billed(Used::Seen { output_bytes: 40 }), (100, 10, true, 350));
        assert_eq!(
            billed(Used::Seen {
                output_bytes: 4_000_000
            })
            .1,
            100
        );
        let reported = Usage {
            prompt_tokens: 10,
            completion_tokens: 4,
            ..Usage::default()
        };
        let part = |output_bytes| {
            let (input, output, estimated, _) = billed(Used::of_a_part(Some(reported), output_bytes));
            (input, output, estimated)
        };
        assert_eq!(part(40), (10, 10, true), "more was seen than was reported");
        assert_eq!(part(4), (10, 4, true));
        assert_eq!(part(4_000_000), (10, 100, true), "no more than was reserved");
        assert_eq!(
            Used::of_a_part(None, 40),
            Used::Seen { output_bytes: 40 },
            "nothing was reported"
        );
        let bound = billed(Used::Unknown);
        assert_eq!(bound, (1000, 100, true, reservation().max_cost.micros.0));
    }
}
