//! Texts that nest or chain as deep as their size allows: no stack may overflow, wherever they are parsed,
//! evaluated or dropped, since that would end the process.

use super::super::*;
use super::{input, policy, tenant};
use crate::config::PolicyConfig;

/// Texts up to the size limit that nest in one construct as deep as the size allows.
fn deep_texts() -> Vec<(&'static str, String)> {
    let repeat = |open: &str, middle: &str, close: &str| {
        let times = (MAX_SOURCE_BYTES - 200) / (open.len() + close.len()).max(1);
        format!(
            "decision := {{\"allow\": x}}\nx := {}{middle}{}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    let lines =
        |open: &str, middle: &str, close: &str| repeat(&format!("{open}\n"), middle, &format!("{close}\n"));
    vec![
        ("sums", lines("1 +", "1", "")),
        ("products", lines("1 *", "1", "")),
        ("unions", lines("{1} |", "{1}", "")),
        ("comparisons", lines("1 ==", "1", "")),
        ("memberships", lines("1 in", "[1]", "")),
        ("arrays", lines("[", "1", "]")),
        ("objects", lines("{1:", "1", "}")),
        ("sets", lines("{", "1", "}")),
        ("parentheses", lines("(", "1", ")")),
        ("comprehensions", lines("[y | y :=", "1", "]")),
        ("minus", lines("-", "1", "")),
        ("calls", lines("count(", "1", ")")),
        ("indexes", lines("input[", "1", "]")),
        (
            "brackets",
            format!("decision := {{\"allow\": x}}\nx := input{}", "[1]".repeat(330)),
        ),
        (
            "dots",
            format!("decision := {{\"allow\": x}}\nx := input{}", ".a".repeat(490)),
        ),
        ("elses", repeat("1 if { false } else :=\n", "1", "")),
        (
            "negations",
            format!(
                "decision := {{\"allow\": x}}\nx if {{ {} true }}",
                "not\n".repeat(16_000)
            ),
        ),
        ("everies", {
            let times = 2_000;
            let open = "every y in [1] {\n".repeat(times);
            format!(
                "decision := {{\"allow\": x}}\nx if {{ {open} true {} }}",
                "}".repeat(times)
            )
        }),
    ]
}

#[test]
fn the_deepest_texts_are_compiled_or_refused_and_dropped_on_an_ordinary_thread() {
    for (kind, rules) in deep_texts() {
        let source: String = policy(&rules).chars().take(MAX_SOURCE_BYTES).collect();
        match compile(&source) {
            // What is accepted can be evaluated and dropped on a thread with an ordinary stack.
            Ok(compiled) => drop(compiled),
            Err(error) => assert!(error.place().is_some(), "{kind}: {error}"),
        }
    }
}

/// Rules `x1`, `x2` … that each name the one before, as many as the size allows, and a decision on the last.
fn chain(first: &str, rule: impl Fn(usize) -> String, decision: impl Fn(usize) -> String) -> String {
    let (mut rules, mut last) = (format!("{first}\n"), 0);
    while rules.len() < MAX_SOURCE_BYTES - 300 {
        last += 1;
        rules += &format!("{}\n", rule(last));
    }
    rules + &decision(last)
}

#[tokio::test]
async fn the_longest_chains_of_rules_and_functions_are_decided() {
    let deep = |inner: &str| format!("{}{inner}{}", "1+(".repeat(24), ")".repeat(24));
    let value = |n: usize| format!("decision := {{\"allow\": x{n} > 0}}");
    let call = |n: usize| format!("decision := {{\"allow\": x{n}(1) > 0}}");
    let truth = |n: usize| format!("decision := {{\"allow\": x{n}}}");
    let chains = [
        chain("x0 := 1", |n| format!("x{n} := x{}", n - 1), value),
        chain("x0(y) := y", |n| format!("x{n}(y) := x{}(y)", n - 1), call),
        chain(
            "x0 := 1",
            |n| format!("x{n} := {}", deep(&format!("x{}", n - 1))),
            value,
        ),
        chain(
            "x0(y) := y",
            |n| format!("x{n}(y) := {}", deep(&format!("x{}(y)", n - 1))),
            call,
        ),
        chain(
            "x0 if true",
            |n| format!("x{n} if {{ every y in [1] {{ x{} }} }}", n - 1),
            truth,
        ),
        chain(
            "x0 if true",
            |n| format!("x{n} if {{ x{} with input.a as 1 }}", n - 1),
            truth,
        ),
        chain(
            "x0 := [1]",
            |n| format!("x{n} := [x{}]", n - 1),
            |n| format!("decision := {{\"allow\": x{n} != [1]}}"),
        ),
    ];
    for rules in chains {
        let config = PolicyConfig {
            time_limit_ms: 600_000,
            threads: 1,
            ..PolicyConfig::default()
        };
        let engine = PolicyEngine::start(&config).unwrap();
        let decision = engine.decide(tenant(&rules), input()).await.unwrap();
        assert!(decision.allow, "{:?} {:.200}", decision.reasons, rules);
    }
}
