//! A browser with a session, as the console's pages and other sites' would use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use reqwest::Method;
use serde_json::Value;

use super::reply::Reply;
use super::served::Served;

/// A browser that has signed in.
#[derive(Clone)]
pub struct Browser {
    pub cookie: String,
    pub csrf: String,
    pub session: String,
}

impl Browser {
    /// By a token.
    pub async fn sign_in(server: &Served, token: &str) -> Self {
        let client = reqwest::Client::new();
        let asked = client
            .post(format!("{}/v1/sessions", server.url))
            .bearer_auth(token);
        let reply = Reply::of(asked).await;
        let body = reply.good();
        assert_eq!(reply.status, 201);
        let set = reply.header("set-cookie").to_owned();
        let (cookie, attributes) = set.split_once(';').unwrap();
        assert!(cookie.starts_with("__Host-counterfoil_session=cfs_"), "{set}");
        for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
            assert!(attributes.contains(attribute), "{set}");
        }
        assert!(
            !reply.text.contains("cfs_"),
            "the cookie's value is not in the body"
        );
        Self {
            cookie: cookie.to_owned(),
            csrf: body["csrf_token"].as_str().unwrap().to_owned(),
            session: body["session_id"].as_str().unwrap().to_owned(),
        }
    }

    /// As a page of another site would have it sent.
    pub fn bare(&self, server: &Served, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = reqwest::Client::new().request(method, format!("{}{path}", server.url));
        request.header("cookie", &self.cookie)
    }

    /// As a page of the console sends it.
    pub fn request(&self, server: &Served, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.bare(server, method, path)
            .header("origin", &server.url)
            .header("sec-fetch-site", "same-origin")
            .header("x-csrf-token", &self.csrf)
    }

    pub async fn get(&self, server: &Served, path: &str) -> Reply {
        Reply::of(self.bare(server, Method::GET, path)).await
    }

    pub async fn post(&self, server: &Served, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(server, Method::POST, path).json(body)).await
    }
}
