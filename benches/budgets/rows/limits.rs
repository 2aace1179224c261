//! What bounds the others: the append function alone, and signing and verifying on one processor.

use std::time::{Duration, Instant};

use counterfoil_events::ids::{EventHash, KeyId, TenantId};
use counterfoil_events::signature::{KeyPair, Signer};
use sqlx::PgPool;
use uuid::Uuid;

use crate::load::{Meter, Sample, crowd};
use crate::options::Options;
use crate::site::{Installation, Site};
use crate::table::{Line, Table, rate};

const WRITERS: usize = 4;
const BATCH: usize = 256;
const APPEND: &str = "SELECT counterfoil.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
                      $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)";

pub async fn measure(site: &Site, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let installation = site.installation("").await?;
    for keys in [false, true] {
        let sample = function(&installation, options.length(), keys).await?;
        let with = if keys { "with" } else { "without" };
        let what = format!(
            "limit: append function alone, {WRITERS} writers, batches of {BATCH}, 700 B, {with} keys"
        );
        table.add(Line::new(what, rate(sample.rate() * BATCH as f64)));
    }
    installation.end().await?;
    let key = KeyPair::from_seed(&[7; 32]);
    let hash = EventHash([7; 32]);
    let signature = key.sign(&hash);
    let signing = per_second(|| key.sign(&hash).0[0] < u8::MAX || hash.0[0] > 0);
    let verifying = per_second(|| key.public_key().verifies(&hash, &signature));
    table.add(Line::new("limit: Ed25519 signing, one core", rate(signing)));
    table.add(Line::new(
        "limit: Ed25519 verify_strict, one core",
        rate(verifying),
    ));
    Ok(())
}

fn per_second(work: impl Fn() -> bool) -> f64 {
    let began = Instant::now();
    let mut done = 0_u32;
    while began.elapsed() < Duration::from_secs(1) {
        done += (0..64)
            .map(|_| u32::from(std::hint::black_box(work())))
            .sum::<u32>();
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

async fn function(installation: &Installation, length: Duration, keys: bool) -> anyhow::Result<Sample> {
    let tenants = installation.tenants(WRITERS).await?;
    let pool = installation.engine.database.log();
    let signer = installation
        .engine
        .commands
        .sequencer
        .key()
        .get()
        .public_key()
        .id();
    crowd(WRITERS, length, |task, meter| {
        write(pool.clone(), (tenants[task], signer), meter, keys)
    })
    .await
}

/// Writes batches of new aggregates on one head; each call counts once.
async fn write(
    pool: PgPool,
    (tenant, signer): (TenantId, KeyId),
    mut meter: Meter,
    keys: bool,
) -> anyhow::Result<Meter> {
    let envelope = serde_json::json!({ "filler": "x".repeat(686) }).to_string();
    let (mut position, mut hash) = (0_i64, [0_u8; 32]);
    let mut connection = pool.acquire().await?;
    while meter.goes_on() {
        let next: [u8; 32] = std::array::from_fn(|at| (position >> (at % 8)) as u8);
        let ids: Vec<Uuid> = (0..BATCH).map(|_| Uuid::now_v7()).collect();
        let names: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let key_hashes: Vec<[u8; 32]> = match keys {
            true => ids
                .iter()
                .map(|id| *blake3::hash(id.as_bytes()).as_bytes())
                .collect(),
            false => Vec::new(),
        };
        let items: Vec<i32> = (0..BATCH as i32).collect();
        let key_items = &items[..key_hashes.len()];
        let key_positions: Vec<i64> = key_items
            .iter()
            .map(|item| position + 1 + i64::from(*item))
            .collect();
        let call = sqlx::query_scalar::<_, Option<serde_json::Value>>(APPEND)
            .bind(tenant.0)
            .bind(position)
            .bind(hash)
            .bind(0_i64)
            .bind(next)
            .bind(chrono::Utc::now())
            .bind(signer.0)
            .bind(&items)
            .bind(vec!["kri_run"; BATCH])
            .bind(&names)
            .bind(vec![0_i64; BATCH])
            .bind(key_items)
            .bind(&key_hashes)
            .bind(&key_hashes)
            .bind(key_positions)
            .bind(vec![1_i32; key_items.len()])
            .bind(&ids)
            .bind(vec!["kri_run"; BATCH])
            .bind(&names)
            .bind(vec![1_i64; BATCH])
            .bind(vec!["KriRunRequested"; BATCH])
            .bind(vec!["1.0"; BATCH])
            .bind(vec![[2_u8; 32]; BATCH])
            .bind(vec![[3_u8; 64]; BATCH])
            .bind(vec![envelope.as_str(); BATCH])
            .bind(Vec::<[u8; 32]>::new())
            .bind(Vec::<String>::new())
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<i32>::new());
        let refused = meter
            .time(async { Ok(call.fetch_one(&mut *connection).await?) })
            .await?;
        anyhow::ensure!(refused.is_none(), "refused: {refused:?}");
        position += BATCH as i64;
        hash = next;
    }
    Ok(meter)
}
