//! Bounded maps of this process, for when Redis is away: entries expire, and the number of entries and bytes has
//! a limit. What does not fit pushes out what would have expired first.

use std::collections::{BTreeSet, HashMap};

/// What an entry is found by. Keys are short texts of ours, never a caller's.
type Key = String;

/// Values that expire, with a limit on entries and on bytes. Time is whatever unit the caller uses.
#[derive(Debug)]
pub(super) struct Expiring<V> {
    entries: HashMap<Key, Entry<V>>,
    by_expiry: BTreeSet<(u64, Key)>,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    expires: u64,
    bytes: usize,
}

impl<V> Expiring<V> {
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_expiry: BTreeSet::new(),
            bytes: 0,
            entries_max: entries_max.max(1),
            bytes_max,
        }
    }

    /// The value, unless it has expired by `now`.
    pub fn get(&self, key: &str, now: u64) -> Option<&V> {
        let entry = self.entries.get(key).filter(|entry| entry.expires > now)?;
        Some(&entry.value)
    }

    /// Keeps a value of so many bytes until `expires`. One that is larger than the whole limit is not kept.
    pub fn put(&mut self, key: &str, value: V, bytes: usize, expires: u64, now: u64) {
        self.remove(key);
        if bytes > self.bytes_max {
            return;
        }
        self.make_room(bytes, now);
        self.bytes += bytes;
        self.by_expiry.insert((expires, key.to_owned()));
        let entry = Entry {
            value,
            expires,
            bytes,
        };
        self.entries.insert(key.to_owned(), entry);
    }

    fn make_room(&mut self, bytes: usize, now: u64) {
        while let Some((expires, key)) = self.by_expiry.first().cloned() {
            let full = self.entries.len() >= self.entries_max || self.bytes + bytes > self.bytes_max;
            if expires > now && !full {
                return;
            }
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
            self.by_expiry.remove(&(entry.expires, key.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_until_it_expires() {
        let mut map = Expiring::new(10, 100);
        map.put("a", 1, 1, 50, 0);
        assert_eq!(map.get("a", 49), Some(&1));
        assert_eq!(map.get("a", 50), None);
    }

    #[test]
    fn above_the_limits_the_next_to_expire_goes_first() {
        let mut map = Expiring::new(2, 100);
        map.put("late", 1, 1, 90, 0);
        map.put("soon", 2, 1, 10, 0);
        map.put("new", 3, 1, 50, 0);
        assert_eq!(
            (map.get("soon", 0), map.get("late", 0), map.get("new", 0)),
            (None, Some(&1), Some(&3))
        );
        map.put("large", 4, 99, 60, 0);
        assert_eq!(
            (map.get("new", 0), map.get("late", 0), map.get("large", 0)),
            (None, Some(&1), Some(&4))
        );
        map.put("too large", 5, 101, 60, 0);
        assert_eq!(map.get("too large", 0), None);
        assert_eq!(map.bytes, 100);
    }

    #[test]
    fn expired_entries_make_room_before_live_ones() {
        let mut map = Expiring::new(10, 100);
        for n in 0..5 {
            map.put(&n.to_string(), n, 1, 10 + u64::from(n == 0), 0);
        }
        map.put("new", 9, 1, 90, 10);
        assert_eq!(map.entries.len(), 2, "all that had expired are gone");
    }

    #[test]
    fn replacing_an_entry_keeps_the_books() {
        let mut map = Expiring::new(10, 100);
        map.put("a", 1, 40, 10, 0);
        map.put("a", 2, 10, 20, 0);
        assert_eq!(
            (map.bytes, map.by_expiry.len(), map.get("a", 15)),
            (10, 1, Some(&2))
        );
    }
}
