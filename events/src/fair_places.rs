//! Places for work that is under way: so many in all, and of one tenant no more than its share.
//!
//! Who finds none is told so at once; nobody waits here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::TenantId;

/// So many places. Clones are the same.
#[derive(Clone, Debug)]
pub struct FairPlaces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: usize,
    share: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    of_tenant: HashMap<TenantId, usize>,
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// For nobody.
    #[error("{0} are under way already, and no more may be: try again shortly")]
    All(usize),
    /// Not for this tenant.
    #[error("{0} of this tenant are under way already, and no more may be: try again shortly")]
    Tenant(usize),
}

/// A place; given back when it is dropped.
#[derive(Debug)]
pub struct FairPlace {
    places: FairPlaces,
    tenant: TenantId,
}

impl FairPlaces {
    /// `total` places, of which one tenant has `share` at the most.
    #[must_use]
    pub fn new(total: usize, share: usize) -> Self {
        Self(Arc::new(Inner {
            total,
            share,
            taken: Mutex::default(),
        }))
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&self, tenant: TenantId) -> Result<FairPlace, Full> {
        let mut taken = self.taken();
        if taken.total >= self.0.total {
            return Err(Full::All(self.0.total));
        }
        let of_tenant = taken.of_tenant.entry(tenant).or_default();
        if *of_tenant >= self.0.share {
            return Err(Full::Tenant(self.0.share));
        }
        *of_tenant += 1;
        taken.total += 1;
        drop(taken);
        Ok(FairPlace {
            places: self.clone(),
            tenant,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Whole after every use, even one that panics.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FairPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.total -= 1;
        if let Some(of_tenant) = taken.of_tenant.get_mut(&self.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                taken.of_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_tenant_leaves_another_its_places_and_all_come_back() {
        let (places, a, b) = (FairPlaces::new(3, 2), TenantId::generate(), TenantId::generate());
        let first = places.take(a).unwrap();
        let _second = places.take(a).unwrap();
        assert_eq!(places.take(a).unwrap_err(), Full::Tenant(2));
        let _third = places.take(b).unwrap();
        assert_eq!(places.take(b).unwrap_err(), Full::All(3));
        drop(first);
        assert!(places.take(b).is_ok());
        assert!(places.take(a).is_ok(), "what was given back is free for anybody");
    }
}
