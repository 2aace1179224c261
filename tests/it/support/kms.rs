//! The key process that the tests share: the real server on a real socket, in a thread of the test process. Tests of the
//! process itself start their own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use counterfoil::signing::KeyFile;
use counterfoil::vault::kms::local::{KekFolder, KeyServer, LocalKms};
use tokio_util::sync::CancellationToken;

use super::stack::TempDir;

/// Its socket. It outlives the runtimes of single tests, since it has a thread of its own.
pub fn shared_kms() -> PathBuf {
    static SHARED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, socket) = SHARED.get_or_init(|| {
        let dir = TempDir::new();
        let socket = dir.path().join("kms.sock");
        let (folder, at) = (dir.path().join("kek"), socket.clone());
        let (listening, listens) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let keks = KekFolder::new(&folder);
                keks.ensure().unwrap();
                let server = KeyServer::bind(&at, keks.load().unwrap()).await.unwrap();
                listening.send(()).unwrap();
                server.run(CancellationToken::new()).await;
            });
        });
        listens.recv().expect("the tests' key process listens");
        (dir, socket)
    });
    socket.clone()
}

/// A machine's key file with the key that signs in tests, sealed.
pub async fn key_file(directory: &Path) -> KeyFile {
    let kms = Arc::new(LocalKms::new(&shared_kms()));
    let file = KeyFile::new(&directory.join("signing.key"), kms);
    file.adopt(&[7; 32]).await.unwrap();
    file
}
