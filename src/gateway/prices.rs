//! What tokens cost: a dated table, exact integer arithmetic, rounded up.
//!
//! A price holds from its `effective_from` (UTC date) until the next one of the same provider and model.
//! Rates are integer micro-units of the currency per million tokens (0.15 USD per million = 150000); costs
//! are integer micro-units. A call's parts are summed exactly and rounded up once, so that no split of a
//! cost loses any of it. A model without a price at the day of the call is not called: see
//! `pipeline/steps/budget_spend_reserve.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::NaiveDate;
use counterfoil_events::completion::PriceRef;
use counterfoil_events::money::{Currency, Micros, Money};
use counterfoil_events::text::{Code, ModelName};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;

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
    /// Two prices under one id: events name prices by it.
    #[error("two prices have the id {id}; give each its own")]
    SameId {
        /// The id.
        id: Code,
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

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// How events name it.
    pub id: Code,
    /// Name of the provider as configured.
    pub provider: Code,
    /// The provider's name of the model.
    pub model: ModelName,
    /// First day (UTC) on which it holds.
    pub effective_from: NaiveDate,
    /// ISO 4217.
    pub currency: Currency,
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
    pub fn cost(&self, usage: &Usage) -> Money {
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
        let micros = i64::try_from(sum.div_ceil(TOKENS_PER_RATE)).unwrap_or(i64::MAX);
        Money {
            micros: Micros(micros),
            currency: self.currency,
        }
    }

    /// The most that a call can cost: every token at the dearest rate that may apply to it.
    #[must_use]
    pub fn worst_case(&self, prompt_tokens: u64, completion_tokens: u64) -> Money {
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

    /// How events refer to it.
    #[must_use]
    pub fn reference(&self) -> PriceRef {
        PriceRef {
            id: self.id.clone(),
            date: self.effective_from,
        }
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
    prices: BTreeMap<(Code, ModelName), BTreeMap<NaiveDate, Price>>,
    ids: BTreeSet<Code>,
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
        let cached = price.cached_input_micros_per_million.unwrap_or(0);
        let rate = price
            .input_micros_per_million
            .max(price.output_micros_per_million)
            .max(cached);
        if rate > MAX_RATE {
            return Err(PriceError::Rate { model, rate });
        }
        if !self.ids.insert(price.id.clone()) {
            return Err(PriceError::SameId { id: price.id });
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
    pub fn find(&self, provider: &Code, model: &ModelName, on: NaiveDate) -> Option<&Price> {
        let dates = self.prices.get(&(provider.clone(), model.clone()))?;
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
        id = "p-m-2"
        provider = "p"
        model = "m"
        effective_from = "2026-03-01"
        currency = "EUR"
        input_micros_per_million = 150000
        output_micros_per_million = 600000

        [[price]]
        id = "p-m-1"
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

    fn find<'t>(table: &'t PriceTable, model: &str, on: &str) -> Option<&'t Price> {
        table.find(&Code::literal("p"), &model.parse().unwrap(), day(on))
    }

    fn price(input: u64, cached: Option<u64>, output: u64) -> Price {
        Price {
            id: Code::literal("p-m"),
            provider: Code::literal("p"),
            model: "m".parse().unwrap(),
            effective_from: day("2026-01-01"),
            currency: Currency::USD,
            input_micros_per_million: input,
            cached_input_micros_per_million: cached,
            output_micros_per_million: output,
        }
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
        let from = |on: &str| find(&table, "m", on).map(|price| price.id.as_str());
        assert_eq!(from("2025-12-31"), None);
        assert_eq!(from("2026-01-01"), Some("p-m-1"));
        assert_eq!(from("2026-02-28"), Some("p-m-1"));
        assert_eq!(from("2026-03-01"), Some("p-m-2"));
        assert_eq!(find(&table, "other", "2026-03-01"), None);
    }

    #[test]
    fn costs_are_exact_and_rounded_up_once() {
        let table = PriceTable::parse(TABLE).unwrap();
        let price = find(&table, "m", "2026-02-01").unwrap();
        let micros = |money: Money| money.micros.0;
        assert_eq!(price.cost(&usage(0, 0, 0)).currency, Currency::EUR);
        assert_eq!(micros(price.cost(&usage(0, 0, 0))), 0);
        // 1 × 0.3 + 1 × 0.9 = 1.2 micro-units: 2, and not 1 + 1 of parts rounded each for itself.
        assert_eq!(micros(price.cost(&usage(1, 0, 1))), 2);
        assert_eq!(micros(price.cost(&usage(10, 0, 10))), 12);
        assert_eq!(
            micros(price.cost(&usage(1_000_000, 400_000, 0))),
            180_000 + 40_000
        );
        assert_eq!(micros(price.worst_case(1_000_000, 1_000_000)), 1_200_000);
    }

    #[test]
    fn tables_with_a_fault_are_refused_with_its_name() {
        let refused = |from: &str, to: &str| {
            PriceTable::parse(&TABLE.replace(from, to))
                .unwrap_err()
                .to_string()
        };
        assert!(refused("EUR", "eur").contains("ISO 4217"));
        assert!(refused("p-m-2", "p-m-1").contains("the id p-m-1"));
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
            let found = table.find(&Code::literal("demo"), &model.parse().unwrap(), day("2026-11-20"));
            assert!(found.is_some(), "{model}");
        }
    }

    proptest! {
        #[test]
        fn no_usage_within_its_bounds_costs_more_than_the_worst_case(
            input in 0..=MAX_RATE, cached in proptest::option::of(0..=MAX_RATE), output in 0..=MAX_RATE,
            bounds in (0u64..1 << 40, 0u64..1 << 40), parts in (0u64..=100, 0u64..=100, 0u64..=100),
        ) {
            let price = price(input, cached, output);
            let prompt = bounds.0 / 100 * parts.0;
            let used = usage(prompt, prompt / 100 * parts.1, bounds.1 / 100 * parts.2);
            prop_assert!(price.cost(&used).micros <= price.worst_case(bounds.0, bounds.1).micros);
        }

        #[test]
        fn rounding_up_never_loses_and_never_adds_a_whole_unit(tokens in 0u64..1 << 40, rate in 0..=MAX_RATE) {
            let price = price(rate, None, 0);
            let exact = u128::from(tokens) * u128::from(rate);
            let cost = price.cost(&usage(tokens, 0, 0)).micros.0.unsigned_abs() as u128 * 1_000_000;
            prop_assert!(cost >= exact && cost < exact + 1_000_000);
        }
    }
}
