//! The API's client behind the thin commands: sends one request, gives the JSON of the answer, and turns a
//! problem document into one line.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use counterfoil_events::timestamp::{Clock, SystemClock};
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::GlobalArgs;
use super::exit::CliError;
use crate::config::Config;
use crate::http::origin::{X_ORIGIN_VERIFY, prove};

/// Above the server's own limit for a handler, whose answer says more than ours would.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Where the API is, and as whom to ask it.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// Address of the API [default: that of the configuration, or of the `up` on this machine]
    #[arg(long, global = true, env = "COUNTERFOIL_URL", value_name = "URL", value_parser = http_url)]
    url: Option<String>,
    /// Credential; the bootstrap token of the configuration, or of the `up`, is used for its own address alone
    #[arg(
        long,
        global = true,
        env = "COUNTERFOIL_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<SecretString>,
}

fn http_url(text: &str) -> Result<String, String> {
    let read = Url::parse(text).ok();
    let fits = read.is_some_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "expected an address such as http://127.0.0.1:8080".to_owned())
}

/// A client of the API.
pub struct Api {
    client: Client,
    base: String,
    token: Option<SecretString>,
    /// By which the origin knows its operator, where it asks for proof.
    origin: Option<SecretString>,
}

impl Api {
    /// A client for these arguments.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the configuration, which says what the arguments do not, cannot be used.
    pub fn new(args: ApiArgs, global: &GlobalArgs) -> Result<Self, CliError> {
        let (base, token, origin) = match args.url {
            Some(url) => (url, args.token, None),
            None => {
                let config = global.installation()?;
                let token = args.token.or_else(|| config.auth.bootstrap_token.clone());
                (address(&config), token, config.origin.secret)
            }
        };
        let client = Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(CliError::unavailable)?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            token,
            origin,
        })
    }

    /// Asks; an error status is an error.
    ///
    /// # Errors
    /// `Unavailable` when nobody answers or the answer is a 5xx; `Usage` for any other problem.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, String)],
    ) -> Result<Value, CliError> {
        let (status, answer) = self.send(method, path, body, headers).await?;
        if status.is_success() {
            return Ok(answer);
        }
        let mut message = problem_line(status, &answer);
        if status == StatusCode::UNAUTHORIZED && self.token.is_none() {
            message.push_str("; no token was sent: give --token or COUNTERFOIL_TOKEN");
        }
        let error = match status.is_server_error() {
            true => CliError::unavailable(message),
            false => CliError::usage(message),
        };
        Err(match answer {
            Value::Null => error,
            problem => error.with_problem(problem),
        })
    }

    /// Asks, and gives whatever status and JSON come back.
    ///
    /// # Errors
    /// `Unavailable` when nobody answers, or not in JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, String)],
    ) -> Result<(StatusCode, Value), CliError> {
        let proof = self.origin.as_ref().map(|secret| {
            let now = SystemClock.now().as_datetime().timestamp();
            let bare = path.split('?').next().unwrap_or_default();
            prove(secret, now, &method, bare)
        });
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(proof) = proof {
            request = request.header(X_ORIGIN_VERIFY, proof);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        Ok((
            status,
            read_json(response)
                .await
                .map_err(|error| self.no_answer(&error))?,
        ))
    }

    fn no_answer(&self, error: &reqwest::Error) -> CliError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        CliError::unavailable(format!(
            "no answer from {}: {cause}. Is `counterfoil up` (or `counterfoil serve`) running?",
            self.base
        ))
    }
}

/// Where the configuration's server is reached from its own machine.
fn address(config: &Config) -> String {
    let mut address = config.http.address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}

async fn read_json(response: Response) -> Result<Value, reqwest::Error> {
    let bytes = response.bytes().await?;
    Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// `title: detail (field: message; …), request …`
fn problem_line(status: StatusCode, problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    if text("title").is_empty() {
        return format!("the API answers {status}");
    }
    let fields = problem["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let fields: Vec<String> = fields.iter().map(field_line).collect();
    let fields = if fields.is_empty() {
        String::new()
    } else {
        format!(" ({})", fields.join("; "))
    };
    let help = match status {
        StatusCode::UNAUTHORIZED => " (--token or COUNTERFOIL_TOKEN)",
        _ => "",
    };
    format!(
        "{}: {}{help}{fields}, request {}",
        text("title"),
        text("detail"),
        text("instance")
    )
}

fn field_line(error: &Value) -> String {
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    format!("{}: {}", text("field"), text("message"))
}
