//! Faults, one file a kind; `docs/faults.md` lists them. After each the invariants are checked by
//! `support::invariants::Checker`.

pub mod canary;
mod kill_loop;
mod load;
mod points;
mod poison;
mod postgres;
mod processes;
mod site;
mod streams;
