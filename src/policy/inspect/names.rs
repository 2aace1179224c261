//! Names in the syntax tree: of rules, functions and references, and where they stand.

use std::collections::BTreeSet;

use regorus::Value;
use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead, Span};

use super::PACKAGE;
use crate::policy::error::{Place, PolicyError};

pub(super) fn contract(span: &Span, reason: impl Into<String>) -> PolicyError {
    PolicyError::Contract {
        at: place(span),
        reason: reason.into(),
    }
}

pub(super) fn place(span: &Span) -> Place {
    Place {
        line: span.line,
        column: span.col,
    }
}

fn head_ref(rule: &Rule) -> &Ref<Expr> {
    match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => refr,
        },
        Rule::Default { refr, .. } => refr,
    }
}

/// The first part of a rule's name: `a` of `a.b[c]`.
pub(super) fn rule_name(rule: &Rule) -> Option<String> {
    let mut refr = head_ref(rule);
    loop {
        match refr.as_ref() {
            Expr::RefDot { refr: inner, .. } | Expr::RefBrack { refr: inner, .. } => refr = inner,
            Expr::Var { span, .. } => return Some(span.text().to_owned()),
            _ => return None,
        }
    }
}

/// What calls and references lead to: a function by its whole name, any other rule by the first part.
pub(super) fn node_name(rule: &Rule) -> Option<String> {
    match rule {
        Rule::Spec {
            head: RuleHead::Func { refr, .. },
            ..
        } => path(refr).map(|parts| parts.join(".")),
        Rule::Default { refr, args, .. } if !args.is_empty() => path(refr).map(|parts| parts.join(".")),
        _ => rule_name(rule),
    }
}

pub(super) fn rule_names(module: &Module) -> BTreeSet<String> {
    module.policy.iter().filter_map(|rule| rule_name(rule)).collect()
}

/// `a.b["c"]` as its parts; nothing if a part is not fixed.
pub(super) fn path(expr: &Expr) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut expr = expr;
    loop {
        match expr {
            Expr::RefDot { refr, field, .. } => {
                parts.push(field.0.text().to_owned());
                expr = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                let Expr::String {
                    value: Value::String(text),
                    ..
                } = index.as_ref()
                else {
                    return None;
                };
                parts.push(text.to_string());
                expr = refr;
            }
            Expr::Var { span, .. } => {
                parts.push(span.text().to_owned());
                parts.reverse();
                return Some(parts);
            }
            _ => return None,
        }
    }
}

/// `data.counterfoil.f` and `f` are the same function.
pub(super) fn local_name(parts: &[String]) -> String {
    match parts {
        [data, package, rest @ ..] if data == "data" && package == PACKAGE => rest.join("."),
        _ => parts.join("."),
    }
}
