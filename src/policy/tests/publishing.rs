//! What is accepted and what is refused at publish, with line and reason.

use proptest::prelude::*;

use super::super::*;
use super::policy;

fn refused(rules: &str) -> PolicyError {
    compile(&policy(rules)).unwrap_err()
}

fn refused_at(rules: &str) -> (u32, String) {
    let error = refused(rules);
    (error.place().unwrap().line, error.to_string())
}

#[test]
fn a_well_formed_policy_compiles_and_its_digest_is_its_documents_address() {
    let source = policy("decision := {\"allow\": true}");
    let compiled = compile(&source).unwrap();
    assert_eq!(
        compiled.digest(),
        counterfoil_events::document::digest(source.as_bytes())
    );
    assert_eq!(compiled.test_count(), 0);
}

#[test]
fn a_syntax_error_is_named_with_line_and_column() {
    let error = refused("decision := {\"allow\": }");
    assert_eq!(error.code(), "policy_syntax");
    assert_eq!(error.place(), Some(Place { line: 5, column: 23 }), "{error}");
}

#[test]
fn a_line_beyond_the_limit_is_refused_in_a_comment_too() {
    let within = format!("decision := {{\"allow\": true}}\n# {}", "é".repeat(1_022));
    compile(&policy(&within)).unwrap();
    let error = refused(&format!("{within}é"));
    assert_eq!(error.code(), "policy_contract");
    assert_eq!(
        error.place(),
        Some(Place {
            line: 6,
            column: 1_024
        }),
        "{error}"
    );
}

#[test]
fn a_variable_that_nothing_binds_is_refused_with_its_line() {
    let (line, text) =
        refused_at("decision := {\"allow\": allow}\n\nallow if {\n    input.request.model == wanted\n}");
    assert_eq!(line, 8, "{text}");
    assert!(text.contains("wanted"), "{text}");
}

#[test]
fn an_unsafe_variable_is_refused_wherever_it_stands_with_its_line() {
    for rules in [
        "decision := {\"allow\": x, \"reasons\": []}",
        "decision := {\"allow\": _}",
        "decision := {\"allow\": true} if { true } else := {\"allow\": x}",
        "decision := {\"allow\": x} if { some x }",
        "decision := {\"allow\": true} if { some x; x == 1 }",
        "decision := {\"allow\": true} if { some x; not x }",
        "decision := {\"allow\": true} if { y := x; y }",
        "decision := {\"allow\": true} if { x := y; y := x }",
        "decision := {\"allow\": true} if { not input.xs[i] }",
        "decision := {\"allow\": true} if { count([x | true]) == 0 }",
        "decision := {\"allow\": true} if { count({x: 1 | true}) == 0 }",
        "decision := {\"allow\": x} if { count([1 | x := 1]) == 1 }",
        "decision := {\"allow\": x} if { every x in [1] { x == 1 } }",
        "decision := {\"allow\": true} if { input.a with input.a as x }",
        "decision := {\"allow\": f(1)}\nf(a) := a + 1 if { b := a; b > x }",
        "decision := {\"allow\": f(1)} if { f(1) }\nf(a) := x + a",
        "decision := {\"allow\": true}\nwhy contains x",
        "decision := {\"allow\": true}\nwhy contains x if { true }",
        "decision := {\"allow\": true}\nlimits[x] := 1 if { true }",
        "decision := {\"allow\": true}\ndefault limit := x",
    ] {
        let error = compile(&policy(rules)).expect_err(rules);
        let line = 4 + u32::try_from(rules.lines().count()).unwrap();
        assert_eq!(error.place().unwrap().line, line, "{rules}: {error}");
        assert!(error.to_string().contains("is unsafe"), "{rules}: {error}");
    }
}

#[test]
fn a_variable_that_anything_binds_is_accepted() {
    for rules in [
        "decision := {\"allow\": allow}\nallow if { x := input.request.model; x == wanted }\nwanted := \"demo\"",
        "decision := {\"allow\": true} if { x > 1; x = 3 }",
        "decision := {\"allow\": true} if { b := a + 1; a = 2; b == 3 }",
        "decision := {\"allow\": true} if { [a, b] = input.xs; a == b }",
        "decision := {\"allow\": true} if { [a, {\"k\": b}] := input.xs; a == b }",
        "decision := {\"allow\": true} if { [a, 1] = [2, b]; a > b }",
        "decision := {\"allow\": true} if { some i; input.xs[i] == i }",
        "decision := {\"allow\": true} if { input.xs[i][j] == input.ys[j] }",
        "decision := {\"allow\": true} if { some i, x in input.xs; not input.ys[i] == x }",
        "decision := {\"allow\": true} if { every i, x in input.xs { y := x + i; y > 0 } }",
        "decision := {\"allow\": count([z | some x in input.xs; z := x * y]) > 0} if { y := 2 }",
        "decision := {\"allow\": true} if { true } else := {\"allow\": x} if { x := false }",
        "decision := {\"allow\": true, \"reasons\": [c | some c in codes]}\ncodes contains input.xs[_]",
        "decision := {\"allow\": allow}\nallow := x if { x := input.a } else if { input.b }",
        "decision := {\"allow\": f([1, 2])}\nf([a, b]) := a == b",
        "decision := {\"allow\": true}\nlimits[k] := v if { some k, v in input.limits }",
        "decision := {\"allow\": true}\nwhy contains x if { some x in [\"a\"]; true }",
        "decision := {\"allow\": x} if { x := g(1) with g as h }\ng(a) := a == 1\nh(a) := a == 2",
        "decision := {\"allow\": true} if { count([]) == 0 with count as g }\ng(a) := 1",
    ] {
        let refused = compile(&policy(rules)).err().map(|error| error.to_string());
        assert_eq!(refused, None, "{rules}");
    }
}

#[test]
fn import_names_are_known() {
    let source = "package counterfoil\n\nimport rego.v1\nimport input.request as asked\nimport input.agent\n\n\
                  decision := {\"allow\": asked.model == agent.model}";
    compile(source).unwrap();
}

#[test]
fn two_defaults_for_one_rule_are_refused() {
    let (line, text) = refused_at("decision := {\"allow\": true}\ndefault limit := 1\ndefault limit := 2");
    assert_eq!(line, 7, "{text}");
    assert!(text.contains("two defaults"), "{text}");
}

#[test]
fn another_package_is_refused() {
    let error = compile("package other\n\ndecision := {\"allow\": true}").unwrap_err();
    assert_eq!(error.code(), "policy_contract");
    assert_eq!(error.place().unwrap().line, 1);
    assert!(error.to_string().contains("package counterfoil"));
    assert!(compile("package counterfoil.more\n\ndecision := {\"allow\": true}").is_err());
    assert!(compile("decision := {\"allow\": true}").is_err());
    assert!(compile("").is_err());
}

#[test]
fn a_missing_entry_point_is_refused() {
    let error = refused("allow := true");
    assert_eq!(error.code(), "policy_contract");
    assert!(error.to_string().contains("`decision`"), "{error}");
}

#[test]
fn an_entry_point_of_another_kind_is_refused_with_its_line() {
    for rules in [
        "decision contains \"x\" if { true }",
        "decision(x) := {\"allow\": x}",
        "decision.allow := true",
    ] {
        let (line, text) = refused_at(rules);
        assert_eq!(line, 5, "{text}");
        assert!(text.contains("one complete rule"), "{text}");
    }
}

#[test]
fn a_default_alone_is_an_entry_point() {
    assert!(compile(&policy("default decision := {\"allow\": false}")).is_ok());
}

#[test]
fn functions_that_would_make_decisions_differ_are_refused_with_line_and_reason() {
    let cases = [
        (
            "http.send({\"method\": \"get\", \"url\": \"http://x\"})",
            "network",
        ),
        ("net.cidr_contains(\"10.0.0.0/8\", \"10.1.1.1\")", "network"),
        ("time.now_ns()", "input.time"),
        ("rand.intn(\"a\", 10)", "same way"),
        ("uuid.rfc4122(\"a\")", "same way"),
        ("opa.runtime()", "process"),
        ("trace(\"a\")", "log"),
        ("print(\"a\")", "log"),
        ("crypto.md5(\"a\")", "neither"),
        ("nosuch(1)", "neither"),
    ];
    for (call, reason) in cases {
        let error = refused(&format!(
            "decision := {{\"allow\": true}}\n\nx if {{\n    y := {call}\n    y\n}}"
        ));
        assert_eq!(error.code(), "policy_builtin", "{call}: {error}");
        assert_eq!(error.place().unwrap().line, 8, "{call}: {error}");
        assert!(error.to_string().contains(reason), "{call}: {error}");
    }
}

#[test]
fn a_forbidden_function_is_found_wherever_it_hides() {
    let call = "rand.intn(\"a\", 10)";
    let places = [
        format!("default x := {call}"),
        format!("x := [1, {{\"a\": {{{call}}}}}]"),
        format!("x := [y | y := {call}]"),
        format!("x := {{y | some y in [{call}]}}"),
        format!("x := {{y: {call} | y := 1}}"),
        format!("x contains {call}"),
        format!("x[{call}] := 1"),
        format!("x := y if {{ y := 1 }} else := {call}"),
        format!("f(a) := a + {call}"),
        format!("x if {{ not {call} }}"),
        format!("x if {{ every y in [1] {{ y == {call} }} }}"),
        format!("x if {{ input.a == 1 with input.a as {call} }}"),
        format!("x := input.a[{call}]"),
        format!("x := count([{call}])"),
        format!("x := -{call}"),
        "x if { input.a with rand.intn as 4 }".to_owned(),
        "x := data.counterfoil.rand.intn(\"a\", 10)".to_owned(),
    ];
    for place in places {
        assert!(
            compile(&policy(&format!("decision := {{\"allow\": true}}\n{place}"))).is_err(),
            "{place}"
        );
    }
}

#[test]
fn a_wrong_number_of_arguments_is_refused() {
    let (line, text) = refused_at("decision := {\"allow\": ok}\nok if contains(\"a\")");
    assert_eq!(line, 6, "{text}");
    assert!(text.contains("contains takes 2 arguments, not 1"), "{text}");
    let (_, text) = refused_at("decision := {\"allow\": f(1, 2)}\nf(x) := x");
    assert!(text.contains("f takes 1 arguments, not 2"), "{text}");
}

#[test]
fn a_function_that_policies_have_cannot_be_redefined() {
    assert!(
        refused("decision := {\"allow\": true}\ncount(x) := 1")
            .to_string()
            .contains("rename")
    );
}

#[test]
fn data_outside_of_the_policy_is_refused() {
    for rules in [
        "decision := {\"allow\": data.users[0]}",
        "decision := {\"allow\": data.counterfoil.nosuch}",
        "decision := data",
        "decision := data.counterfoil",
        "decision := {\"allow\": data[input.request.model]}",
    ] {
        let (line, text) = refused_at(rules);
        assert_eq!(line, 5, "{text}");
        assert!(text.contains("no data"), "{text}");
    }
    let error = compile("package counterfoil\nimport data.other\ndecision := {\"allow\": true}").unwrap_err();
    assert_eq!(error.place().unwrap().line, 2);
}

#[test]
fn own_rules_are_reached_by_name_and_by_path() {
    assert!(
        compile(&policy(
            "decision := {\"allow\": data.counterfoil.ok}\nok := f(1)\nf(x) := x == 1"
        ))
        .is_ok()
    );
}

#[test]
fn recursion_is_refused_through_rules_functions_and_replaced_functions() {
    let cases = [
        "f(x) := f(x + 1)",
        "f(x) := g(x)\ng(x) := f(x)",
        "f(x) := y if { y := data.counterfoil.f(x) }",
        "lib.f(x) := lib.f(x)",
        "a := b\nb := a",
        "a := data.counterfoil.a",
        "f(x) := a\na := f(1)",
        "g(x) := x\nf(x) := y if { y := g(x) with g as f }",
    ];
    for rules in cases {
        let error = refused(&format!("decision := {{\"allow\": true}}\n{rules}"));
        assert!(error.to_string().contains("recursive"), "{rules}: {error}");
    }
}

#[test]
fn a_local_variable_named_like_a_rule_is_no_recursion() {
    let rules = "decision := {\"allow\": f(1)}\nx := f(1)\nf(x) := x";
    assert_eq!(compile(&policy(rules)).err(), None);
}

#[test]
fn a_policy_over_the_size_limit_is_refused() {
    let source = format!(
        "{}# {}",
        policy("decision := {\"allow\": true}"),
        "x\n# ".repeat(MAX_SOURCE_BYTES / 4)
    );
    let error = compile(&source).unwrap_err();
    assert_eq!(
        error,
        PolicyError::TooLarge {
            bytes: source.len(),
            limit: MAX_SOURCE_BYTES
        }
    );
}

#[test]
fn tests_that_hold_are_counted() {
    let rules = "decision := {\"allow\": input.a == 1}\n\
        test_one if { decision.allow with input as {\"a\": 1} }\n\
        test_other if { not decision.allow with input as {\"a\": 2} }\n";
    let compiled = compile(&policy(rules)).unwrap();
    assert_eq!(run_tests(&compiled), Ok(TestReport { passed: 2 }));
}

#[test]
fn a_test_that_does_not_hold_is_named_with_its_line() {
    let good = "decision := {\"allow\": input.a == 1}\ntest_good if { true }\n";
    let cases = [
        (
            "test_bad if {\n decision.allow with input as {\"a\": 2}\n}",
            "does not hold",
        ),
        ("test_bad := false", "is false"),
        ("test_bad := 7", "another value"),
        ("test_bad if { 1 / 0 == 1 }", "ended in an error at line 7"),
        ("test_bad if { input.nothing }", "does not hold"),
        (
            "test_bad if { r := numbers.range(1, 9999); count([1 | some x in r; some y in r; some z in r]) > 0 }",
            "longer than",
        ),
    ];
    for (test, outcome) in cases {
        let compiled = compile(&policy(&format!("{good}{test}"))).unwrap();
        let error = run_tests(&compiled).unwrap_err();
        assert_eq!(error.place().unwrap().line, 7, "{error}");
        assert!(
            matches!(&error, PolicyError::Test { name, .. } if name == "test_bad"),
            "{error}"
        );
        assert!(error.to_string().contains(outcome), "{test}: {error}");
    }
}

#[test]
fn a_test_with_arguments_is_refused() {
    let (line, text) = refused_at("decision := {\"allow\": true}\ntest_f(x) := x");
    assert_eq!(line, 6, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_damaged_policy_is_compiled_or_refused_in_a_line_that_it_has(
        from in any::<prop::sample::Index>(), length in 0..40_usize, inserted in "[\\[\\]{}().,:=\"`a-z0-9 \n#|&%é-]{0,6}",
    ) {
        let source = include_str!("../../../fixtures/policies/tenant-v2.rego");
        let characters: Vec<char> = source.chars().collect();
        let from = from.index(characters.len());
        let to = characters.len().min(from + length);
        let damaged: String =
            characters[..from].iter().copied().chain(inserted.chars()).chain(characters[to..].iter().copied()).collect();
        match compile(&damaged) {
            Ok(compiled) => prop_assert!(run_tests(&compiled).is_ok_and(|r| r.passed <= 8) || compiled.test_count() > 0),
            Err(error) => {
                let lines = damaged.lines().count() + 1;
                let at = error.place().unwrap();
                prop_assert!((1..=lines).contains(&(at.line as usize)), "{}", error);
                prop_assert!(!error.to_string().contains("failed on this text"), "{}", error);
            }
        }
    }
}
