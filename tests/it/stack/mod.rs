//! The embedded servers, for real: reachable, found again, exclusive, started again when they end, gone when we are.

mod programs;
mod servers;
mod survivors;
mod users;
