//! A TCP proxy between a client and a server, to lose what a network can lose.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Forwards connections until dropped.
pub struct Proxy {
    port: u16,
    faults: Arc<Faults>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    /// Drop the connection instead of handing on the next bytes from the server.
    swallow: AtomicBool,
    swallowed: AtomicU64,
    /// Hand on nothing of what the server says, and leave connections as they are.
    silent: AtomicBool,
}

impl Proxy {
    pub async fn start(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults::default());
        let shared = Arc::clone(&faults);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (host, faults) = (host.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect((host.as_str(), port)).await {
                        forward(client, server, &faults).await;
                    }
                });
            }
        });
        Self {
            port: own_port,
            faults,
            accepting,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next answer of the server, on whichever connection, is lost and the connection with it.
    pub fn swallow_next_answer(&self) {
        self.faults.swallow.store(true, Ordering::SeqCst);
    }

    /// From now on nothing of what the server says comes through, as if it had gone away without a word; or again.
    pub fn silence(&self, silent: bool) {
        self.faults.silent.store(silent, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub fn swallowed(&self) -> u64 {
        self.faults.swallowed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, faults: &Faults) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let upstream = async {
        tokio::io::copy(&mut from_client, &mut to_server)
            .await
            .map(|_| ())
    };
    let downstream = async {
        let mut buffer = vec![0; 65_536];
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return Ok::<(), std::io::Error>(());
            }
            if faults.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if faults.swallow.swap(false, Ordering::SeqCst) {
                faults.swallowed.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            to_client.write_all(&buffer[..read]).await?;
        }
    };
    tokio::select! {
        _ = upstream => {}
        _ = downstream => {}
    }
}
