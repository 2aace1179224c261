//! Which functions a policy has. The list says yes; everything else is no, and what it leaves out on purpose is named
//! with the reason, so that an author learns more than "unknown". What is on it is pure: no network, clock, chance,
//! process or log. `bounds` keeps each call of them within size.

use regorus::unstable::BUILTINS;

/// The functions that policies have: those of Rego that are pure.
pub(super) const ALLOWED: [&str; 90] = [
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.marshal_with_options",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "numbers.range",
    "numbers.range_step",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_all_string_submatch_n",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "regex.template_match",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
];

/// How many arguments the function takes, if policies have it.
pub(super) fn arity(name: &str) -> Option<u8> {
    ALLOWED.binary_search(&name).ok()?;
    BUILTINS.get(name).map(|builtin| builtin.1)
}

/// Why policies do not have a function.
pub(super) fn why_not(name: &str) -> &'static str {
    let family = name.split('.').next().unwrap_or(name);
    match (family, name) {
        ("http" | "net", _) => "is not available: a policy does not reach the network",
        ("time", _) => "is not available: a policy has no clock; the moment is in input.time",
        ("rand" | "uuid", _) => "is not available: the same input must always be decided in the same way",
        ("opa", _) => "is not available: a policy does not see the process it runs in",
        (_, "print" | "trace") => "is not available: it would copy what a prompt says into a log",
        _ => {
            "is neither a rule of this policy nor a function that policies have; see docs/policy-contract.md"
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_engine_has_nothing_beside_the_list_but_what_is_left_out_on_purpose() {
        let engine: BTreeSet<&str> = BUILTINS.keys().copied().collect();
        let listed = BTreeSet::from(ALLOWED);
        assert!(ALLOWED.is_sorted(), "it is searched by halving");
        assert_eq!(listed.difference(&engine).count(), 0, "what is listed exists");
        let left_out: Vec<&str> = engine.difference(&listed).copied().collect();
        // The operators `|` and `&` on sets are functions to the engine; policies write the operators.
        let operators = ["__builtin_sets.intersection", "__builtin_sets.union"];
        assert_eq!(left_out, [&operators[..], &["rand.intn", "trace"]].concat());
    }

    #[test]
    fn what_is_left_out_says_why() {
        for name in [
            "http.send",
            "time.now_ns",
            "rand.intn",
            "uuid.rfc4122",
            "opa.runtime",
            "print",
            "trace",
        ] {
            assert_eq!(arity(name), None, "{name}");
            assert!(why_not(name).starts_with("is not available"), "{name}");
        }
    }
}
