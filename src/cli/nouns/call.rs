//! One request to the API, before it is sent: method, path, body, and how its answer is shown.

use std::io::Read;
use std::path::Path;

use clap::Args;
use counterfoil_events::ids::TenantId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;

use super::super::client::Api;
use super::super::exit::CliError;
use super::super::values::whole;

/// Everything but what RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The API's own limit for a page.
const PAGE: usize = 500;

/// A request.
pub struct Call {
    pub method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    pub headers: Vec<(&'static str, String)>,
    pub shown: Shown,
}

/// How an answer is shown to people.
#[derive(Clone, Copy)]
pub enum Shown {
    /// A table of these members of each item; a name that begins with `>` is a number.
    List {
        columns: &'static [&'static str],
        limit: usize,
        nothing: &'static str,
    },
    /// Every member of one thing.
    Item,
    /// A table of these members of each of one thing's `items`; machines get the thing whole.
    ItemsOfOne {
        columns: &'static [&'static str],
        nothing: &'static str,
    },
    /// The text of this member of one thing, as it is; machines get the thing whole.
    Text(&'static str),
    /// What a command made or changed, and where that is recorded.
    Done,
}

/// Whose things.
#[derive(Debug, Args)]
pub struct TenantArg {
    /// Whose
    #[arg(long, env = "COUNTERFOIL_TENANT", value_name = "TENANT")]
    tenant: TenantId,
}

impl TenantArg {
    /// A path below the tenant's.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/tenants/{}/{rest}", self.tenant)
    }
}

/// How much of a list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = whole::<usize>(1..))]
    limit: usize,
}

/// Why something is stopped.
#[derive(Debug, Args)]
pub struct ReasonArg {
    /// A stable code of yours, such as contract_ended; it stands in the log
    #[arg(long, value_name = "CODE")]
    reason: String,
}

impl ReasonArg {
    /// The body that says so.
    pub fn body(self) -> Value {
        serde_json::json!({ "reason": self.reason })
    }
}

impl Call {
    fn new(method: Method, path: String, body: Option<Value>, shown: Shown) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            body,
            headers: Vec::new(),
            shown,
        }
    }

    /// A list.
    pub fn list(
        path: String,
        args: &ListArgs,
        columns: &'static [&'static str],
        nothing: &'static str,
    ) -> Self {
        let limit = args.limit;
        let shown = Shown::List {
            columns,
            limit,
            nothing,
        };
        Self::new(Method::GET, path, None, shown)
    }

    /// One thing.
    pub fn get(path: String) -> Self {
        Self::new(Method::GET, path, None, Shown::Item)
    }

    /// A command with a body.
    pub fn command(method: Method, path: String, body: Value) -> Self {
        Self::new(method, path, Some(body), Shown::Done)
    }

    /// A command without one.
    pub fn bare(method: Method, path: String) -> Self {
        Self::new(method, path, None, Shown::Done)
    }

    /// With a query parameter, if there is a value.
    pub fn with(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    /// Shown another way than its kind of request usually is.
    pub fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// Whether it changes nothing.
    pub fn is_query(&self) -> bool {
        self.method == Method::GET
    }

    /// Sends it; the answer is JSON.
    pub async fn send(&self, api: &Api) -> Result<Value, CliError> {
        self.send_with(api, &[]).await
    }

    async fn send_with(&self, api: &Api, more: &[(&'static str, String)]) -> Result<Value, CliError> {
        let query: Vec<_> = self.query.iter().chain(more).collect();
        let query = serde_urlencoded::to_string(&query).map_err(CliError::usage)?;
        let path = match query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{query}", self.path),
        };
        api.ask(self.method.clone(), &path, self.body.as_ref(), &self.headers)
            .await
    }
}

/// The first `limit` items of a list, page by page.
pub async fn pages(api: &Api, call: &Call, limit: usize) -> Result<Vec<Value>, CliError> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    while items.len() < limit {
        let size = PAGE.min(limit - items.len()).to_string();
        let mut more = vec![("limit", size)];
        more.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page = call.send_with(api, &more).await?;
        if let Some(found) = page["items"].as_array_mut() {
            items.append(found);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(items);
        }
    }
    if cursor.is_some() {
        eprintln!("counterfoil: these are the first {limit}; --limit shows more");
    }
    Ok(items)
}

/// A path segment, whatever is in it.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A file's text; `-` is stdin.
pub fn text_of(path: &Path) -> Result<String, CliError> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

/// A file's JSON; `-` is stdin.
pub fn json_of(path: &Path) -> Result<Value, CliError> {
    serde_json::from_str(&text_of(path)?)
        .map_err(|error| CliError::usage(format!("{} is not JSON: {error}", path.display())))
}
