//! The local key process: `counterfoil kms serve` holds the KEK, and this process asks it over a Unix socket.
//!
//! One connection is one question and one answer, both bounded in size and time (`wire`). The server ([`KeyServer`])
//! answers its own user and root only, as the kernel names them (`SO_PEERCRED`), dumps no core, and reads its KEK once,
//! from files that only it can read ([`KekFolder`]). The client ([`LocalKms`]) holds no key. `restore` alone reads the
//! KEK itself ([`KekAtRest`]), since it has to ask before there is a process.

mod at_rest;
mod client;
mod kek;
mod process;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use at_rest::KekAtRest;
pub use client::LocalKms;
pub use kek::{Kek, KekFolder};
pub use process::keep_out_of_dumps;
pub use server::{KeyServer, KeyServerError};
