//! The table of permissions as a page: `docs/permissions.md` is what this renders, and a test fails when it is stale.

use std::fmt::Write as _;

use counterfoil_events::membership::Role;

use super::permission::{Depth, Permission};
use super::roles::permits;
use crate::http::table::RouteTable;

const HEAD: &str = "# Permissions

Rendered from `src/identity/` and the route table; do not edit. After a change:
`cargo run --quiet --locked -- permissions > docs/permissions.md`. How it is decided: `src/identity/reach.rs`.

What is not allowed here is denied. A role holds at the place at which it was granted: a platform role everywhere, but *inside*
a tenant only by crossing, with a reason on record; an organisation's role in the organisation and its tenants (of the tenants that
it carries it sees the rollups, and nothing beneath); a tenant's role in that tenant. What is out of reach answers exactly as what
does not exist: 404. What is within reach without the permission answers 403.
";

/// The page.
#[must_use]
pub fn render(table: &RouteTable) -> String {
    let mut page = HEAD.to_owned();
    roles(&mut page);
    matrix(&mut page);
    routes(&mut page, table);
    page
}

fn roles(page: &mut String) {
    page.push_str("\n## Roles\n\n| role | granted at |\n| --- | --- |\n");
    for role in Role::ALL {
        let levels: Vec<&str> = role.levels().iter().map(|level| level.as_str()).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | {} |", role.as_str(), levels.join(", "));
    }
}

fn matrix(page: &mut String) {
    page.push_str("\n## Who may do what\n\n| permission | allows | inside |");
    for role in Role::ALL {
        let _ = write!(page, " {} |", role.as_str());
    }
    page.push_str("\n| --- | --- |");
    page.push_str(&" :-: |".repeat(Role::ALL.len() + 1));
    page.push('\n');
    for permission in Permission::ALL {
        let inside = mark(permission.depth() == Depth::Inside);
        let _ = write!(
            page,
            "| `{}` | {} |{inside}|",
            permission.as_str(),
            permission.meaning()
        );
        for role in Role::ALL {
            let _ = write!(page, "{}|", mark(permits(role, *permission)));
        }
        page.push('\n');
    }
}

fn mark(yes: bool) -> &'static str {
    if yes { " × " } else { "   " }
}

fn routes(page: &mut String, table: &RouteTable) {
    page.push_str("\n## What each route asks for\n\n| route | permission |\n| --- | --- |\n");
    let mut rows: Vec<(&str, String, &str)> = table
        .routes()
        .map(|route| (route.path(), route.method().to_string(), route.access().as_str()))
        .collect();
    rows.sort_unstable();
    for (path, method, access) in rows {
        let _ = writeln!(page, "| {method} `{path}` | `{access}` |");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::api::{self, Api};
    use crate::http::auth::Access;

    #[test]
    fn the_documentation_is_what_the_code_says() {
        let page = render(&api::table(&Api::default()).unwrap());
        let written = include_str!("../../docs/permissions.md");
        assert!(
            page == written,
            "docs/permissions.md is stale: cargo run --quiet --locked -- permissions > docs/permissions.md"
        );
    }

    #[test]
    fn every_permission_is_asked_for_by_some_route() {
        let table = api::table(&Api::default()).unwrap();
        let asked: BTreeSet<Permission> = table
            .routes()
            .filter_map(|route| match route.access() {
                Access::Needs(permission) => Some(permission),
                Access::Public | Access::SignedIn | Access::AgentKey => None,
            })
            .collect();
        let idle: Vec<_> = Permission::ALL
            .iter()
            .filter(|permission| !asked.contains(permission))
            .collect();
        assert!(idle.is_empty(), "{idle:?}");
    }
}
