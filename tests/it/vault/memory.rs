//! A process that has sealed and used a secret is searched from outside, as a core dump would be: every page that it can
//! write to.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::BufRead;
use std::os::unix::fs::FileExt;

use super::scene::Scene;

/// Bytes that are read at one time.
const CHUNK: usize = 1 << 20;

/// Where `needle` stands in what a process can write to, with the name of the mapping.
fn found(pid: u32, needle: &[u8]) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut places = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let name = fields.nth(3).unwrap_or("anonymous");
        // Chunks overlap by the needle, so that it cannot hide between two.
        let mut at = from;
        while at < to {
            let length = CHUNK.min(usize::try_from(to - at).unwrap());
            let mut chunk = vec![0; length];
            // Some pages cannot be read from outside, and hold nothing of ours.
            if memory.read_exact_at(&mut chunk, at).is_ok() {
                places.extend(
                    positions(&chunk, needle)
                        .into_iter()
                        .map(|place| format!("{name} {:#x}", at + place)),
                );
            }
            if length <= needle.len() {
                break;
            }
            at += u64::try_from(length - needle.len()).unwrap().max(1);
        }
    }
    places.sort();
    places.dedup();
    places
}

/// Where `needle` begins in a chunk.
fn positions(chunk: &[u8], needle: &[u8]) -> Vec<u64> {
    let (mut at, mut rest, mut found) = (0, chunk, Vec::new());
    loop {
        let read = rest.skip_until(needle[0]).unwrap();
        at += read;
        if read == 0 || chunk[at - 1] != needle[0] {
            return found;
        }
        if chunk[at - 1..].starts_with(needle) {
            found.push(u64::try_from(at - 1).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_calls_a_process_has_no_secret_left_in_its_memory() {
    let mut scene = Scene::new().await;
    // Made up here, so that it is in no binary and no page but for its use.
    let value = |n: u32| format!("zq7-memory-{n}-{}", uuid::Uuid::new_v4().simple());
    let values = [value(1), value(2)];
    scene.store(&values[0]).await.good();
    scene.complete().await.good();
    assert_eq!(scene.sent(), values[0]);
    scene.rotate(&values[1]).await.good();
    scene.complete().await.good();
    assert_eq!(scene.sent(), values[1]);
    let refused = scene.store(&format!("{}\nbroken", values[1])).await;
    assert_eq!(refused.status, 422, "{}", refused.text);

    // What is open keeps its last bytes: the connections end with those who hold their other ends.
    // The provider closes each by itself.
    scene.server.hang_up();
    let (pid, name) = (
        scene.server.pid,
        scene.installation.config.postgres.database.clone(),
    );
    let nothing_left = async {
        loop {
            let left: Vec<String> = values
                .iter()
                .flat_map(|value| found(pid, value.as_bytes()))
                .collect();
            if left.is_empty() {
                return;
            }
            println!("still there: {left:?}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, nothing_left)
        .await
        .expect("no secret is left");
    // The search finds what is there.
    assert!(!found(pid, name.as_bytes()).is_empty());
    scene.keys.stop().await;
}
