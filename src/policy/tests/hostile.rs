//! Policies that mean harm, or are merely careless: each must be denied within its limits, and the next decision
//! must be as good as ever.

use super::super::*;
use super::{input, tenant};
use crate::config::PolicyConfig;

const ALLOW: &str = "decision := {\"allow\": true}";

fn config() -> PolicyConfig {
    PolicyConfig {
        threads: 1,
        ..PolicyConfig::default()
    }
}

/// Decides with hostile rules on the only thread, then shows that the thread still decides.
async fn reason_then_alive(rules: &str) -> String {
    reason_then_alive_within(rules, config().time_limit_ms).await
}

async fn reason_then_alive_within(rules: &str, time_limit_ms: u64) -> String {
    let config = PolicyConfig {
        time_limit_ms,
        ..config()
    };
    let engine = PolicyEngine::start(&config).unwrap();
    let decision = engine.decide(tenant(rules), input()).await.unwrap();
    assert!(!decision.allow, "{rules}");
    assert!(is_alive(&engine).await, "{rules}");
    decision.reasons[0].as_str().to_owned()
}

/// Whether a harmless policy is allowed; asked again, since a busy machine may let even that one run out of time.
async fn is_alive(engine: &PolicyEngine) -> bool {
    for _ in 0..20 {
        if engine.decide(tenant(ALLOW), input()).await.unwrap().allow {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_comprehension_that_never_ends_is_stopped() {
    let rules = "r := numbers.range(1, 10000)\n\
        decision := {\"allow\": count([1 | some a in r; some b in r; some c in r]) > 0}";
    assert_eq!(reason_then_alive(rules).await, "policy.time_limit");
}

#[tokio::test]
async fn the_time_limit_cannot_be_swallowed_by_a_negation_or_a_function() {
    let slow = "r := numbers.range(1, 10000)\nslow(x) if { some a in r; some b in r; a + b == x }\n";
    for decision in [
        "decision := {\"allow\": true} if { not slow(-1) }",
        "decision := {\"allow\": true} if { not never }\nnever if { slow(-1) }",
    ] {
        assert_eq!(
            reason_then_alive(&format!("{slow}{decision}")).await,
            "policy.time_limit"
        );
    }
}

#[tokio::test]
async fn results_that_would_fill_memory_are_not_built() {
    let doubling: String = (1..40)
        .map(|n| format!("x{n} := concat(\"\", [x{}, x{}])\n", n - 1, n - 1))
        .collect();
    let shared: String = (1..60)
        .map(|n| format!("x{n} := [x{}, x{}]\n", n - 1, n - 1))
        .collect();
    let pairs = "{\"a\": \"bb\", \"b\": \"cc\", \"c\": \"dd\", \"d\": \"ee\", \"e\": \"ff\", \"f\": \"gg\", \"g\": \"hh\", \
                  \"h\": \"ii\", \"i\": \"jj\", \"j\": \"kk\", \"k\": \"ll\", \"l\": \"mm\", \"m\": \"nn\", \"n\": \"oo\"}";
    let cases = [
        "y := count(numbers.range(1, 1000000000000))".to_owned(),
        "y := count(numbers.range(1, 9223372036854775807))".to_owned(),
        "y := count(numbers.range(-9223372036854775807, 9223372036854775807))".to_owned(),
        "y := count(numbers.range_step(1, 1000000000000, 2))".to_owned(),
        "y := bits.lsh(1, 4000000000)".to_owned(),
        "y := sprintf(\"%2000000000d\", [1])".to_owned(),
        "y := sprintf(\"%.2000000000f\", [1.5])".to_owned(),
        format!("x0 := \"0123456789abcdef\"\n{doubling}y := count(x39)"),
        format!("x0 := \"0123456789abcdef\"\n{shared}y := json.marshal(x59)"),
        format!("x0 := \"0123456789abcdef\"\n{shared}y := sprintf(\"%v\", [x59])"),
        format!("s := concat(\"a\", [\"\" | some i in numbers.range(1, 9000)])\ny := strings.replace_n({pairs}, s)"),
        "s := concat(\"a\", [\"\" | some i in numbers.range(1, 9000)])\ny := replace(s, \"\", s)".to_owned(),
        "s := concat(\"a\", [\"\" | some i in numbers.range(1, 9000)])\ny := regex.replace(s, \"a\", s)".to_owned(),
        "s := concat(\"a\", [\"\" | some i in numbers.range(1, 9000)])\ny := regex.replace(s, \".*\", concat(\"$0\", [\"\" | some i in numbers.range(1, 9000)]))".to_owned(),
        "s := concat(\"a\", [\"\" | some i in numbers.range(1, 9000)])\ny := concat(s, [\"\" | some i in numbers.range(1, 9000)])".to_owned(),
        "s := concat(\"a\", [\"\" | some i in numbers.range(1, 9000)])\ny := [upper(s) | some i in numbers.range(1, 9000)]".to_owned(),
    ];
    for case in cases {
        let rules = format!("{case}\ndecision := {{\"allow\": y != 0}}");
        // Time is not what stops them, however slow the machine is.
        assert_eq!(
            reason_then_alive_within(&rules, 60_000).await,
            "policy.memory_limit",
            "{case}"
        );
    }
}

#[tokio::test]
async fn numbers_that_explode_are_stopped() {
    let squares: String = (1..40)
        .map(|n| format!("x{n} := x{} * x{}\n", n - 1, n - 1))
        .collect();
    let because = reason_then_alive(&format!(
        "x0 := 9999999999999999\n{squares}decision := {{\"allow\": x39 > 0}}"
    ))
    .await;
    assert_eq!(because, "policy.time_limit");
}

#[tokio::test]
async fn a_comparison_that_never_ends_costs_its_policy_not_its_neighbours() {
    // Two values that share all their parts, and are trees of 2^29 leaves to whoever compares them. It does end, in
    // a time that is far over every limit, so that the thread does not burn on behind the other tests for ever.
    let shared = |name: &str| -> String {
        (1..30)
            .map(|n| format!("{name}{n} := [{name}{m}, {name}{m}]\n", m = n - 1))
            .collect()
    };
    let rules = format!(
        "a0 := 1\nb0 := 1\n{}{}decision := {{\"allow\": a29 == b29}}",
        shared("a"),
        shared("b")
    );
    let engine = PolicyEngine::start(&PolicyConfig {
        time_limit_ms: 100,
        ..config()
    })
    .unwrap();
    let hostile = tenant(&rules);
    let decision = engine.decide(hostile.clone(), input()).await.unwrap();
    assert_eq!(decision.reasons[0].as_str(), "policy.time_limit");
    assert!(is_alive(&engine).await);
    assert!(
        engine.bars(hostile[1].policy().digest),
        "it would be evaluated again"
    );
    let again = engine.decide(hostile, input()).await.unwrap();
    assert_eq!(again.reasons[0].as_str(), "policy.time_limit");
}

#[tokio::test]
async fn a_policy_that_runs_to_its_limit_again_and_again_has_to_wait() {
    let engine = PolicyEngine::start(&PolicyConfig {
        time_limit_ms: 100,
        ..config()
    })
    .unwrap();
    let slow = tenant(
        "r := numbers.range(1, 9999)\ndecision := {\"allow\": count([1 | some a in r; some b in r]) > 0}",
    );
    for _ in 0..3 {
        let decision = engine.decide(slow.clone(), input()).await.unwrap();
        assert_eq!(decision.reasons[0].as_str(), "policy.time_limit");
    }
    assert!(engine.bars(slow[1].policy().digest));
    assert!(is_alive(&engine).await);
    let decision = engine.decide(slow, input()).await.unwrap();
    assert_eq!(decision.reasons[0].as_str(), "policy.time_limit");
}
