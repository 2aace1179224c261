//! A signing key's files, sealed by a real key process's wire.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::vault::kms::local::{KekFolder, KeyServer, LocalKms};

/// A folder with a KEK and a key process on it.
struct Site {
    folder: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Site {
    async fn start(folder: tempfile::TempDir) -> Self {
        let keks = KekFolder::new(&folder.path().join("kek"));
        keks.ensure().unwrap();
        let server = KeyServer::bind(&folder.path().join("kms.sock"), keks.load().unwrap()).await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.unwrap().run(stop.clone()));
        Self { folder, stop, task }
    }

    async fn new() -> Self {
        Self::start(tempfile::tempdir().unwrap()).await
    }

    fn file(&self) -> KeyFile {
        let kms = LocalKms::new(&self.folder.path().join("kms.sock"));
        KeyFile::new(&self.folder.path().join("signing.key"), Arc::new(kms))
    }

    async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.task.await.unwrap();
        self.folder
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_successor_takes_the_place_when_it_is_asked_for_and_not_before() {
    let site = Site::new().await;
    let file = site.file();
    file.ensure().await.unwrap();
    let first = file.load().await.unwrap().public_key().id();
    file.ensure().await.unwrap();
    assert_eq!(file.id().unwrap(), first, "made once");
    let next = file.prepare().await.unwrap().public_key().id();
    assert_eq!(file.prepare().await.unwrap().public_key().id(), next, "made once");
    let find = async |id| file.find_key(id).await.unwrap().map(|key| key.public_key().id());
    assert_eq!(find(first).await, Some(first));
    assert!(file.next_path().exists());
    assert_eq!(find(next).await, Some(next));
    assert!(!file.next_path().exists());
    assert_eq!((find(next).await, find(first).await), (Some(next), None));
    let mode = file.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_key_in_the_clear_is_refused_until_it_is_imported_and_then_is_nowhere_in_the_clear() {
    let site = Site::new().await;
    let (file, seed) = (site.file(), "07".repeat(32));
    write(file.path(), &seed);
    for refused in [file.load().await.err(), file.find_key(KeyId([0; 8])).await.err()] {
        assert!(matches!(refused, Some(KeyFileError::Unsealed(_))), "{refused:?}");
    }
    let expected = KeyPair::from_seed(&[7; 32]).public_key();
    let in_place = file.import(file.path()).await.unwrap();
    assert_eq!(in_place.public_key(), expected);
    assert_eq!(file.load().await.unwrap().public_key(), expected);

    // The same from elsewhere changes nothing, but the copy goes; another key is not let in.
    let elsewhere = site.folder.path().join("old.key");
    write(&elsewhere, &seed);
    file.import(&elsewhere).await.unwrap();
    assert!(!elsewhere.exists());
    write(&elsewhere, &"08".repeat(32));
    let other = file.import(&elsewhere).await.err();
    assert!(matches!(other, Some(KeyFileError::Taken(_))), "{other:?}");
    assert!(elsewhere.exists(), "what was not imported is not removed");
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(!text.contains(&seed) && !text.contains(&"07".repeat(8)), "{text}");
}

#[tokio::test]
async fn what_was_sealed_elsewhere_or_changed_does_not_open_and_a_kms_that_is_away_is_another_matter() {
    let (site, other) = (Site::new().await, Site::new().await);
    let (file, theirs) = (site.file(), other.file());
    file.ensure().await.unwrap();
    theirs.ensure().await.unwrap();
    let ours = std::fs::read_to_string(file.path()).unwrap();
    std::fs::copy(file.path(), theirs.path()).unwrap();
    let shut = theirs.load().await.err();
    assert!(matches!(shut, Some(KeyFileError::Shut { .. })), "{shut:?}");

    // The ciphertext of one key under the name of another.
    let (mine, prepared) = (
        SealedKey::read(file.path()).unwrap(),
        file.prepare().await.unwrap(),
    );
    let renamed = ours.replace(&SealedKeyName::of(&ours), &prepared.public_key().to_string());
    assert_ne!(renamed, ours);
    write(file.path(), &renamed);
    assert_ne!(file.id().unwrap(), mine.id());
    let shut = file.load().await.err();
    assert!(matches!(shut, Some(KeyFileError::Shut { .. })), "{shut:?}");

    write(file.path(), &ours);
    let _folder = site.stop().await;
    let away = file.load().await.err();
    assert!(
        away.as_ref().is_some_and(KeyFileError::is_unavailable),
        "{away:?}"
    );
}

/// The public key as it stands in a file.
struct SealedKeyName;

impl SealedKeyName {
    fn of(text: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["public_key"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_new_version_of_the_kek_wraps_the_key_anew_and_the_old_one_may_go_then() {
    let site = Site::new().await;
    let file = site.file();
    file.ensure().await.unwrap();
    let id = file.id().unwrap();
    file.prepare().await.unwrap();
    assert_eq!(file.rewrap().await.unwrap(), 0, "nothing to do yet");
    let folder = site.stop().await;
    let keks = KekFolder::new(&folder.path().join("kek"));
    keks.add_version().unwrap();

    let site = Site::start(folder).await;
    let file = site.file();
    assert_eq!(file.rewrap().await.unwrap(), 2, "the key and its successor");
    assert_eq!(file.rewrap().await.unwrap(), 0);
    let folder = site.stop().await;
    std::fs::remove_file(keks.file(1)).unwrap();
    let site = Site::start(folder).await;
    assert_eq!(site.file().load().await.unwrap().public_key().id(), id);
}
