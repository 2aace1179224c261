//! Loopback ports: picked once, remembered in the data directory, so that addresses survive a restart. A remembered
//! port that somebody else has taken meanwhile is given up for another, and that is said.

use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

use super::data_dir::DataDir;
use super::error::StackError;
use super::files;
use super::server::ServerKind;

/// Below the range from which systems take ports of outgoing connections (32768 on Linux, 49152 elsewhere): such a
/// connection could otherwise take a server's port while that restarts.
const FROM: u16 = 20_000;
const TO: u16 = 31_999;
const TRIES: u32 = 200;

/// The servers' ports, as the data directory remembers them.
#[derive(Debug, Default)]
pub(super) struct Ports {
    file: std::path::PathBuf,
    by_kind: [Option<u16>; 3],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    v: u32,
    postgres: Option<u16>,
    nats: Option<u16>,
    redis: Option<u16>,
}

impl Ports {
    pub fn load(data_dir: &DataDir) -> Result<Self, StackError> {
        let file = data_dir.state();
        let by_kind = match files::read_json::<File>(&file)? {
            Some(known) if known.v == 1 => [known.postgres, known.nats, known.redis],
            Some(other) => {
                let reason = format!("version {} is unknown to this program", other.v);
                return Err(StackError::Damaged { file, reason });
            }
            None => Default::default(),
        };
        Ok(Self { file, by_kind })
    }

    /// The remembered port of `kind` if it is free, else another, which is remembered from then on.
    pub fn claim(&mut self, kind: ServerKind) -> Result<u16, StackError> {
        let remembered = self.by_kind[kind.index()];
        if let Some(port) = remembered.filter(|port| is_free(*port)) {
            return Ok(port);
        }
        let port = self.pick()?;
        if let Some(taken) = remembered {
            tracing::warn!(server = %kind, taken, port, "the port of the last start is in use by somebody else; took another");
        }
        self.by_kind[kind.index()] = Some(port);
        self.save()?;
        Ok(port)
    }

    fn pick(&self) -> Result<u16, StackError> {
        (0..TRIES)
            .map(|_| random_port())
            .find(|port| !self.by_kind.contains(&Some(*port)) && is_free(*port))
            .ok_or(StackError::NoPort {
                from: FROM,
                to: TO,
                tries: TRIES,
            })
    }

    fn save(&self) -> Result<(), StackError> {
        let [postgres, nats, redis] = self.by_kind;
        files::write_json(
            &self.file,
            &File {
                v: 1,
                postgres,
                nats,
                redis,
            },
        )
    }
}

/// Whether a server could listen there now.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn random_port() -> u16 {
    let spread = u128::from(TO - FROM) + 1;
    // The remainder is below 12 000, so it fits.
    FROM + (uuid::Uuid::new_v4().as_u128() % spread) as u16
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_port_is_remembered_while_it_is_free_and_given_up_when_taken() {
        let scratch = Scratch::new();
        let data_dir = DataDir::open(scratch.path()).unwrap();
        let first = Ports::load(&data_dir).unwrap().claim(ServerKind::Nats).unwrap();
        assert_eq!(
            Ports::load(&data_dir).unwrap().claim(ServerKind::Nats).unwrap(),
            first
        );

        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let second = Ports::load(&data_dir).unwrap().claim(ServerKind::Nats).unwrap();
        assert_ne!(second, first);
        drop(taken);
        assert_eq!(
            Ports::load(&data_dir).unwrap().claim(ServerKind::Nats).unwrap(),
            second
        );
    }

    #[test]
    fn ports_stay_below_those_of_outgoing_connections() {
        assert!((0..1000).all(|_| (FROM..=TO).contains(&random_port())));
    }
}
