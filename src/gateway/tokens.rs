//! How many tokens a text can be, without the model's own tokenizer.
//!
//! **Upper bound.** The tokenizers of this field (byte-level BPE, SentencePiece with byte fallback) never make
//! more tokens than a text has UTF-8 bytes: each token stands for at least one byte. A JSON body has at least
//! as many bytes as the texts in it, escapes included (`\n` is two bytes for one, `\u00e9` six for two), and a
//! message's JSON (`{"role":"user","content":""}`) more bytes than its template has tokens. So the body's
//! length bounds its tokens; [`TEMPLATE_TOKENS`] covers what frames the whole. Images, audio and files are the
//! exception: a short URL can stand for thousands of tokens, so a request with such parts is bounded by the
//! model's context window alone.
//!
//! **Estimate.** Where a provider reports no usage (a cut stream, a caller who left), one token per
//! [`BYTES_PER_TOKEN`] bytes is settled and flagged as estimated.

/// Tokens that chat templates put around a conversation; the known ones use three to twelve.
pub const TEMPLATE_TOKENS: u64 = 16;

/// Common English text has about four bytes per token in current tokenizers.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The most tokens that a request's input can be for a model with this context window.
#[must_use]
pub fn prompt_upper_bound(body_bytes: u64, opaque_parts: usize, context_window_tokens: u64) -> u64 {
    let by_bytes = body_bytes.saturating_add(TEMPLATE_TOKENS);
    if opaque_parts > 0 {
        context_window_tokens
    } else {
        by_bytes.min(context_window_tokens)
    }
}

/// The most tokens that an answer can be: the limit in force for each of its choices.
#[must_use]
pub fn completion_upper_bound(max_tokens: Option<u64>, choices: u32, max_output_tokens: u64) -> u64 {
    let each = max_tokens.unwrap_or(max_output_tokens).min(max_output_tokens);
    each.saturating_mul(u64::from(choices))
}

/// A guess, to be flagged as one wherever it is used.
#[must_use]
pub fn estimate(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn opaque_parts_are_bounded_by_the_window_only() {
        assert_eq!(prompt_upper_bound(100, 0, 8000), 116);
        assert_eq!(prompt_upper_bound(100, 1, 8000), 8000);
        assert_eq!(prompt_upper_bound(100_000, 0, 8000), 8000);
    }

    #[test]
    fn an_answer_is_bounded_for_all_its_choices() {
        assert_eq!(completion_upper_bound(Some(10), 3, 4000), 30);
        assert_eq!(completion_upper_bound(None, 2, 4000), 8000);
        assert_eq!(completion_upper_bound(Some(9000), 1, 4000), 4000);
    }

    proptest! {
        #[test]
        fn a_body_has_at_least_the_bytes_of_its_texts(texts in proptest::collection::vec(".{0,40}", 1..5)) {
            let messages: Vec<_> =
                texts.iter().map(|text| serde_json::json!({"role": "user", "content": text})).collect();
            let body = serde_json::json!({"model": "m", "messages": messages}).to_string();
            // One byte-level token for each byte of text, four for each message's template.
            let most = texts.iter().map(|text| text.len() as u64 + 4).sum::<u64>();
            prop_assert!(prompt_upper_bound(body.len() as u64, 0, u64::MAX) >= most);
            prop_assert!(estimate(body.len() as u64) <= prompt_upper_bound(body.len() as u64, 0, u64::MAX));
        }
    }
}
