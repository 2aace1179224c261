//! What tokens cost: a dated table, exact integer arithmetic, rounded up.
//!
//! A price holds from its `effective_from` (UTC date) until the next one of the same provider and model.
//! Rates are integer micro-units of the currency per million tokens (0.15 USD per million = 150000); costs
//! are integer micro-units. A call's parts are summed exactly and rounded up once, so that no split of a
//! cost loses any of it. A model without a price at the day of the call is not called: see
//! `pipeline/steps/budget_spend_reserve.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use chrono::NaiveDate;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::{Deserialize, Serialize};

use super::wire::response::Usage;

/// The table that comes with the program: prices of the demo provider's models.
pub const DEFAULT_TABLE: &str = include_str!("../../fixtures/prices.toml");

/// Highest rate that is believed: a million units of currency per million tokens. With counts below 2^40
/// every cost stays below 2^63.
pub const MAX_RATE: u64 = 1_000_000_000_000;

const TOKENS_PER_RATE: u128 = 1_000_000;

/// Why a price table was refused.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// Unreadable, unknown keys, wrong types.
    #[error("the price table cannot be read: {0}")]
    Unreadable(Box<figment::Error>),
    /// A currency that is no ISO 4217 code.
    #[error("price of {model}: currency {currency:?} is not an ISO 4217 code of three capital letters")]
    Currency {
        /// Whose price.
        model: String,
        /// What was given.
        currency: String,
    },
    /// A rate beyond [`MAX_RATE`].
    #[error(
        "price of {model}: {rate} is above the highest rate of {MAX_RATE} micro-units per million tokens"
    )]
    Rate {
        /// Whose price.
        model: String,
        /// What was given.
        rate: u64,
    },
    /// Two prices for the same model from the same day.
    #[error("price of {model}: two entries are effective from {date}; remove one")]
    Twice {
        /// Whose price.
        model: String,
        /// The day.
        date: NaiveDate,
    },
}

/// Millionths of a currency's unit. Serialised as a string: amounts are never floats, nor cut at 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Micros {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Name of the provider as configured.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// First day (UTC) on which it holds.
    pub effective_from: NaiveDate,
    /// ISO 4217.
    pub currency: String,
    /// Tokens in.
    pub input_micros_per_million: u64,
    /// Tokens in that the provider had cached; without it they cost like others.
    #[serde(default)]
    pub cached_input_micros_per_million: Option<u64>,
    /// Tokens out.
    pub output_micros_per_million: u64,
}

impl Price {
    /// The exact cost of a call, rounded up to a whole micro-unit.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Micros {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let fresh = usage.prompt_tokens - cached;
        let cached_rate = self
            .cached_input_micros_per_million
            .unwrap_or(self.input_micros_per_million);
        let product = |tokens: u64, rate: u64| u128::from(tokens) * u128::from(rate);
        let sum = product(fresh, self.input_micros_per_million)
            + product(cached, cached_rate)
            + product(usage.completion_tokens, self.output_micros_per_million);
        // Counts and rates are bounded, so this fits; saturating is the safe side of a broken bound.
        Micros(u64::try_from(sum.div_ceil(TOKENS_PER_RATE)).unwrap_or(u64::MAX))
    }

    /// The most that a call can cost: every token at the dearest rate that may apply to it.
    #[must_use]
    pub fn worst_case(&self, prompt_tokens: u64, completion_tokens: u64) -> Micros {
        let cached_rate = self.cached_input_micros_per_million.unwrap_or(0);
        let cached_tokens = if cached_rate > self.input_micros_per_million {
            prompt_tokens
        } else {
            0
        };
        self.cost(&Usage {
            prompt_tokens,
            completion_tokens,
            cached_tokens,
            reasoning_tokens: 0,
        })
    }

    /// Names the line in events: `provider/model@date`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}/{}@{}", self.provider, self.model, self.effective_from)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    price: Vec<Price>,
}

/// All prices, by provider and model, then by date.
#[derive(Debug, Clone, Default)]
pub struct PriceTable {
    prices: BTreeMap<(String, String), BTreeMap<NaiveDate, Price>>,
}

impl PriceTable {
    /// Reads a table from TOML text.
    ///
    /// # Errors
    /// See [`PriceError`]; nothing of a table with one bad line is used.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        Self::from_figment(&Figment::from(Toml::string(text)))
    }

    /// Reads a table from a TOML file.
    ///
    /// # Errors
    /// As [`Self::parse`], and when the file is absent.
    pub fn read(path: &Path) -> Result<Self, PriceError> {
        Self::from_figment(&Figment::from(Toml::file_exact(path)))
    }

    fn from_figment(figment: &Figment) -> Result<Self, PriceError> {
        let file: File = figment
            .extract()
            .map_err(|error| PriceError::Unreadable(Box::new(error)))?;
        let mut table = Self::default();
        for price in file.price {
            table.insert(price)?;
        }
        Ok(table)
    }

    fn insert(&mut self, price: Price) -> Result<(), PriceError> {
        let model = format!("{}/{}", price.provider, price.model);
        if price.currency.len() != 3 || !price.currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(PriceError::Currency {
                model,
                currency: price.currency,
            });
        }
        let cached = price.cached_input_micros_per_million.unwrap_or(0);
        let rate = price
            .input_micros_per_million
            .max(price.output_micros_per_million)
            .max(cached);
        if rate > MAX_RATE {
            return Err(PriceError::Rate { model, rate });
        }
        let date = price.effective_from;
        let dates = self
            .prices
            .entry((price.provider.clone(), price.model.clone()))
            .or_default();
        if dates.insert(date, price).is_some() {
            return Err(PriceError::Twice { model, date });
        }
        Ok(())
    }

    /// The price that holds on a day (UTC), if there is one.
    #[must_use]
    pub fn find(&self, provider: &str, model: &str, on: NaiveDate) -> Option<&Price> {
        let dates = self.prices.get(&(provider.to_owned(), model.to_owned()))?;
        dates.range(..=on).next_back().map(|(_, price)| price)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = r#"
        [[price]]
        provider = "p"
        model = "m"
        effective_from = "2026-03-01"
        currency = "EUR"
        input_micros_per_million = 150000
        output_micros_per_million = 600000

        [[price]]
        provider = "p"
        model = "m"
        effective_from = "2026-01-01"
        currency = "EUR"
        input_micros_per_million = 300000
        cached_input_micros_per_million = 100000
        output_micros_per_million = 900000
    "#;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn usage(prompt_tokens: u64, cached_tokens: u64, completion_tokens: u64) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            cached_tokens,
            reasoning_tokens: 0,
        }
    }

    #[test]
    fn the_price_of_the_day_holds_and_before_the_first_there_is_none() {
        let table = PriceTable::parse(TABLE).unwrap();
        let from = |on: &str| table.find("p", "m", day(on)).map(|price| price.reference());
        assert_eq!(from("2025-12-31"), None);
        assert_eq!(from("2026-01-01").unwrap(), "p/m@2026-01-01");
        assert_eq!(from("2026-02-28").unwrap(), "p/m@2026-01-01");
        assert_eq!(from("2026-03-01").unwrap(), "p/m@2026-03-01");
        assert_eq!(table.find("p", "other", day("2026-03-01")), None);
    }

    #[test]
    fn costs_are_exact_and_rounded_up_once() {
        let table = PriceTable::parse(TABLE).unwrap();
        let price = table.find("p", "m", day("2026-02-01")).unwrap();
        assert_eq!(price.cost(&usage(0, 0, 0)), Micros(0));
        // 1 × 0.3 + 1 × 0.9 = 1.2 micro-units: 2, and not 1 + 1 of parts rounded each for itself.
        assert_eq!(price.cost(&usage(1, 0, 1)), Micros(2));
        assert_eq!(price.cost(&usage(10, 0, 10)), Micros(12));
        assert_eq!(
            price.cost(&usage(1_000_000, 400_000, 0)),
            Micros(180_000 + 40_000)
        );
        assert_eq!(price.worst_case(1_000_000, 1_000_000), Micros(1_200_000));
    }

    #[test]
    fn tables_with_a_fault_are_refused_with_its_name() {
        let refused = |from: &str, to: &str| {
            PriceTable::parse(&TABLE.replace(from, to))
                .unwrap_err()
                .to_string()
        };
        assert!(refused("EUR", "eur").contains("ISO 4217"));
        assert!(refused("150000", "1000000000001").contains("highest rate"));
        assert!(refused("2026-03-01", "2026-01-01").contains("two entries"));
        assert!(refused("150000", "0.15").contains("cannot be read"));
        assert!(refused("150000", "-1").contains("cannot be read"));
        assert!(refused("currency", "valuta").contains("valuta"));
    }

    #[test]
    fn the_built_in_table_prices_the_demo_models() {
        let table = PriceTable::parse(DEFAULT_TABLE).unwrap();
        for model in ["demo-small", "demo-large"] {
            assert!(table.find("demo", model, day("2026-11-20")).is_some(), "{model}");
        }
    }

    proptest! {
        #[test]
        fn no_usage_within_its_bounds_costs_more_than_the_worst_case(
            input in 0..=MAX_RATE, cached in proptest::option::of(0..=MAX_RATE), output in 0..=MAX_RATE,
            bounds in (0u64..1 << 40, 0u64..1 << 40), parts in (0u64..=100, 0u64..=100, 0u64..=100),
        ) {
            let price = Price {
                provider: "p".into(), model: "m".into(), effective_from: day("2026-01-01"), currency: "USD".into(),
                input_micros_per_million: input, cached_input_micros_per_million: cached, output_micros_per_million: output,
            };
            let prompt = bounds.0 / 100 * parts.0;
            let used = usage(prompt, prompt / 100 * parts.1, bounds.1 / 100 * parts.2);
            prop_assert!(price.cost(&used) <= price.worst_case(bounds.0, bounds.1));
        }

        #[test]
        fn rounding_up_never_loses_and_never_adds_a_whole_unit(tokens in 0u64..1 << 40, rate in 0..=MAX_RATE) {
            let price = Price {
                provider: "p".into(), model: "m".into(), effective_from: day("2026-01-01"), currency: "USD".into(),
                input_micros_per_million: rate, cached_input_micros_per_million: None, output_micros_per_million: 0,
            };
            let exact = u128::from(tokens) * u128::from(rate);
            let cost = u128::from(price.cost(&usage(tokens, 0, 0)).0) * 1_000_000;
            prop_assert!(cost >= exact && cost < exact + 1_000_000);
        }
    }
}
