//! What keeps the key process's memory out of files: no core dumps, and no other process of its user may read it.

use nix::sys::resource::{Resource, setrlimit};

/// Called before a KEK is read. On Linux a process that is not dumpable can be traced, and its `/proc` memory read, by
/// root alone.
///
/// # Errors
/// When the system refuses.
pub fn keep_out_of_dumps() -> std::io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}
