//! The body that goes upstream: the caller's bytes with the gateway's edits, and nothing else changed.
//!
//! Edits: the provider's name of the model; `stream_options.include_usage`, since usage is always asked for; and what
//! steps have rewritten.

use std::sync::Arc;

use bytes::Bytes;

use super::catalogue::Model;
use super::pipeline::{Context, Edit};
use super::upstream::{Attempts, ProviderCall};
use super::wire::ChatRequest;
use super::wire::splice::{self, SpliceError, Step};

/// The call cannot be put together: a defect, since the body was read before.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// An edit has no place.
    #[error("an edit of the forwarded body has no place: {0}")]
    Splice(#[from] SpliceError),
    /// A step that should have run has not.
    #[error("the call is not ready to be forwarded: no {0}")]
    NotReady(&'static str),
}

/// Puts the call together.
///
/// # Errors
/// See [`ForwardError`].
pub fn provider_call(context: &Context) -> Result<(Arc<Model>, ProviderCall), ForwardError> {
    let request = context
        .request
        .as_ref()
        .ok_or(ForwardError::NotReady("request"))?;
    let model = context.model.as_ref().ok_or(ForwardError::NotReady("model"))?;
    let max_tokens = context
        .max_tokens
        .ok_or(ForwardError::NotReady("limit of tokens"))?;
    let mut edits = own_edits(request, model.upstream_model.as_str());
    edits.extend(context.edits.iter().cloned());
    let command = &context.incoming.command;
    let call = ProviderCall {
        body: edited(&context.incoming.body, &edits)?,
        request: Arc::clone(request),
        upstream_model: model.upstream_model.clone(),
        max_tokens,
        request_id: command.request_id.clone(),
        traceparent: command.traceparent.clone(),
        created: context.now.as_datetime().timestamp(),
        authorization: None,
        attempts: Attempts::default(),
    };
    Ok((Arc::clone(model), call))
}

fn own_edits(request: &ChatRequest, upstream_model: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    if request.model.as_str() != upstream_model {
        // The alphabet of model names needs no escapes.
        edits.push(Edit {
            path: vec!["model"],
            value: format!("\"{upstream_model}\""),
        });
    }
    if request.stream && !request.include_usage {
        edits.push(Edit {
            path: vec!["stream_options", "include_usage"],
            value: "true".to_owned(),
        });
    }
    edits
}

fn edited(body: &Bytes, edits: &[Edit]) -> Result<Bytes, ForwardError> {
    if edits.is_empty() {
        return Ok(body.clone());
    }
    // The body was read as JSON before, so it is UTF-8.
    let mut text = String::from_utf8_lossy(body).into_owned();
    for edit in edits {
        let path: Vec<Step<'_>> = edit.path.iter().map(|key| Step::Key(key)).collect();
        text = splice::set(&text, &path, &edit.value)?;
    }
    Ok(Bytes::from(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_is_not_edited_goes_out_as_it_came() {
        let body = Bytes::from_static(
            b"{\"x_unknown\" : 1.50, \"stream\":true,\"model\":\"alias\", \"messages\":[{\"role\":\"user\",\"content\":\"a\\u00e9\"}]}",
        );
        let request = ChatRequest::parse(&body).unwrap();
        let sent = edited(&body, &own_edits(&request, "real/model-1")).unwrap();
        assert_eq!(
            sent,
            "{\"x_unknown\" : 1.50, \"stream\":true,\"model\":\"real/model-1\", \"messages\":[{\"role\":\"user\",\"content\":\"a\\u00e9\"}],\"stream_options\":{\"include_usage\":true}}"
        );
        let unchanged = edited(&body, &[]).unwrap();
        assert_eq!(unchanged.as_ptr(), body.as_ptr());
    }

    #[test]
    fn usage_is_not_asked_for_twice() {
        let body = br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"a"}]}"#;
        assert!(own_edits(&ChatRequest::parse(body).unwrap(), "m").is_empty());
    }
}
