//! The demo's policies, the documentation's examples and the published schemas, as they stand in the repository.

use std::path::PathBuf;

use super::super::*;

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_default()
}

#[test]
fn the_demo_policies_compile_and_pass_their_tests() {
    for (name, tests) in [("organisation", 4), ("tenant-v1", 7), ("tenant-v2", 8)] {
        let policy = compile(&read(&format!("fixtures/policies/{name}.rego"))).unwrap();
        assert_eq!(run_tests(&policy), Ok(TestReport { passed: tests }), "{name}");
    }
}

/// Run with `COUNTERFOIL_WRITE_SCHEMAS=1` to write them anew.
#[test]
fn the_published_schemas_are_current() {
    for (name, schema) in [("input", input_schema()), ("decision", decision_schema())] {
        let path = repository(&format!("docs/schemas/policy-{name}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("COUNTERFOIL_WRITE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not current: run COUNTERFOIL_WRITE_SCHEMAS=1 cargo test published_schemas",
            path.display()
        );
    }
}

/// The fenced blocks of one language in the contract.
fn examples(language: &str) -> Vec<String> {
    let text = read("docs/policy-contract.md");
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_policies_in_the_documentation_compile_and_pass_their_tests() {
    let policies: Vec<_> = examples("rego")
        .into_iter()
        .filter(|text| text.contains("package counterfoil"))
        .collect();
    assert!(!policies.is_empty());
    for source in policies {
        let compiled = compile(&source).unwrap_or_else(|error| panic!("{error} in:\n{source}"));
        assert!(
            run_tests(&compiled).unwrap().passed > 0,
            "an example has tests:\n{source}"
        );
    }
}

#[test]
fn the_documents_in_the_documentation_are_what_the_types_read_and_write() {
    let examples = examples("json");
    let input: PolicyInput = serde_json::from_str(&examples[0]).unwrap();
    let again: serde_json::Value = serde_json::to_value(&input).unwrap();
    assert_eq!(
        again,
        serde_json::from_str::<serde_json::Value>(&examples[0]).unwrap()
    );
    let decision: RegoDecision = serde_json::from_str(&examples[1]).unwrap();
    assert_eq!(
        serde_json::to_value(&decision).unwrap(),
        serde_json::from_str::<serde_json::Value>(&examples[1]).unwrap()
    );
}

#[test]
fn the_documentation_names_every_function_every_fault_and_every_steerable_step() {
    let text = read("docs/policy-contract.md");
    let faults = [
        Fault::NoOrganisationPolicy,
        Fault::NoTenantPolicy,
        Fault::Denied,
        Fault::Undefined,
        Fault::MalformedDecision,
        Fault::Error,
        Fault::TimeLimit,
        Fault::MemoryLimit,
        Fault::InputTooLarge,
        Fault::Broken,
    ];
    let codes: Vec<String> = faults.iter().map(|fault| fault.reason().to_string()).collect();
    let named = codes
        .iter()
        .map(String::as_str)
        .chain(STEERABLE_STEPS)
        .chain(builtins::ALLOWED);
    for name in named {
        assert!(
            text.contains(&format!("`{name}`")),
            "docs/policy-contract.md does not name {name}"
        );
    }
}
