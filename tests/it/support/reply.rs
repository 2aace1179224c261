//! An answer, as tests look at it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, whatever it is.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap()
    }

    /// An error when there is no whole answer.
    pub async fn try_of(request: reqwest::RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await?,
        })
    }

    /// Empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Where what was done stands, as the headers have it: `<tenant>:<position>`.
    pub fn position(&self) -> Option<u64> {
        self.header("counterfoil-position")
            .split_once(':')?
            .1
            .parse()
            .ok()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{}: {error} in {:?}", self.status, self.text))
    }

    /// The body of an answer that must be good.
    pub fn good(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }

    /// The stable name of an error: a problem's slug, or the code of OpenAI's shape. Empty when it is neither.
    pub fn error(&self) -> String {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let problem = body["type"].as_str().and_then(|name| name.rsplit('/').next());
        let name = problem.or_else(|| body["error"]["code"].as_str());
        name.unwrap_or_default().to_owned()
    }

    /// The slug of a problem, its shape made sure.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        let json = self.json();
        assert_eq!(json["status"], self.status);
        for member in ["title", "detail", "instance"] {
            assert!(
                json[member].as_str().is_some_and(|text| !text.is_empty()),
                "{json}"
            );
        }
        let kind = json["type"].as_str().unwrap();
        let slug = kind.strip_prefix("https://counterfoil.dev/problems/");
        slug.unwrap().to_owned()
    }
}
