//! Step 2: the prompts, in order, over the OpenAI wire; in the middle the policy changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::Value;

use super::client::{Client, DemoError, text};
use super::world::{World, tighten};

const PROMPTS: &str = include_str!("../../fixtures/prompts.jsonl");
/// Calls under way at one time: what one busy team sends.
const CONCURRENT: usize = 8;
/// Every process knows of a policy change within a second.
const SETTLE: Duration = Duration::from_millis(1_200);

/// What came of the prompts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) allowed: usize,
    pub(super) streamed: usize,
    /// By the reason that the caller was given.
    pub(super) denied: BTreeMap<String, usize>,
    pub(super) elapsed: Duration,
}

impl Tally {
    pub(super) fn denied_total(&self) -> usize {
        self.denied.values().sum()
    }
}

pub(super) async fn send(client: &Client, world: &World) -> Result<Tally, DemoError> {
    let lines: Vec<Value> = PROMPTS
        .lines()
        .map(|line| {
            serde_json::from_str(line)
                .map_err(|error| DemoError::Shape(format!("fixtures/prompts.jsonl: {error}")))
        })
        .collect::<Result<_, _>>()?;
    // Keys and policies are known everywhere within a second of their commit.
    tokio::time::sleep(SETTLE).await;
    let (first, second) = lines.split_at(lines.len() / 2);
    let mut tally = Tally::default();
    let begun = Instant::now();
    send_all(client, world, first, 0, &mut tally).await?;
    tally.elapsed += begun.elapsed();
    println!("  … the tenants tighten their policy in the middle");
    tighten(client, world).await?;
    tokio::time::sleep(SETTLE).await;
    let begun = Instant::now();
    send_all(client, world, second, first.len(), &mut tally).await?;
    tally.elapsed += begun.elapsed();
    Ok(tally)
}

async fn send_all(
    client: &Client,
    world: &World,
    lines: &[Value],
    offset: usize,
    tally: &mut Tally,
) -> Result<(), DemoError> {
    let calls = lines.iter().enumerate().map(|(index, line)| {
        let tenant = &world.tenants[(offset + index) % world.tenants.len()];
        async move {
            let agent = text(line, "agent")?;
            let key = tenant
                .keys
                .get(agent)
                .ok_or_else(|| DemoError::Shape(format!("there is no agent {agent}")))?;
            let (status, body) = client.complete(key, &line["request"]).await?;
            Ok::<_, DemoError>((line["request"]["stream"] == true, status, body))
        }
    });
    let mut answers = futures::stream::iter(calls).buffer_unordered(CONCURRENT);
    while let Some(answer) = answers.next().await {
        let (streamed, status, body) = answer?;
        match status {
            200 => {
                tally.allowed += 1;
                tally.streamed += usize::from(streamed);
            }
            _ => *tally.denied.entry(reason(status, &body)).or_default() += 1,
        }
    }
    Ok(())
}

/// What the caller was told: the step that refused, and the policy's own reason where there is one.
fn reason(status: u16, body: &str) -> String {
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    let message = error["error"]["message"].as_str().unwrap_or("no reason given");
    match message.rsplit_once(": ") {
        Some((_, reasons)) if error["error"]["type"] == "policy_violation" => {
            reasons.trim_end_matches('.').to_owned()
        }
        _ => format!("{status} {}", error["error"]["code"].as_str().unwrap_or(message)),
    }
}
