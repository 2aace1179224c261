//! What a governed completion costs beyond the provider: one client asks a stand-in provider that answers at once,
//! directly and through us, in turns. Two durable signed events, two policies and the whole pipeline lie between.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::http::{Client, answer_all};
use crate::load::{Meter, Sample};
use crate::options::Options;
use crate::served::{Served, agent_key, policy, tenant};
use crate::site::Site;
use crate::table::{Line, Table};

const ADDED_MS: f64 = 2.0;
const MODEL: &str = "bench-model";
const POLICY: &str = "package counterfoil\nimport rego.v1\n\
    decision := {\"allow\": count(why) == 0, \"reasons\": why}\n\
    why contains \"topic.payroll\" if { some m in input.request.messages; contains(lower(m.content), \"payroll\") }";
const ASKED: &str = r#"{"model":"bench-model","max_tokens":64,"messages":[{"role":"system","content":"You help with claims."},{"role":"user","content":"Which papers does a claim for storm damage need?"}]}"#;
const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1763640000,"model":"bench-model","choices":[{"index":0,"message":{"role":"assistant","content":"Photographs, the policy number and a repair estimate."},"finish_reason":"stop"}],"usage":{"prompt_tokens":24,"completion_tokens":11,"total_tokens":35}}"#;

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let provider = stand_in(&mut tasks).await?;
    let prices = tempfile::NamedTempFile::new()?;
    std::fs::write(prices.path(), prices_text())?;
    let installation = site.installation(&upstream(provider, prices.path())).await?;
    let served = Served::start(&installation, "").await?;
    let mut admin = served.client().await?;
    let tenant = tenant(&mut admin).await?;
    for layer in ["organisation", "tenant"] {
        policy(&mut admin, &tenant, layer, POLICY).await?;
    }
    let key = agent_key(&mut admin, &tenant).await?;
    let mut governed = Client::connect(served.address, &key).await?;
    let mut direct = Client::connect(provider, "none").await?;
    let (mut through, mut alone) = (Sample::default(), Sample::default());
    until_known(&mut governed).await?;
    for _ in 0..options.size(20) {
        alone.micros.extend(ask(&mut direct, 100).await?.micros);
        through.micros.extend(ask(&mut governed, 100).await?.micros);
    }
    let added = through.percentile(50.0) - alone.percentile(50.0);
    table.add(
        Line::new(
            "completion, zero-delay provider, 1 client: added",
            format!("p50 {added:.2} ms (through us {})", through.latency()),
        )
        .budget(format!("p50 ≤ {ADDED_MS} ms"), added <= ADDED_MS)
        .beside(format!("provider alone {}", alone.latency())),
    );
    served.stop().await?;
    tasks.shutdown().await;
    installation.end().await
}

/// A provider that answers at once.
async fn stand_in(tasks: &mut JoinSet<()>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            // It ends when the client goes.
            connections.spawn(async move { drop(answer_all(stream, answer.as_bytes()).await) });
        }
    });
    Ok(address)
}

fn upstream(provider: SocketAddr, prices: &std::path::Path) -> String {
    format!(
        "[gateway]\nprices_file = \"{}\"\n[[gateway.upstreams]]\nname = \"standin\"\nbase_url = \"http://{provider}/v1\"\n\
         [[gateway.models]]\nname = \"{MODEL}\"\nupstream = \"standin\"\n",
        prices.display()
    )
}

fn prices_text() -> String {
    format!(
        "[[price]]\nid = \"bench\"\nprovider = \"standin\"\nmodel = \"{MODEL}\"\neffective_from = \"2025-01-01\"\n\
         currency = \"USD\"\ninput_micros_per_million = 150000\ncached_input_micros_per_million = 75000\n\
         output_micros_per_million = 600000\n"
    )
}

/// Waits until the key that was just issued is known where completions are let in.
async fn until_known(client: &mut Client) -> anyhow::Result<()> {
    let mut last = String::new();
    for _ in 0..200 {
        let reply = client.send("POST /v1/chat/completions", None, ASKED).await?;
        if reply.status == 200 {
            return Ok(());
        }
        last = format!("{} {}", reply.status, String::from_utf8_lossy(reply.body));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    anyhow::bail!("completions are not answered: {last}")
}

async fn ask(client: &mut Client, count: usize) -> anyhow::Result<Sample> {
    let mut meter = Meter::new(std::time::Duration::ZERO);
    for _ in 0..count {
        meter
            .time(async {
                let reply = client.send("POST /v1/chat/completions", None, ASKED).await?;
                anyhow::ensure!(reply.status == 200, "{}", String::from_utf8_lossy(reply.body));
                Ok(())
            })
            .await?;
    }
    Ok(meter.sample())
}
