//! The demo's HTTP client: it sends what any client would, and says what was answered when that is not what it should be.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// The demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No answer.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// Another answer than the demo is made for.
    #[error("{method} {path} was answered with {status}: {body}")]
    Answer {
        /// Of the request.
        method: &'static str,
        /// Of the request.
        path: String,
        /// Of the answer.
        status: u16,
        /// Of the answer.
        body: String,
    },
    /// A fixture or an answer without a field that it must have.
    #[error("{0}")]
    Shape(String),
    /// Runs that never ended.
    #[error("{0} of the KRI runs have not ended in time: see the log of this process")]
    RunsOpen(usize),
    /// The log cannot be read.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// The read models cannot be waited for.
    #[error("the read models: {0}")]
    Waiting(#[from] counterfoil_projections::engine::WaitError),
    /// The log cannot be verified.
    #[error("the verifier could not do its work: {0}")]
    Verify(String),
}

/// Speaks to the installation as its administrator, or as an agent.
#[derive(Clone)]
pub(super) struct Client {
    base: String,
    token: SecretString,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(base: String, token: SecretString) -> Result<Self, DemoError> {
        let http = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(30))
            .build()?;
        Ok(Self { base, token, http })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, DemoError> {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(self.token.expose_secret());
        self.answer("GET", path, request).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, DemoError> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(self.token.expose_secret());
        self.answer("POST", path, request.json(body)).await
    }

    /// A command that has no body.
    pub(super) async fn post_bare(&self, path: &str) -> Result<Value, DemoError> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(self.token.expose_secret());
        self.answer("POST", path, request).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, DemoError> {
        let request = self
            .http
            .put(format!("{}{path}", self.base))
            .bearer_auth(self.token.expose_secret());
        self.answer("PUT", path, request.json(body)).await
    }

    async fn answer(
        &self,
        method: &'static str,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Value, DemoError> {
        let response = request.send().await?;
        let status = response.status();
        let body = response.text().await?;
        if !status.is_success() {
            return Err(DemoError::Answer {
                method,
                path: path.to_owned(),
                status: status.as_u16(),
                body,
            });
        }
        serde_json::from_str(&body)
            .map_err(|error| DemoError::Shape(format!("{method} {path} answered no JSON: {error}")))
    }

    /// A completion, with an agent's key: its status and whole body, whatever they are.
    pub(super) async fn complete(
        &self,
        key: &SecretString,
        request: &Value,
    ) -> Result<(u16, String), DemoError> {
        let url = format!("{}/v1/chat/completions", self.base);
        let response = self
            .http
            .post(url)
            .bearer_auth(key.expose_secret())
            .json(request)
            .send()
            .await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }
}

/// A text member of a JSON answer.
pub(super) fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str, DemoError> {
    value[member]
        .as_str()
        .ok_or_else(|| DemoError::Shape(format!("no text `{member}` in {value}")))
}
