//! The stream is frozen, emptied, deleted and rewound under a process at work: commands go on, and the stream is equal
//! again within seconds. (Single relays: `backbone::faults`.)
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_nats::jetstream::stream::Stream;
use counterfoil::stack::ServerKind;
use counterfoil_events::backbone::StreamScan;
use nix::sys::signal::Signal;

use super::site::Site;
use crate::support::random::Random;
use crate::support::servers::jetstream_of;
use crate::support::stack::{copy_dir, private_stack, shared_stack};

async fn stream(site: &Site, stack: &counterfoil::stack::Stack) -> Stream {
    let name = site.installation.backbone().await.prefix().stream(0);
    let jetstream = jetstream_of(stack.endpoints()).await;
    jetstream.get_stream(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_emptied_or_deleted_is_equal_again_while_commands_go_on() {
    let mut random = Random::seeded();
    let stack = shared_stack();
    let mut site = Site::new(stack.endpoints()).await;
    let serving = site.serve().await;
    let load = site.load(&mut random);
    load.seen.progress(60).await;
    let name = stream(&site, stack).await.cached_info().config.name.clone();
    jetstream_of(stack.endpoints())
        .await
        .delete_stream(&name)
        .await
        .unwrap();
    load.seen.progress(60).await;
    site.checker.copies_agree().await;
    site.finish(load).await;
    // With nothing to publish, no answer tells the relay: it looks.
    stream(&site, stack).await.purge().await.unwrap();
    site.check().await;
    jetstream_of(stack.endpoints())
        .await
        .delete_stream(&name)
        .await
        .unwrap();
    site.check().await;

    // What is lost in the middle is found, and filled by hand: a stream takes messages at its end alone.
    let backbone = site.installation.backbone().await;
    let mut scan = StreamScan::open(&backbone, 0, Some(site.tenants[0].world.tenant))
        .await
        .unwrap();
    let sequence = scan.next_page().await.unwrap()[4].sequence;
    stream(&site, stack).await.delete_message(sequence).await.unwrap();
    let found = site.installation.run(&["audit", "reconcile"]).await;
    assert_eq!(
        found.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&found.stdout)
    );
    site.installation.good(&["audit", "reconcile", "--repair"]).await;
    site.check().await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_on_while_nats_is_frozen_and_a_rewound_stream_catches_up() {
    let mut random = Random::seeded();
    let (dir, stack) = private_stack().await;
    let mut site = Site::new(stack.endpoints()).await;
    let serving = site.serve().await;
    let load = site.load(&mut random);
    load.seen.progress(40).await;
    stack.signal(ServerKind::Nats, Signal::SIGSTOP).await.unwrap();
    load.seen.progress(80).await;
    stack.signal(ServerKind::Nats, Signal::SIGCONT).await.unwrap();
    load.seen.progress(40).await;

    let (store, copy) = (stack.nats_store_dir().to_owned(), dir.path().join("copy"));
    stack.halt(ServerKind::Nats).await.unwrap();
    let (status, ready) = serving.ready().await;
    assert_eq!(status, 200, "{ready}");
    copy_dir(&store, &copy);
    stack.resume(ServerKind::Nats).await.unwrap();
    load.seen.progress(80).await;
    site.checker.copies_agree().await;
    stack.halt(ServerKind::Nats).await.unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    copy_dir(&copy, &store);
    stack.resume(ServerKind::Nats).await.unwrap();
    load.seen.progress(40).await;

    let errors = load.seen.errors();
    assert!(errors.keys().all(|(status, _)| *status < 500), "{errors:?}");
    site.finish(load).await;
    serving.stop().await;
    stack.stop().await;
}
