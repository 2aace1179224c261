//! Random numbers that a seed brings back: SplitMix64 (Steele, Lea, Flood 2014).

/// The variable that reruns a test from its seed.
pub const SEED: &str = "COUNTERFOIL_FAULT_SEED";

#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A seed of the environment's or of this moment's, printed so that the run can be repeated.
    pub fn seeded() -> Self {
        let given = std::env::var(SEED).ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
        println!("{SEED}={seed} chooses the same again");
        Self(seed)
    }

    /// Another, that goes its own way.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    pub fn choice<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
