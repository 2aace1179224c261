//! Room for a tenant's requests, by number and by weight: who has a place keeps it until it is answered, wherever it
//! waits meanwhile. So each request counts once, and memory is bounded whatever requests hold.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Weights are counted in these: a semaphore's permits are 32 bits wide.
const UNIT_BYTES: usize = 1024;

/// So many places. Clones are the same.
#[derive(Clone)]
pub(super) struct Places {
    numbers: Arc<Semaphore>,
    weights: Arc<Semaphore>,
    units: u32,
}

/// A request's place; given back when it is dropped.
pub(super) struct Place {
    _number: Option<OwnedSemaphorePermit>,
    _weight: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(requests: usize, bytes: usize) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .max(1);
        Self {
            numbers: Arc::new(Semaphore::new(requests.max(1))),
            weights: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// Waits for a place for so many bytes. What is larger than all there is takes all there is.
    pub(super) async fn take(&self, bytes: usize) -> Place {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let number = Arc::clone(&self.numbers).acquire_owned().await;
        let weights = Arc::clone(&self.weights);
        let weight = weights.acquire_many_owned(units.clamp(1, self.units)).await;
        // Neither is ever closed.
        Place {
            _number: number.ok(),
            _weight: weight.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    #[test]
    fn places_are_bounded_by_number_and_by_weight_and_come_back() {
        let places = Places::new(2, 10 * UNIT_BYTES);
        let light = places.take(1).now_or_never().unwrap();
        let _second = places.take(1).now_or_never().unwrap();
        assert!(places.take(1).now_or_never().is_none(), "two are all");
        drop(light);
        assert!(
            places.take(10 * UNIT_BYTES).now_or_never().is_none(),
            "nine units are left"
        );
        assert!(places.take(9 * UNIT_BYTES).now_or_never().is_some());
    }

    #[test]
    fn what_is_larger_than_all_places_goes_alone() {
        let places = Places::new(10, 10 * UNIT_BYTES);
        let all = places.take(1000 * UNIT_BYTES).now_or_never().unwrap();
        assert!(places.take(1).now_or_never().is_none());
        drop(all);
        assert!(places.take(1).now_or_never().is_some());
    }
}
