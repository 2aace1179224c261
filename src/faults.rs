//! Fail points: named places in the code at which the fault tests end the process, as `kill -9` would.
//!
//! They are compiled in where tests are built (the root package's development dependencies turn them on) and nowhere
//! else: a release has none. Even where they are, nothing happens unless the environment says so:
//!
//! - `COUNTERFOIL_CRASH_AT=ledger.before_commit:3,relay.mid_publish:1` kills the process when it passes one of these
//!   points for the so-manieth time;
//! - `FAILPOINTS=http.in_handler=1*panic` does what the `fail` crate has: panic, sleep, pause.
//!
//! A build without fail points that is told to crash refuses to start, and one with them says at start what it is.

use std::sync::atomic::{AtomicU32, Ordering};

use fail::FailScenario;

/// Every fail point, by the part that passes it and the moment: `docs/faults.md` says what each means.
pub const POINTS: [&str; 14] = [
    "http.in_handler",
    "gateway.before_call",
    "gateway.mid_stream",
    "ledger.before_sign",
    "ledger.before_commit",
    "ledger.after_commit",
    "relay.before_publish",
    "relay.mid_publish",
    "runner.after_claim",
    "projection.mid_fold",
    "projection.after_commit",
    "rebuild.mid_fold",
    "rebuild.before_swap",
    "rebuild.after_swap",
];

const CRASH_AT: &str = "COUNTERFOIL_CRASH_AT";
const FAILPOINTS: &str = "FAILPOINTS";

/// The environment asks for a fault that this process cannot have.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// Fail points are for tests' builds.
    #[error("{0} is set, but this build has no fail points: unset it, or run what the tests have built")]
    NotBuiltIn(&'static str),
    /// No such point, or no count.
    #[error("{CRASH_AT}: `{0}` is not POINT:COUNT with a point of src/faults.rs and a count from 1")]
    Unknown(String),
}

/// Whether this build has fail points.
#[must_use]
pub const fn built_in() -> bool {
    fail::has_failpoints()
}

/// Arms what the environment asks for.
///
/// # Errors
/// See [`FaultError`].
pub fn arm() -> Result<(), FaultError> {
    let asked = |name: &'static str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if !built_in() {
        let set = [CRASH_AT, FAILPOINTS]
            .into_iter()
            .find(|name| asked(name).is_some());
        return set.map_or(Ok(()), |name| Err(FaultError::NotBuiltIn(name)));
    }
    if asked(FAILPOINTS).is_some() {
        // For as long as the process lives: its end disarms them.
        std::mem::forget(FailScenario::setup());
    }
    for crash in asked(CRASH_AT).iter().flat_map(|list| list.split(',')) {
        let (point, count) = parse(crash).ok_or_else(|| FaultError::Unknown(crash.to_owned()))?;
        crash_at(point, count);
    }
    Ok(())
}

/// What `serve` and `up` say at start of a build that is not for use.
pub fn announce() {
    if built_in() {
        tracing::warn!("this build has fail points: it is for tests, not for use");
    }
}

fn parse(crash: &str) -> Option<(&'static str, u32)> {
    let (name, count) = crash.split_once(':')?;
    let point = POINTS.into_iter().find(|point| *point == name)?;
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some((point, count))
}

fn crash_at(point: &'static str, count: u32) {
    let left = AtomicU32::new(count);
    let pass = move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            die(point);
        }
    };
    // It fails only where the points are not built in.
    let _ = fail::cfg_callback(point, pass);
}

/// The last words of a process that was told to crash: by them its end can be told from every other.
#[must_use]
pub fn last_words(pid: u32, point: &str) -> String {
    format!("process {pid} dies at the fail point {point}, as {CRASH_AT} asks\n")
}

/// The end that leaves nothing behind but its last words: no destructor runs, no buffer is written.
fn die(point: &str) {
    #[cfg(unix)]
    {
        // Past every lock and buffer, which another thread may hold.
        let words = last_words(std::process::id(), point);
        let _ = nix::unistd::write(std::io::stderr(), words.as_bytes());
        use nix::sys::signal::{Signal, kill};
        // Nobody is left to hear of an error.
        let _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
    }
    std::process::abort();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_crash_is_a_known_point_and_a_count() {
        assert_eq!(parse("ledger.before_sign:2"), Some(("ledger.before_sign", 2)));
        for wrong in [
            "ledger.before_sign",
            "ledger.before_sign:0",
            "ledger.before:1",
            "ledger.before_sign:x",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tests_are_built_with_fail_points() {
        assert!(built_in());
    }
}
