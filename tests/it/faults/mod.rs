//! Faults, one file a kind; `docs/faults.md` lists them. After each the invariants are checked by
//! `support::invariants::Checker`.

mod kill_loop;
mod load;
mod points;
mod postgres;
mod processes;
mod site;
mod streams;
