//! What the demo provider says: short business answers by topic, and JSON made from a schema.
//!
//! Pure and deterministic: the same seed gives the same words. Every text answer opens with
//! [`DISCLOSURE`], so that nobody takes it for a model's.

use serde_json::{Map, Value, json};

/// How every text answer opens.
pub const DISCLOSURE: &str = "Demo provider, no model was asked.";

/// Deepest schema that arguments are made for.
const MAX_SCHEMA_DEPTH: usize = 8;
/// Most members of one made object.
const MAX_MEMBERS: usize = 32;

struct Topic {
    words: &'static [&'static str],
    answers: [&'static str; 3],
    /// What the larger model adds.
    more: &'static str,
}

const TOPICS: &[Topic] = &[
    Topic {
        words: &[
            "claim",
            "loss",
            "damage",
            "deductible",
            "adjuster",
            "reserve",
            "repair",
        ],
        answers: [
            "The file supports the claim in its main points: the loss falls inside the period of cover and the report was \
             made in time. Two items are open, an itemised repair estimate and the landlord's confirmation of the \
             burst pipe. I suggest to set the reserve at the estimate's lower bound and to ask for both within ten days.",
            "Cover applies, subject to the deductible. The description of the damage and the photographs agree; the invoice \
             exceeds the usual range for this repair by about a fifth, which a desk review can settle without a visit. \
             Recommended next step: approve the undisputed part and query the rest.",
            "This looks like a partial loss with no third party involved. Nothing in the file points to an exclusion. Before \
             payment, check the payee's bank details against the policy and note the reason for the late report.",
        ],
        more: "Comparable claims of the last four quarters closed in 19 days on average; two of three needed one further \
               document. If the estimate is not in hand by the deadline, a diary entry for day eleven keeps the file moving.",
    },
    Topic {
        words: &[
            "payment",
            "invoice",
            "reconcil",
            "ledger",
            "bank",
            "settlement",
            "payout",
            "remittance",
            "journal",
        ],
        answers: [
            "Of the items listed, all but one match on amount and value date. The remaining difference equals the bank's \
             charge for the transfer, so it belongs to fees and not to the supplier's account. Post it there and close \
             the batch.",
            "Two entries share a reference and an amount, three days apart; that is the usual pattern of a payment sent twice. \
             Hold the second, ask the counterparty for a statement of account, and reverse it once they confirm.",
            "The statement and the ledger agree after the timing difference at month end. I found no unmatched item older \
             than five days. The suspense account can be cleared with the journal as proposed.",
        ],
        more: "For the control file: matched by reference first, then by amount and date within two days. Tolerance was zero; \
               nothing was written off.",
    },
    Topic {
        words: &[
            "summar",
            "paper",
            "report",
            "study",
            "research",
            "findings",
            "literature",
            "article",
            "abstract",
        ],
        answers: [
            "In short: the authors find a moderate effect in the first year that weakens in the second. The sample is broad \
             but self-selected, and the comparison group was chosen afterwards. Useful as a direction, not as a forecast.",
            "Three points stand out. Adoption rose fastest where staff were trained first. Error rates fell by about a third, \
             most of it in the first quarter. Costs were level once support was counted.",
            "The report argues that controls work best when they are visible to those who are controlled. Its evidence is two \
             case studies and a survey; the survey's questions are in the annex and worth a look before quoting the figures.",
        ],
        more: "What the text leaves open: how the figures move with the size of the organisation, and whether the effect \
               survives a change of supplier. Both would change a decision, so they are worth a question to the authors.",
    },
    Topic {
        words: &[],
        answers: [
            "Here is a workable first step: write down who decides, by when, and what would change the decision. Most of the \
             open questions in your note then turn out to be one question about ownership.",
            "Yes, with one condition. The plan holds as long as the second delivery is not moved forward; if it is, the review \
             should come before it and not after.",
            "I would do it in this order: confirm the facts with the team that owns them, agree on the wording, then inform \
             those affected. Half a day is enough for the first two.",
        ],
        more: "A short note of the alternatives that were not chosen, one line each, will save a meeting later.",
    },
];

/// A text answer to what a user asked.
#[must_use]
pub fn answer(seed: u64, asked: &str, large: bool) -> String {
    let asked = asked.to_lowercase();
    let score = |topic: &&Topic| topic.words.iter().filter(|word| asked.contains(**word)).count();
    // The last topic has no words: it is the one for everything else.
    let general = &TOPICS[TOPICS.len() - 1];
    let best = TOPICS.iter().rev().max_by_key(score).unwrap_or(general);
    let topic = if score(&best) == 0 { general } else { best };
    let text = topic.answers[usize::try_from(seed % 3).unwrap_or(0)];
    if large {
        format!("{DISCLOSURE} {text}\n\n{}", topic.more)
    } else {
        format!("{DISCLOSURE} {text}")
    }
}

/// A JSON value that fits the common part of JSON Schema, as a tool's arguments or a structured answer.
#[must_use]
pub fn from_schema(schema: &Value, seed: u64, depth: usize) -> Value {
    if let Some(value) = ["const", "default"].iter().find_map(|key| schema.get(key)) {
        return value.clone();
    }
    if let Some(options) = schema
        .get("enum")
        .and_then(Value::as_array)
        .filter(|options| !options.is_empty())
    {
        return options[usize::try_from(seed % options.len() as u64).unwrap_or(0)].clone();
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null"),
        other => other.and_then(Value::as_str),
    };
    match kind {
        Some("object") | None if depth < MAX_SCHEMA_DEPTH => object(schema, seed, depth),
        Some("array") if depth < MAX_SCHEMA_DEPTH => schema
            .get("items")
            .map_or_else(|| json!([]), |items| json!([from_schema(items, seed, depth + 1)])),
        Some("array") => json!([]),
        Some("integer" | "number") => schema
            .get("minimum")
            .cloned()
            .unwrap_or_else(|| json!(1 + seed % 9)),
        Some("boolean") => json!(seed.is_multiple_of(2)),
        Some("string") => json!(text(schema)),
        _ => json!({}),
    }
}

fn object(schema: &Value, seed: u64, depth: usize) -> Value {
    let mut made = Map::new();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Value::Object(made);
    };
    let required = schema.get("required").and_then(Value::as_array);
    let wanted = |name: &str| required.is_none_or(|names| names.iter().any(|required| required == name));
    for (name, property) in properties
        .iter()
        .filter(|(name, _)| wanted(name))
        .take(MAX_MEMBERS)
    {
        made.insert(name.clone(), from_schema(property, seed, depth + 1));
    }
    Value::Object(made)
}

fn text(schema: &Value) -> &'static str {
    match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T09:00:00Z",
        Some("uri") => "https://example.com/",
        Some("email") => "desk@example.com",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "demo",
    }
}
