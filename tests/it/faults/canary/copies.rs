//! The copies that are searched, as text, and the search.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use counterfoil_events::backbone::StreamScan;
use sqlx::ConnectOptions;

use crate::support::installation::Installation;
use crate::support::world::World;

/// Text that holds a mark or a secret, with what stands around it.
pub fn found(place: &str, text: &str, wanted: &[String]) -> Vec<String> {
    let around = |at: usize| {
        let (from, to) = (at.saturating_sub(120), (at + 80).min(text.len()));
        String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()
    };
    let hit = |needle: &String| {
        text.find(needle.as_str())
            .map(|at| format!("{place}: …{}…", around(at)))
    };
    wanted.iter().filter_map(hit).collect()
}

/// Every row of every table, as text.
pub async fn tables(installation: &Installation) -> String {
    let mut superuser = installation.admin().connect().await.unwrap();
    let list = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
                WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let names: Vec<String> = sqlx::query_scalar(list).fetch_all(&mut superuser).await.unwrap();
    assert!(names.len() > 20, "{names:?}");
    let mut text = String::new();
    for name in names {
        let rows: Vec<String> = sqlx::query_scalar(&format!("SELECT t::text FROM {name} t"))
            .fetch_all(&mut superuser)
            .await
            .unwrap();
        text.push_str(&format!("{name}: {}\n", rows.join("\n")));
    }
    text
}

/// Every message of the stream, as text.
pub async fn messages(installation: &Installation) -> String {
    let backbone = installation.backbone().await;
    let stream = backbone
        .context()
        .get_stream(backbone.prefix().stream(0))
        .await
        .unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut text = String::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let body = String::from_utf8_lossy(&message.payload).into_owned();
        text.push_str(&format!("{} {:?} {body}\n", message.subject, message.headers));
    }
    text
}

/// Waits until the stream holds the ends of both runs of a tenant.
pub async fn until_runs_ended(installation: &Installation, world: &World) {
    let backbone = installation.backbone().await;
    for _ in 0..600 {
        let mut scan = StreamScan::open(&backbone, 0, Some(world.tenant)).await.unwrap();
        let mut text = String::new();
        loop {
            let page = scan.next_page().await.unwrap();
            if page.is_empty() {
                break;
            }
            let events = page.into_iter().filter_map(|message| message.event.ok());
            text.extend(events.map(|event| event.envelope));
        }
        if text.matches("\"type\":\"KriRunFailed\"").count() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the runs did not fail as they should");
}
