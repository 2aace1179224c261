//! What the streams are called and how they are kept.
//!
//! One stream per partition, `<PREFIX>_EVENTS_<partition>`, over `<prefix>.events.<partition>.<tenant>.<aggregate>`.
//! Two streams of one account may not overlap in subjects, so installations that share a server differ in prefix.
//! A stream is created when it is absent; one that is there with other settings is refused, each of them named.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::ids::TenantId;

/// Longest prefix: stream and consumer names stay far below what a file system takes.
const MAX_PREFIX_BYTES: usize = 32;

/// The first part of every stream's and subject's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPrefix(String);

/// A text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a stream prefix: a lower-case letter, then at most 31 lower-case letters, digits and underscores"
)]
pub struct InvalidPrefix(String);

impl StreamPrefix {
    /// Takes a prefix.
    ///
    /// # Errors
    /// When it is anything but a lower-case letter followed by at most 31 lower-case letters, digits and underscores.
    pub fn new(prefix: &str) -> Result<Self, InvalidPrefix> {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let fits = prefix.len() <= MAX_PREFIX_BYTES
            && prefix.starts_with(|first: char| first.is_ascii_lowercase())
            && prefix.bytes().all(inside);
        if fits {
            Ok(Self(prefix.to_owned()))
        } else {
            Err(InvalidPrefix(prefix.to_owned()))
        }
    }

    /// The stream of a partition.
    #[must_use]
    pub fn stream(&self, partition: u32) -> String {
        format!("{}_EVENTS_{partition}", self.0.to_ascii_uppercase())
    }

    /// All subjects of a partition's stream.
    #[must_use]
    pub fn subjects(&self, partition: u32) -> String {
        format!("{}.events.{partition}.>", self.0)
    }

    /// All subjects of one tenant.
    #[must_use]
    pub fn tenant_subjects(&self, partition: u32, tenant: TenantId) -> String {
        format!("{}.events.{partition}.{tenant}.>", self.0)
    }

    /// Where an aggregate's events go. `token` must be a subject token (see `message`).
    pub(super) fn subject(&self, partition: u32, tenant: TenantId, token: &str) -> String {
        format!("{}.events.{partition}.{tenant}.{token}", self.0)
    }

    /// Tenant and aggregate token of a subject.
    pub(super) fn parse_subject<'a>(&self, subject: &'a str) -> Option<(TenantId, &'a str)> {
        let rest = subject.strip_prefix(self.0.as_str())?.strip_prefix(".events.")?;
        let (_partition, rest) = rest.split_once('.')?;
        let (tenant, aggregate) = rest.split_once('.')?;
        Some((tenant.parse().ok()?, aggregate))
    }

    /// Where a process hints that it committed to a partition.
    #[must_use]
    pub fn wake(&self, partition: u32) -> String {
        format!("{}.wake.{partition}", self.0)
    }
}

impl fmt::Display for StreamPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How streams are kept. The rest is fixed: file storage, limits retention, the oldest goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// How long a message stays. Longer than the backup interval plus the time a restore takes, since the stream is
    /// what a restored database is filled up from.
    pub max_age: Duration,
    /// How large a stream may grow before its oldest messages go. JetStream reserves as much disk.
    pub max_bytes: u64,
    /// How long the server remembers message ids. The fence makes duplicates impossible by itself, so that this is a
    /// second line only.
    pub duplicate_window: Duration,
    /// Copies in a NATS cluster.
    pub replicas: usize,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(30 * 24 * 3600),
            // Four million events of the usual size; a small machine can still reserve it.
            max_bytes: 4 * 1024 * 1024 * 1024,
            duplicate_window: Duration::from_secs(120),
            replicas: 1,
        }
    }
}

/// A setting of an existing stream that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    /// Which, by its name in JetStream.
    pub name: &'static str,
    /// What it is.
    pub actual: String,
    /// What it must be.
    pub expected: String,
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.name, self.actual, self.expected)
    }
}

impl StreamSettings {
    pub(super) fn config(&self, prefix: &StreamPrefix, partition: u32) -> Config {
        Config {
            name: prefix.stream(partition),
            subjects: vec![prefix.subjects(partition)],
            description: Some("Counterfoil events: a copy of the ledger, refilled from Postgres".to_owned()),
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_age: self.max_age,
            max_bytes: i64::try_from(self.max_bytes).unwrap_or(i64::MAX),
            max_messages: -1,
            max_messages_per_subject: -1,
            duplicate_window: self.duplicate_window,
            num_replicas: self.replicas,
            allow_direct: true,
            ..Config::default()
        }
    }
}

/// Every setting of `actual` that differs from `expected` and matters to the log.
pub(super) fn wrong_settings(actual: &Config, expected: &Config) -> Vec<WrongSetting> {
    let mut wrong = Vec::new();
    let mut compare = |name: &'static str, actual: String, expected: String| {
        if actual != expected {
            wrong.push(WrongSetting {
                name,
                actual,
                expected,
            });
        }
    };
    let text = |value: &dyn fmt::Debug| format!("{value:?}");
    compare("subjects", text(&actual.subjects), text(&expected.subjects));
    compare("storage", text(&actual.storage), text(&expected.storage));
    compare("retention", text(&actual.retention), text(&expected.retention));
    compare("discard", text(&actual.discard), text(&expected.discard));
    compare("max_age", text(&actual.max_age), text(&expected.max_age));
    compare("max_bytes", text(&actual.max_bytes), text(&expected.max_bytes));
    compare(
        "max_msgs",
        text(&actual.max_messages),
        text(&expected.max_messages),
    );
    compare(
        "max_msgs_per_subject",
        text(&actual.max_messages_per_subject),
        text(&expected.max_messages_per_subject),
    );
    compare(
        "duplicate_window",
        text(&actual.duplicate_window),
        text(&expected.duplicate_window),
    );
    compare(
        "num_replicas",
        text(&actual.num_replicas),
        text(&expected.num_replicas),
    );
    compare("no_ack", text(&actual.no_ack), text(&expected.no_ack));
    compare("sealed", text(&actual.sealed), text(&expected.sealed));
    wrong
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_follow_from_prefix_and_partition() {
        let prefix = StreamPrefix::new("cf_test1").unwrap();
        let tenant = "01933b5e-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(prefix.stream(3), "CF_TEST1_EVENTS_3");
        assert_eq!(prefix.subjects(3), "cf_test1.events.3.>");
        let subject = prefix.subject(3, tenant, "agent");
        assert_eq!(subject, format!("cf_test1.events.3.{tenant}.agent"));
        assert_eq!(prefix.parse_subject(&subject), Some((tenant, "agent")));
        assert_eq!(prefix.parse_subject("cf_test1x.events.3.a.b"), None);
    }

    #[test]
    fn a_prefix_that_would_break_a_subject_is_refused() {
        for bad in ["", "Cf", "1cf", "a.b", "a b", "a*", "ä", &"a".repeat(33)] {
            assert!(StreamPrefix::new(bad).is_err(), "{bad}");
        }
        assert!(StreamPrefix::new(&"a".repeat(32)).is_ok());
    }

    #[test]
    fn each_wrong_setting_is_named() {
        let prefix = StreamPrefix::new("cf").unwrap();
        let expected = StreamSettings::default().config(&prefix, 0);
        assert_eq!(wrong_settings(&expected, &expected), []);
        let actual = Config {
            storage: StorageType::Memory,
            max_age: Duration::from_secs(60),
            ..expected.clone()
        };
        let wrong: Vec<String> = wrong_settings(&actual, &expected)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            wrong,
            ["storage is Memory, not File", "max_age is 60s, not 2592000s"]
        );
    }
}
