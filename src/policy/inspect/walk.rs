//! The walk over a policy's expressions: collects the texts and names in them, and refuses calls of functions that
//! policies do not have, wrong argument counts, foreign data, and nesting so deep that evaluating or dropping the
//! expression could exhaust a thread's stack. The walk itself is bounded by that same depth.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Query, Ref, Rule, RuleAssign, RuleHead, Span};

use super::PACKAGE;
use super::names::{contract, local_name, node_name, path, place};
use super::recursion::RuleGraph;
use crate::policy::builtins;
use crate::policy::error::PolicyError;

/// Deepest nesting of expressions. What people write stays under 20.
const DEPTH_MAX: usize = 64;

/// A walk over a policy's rules.
#[derive(Default)]
pub(super) struct Walk {
    functions: BTreeMap<String, usize>,
    rules: BTreeSet<String>,
    /// Every string written out.
    pub(super) literals: BTreeSet<String>,
    /// Which rule names which.
    pub(super) graph: RuleGraph,
    /// Of the rule being walked: names it refers to, and names it binds itself.
    used: BTreeSet<String>,
    called: BTreeSet<String>,
    bound: BTreeSet<String>,
}

impl Walk {
    /// A walk over a policy with these functions (and their argument counts) and these names of rules.
    pub(super) fn new(functions: BTreeMap<String, usize>, rules: BTreeSet<String>) -> Self {
        Self {
            functions,
            rules,
            ..Self::default()
        }
    }

    /// Walks one rule.
    pub(super) fn rule(&mut self, rule: &Ref<Rule>) -> Result<(), PolicyError> {
        self.used.clear();
        self.called.clear();
        self.bound.clear();
        match rule.as_ref() {
            Rule::Spec { head, bodies, .. } => {
                self.head(head)?;
                for body in bodies {
                    self.assign(body.assign.as_ref())?;
                    self.query(&body.query, 1)?;
                }
            }
            Rule::Default { args, value, .. } => {
                for arg in args {
                    self.bind(arg);
                }
                self.expr(value, 1)?;
            }
        }
        let Some(name) = node_name(rule) else {
            return Ok(());
        };
        let used = self
            .used
            .difference(&self.bound)
            .filter(|used| self.rules.contains(*used));
        // A call never means a local variable, so a call counts whatever the rule binds.
        let named: BTreeSet<String> = used.chain(&self.called).cloned().collect();
        self.graph.add(name, place(rule.span()), named);
        Ok(())
    }

    fn head(&mut self, head: &RuleHead) -> Result<(), PolicyError> {
        match head {
            RuleHead::Compr { refr, assign, .. } => {
                self.head_keys(refr)?;
                self.assign(assign.as_ref())
            }
            RuleHead::Set { refr, key, .. } => {
                self.head_keys(refr)?;
                key.as_ref().map_or(Ok(()), |key| self.expr(key, 1))
            }
            RuleHead::Func { args, assign, .. } => {
                for arg in args {
                    self.bind(arg);
                    self.expr(arg, 1)?;
                }
                self.assign(assign.as_ref())
            }
        }
    }

    /// The keys in a rule's name: `k` of `limits[k] := …`.
    fn head_keys(&mut self, refr: &Ref<Expr>) -> Result<(), PolicyError> {
        let mut refr = refr;
        for _ in 0..DEPTH_MAX {
            match refr.as_ref() {
                Expr::RefDot { refr: inner, .. } => refr = inner,
                Expr::RefBrack {
                    refr: inner, index, ..
                } => {
                    self.expr(index, 1)?;
                    refr = inner;
                }
                _ => return Ok(()),
            }
        }
        Err(too_deep(refr))
    }

    fn assign(&mut self, assign: Option<&RuleAssign>) -> Result<(), PolicyError> {
        assign.map_or(Ok(()), |assign| self.expr(&assign.value, 1))
    }

    /// Notes the variables that a pattern binds.
    fn bind(&mut self, pattern: &Expr) {
        match pattern {
            Expr::Var { span, .. } => {
                self.bound.insert(span.text().to_owned());
            }
            Expr::Array { items, .. } => items.iter().for_each(|item| self.bind(item)),
            Expr::Object { fields, .. } => fields.iter().for_each(|(_, _, value)| self.bind(value)),
            _ => {}
        }
    }

    fn query(&mut self, query: &Query, depth: usize) -> Result<(), PolicyError> {
        query
            .stmts
            .iter()
            .try_for_each(|stmt| self.statement(stmt, depth))
    }

    fn statement(&mut self, stmt: &LiteralStmt, depth: usize) -> Result<(), PolicyError> {
        match &stmt.literal {
            Literal::SomeVars { vars, .. } => {
                self.bound.extend(vars.iter().map(|var| var.text().to_owned()));
            }
            Literal::SomeIn {
                key,
                value,
                collection,
                ..
            } => {
                if let Some(key) = key {
                    self.expr(key, depth)?;
                    self.bind(key);
                }
                self.expr(value, depth)?;
                self.bind(value);
                self.expr(collection, depth)?;
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr, depth)?,
            Literal::Every {
                key,
                value,
                domain,
                query,
                ..
            } => {
                self.bound
                    .extend(key.iter().chain([value]).map(|var| var.text().to_owned()));
                self.expr(domain, depth)?;
                self.query(query, depth + 1)?;
            }
        }
        for with in &stmt.with_mods {
            self.with_target(&with.refr)?;
            self.with_target_value(&with.r#as, depth)?;
        }
        Ok(())
    }

    /// What may be replaced by `with`: parts of the input, own rules, functions.
    fn with_target(&mut self, target: &Ref<Expr>) -> Result<(), PolicyError> {
        let parts = path(target).ok_or_else(|| contract(target.span(), "`with` needs a fixed path"))?;
        let name = parts.join(".");
        match parts[0].as_str() {
            "input" => Ok(()),
            "data" => self.data(target, &parts),
            _ if self.functions.contains_key(&name) || builtins::arity(&name).is_some() => Ok(()),
            _ => Err(contract(
                target.span(),
                format!(
                    "`with` cannot replace {name}: {}",
                    "write input.… or data.counterfoil.…"
                ),
            )),
        }
    }

    fn with_target_value(&mut self, value: &Ref<Expr>, depth: usize) -> Result<(), PolicyError> {
        // A function put in another's place is called from here.
        if let Some(name) = path(value).map(|parts| local_name(&parts))
            && self.functions.contains_key(&name)
        {
            self.called.insert(name);
            return Ok(());
        }
        self.expr(value, depth)
    }

    fn expr(&mut self, expr: &Ref<Expr>, depth: usize) -> Result<(), PolicyError> {
        if depth > DEPTH_MAX {
            return Err(too_deep(expr));
        }
        let below = depth + 1;
        match expr.as_ref() {
            Expr::String { value, .. } | Expr::RawString { value, .. } => {
                if let Value::String(text) = value {
                    self.literals.insert(text.to_string());
                }
                Ok(())
            }
            Expr::Number { .. } | Expr::Bool { .. } | Expr::Null { .. } => Ok(()),
            Expr::Var { span, .. } => self.variable(expr, span.text()),
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                items.iter().try_for_each(|item| self.expr(item, below))
            }
            Expr::Object { fields, .. } => fields.iter().try_for_each(|(_, key, value)| {
                self.expr(key, below)?;
                self.expr(value, below)
            }),
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term, below)?;
                self.query(query, below)
            }
            Expr::ObjectCompr {
                key, value, query, ..
            } => {
                self.expr(key, below)?;
                self.expr(value, below)?;
                self.query(query, below)
            }
            Expr::Call {
                span, fcn, params, ..
            } => self.call(span, fcn, params, below),
            Expr::UnaryExpr { expr, .. } => self.expr(expr, below),
            Expr::RefDot { .. } | Expr::RefBrack { .. } => self.reference(expr, depth),
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. } => {
                self.expr(lhs, below)?;
                self.expr(rhs, below)
            }
            Expr::AssignExpr { op, lhs, rhs, .. } => {
                if *op == AssignOp::ColEq {
                    self.bind(lhs);
                }
                self.expr(lhs, below)?;
                self.expr(rhs, below)
            }
            Expr::Membership {
                key,
                value,
                collection,
                ..
            } => {
                for part in key.iter().chain([value, collection]) {
                    self.expr(part, below)?;
                }
                Ok(())
            }
        }
    }

    fn variable(&mut self, expr: &Ref<Expr>, name: &str) -> Result<(), PolicyError> {
        if name == "data" {
            return Err(foreign_data(expr));
        }
        self.used.insert(name.to_owned());
        Ok(())
    }

    /// `a.b[c]…`: the way down counts as depth, since it is a chain of expressions.
    fn reference(&mut self, expr: &Ref<Expr>, depth: usize) -> Result<(), PolicyError> {
        if let Some(parts) = path(expr)
            && parts[0] == "data"
        {
            return self.data(expr, &parts);
        }
        match expr.as_ref() {
            Expr::RefDot { refr, .. } => self.expr(refr, depth + 1),
            Expr::RefBrack { refr, index, .. } => {
                self.expr(refr, depth + 1)?;
                self.expr(index, depth + 1)
            }
            _ => Ok(()),
        }
    }

    fn data(&mut self, expr: &Ref<Expr>, parts: &[String]) -> Result<(), PolicyError> {
        match parts {
            [_, package, name, ..] if package == PACKAGE && self.rules.contains(name) => {
                self.used.insert(name.clone());
                Ok(())
            }
            _ => Err(foreign_data(expr)),
        }
    }

    fn call(
        &mut self,
        span: &Span,
        fcn: &Ref<Expr>,
        params: &[Ref<Expr>],
        depth: usize,
    ) -> Result<(), PolicyError> {
        let parts = path(fcn).ok_or_else(|| contract(span, "only a named function can be called"))?;
        let name = local_name(&parts);
        let own = self.functions.get(&name).copied();
        let Some(arity) = own.or_else(|| builtins::arity(&name).map(usize::from)) else {
            let reason = builtins::why_not(&name).to_owned();
            return Err(PolicyError::Builtin {
                at: place(span),
                name,
                reason,
            });
        };
        if params.len() != arity {
            return Err(contract(
                span,
                format!("{name} takes {arity} arguments, not {}", params.len()),
            ));
        }
        if own.is_some() {
            self.called.insert(name);
        }
        params.iter().try_for_each(|param| self.expr(param, depth))
    }
}

fn foreign_data(expr: &Expr) -> PolicyError {
    contract(
        expr.span(),
        "a policy has no data but its own rules: write data.counterfoil.<rule>, with the rule in this policy",
    )
}

fn too_deep(expr: &Expr) -> PolicyError {
    contract(
        expr.span(),
        format!("expressions nest deeper than {DEPTH_MAX}; split this one"),
    )
}
