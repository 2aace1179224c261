//! Money in integer micro-units with an ISO 4217 code: exact, checked, never a float.
//!
//! A micro-unit is a millionth of the currency's unit, whatever its minor unit is. Amounts are strings in events,
//! since JavaScript loses integers above 2^53. Amounts of different currencies do not add.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::string_schema;

/// The active national currencies of ISO 4217, in order. Funds codes, metals and test codes are not money here.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD \
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD \
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD \
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG \
    QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD \
    TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(*b"EUR");
    /// The US dollar.
    pub const USD: Self = Self(*b"USD");

    /// Its three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of three ASCII letters of the list above.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something is not an amount of money, or two amounts have no sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a currency.
    #[error("not a currency of ISO 4217: give its three capital letters, such as EUR")]
    UnknownCurrency,
    /// Not whole micro-units.
    #[error(
        "not an amount: give whole micro-units as a string, such as \"1250000\" for 1.25, within 64 bits"
    )]
    NotAnAmount,
    /// Sum or product beyond the range.
    #[error("the amount is beyond 9,223,372,036,854 units of its currency")]
    Overflow,
    /// Two currencies.
    #[error("{left} and {right} do not add: convert one first")]
    Mixed {
        /// The first amount's.
        left: Currency,
        /// The second amount's.
        right: Currency,
    },
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let code: [u8; 3] = text
            .as_bytes()
            .try_into()
            .map_err(|_| MoneyError::UnknownCurrency)?;
        // Letters only, so what is found is a whole code.
        if code.iter().all(u8::is_ascii_uppercase) && CURRENCIES.contains(text) {
            Ok(Self(code))
        } else {
            Err(MoneyError::UnknownCurrency)
        }
    }
}

/// Millionths of a currency's unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Micros(pub i64);

impl Micros {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum.
    ///
    /// # Errors
    /// When it does not fit 64 bits.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// When it does not fit 64 bits.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// This many times over.
    ///
    /// # Errors
    /// When it does not fit 64 bits.
    pub fn checked_mul(self, factor: u64) -> Result<Self, MoneyError> {
        let factor = i64::try_from(factor).map_err(|_| MoneyError::Overflow)?;
        self.0.checked_mul(factor).map(Self).ok_or(MoneyError::Overflow)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Micros {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let amount = Self(text.parse().map_err(|_| MoneyError::NotAnAmount)?);
        // One spelling: neither "+5" nor "05" nor "-0".
        if amount.to_string() == text {
            Ok(amount)
        } else {
            Err(MoneyError::NotAnAmount)
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::ids::deserialize_text(deserializer)
            }
        }
    )+};
}
serde_as_text!(Micros, Currency);
string_schema!(Micros, { "pattern": "^(0|-?[1-9][0-9]{0,18})$" });
string_schema!(Currency, { "pattern": "^[A-Z]{3}$" });

/// An amount in a currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// How much, in millionths of the currency's unit.
    pub micros: Micros,
    /// Of what (ISO 4217).
    pub currency: Currency,
}

impl Money {
    /// Nothing of a currency.
    #[must_use]
    pub fn zero(currency: Currency) -> Self {
        Self {
            micros: Micros::ZERO,
            currency,
        }
    }

    /// The sum.
    ///
    /// # Errors
    /// When the currencies differ, or it does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed {
                left: self.currency,
                right: other.currency,
            });
        }
        Ok(Self {
            micros: self.micros.checked_add(other.micros)?,
            currency: self.currency,
        })
    }
}

impl fmt::Display for Money {
    /// As people read it: `-1.25 EUR`; at least two digits after the point, and as many as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros.0 < 0 { "-" } else { "" };
        let micros = self.micros.0.unsigned_abs();
        let fraction = format!("{:06}", micros % 1_000_000);
        let kept = fraction.trim_end_matches('0').len().max(2);
        write!(
            f,
            "{sign}{}.{} {}",
            micros / 1_000_000,
            &fraction[..kept],
            self.currency
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn euros(micros: i64) -> Money {
        Money {
            micros: Micros(micros),
            currency: Currency::EUR,
        }
    }

    #[test]
    fn money_is_strings_on_the_wire() {
        let text = serde_json::to_string(&euros(i64::MAX)).unwrap();
        insta::assert_snapshot!(text, @r#"{"micros":"9223372036854775807","currency":"EUR"}"#);
        assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), euros(i64::MAX));
        assert!(serde_json::from_str::<Money>(r#"{"micros":5,"currency":"EUR"}"#).is_err());
    }

    #[test]
    fn an_amount_has_one_spelling() {
        for other in ["+5", "05", "-0", "5.0", "", "1e3", "9223372036854775808"] {
            assert_eq!(other.parse::<Micros>(), Err(MoneyError::NotAnAmount), "{other:?}");
        }
    }

    #[test]
    fn only_currencies_of_the_list_are_money() {
        assert_eq!("CHF".parse::<Currency>().unwrap().as_str(), "CHF");
        for other in ["eur", "EURO", "XXX", "XAU", "€", "E R", ""] {
            assert_eq!(
                other.parse::<Currency>(),
                Err(MoneyError::UnknownCurrency),
                "{other:?}"
            );
        }
        assert_eq!(Currency::EUR, "EUR".parse().unwrap());
        assert_eq!(Currency::USD, "USD".parse().unwrap());
    }

    #[test]
    fn sums_are_checked() {
        assert_eq!(euros(1).checked_add(euros(2)), Ok(euros(3)));
        assert_eq!(euros(i64::MAX).checked_add(euros(1)), Err(MoneyError::Overflow));
        assert!(matches!(
            euros(1).checked_add(Money::zero(Currency::USD)),
            Err(MoneyError::Mixed { .. })
        ));
        assert_eq!(Micros(i64::MAX).checked_mul(2), Err(MoneyError::Overflow));
        assert_eq!(Micros(1).checked_mul(u64::MAX), Err(MoneyError::Overflow));
        assert_eq!(Micros(i64::MIN).checked_sub(Micros(1)), Err(MoneyError::Overflow));
    }

    #[test]
    fn money_reads_like_money() {
        assert_eq!(euros(1_250_000).to_string(), "1.25 EUR");
        assert_eq!(euros(-3).to_string(), "-0.000003 EUR");
        assert_eq!(euros(0).to_string(), "0.00 EUR");
    }
}
