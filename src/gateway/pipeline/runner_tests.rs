#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::gateway::pipeline::Edit;
use crate::gateway::tests::support::Bench;
use counterfoil_events::text::Code;

/// A step that a policy may steer, or may not.
fn step(id: &'static str, class: Class) -> Step {
    Step {
        id: id.parse().unwrap(),
        version: 1,
        class,
        phase: Phase::Request,
        run: Run::Pure(|_| Verdict::Pass),
    }
}

fn edits() -> Verdict {
    Verdict::Redact(vec![Edit {
        path: vec!["a"],
        value: "1".to_owned(),
    }])
}

fn denial() -> Verdict {
    Verdict::deny(Code::literal("x"), ApiError::internal())
}

/// What a verdict did: whether the call goes on, how many edits it got, whether it is flagged.
async fn did(mode: Option<StepMode>, class: Class, verdict: Verdict) -> (bool, usize, bool) {
    let mut context = Bench::start().await.context();
    let goes_on = apply(&mut context, &step("input.secrets", class), mode, verdict).is_continue();
    (goes_on, context.edits.len(), context.flagged)
}

#[tokio::test]
async fn a_verdict_does_what_the_mode_says() {
    use StepMode::{Block, Flag, Redact, Shadow};
    for (mode, on_edits, on_denial) in [
        (Some(Shadow), (true, 0, false), (true, 0, false)),
        (Some(Flag), (true, 0, true), (true, 0, true)),
        (Some(Redact), (true, 1, true), (false, 0, false)),
        (Some(Block), (false, 0, false), (false, 0, false)),
        (None, (true, 1, true), (false, 0, false)),
    ] {
        assert_eq!(did(mode, Class::Closed, edits()).await, on_edits, "{mode:?}");
        assert_eq!(did(mode, Class::Closed, denial()).await, on_denial, "{mode:?}");
        assert_eq!(
            did(mode, Class::Closed, Verdict::Pass).await,
            (true, 0, false),
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn a_step_that_cannot_say_does_what_its_class_says() {
    let silent = || Verdict::Unavailable("away".to_owned());
    assert_eq!(did(None, Class::Closed, silent()).await, (false, 0, false));
    assert_eq!(did(None, Class::Open, silent()).await, (true, 0, true));
    assert_eq!(did(None, Class::Local, silent()).await, (true, 0, true));
    // In the shadow nothing has an effect.
    assert_eq!(
        did(Some(StepMode::Shadow), Class::Closed, silent()).await,
        (true, 0, false)
    );
}

#[tokio::test]
async fn no_registered_step_but_the_steerable_ones_has_a_mode() {
    let context = Bench::start().await.context();
    for step in crate::gateway::pipeline::STEPS.iter() {
        let steerable = STEERABLE_STEPS.contains(&step.id.as_str());
        assert_eq!(mode_of(&context, step).is_some(), steerable, "{}", step.id);
    }
    assert_eq!(
        mode_of(&context, &step("input.secrets", Class::Closed)),
        Some(StepMode::Block)
    );
}
