//! The route table and the API description made from it.

use super::support::{self, TestServer};
use crate::http::table::TableError;
use crate::http::{Access, Answer, Group, Request, Route, RouteTable, State, answer, openapi};

async fn nothing((): (), _: Request) -> Answer {
    Ok(answer::no_content())
}

fn get(path: &'static str) -> Route {
    Route::get(path, "A route")
        .permission(Access::Public)
        .handle(&State::new(()), nothing)
}

fn build(routes: Vec<Route>) -> Result<RouteTable, TableError> {
    RouteTable::build(vec![Group::new(routes)])
}

#[test]
fn a_route_declared_twice_is_refused() {
    let error = build(vec![get("/a/{b}"), get("/a/{b}")]).err().unwrap();
    assert!(
        matches!(error, TableError::Twice { path: "/a/{b}", .. }),
        "{error}"
    );
}

#[test]
fn two_parameter_names_at_one_place_are_refused() {
    let error = build(vec![get("/a/{b}/c"), get("/a/{x}/d")]).err().unwrap();
    assert!(
        matches!(
            error,
            TableError::TwoNames {
                name: "x",
                other: "b",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_template_that_is_no_path_is_refused() {
    for path in ["a", "/a//b", "/a/", "/a/x{b}"] {
        assert_eq!(build(vec![get(path)]).err(), Some(TableError::BadTemplate(path)));
    }
}

#[test]
fn a_literal_wins_over_a_parameter_and_the_search_steps_back() {
    let table = build(vec![get("/a/{x}"), get("/a/b"), get("/a/{x}/c"), get("/a/b/d")]).unwrap();
    let path_of = |path| {
        table
            .find(&warp::http::Method::GET, path)
            .map(|found| found.route.path())
            .ok()
    };
    assert_eq!(path_of("/a/b"), Some("/a/b"));
    assert_eq!(path_of("/a/z"), Some("/a/{x}"));
    assert_eq!(path_of("/a/b/c"), Some("/a/{x}/c"), "b is also a value of x");
    assert_eq!(path_of("/a/"), None, "a parameter is never empty");
    assert_eq!(path_of("/a/b/"), None);
}

#[test]
fn parameters_are_percent_decoded_and_a_slash_in_one_stays_inside() {
    let table = build(vec![get("/a/{x}")]).unwrap();
    let found = table.find(&warp::http::Method::GET, "/a/b%2Fc%20d").unwrap();
    assert_eq!(found.params.get("x"), Some("b/c d"));
    for path in ["/a/%ff", "/a/%00"] {
        assert_eq!(
            table.find(&warp::http::Method::GET, path).err().unwrap().status(),
            400
        );
    }
}

#[test]
fn the_description_names_every_route_and_is_the_same_each_time() {
    let table = support::table();
    let text = openapi::document(table.routes()).unwrap();
    assert_eq!(text, openapi::document(support::table().routes()).unwrap());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["openapi"], "3.1.0");
    for route in table.routes() {
        let method = route.method().as_str().to_ascii_lowercase();
        let operation = &json["paths"][route.path()][&method];
        assert!(operation.is_object(), "{method} {}", route.path());
        assert_eq!(operation["x-permission"], route.access().as_str());
    }
    let headers = &json["paths"]["/v1/things"]["post"]["parameters"];
    assert_eq!(headers[0]["name"], "Idempotency-Key");
    let query = &json["paths"]["/v1/things"]["get"]["parameters"];
    assert_eq!(
        (&query[0]["name"], &query[0]["in"]),
        (&"limit".into(), &"query".into())
    );
    let body = &json["paths"]["/v1/things"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["$ref"], "#/components/schemas/Thing");
    assert!(
        json["components"]["schemas"]["Part"].is_object(),
        "what a schema refers to is there, too"
    );
}

#[test]
fn operation_ids_are_unique() {
    let document = openapi::describe(support::table().routes()).unwrap();
    let json = serde_json::to_value(document).unwrap();
    let mut seen = std::collections::HashSet::new();
    for operation in json["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
    {
        assert!(
            seen.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{operation}"
        );
    }
}

#[test]
fn two_types_of_one_name_are_refused() {
    mod other {
        #[derive(serde::Serialize, utoipa::ToSchema)]
        pub struct Thing {
            pub other: bool,
        }
    }
    let second = Route::get("/v1/others", "Others")
        .permission(Access::Public)
        .answers::<other::Thing>(200, "Other")
        .handle(&State::new(()), nothing);
    let mut routes = support::routes();
    routes.push(second);
    assert_eq!(
        build(routes).err(),
        Some(TableError::TwoSchemas("Thing".to_owned()))
    );
}

#[tokio::test]
async fn the_server_serves_its_own_description() {
    let server = TestServer::start().await;
    let served = server.get("/openapi.json").await;
    assert_eq!(served.body, openapi::document(support::table().routes()).unwrap());
}

/// Whoever adds another leaves a way in that needs no proof of origin.
#[test]
fn who_runs_the_process_asks_three_routes_and_no_other() {
    let api = crate::http::api::table(&crate::http::api::Api::default()).unwrap();
    let asked = api
        .routes()
        .filter(|route| route.spec.asker == crate::http::route::Asker::Operator);
    let paths: Vec<&str> = asked.map(|route| route.spec.path).collect();
    assert_eq!(paths, ["/live", "/ready", "/metrics"]);
}
