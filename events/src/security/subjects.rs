//! Links of users to subjects: a link is told by the log, and found once its row has been brought from beside it.
//!
//! A row counts only if it is what the link's event is held to; one that is missing (erased) or was changed finds nobody.

use std::collections::HashMap;

use crate::ids::{IssuerId, SubjectCommitment, SubjectLinkId, UserId};
use crate::issuer::subject::{SubjectHash, SubjectRow, commit};

struct LinkEntry {
    user: UserId,
    issuer: IssuerId,
    commitment: SubjectCommitment,
}

/// Why a row finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowRefused {
    /// It is not what the log says.
    Changed,
    /// Another link has this subject.
    Taken,
}

/// All of them.
#[derive(Default)]
pub(super) struct Subjects {
    links: HashMap<SubjectLinkId, LinkEntry>,
    found: HashMap<(IssuerId, SubjectHash), SubjectLinkId>,
}

impl Subjects {
    pub(super) fn user_of(&self, issuer: IssuerId, hash: SubjectHash) -> Option<UserId> {
        let link = self.found.get(&(issuer, hash))?;
        self.links.get(link).map(|entry| entry.user)
    }

    /// Whether a user signs in at an issuer, as whomever.
    pub(super) fn are_at(&self, user: UserId, issuer: IssuerId) -> bool {
        let mut links = self.links.values();
        links.any(|entry| (entry.user, entry.issuer) == (user, issuer))
    }

    pub(super) fn link(
        &mut self,
        user: UserId,
        link: SubjectLinkId,
        issuer: IssuerId,
        commitment: SubjectCommitment,
    ) {
        let entry = LinkEntry {
            user,
            issuer,
            commitment,
        };
        self.links.insert(link, entry);
    }

    pub(super) fn unlink(&mut self, link: SubjectLinkId) {
        self.links.remove(&link);
        self.found.retain(|_, found| *found != link);
    }

    /// Takes a link's row; one of a link that has ended changes nothing.
    pub(super) fn bring(&mut self, row: &SubjectRow) -> Result<(), RowRefused> {
        let Some(entry) = self.links.get(&row.link) else {
            return Ok(());
        };
        if commit(entry.user, entry.issuer, row) != entry.commitment {
            return Err(RowRefused::Changed);
        }
        match *self.found.entry((entry.issuer, row.hash)).or_insert(row.link) {
            holder if holder == row.link => Ok(()),
            _ => Err(RowRefused::Taken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::key::KeyPepper;
    use crate::issuer::subject::SubjectSalt;

    struct World {
        subjects: Subjects,
        user: UserId,
        issuer: IssuerId,
        row: SubjectRow,
    }

    fn row(issuer: IssuerId, subject: &str) -> SubjectRow {
        SubjectRow {
            link: SubjectLinkId::generate(),
            hash: SubjectHash::of(&KeyPepper::new([3; 32]), issuer, subject),
            salt: SubjectSalt::generate(),
        }
    }

    fn world() -> World {
        let (user, issuer) = (UserId::generate(), IssuerId::generate());
        let row = row(issuer, "anna");
        let mut subjects = Subjects::default();
        subjects.link(user, row.link, issuer, commit(user, issuer, &row));
        World {
            subjects,
            user,
            issuer,
            row,
        }
    }

    #[test]
    fn a_subject_is_found_once_its_row_is_brought_and_until_it_is_unlinked() {
        let mut w = world();
        let find = |w: &World| w.subjects.user_of(w.issuer, w.row.hash);
        assert_eq!(find(&w), None, "the log alone finds nobody");
        assert_eq!(w.subjects.bring(&w.row), Ok(()));
        assert_eq!(find(&w), Some(w.user));
        assert_eq!(w.subjects.user_of(IssuerId::generate(), w.row.hash), None);
        w.subjects.unlink(w.row.link);
        assert_eq!(find(&w), None);
        // A row that comes late does not bring the link back.
        assert_eq!(w.subjects.bring(&w.row), Ok(()));
        assert_eq!(find(&w), None);
    }

    #[test]
    fn a_row_that_was_changed_or_moved_finds_nobody() {
        let mut w = world();
        let forged = SubjectRow {
            hash: row(w.issuer, "mallory").hash,
            ..w.row
        };
        assert_eq!(w.subjects.bring(&forged), Err(RowRefused::Changed));
        assert_eq!(w.subjects.user_of(w.issuer, forged.hash), None);
        // Another link's row in this one's place.
        let (bert, other) = (UserId::generate(), row(w.issuer, "bert"));
        w.subjects
            .link(bert, other.link, w.issuer, commit(bert, w.issuer, &other));
        let moved = SubjectRow {
            link: w.row.link,
            ..other
        };
        assert_eq!(w.subjects.bring(&moved), Err(RowRefused::Changed));
        assert_eq!(w.subjects.user_of(w.issuer, other.hash), None);
    }

    #[test]
    fn of_two_links_to_one_subject_the_first_stands() {
        let mut w = world();
        assert_eq!(w.subjects.bring(&w.row), Ok(()));
        let bert = UserId::generate();
        let second = SubjectRow {
            link: SubjectLinkId::generate(),
            ..w.row
        };
        w.subjects
            .link(bert, second.link, w.issuer, commit(bert, w.issuer, &second));
        assert_eq!(w.subjects.bring(&second), Err(RowRefused::Taken));
        assert_eq!(w.subjects.user_of(w.issuer, w.row.hash), Some(w.user));
    }

    #[test]
    fn told_again_it_changes_nothing() {
        let mut w = world();
        assert_eq!(w.subjects.bring(&w.row), Ok(()));
        w.subjects
            .link(w.user, w.row.link, w.issuer, commit(w.user, w.issuer, &w.row));
        assert_eq!(w.subjects.user_of(w.issuer, w.row.hash), Some(w.user));
        assert_eq!(w.subjects.bring(&w.row), Ok(()));
    }
}
