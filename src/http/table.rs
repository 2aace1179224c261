//! The route table: finds the route of a request, or says 404 or 405.
//!
//! A trie over path segments. A literal segment wins over a parameter (with backtracking), so
//! `/v1/agents/search` may stand beside `/v1/agents/{agent}`. What could be ambiguous is refused when the
//! table is built: the same method and template twice, or two parameter names at one place.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use warp::http::Method;

use super::openapi;
use super::problem::{self, ApiError, ErrorShape};
use super::request::PathParams;
use super::route::Route;

/// Routes that belong together, and the shape of their errors.
pub struct Group {
    routes: Vec<Route>,
    shape: ErrorShape,
    prefixes: &'static [&'static str],
}

impl Group {
    /// Routes whose errors are problem documents.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        Self {
            routes,
            shape: ErrorShape::Problem,
            prefixes: &[],
        }
    }

    /// Everything under these prefixes, its 404 and 405 included, answers errors in `shape`.
    #[must_use]
    pub fn errors(mut self, shape: ErrorShape, prefixes: &'static [&'static str]) -> Self {
        self.shape = shape;
        self.prefixes = prefixes;
        self
    }
}

/// Why a table cannot be built. A mistake in the code, found at start and by a test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two routes with one method and template.
    #[error("route {method} {path} is declared twice")]
    Twice {
        /// Their method.
        method: Method,
        /// Their template.
        path: &'static str,
    },
    /// Two names for the parameter at one place.
    #[error("route {path} names its parameter {{{name}}}, another route at the same place {{{other}}}")]
    TwoNames {
        /// The template.
        path: &'static str,
        /// Its name.
        name: &'static str,
        /// The other route's.
        other: &'static str,
    },
    /// Two types of one name in the API description.
    #[error("schema {0} stands for two different types; rename one (`#[schema(as = …)]`)")]
    TwoSchemas(String),
    /// A template that is not `/literal/{parameter}/…`.
    #[error("route template {0:?} is not `/literal/{{parameter}}/…`")]
    BadTemplate(&'static str),
}

/// All routes of a server.
pub struct RouteTable {
    routes: Vec<Route>,
    names: Vec<&'static str>,
    root: Node,
    shapes: Vec<(&'static str, ErrorShape)>,
}

#[derive(Default)]
struct Node {
    literals: BTreeMap<&'static str, Node>,
    parameter: Option<(&'static str, Box<Node>)>,
    methods: Vec<(Method, usize)>,
}

/// The route of a request and its parameters.
pub struct Found<'a> {
    /// The route.
    pub route: &'a Route,
    /// Method and template, such as `GET /v1/tenants/{tenant}`.
    pub name: &'static str,
    /// The values of its parameters.
    pub params: PathParams,
}

impl RouteTable {
    /// Builds the table; `/openapi.json`, which describes it, is added to it.
    ///
    /// # Errors
    /// A route that is declared twice or is ambiguous, or two types of one name in their schemas.
    pub fn build(groups: Vec<Group>) -> Result<Self, TableError> {
        let mut table = Self {
            routes: Vec::new(),
            names: Vec::new(),
            root: Node::default(),
            shapes: Vec::new(),
        };
        for group in groups {
            table
                .shapes
                .extend(group.prefixes.iter().map(|prefix| (*prefix, group.shape)));
            for route in group.routes {
                table.insert(route)?;
            }
        }
        let slot = openapi::Slot::default();
        table.insert(openapi::route(slot.clone()))?;
        let document = openapi::document(table.routes()).map_err(TableError::TwoSchemas)?;
        slot.get_or_init(|| document.into());
        Ok(table)
    }

    /// Every route, in the order of declaration.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The shape of errors for a path, whether or not a route has it.
    #[must_use]
    pub fn shape_of(&self, path: &str) -> ErrorShape {
        let under = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.shapes
            .iter()
            .find(|(prefix, _)| under(prefix))
            .map(|(_, shape)| *shape)
            .unwrap_or_default()
    }

    /// The route of this method and path.
    ///
    /// # Errors
    /// 404 or 405 (with `Allow`); 400 for a path that is not valid percent-encoded UTF-8.
    pub fn find(&self, method: &Method, path: &str) -> Result<Found<'_>, ApiError> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let mut raw = Vec::new();
        let node = self.root.descend(&segments, &mut raw).ok_or_else(no_such_route)?;
        let index = node.method(method).ok_or_else(|| node.not_allowed())?;
        let params = raw.into_iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Found {
            route: &self.routes[index],
            name: self.names[index],
            params: PathParams(params),
        })
    }

    fn insert(&mut self, route: Route) -> Result<(), TableError> {
        let (method, path) = (route.spec.method.clone(), route.spec.path);
        let node = self.root.grow(path)?;
        if node.methods.iter().any(|(known, _)| *known == method) {
            return Err(TableError::Twice { method, path });
        }
        node.methods.push((method.clone(), self.routes.len()));
        // One leak per route and process: the name lives as long as the table, and goes into every metric.
        self.names
            .push(Box::leak(format!("{method} {path}").into_boxed_str()));
        self.routes.push(route);
        Ok(())
    }
}

impl Node {
    fn grow(&mut self, path: &'static str) -> Result<&mut Self, TableError> {
        let rest = path.strip_prefix('/').ok_or(TableError::BadTemplate(path))?;
        let mut node = self;
        for segment in rest.split('/') {
            node = node.child(segment, path)?;
        }
        Ok(node)
    }

    fn child(&mut self, segment: &'static str, path: &'static str) -> Result<&mut Self, TableError> {
        let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
            let plain = !segment.is_empty() && !segment.contains(['{', '}']);
            return if plain {
                Ok(self.literals.entry(segment).or_default())
            } else {
                Err(TableError::BadTemplate(path))
            };
        };
        let (known, child) = self.parameter.get_or_insert_with(|| (name, Box::default()));
        if *known == name {
            Ok(child)
        } else {
            Err(TableError::TwoNames {
                path,
                name,
                other: known,
            })
        }
    }

    fn descend<'s, 'p>(
        &'s self,
        segments: &[&'p str],
        params: &mut Vec<(&'static str, &'p str)>,
    ) -> Option<&'s Self> {
        let Some((segment, rest)) = segments.split_first() else {
            return (!self.methods.is_empty()).then_some(self);
        };
        let literal = self
            .literals
            .get(*segment)
            .and_then(|node| node.descend(rest, params));
        if literal.is_some() || segment.is_empty() {
            return literal;
        }
        let (name, node) = self.parameter.as_ref()?;
        params.push((name, segment));
        let found = node.descend(rest, params);
        if found.is_none() {
            params.pop();
        }
        found
    }

    fn method(&self, method: &Method) -> Option<usize> {
        let wanted = if *method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        self.methods
            .iter()
            .find(|(known, _)| known == wanted)
            .map(|(_, index)| *index)
    }

    fn not_allowed(&self) -> ApiError {
        let mut methods: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        let allow = methods.join(", ");
        problem::METHOD_NOT_ALLOWED
            .detail(format!("this path takes {allow}"))
            .allow(&allow)
    }
}

fn no_such_route() -> ApiError {
    problem::NO_SUCH_ROUTE.detail("no route has this path; GET /openapi.json lists all")
}

fn decode((name, raw): (&'static str, &str)) -> Result<(&'static str, String), ApiError> {
    let text = percent_decode_str(raw)
        .decode_utf8()
        .ok()
        .filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| {
        let rule = "not percent-encoded UTF-8, or contains U+0000";
        problem::INVALID_PARAMETER
            .detail("a path parameter cannot be read")
            .field(name, rule)
    })?;
    Ok((name, text.into_owned()))
}
