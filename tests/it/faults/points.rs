//! Fail points are listed in one place, and every one of them is somewhere in the code and in the page that explains it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::Path;

use counterfoil::faults::POINTS;

use crate::support::installation::Installation;

#[test]
fn every_fail_point_of_the_code_is_listed_and_explained_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut passed = BTreeSet::new();
    for folder in ["src", "events/src", "projections/src", "consumers/src"] {
        collect(&root.join(folder), &mut passed);
    }
    let listed: BTreeSet<String> = POINTS.iter().map(ToString::to_string).collect();
    assert_eq!(passed, listed);
    let page = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    for point in POINTS {
        assert!(
            page.contains(&format!("`{point}`")),
            "docs/faults.md does not explain {point}"
        );
    }
}

fn collect(folder: &Path, points: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, points);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let rest = text.split("fail_point!(\"").skip(1);
            points.extend(rest.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
}

#[tokio::test]
async fn a_crash_at_a_point_that_does_not_exist_is_a_usage_error() {
    let installation = Installation::new().await;
    let mut command = installation.command(&["serve"]);
    command.env("COUNTERFOIL_CRASH_AT", "ledger.sometimes:1");
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`ledger.sometimes:1` is not POINT:COUNT"), "{said}");
}
