//! Versions of server programs: how each tells its own, and which do. Pure.

use std::fmt;

/// A version's first two numbers; nothing here depends on the third.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A server program: its name, what its version stands behind, and which versions do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub name: &'static str,
    /// For the error when there is none.
    pub needed: &'static str,
    before: &'static [&'static str],
    lowest: Version,
    /// First version that does not do any more.
    below: Version,
}

const ANY: Version = Version {
    major: u32::MAX,
    minor: 0,
};

impl Program {
    /// The major versions that the tests run against.
    pub const POSTGRES_MAJORS: [u32; 3] = [15, 16, 17];

    pub const POSTGRES: Self = Self {
        name: "postgres",
        needed: "PostgreSQL 15, 16 or 17",
        before: &["postgres (PostgreSQL) "],
        lowest: Version { major: 15, minor: 0 },
        below: Version { major: 18, minor: 0 },
    };

    /// 2.10 brought the JetStream answers (headers only, last per subject) that the relay derives its cursor from.
    pub const NATS: Self = Self {
        name: "nats-server",
        needed: "a NATS server (nats-server) of version 2.10 or newer",
        before: &["nats-server: v"],
        lowest: Version { major: 2, minor: 10 },
        below: ANY,
    };

    pub const REDIS: Self = Self {
        name: "redis-server",
        needed: "a Redis server (redis-server) of version 6.0 or newer",
        before: &["Redis server v=", "Valkey server v="],
        lowest: Version { major: 6, minor: 0 },
        below: ANY,
    };

    /// The version in what the program prints for `--version`.
    pub fn read_version(self, printed: &str) -> Option<Version> {
        let printed = printed.trim();
        let rest = self
            .before
            .iter()
            .find_map(|before| printed.strip_prefix(before))?;
        let number = |text: &str| -> Option<u32> {
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..digits].parse().ok()
        };
        let (major, minor) = rest.split_once('.').unwrap_or((rest, "0"));
        // "17beta1" and "17devel" have no point; their minor number is 0.
        Some(Version {
            major: number(major)?,
            minor: number(minor).unwrap_or(0),
        })
    }

    pub fn accepts(self, version: Version) -> bool {
        (self.lowest..self.below).contains(&version)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(program: Program, printed: &str) -> (String, bool) {
        let version = program.read_version(printed).unwrap();
        (version.to_string(), program.accepts(version))
    }

    #[test]
    fn each_program_tells_its_version_in_its_own_way() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(read(Program::POSTGRES, debian), ("15.18".into(), true));
        assert_eq!(
            read(Program::POSTGRES, "postgres (PostgreSQL) 17beta1"),
            ("17.0".into(), true)
        );
        assert_eq!(
            read(Program::POSTGRES, "postgres (PostgreSQL) 14.2"),
            ("14.2".into(), false)
        );
        assert_eq!(
            read(Program::POSTGRES, "postgres (PostgreSQL) 18.0"),
            ("18.0".into(), false)
        );
        assert_eq!(read(Program::NATS, "nats-server: v2.9.10"), ("2.9".into(), false));
        assert_eq!(
            read(Program::NATS, "nats-server: v2.10.0-RC.1"),
            ("2.10".into(), true)
        );
        assert_eq!(read(Program::NATS, "nats-server: v3.0.0"), ("3.0".into(), true));
        assert_eq!(
            read(Program::REDIS, "Redis server v=7.0.15 sha=00000000:0"),
            ("7.0".into(), true)
        );
        assert_eq!(
            read(Program::REDIS, "Valkey server v=8.1.1 sha=0"),
            ("8.1".into(), true)
        );
    }

    #[test]
    fn what_is_no_version_is_none() {
        assert_eq!(Program::NATS.read_version("usage: nats-server"), None);
        assert_eq!(
            Program::POSTGRES.read_version("postgres (PostgreSQL) devel"),
            None
        );
    }
}
