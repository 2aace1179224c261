//! The key process over a real socket.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::vault::key::Key;
use crate::vault::kms::conformance;
use crate::vault::kms::{Kms, KmsError};

struct Running {
    folder: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(folder: tempfile::TempDir) -> Self {
        let keks = KekFolder::new(folder.path());
        keks.ensure().unwrap();
        let server = KeyServer::bind(&folder.path().join("kms.sock"), keks.load().unwrap()).await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.unwrap().run(stop.clone()));
        Self { folder, stop, task }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("kms.sock")
    }

    fn client(&self) -> LocalKms {
        LocalKms::new(&self.socket())
    }

    async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.task.await.unwrap();
        self.folder
    }
}

async fn running() -> Running {
    Running::start(tempfile::tempdir().unwrap()).await
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_kms() {
    let running = running().await;
    let client = running.client();
    conformance::keeps_the_contract(&client).await;
    running.stop().await;
    conformance::is_unavailable(&client).await;
}

#[tokio::test]
async fn a_kek_at_rest_keeps_the_contract_and_opens_what_its_process_wrapped() {
    let running = running().await;
    let key = Key::generate().unwrap();
    let wrapped = running.client().wrap(&key, b"here").await.unwrap();
    let folder = running.stop().await;
    let at_rest = KekAtRest::open(KekFolder::new(folder.path())).unwrap();
    conformance::keeps_the_contract(&at_rest).await;
    let back = at_rest.unwrap_key(&wrapped, b"here").await.unwrap();
    assert_eq!(back.expose(), key.expose());

    let nothing = folder.path().join("nothing");
    let nowhere = KekAtRest::open(KekFolder::new(&nothing)).unwrap();
    let refused = nowhere.unwrap_key(&wrapped, b"here").await.err().unwrap();
    assert!(
        refused.to_string().contains("kek-1.key is not there"),
        "{refused}"
    );
    assert!(!nothing.exists(), "none is made");
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_goes_with_the_process() {
    let running = running().await;
    let socket = running.socket();
    let mode = socket.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = KeyServer::bind(&socket, KekFolder::new(running.folder.path()).load().unwrap()).await;
    assert!(matches!(second, Err(KeyServerError::Taken(_))));
    let _folder = running.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_new_version_of_the_kek_wraps_and_the_old_one_still_unwraps() {
    let first = running().await;
    let key = Key::generate().unwrap();
    let old = first.client().wrap(&key, b"here").await.unwrap();
    let folder = first.stop().await;
    assert_eq!(KekFolder::new(folder.path()).add_version().unwrap(), 2);

    let second = Running::start(folder).await;
    let new = second.client().wrap(&key, b"here").await.unwrap();
    assert_eq!((old.kek.as_str(), new.kek.as_str()), ("local/1", "local/2"));
    let back = second.client().unwrap_key(&old, b"here").await.unwrap();
    assert_eq!(back.expose(), key.expose());
    let mut mixed = new;
    mixed.kek = old.kek;
    let mixed = second.client().unwrap_key(&mixed, b"here").await;
    assert!(matches!(mixed, Err(KmsError::Refused(_))));
    second.stop().await;
}

#[tokio::test]
async fn without_a_kek_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let kek = KekFolder::new(folder.path()).load().unwrap();
    let server = KeyServer::bind(&folder.path().join("kms.sock"), kek).await;
    assert!(matches!(server, Err(KeyServerError::NoKek)));
}

#[tokio::test]
async fn a_kek_that_was_made_and_is_gone_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let keks = KekFolder::new(folder.path());
    keks.ensure().unwrap();
    let kept = std::fs::read(keks.file(1)).unwrap();
    std::fs::remove_file(keks.file(1)).unwrap();
    let gone = keks.ensure();
    assert!(matches!(gone, Err(crate::signing::KeyFileError::Gone(_))));
    assert!(!keks.file(1).exists());
    std::fs::write(keks.file(1), &kept).unwrap();
    keks.ensure().unwrap();
    assert_eq!(std::fs::read(keks.file(1)).unwrap(), kept);
}

#[tokio::test]
async fn a_kek_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keks = KekFolder::new(folder.path());
    keks.ensure().unwrap();
    std::fs::set_permissions(keks.file(1), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(keks.load().is_err());
}

#[tokio::test]
async fn nonsense_is_refused_and_the_process_goes_on() {
    let running = running().await;
    for nonsense in [
        &[9u8][..],
        &[1, 0, 1, 7],
        &[2, 0, 0, 0, 0, 0, 0],
        &[1, 0xff, 0xff],
    ] {
        let mut stream = UnixStream::connect(running.socket()).await.unwrap();
        let length = u32::try_from(nonsense.len()).unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.get(4), Some(&1), "refused: {nonsense:?}");
    }
    conformance::keeps_the_contract(&running.client()).await;
    running.stop().await;
}
