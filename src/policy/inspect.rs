//! Reads a parsed policy before it is accepted: which rules and tests it has, which functions it calls, which texts
//! it contains. It refuses what could only fail, or do harm, at a decision: unknown functions, wrong argument
//! counts, foreign data, recursion, and expressions nested so deeply that evaluating or dropping them would
//! exhaust a thread's stack. The walk itself is bounded by that same depth.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{
    AssignOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleAssign, RuleHead, Span,
};

use super::builtins;
use super::error::{Place, PolicyError};

/// Deepest nesting of expressions. What people write stays under 20.
const DEPTH_MAX: usize = 64;

/// The rule that decides.
pub(super) const ENTRY_POINT: &str = "decision";
/// The one package.
pub(super) const PACKAGE: &str = "counterfoil";
const TEST_PREFIX: &str = "test_";

/// A policy's test: a rule whose name begins with `test_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestRule {
    pub(super) name: String,
    pub(super) at: Place,
}

/// What the walk found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) tests: Vec<TestRule>,
    /// Every string written out in the policy. Reason codes must be among them, so that none is made of content.
    pub(super) literals: BTreeSet<String>,
}

/// Checks one module against the contract.
pub(super) fn inspect(module: &Module) -> Result<Findings, PolicyError> {
    check_package(module)?;
    check_imports(module)?;
    let mut walk = Walk {
        functions: functions(module)?,
        rules: rule_names(module),
        ..Walk::default()
    };
    check_entry_point(module)?;
    check_defaults(module)?;
    for rule in &module.policy {
        walk.rule(rule)?;
    }
    walk.check_recursion()?;
    Ok(Findings {
        tests: tests(module)?,
        literals: walk.literals,
    })
}

fn contract(span: &Span, reason: impl Into<String>) -> PolicyError {
    PolicyError::Contract {
        at: place(span),
        reason: reason.into(),
    }
}

fn place(span: &Span) -> Place {
    Place {
        line: span.line,
        column: span.col,
    }
}

fn check_package(module: &Module) -> Result<(), PolicyError> {
    match path(&module.package.refr).as_deref() {
        Some([only]) if only == PACKAGE => Ok(()),
        _ => Err(contract(
            &module.package.span,
            format!("the package must be `package {PACKAGE}`"),
        )),
    }
}

fn check_imports(module: &Module) -> Result<(), PolicyError> {
    for import in &module.imports {
        let root = path(&import.refr).and_then(|parts| parts.into_iter().next());
        if !matches!(root.as_deref(), Some("rego" | "future" | "input")) {
            return Err(contract(
                &import.span,
                "a policy stands alone: it may import rego.v1 and parts of input",
            ));
        }
    }
    Ok(())
}

fn check_entry_point(module: &Module) -> Result<(), PolicyError> {
    let missing = || PolicyError::Contract {
        at: Place::START,
        reason: format!("there is no rule `{ENTRY_POINT}`; it must be {{\"allow\": …, \"reasons\": …}}"),
    };
    let mut found = false;
    for rule in &module.policy {
        let complete = match rule.as_ref() {
            Rule::Spec {
                head: RuleHead::Compr { refr, .. },
                ..
            } => matches!(refr.as_ref(), Expr::Var { .. }),
            Rule::Default { refr, args, .. } => args.is_empty() && matches!(refr.as_ref(), Expr::Var { .. }),
            Rule::Spec { .. } => false,
        };
        if rule_name(rule).as_deref() != Some(ENTRY_POINT) {
            continue;
        }
        if !complete {
            let reason = format!("`{ENTRY_POINT}` must be one complete rule: decision := {{\"allow\": …}}");
            return Err(contract(rule.span(), reason));
        }
        found = true;
    }
    if found { Ok(()) } else { Err(missing()) }
}

/// The engine would take the first of several defaults, silently.
fn check_defaults(module: &Module) -> Result<(), PolicyError> {
    let mut seen = BTreeSet::new();
    for rule in &module.policy {
        if let Rule::Default { refr, .. } = rule.as_ref()
            && !seen.insert(refr.span().text())
        {
            return Err(contract(
                rule.span(),
                format!("{} has two defaults", refr.span().text()),
            ));
        }
    }
    Ok(())
}

fn tests(module: &Module) -> Result<Vec<TestRule>, PolicyError> {
    let mut tests: Vec<TestRule> = Vec::new();
    for rule in &module.policy {
        let Some(name) = rule_name(rule).filter(|name| name.starts_with(TEST_PREFIX)) else {
            continue;
        };
        match rule.as_ref() {
            Rule::Spec {
                head: RuleHead::Compr { refr, .. },
                ..
            } if matches!(refr.as_ref(), Expr::Var { .. }) => {
                if !tests.iter().any(|test| test.name == name) {
                    tests.push(TestRule {
                        name,
                        at: place(rule.span()),
                    });
                }
            }
            _ => {
                return Err(contract(
                    rule.span(),
                    format!("test {name} must be a plain rule: {name} if {{ … }}"),
                ));
            }
        }
    }
    Ok(tests)
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
fn rule_name(rule: &Rule) -> Option<String> {
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
fn node_name(rule: &Rule) -> Option<String> {
    match rule {
        Rule::Spec {
            head: RuleHead::Func { refr, .. },
            ..
        } => path(refr).map(|parts| parts.join(".")),
        Rule::Default { refr, args, .. } if !args.is_empty() => path(refr).map(|parts| parts.join(".")),
        _ => rule_name(rule),
    }
}

fn rule_names(module: &Module) -> BTreeSet<String> {
    module.policy.iter().filter_map(|rule| rule_name(rule)).collect()
}

/// The functions that the policy defines, with their argument counts.
fn functions(module: &Module) -> Result<BTreeMap<String, usize>, PolicyError> {
    let mut functions = BTreeMap::new();
    for rule in &module.policy {
        let (refr, args) = match rule.as_ref() {
            Rule::Spec {
                head: RuleHead::Func { refr, args, .. },
                ..
            } => (refr, args),
            Rule::Default { refr, args, .. } if !args.is_empty() => (refr, args),
            _ => continue,
        };
        let name = path(refr).map(|parts| parts.join("."));
        let name = name.ok_or_else(|| contract(rule.span(), "a function needs a plain name"))?;
        if builtins::arity(&name).is_some() {
            return Err(contract(
                rule.span(),
                format!("`{name}` is a function that policies have; rename this one"),
            ));
        }
        functions.insert(name, args.len());
    }
    Ok(functions)
}

/// `a.b["c"]` as its parts; nothing if a part is not fixed.
fn path(expr: &Expr) -> Option<Vec<String>> {
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

#[derive(Default)]
struct Walk {
    functions: BTreeMap<String, usize>,
    rules: BTreeSet<String>,
    literals: BTreeSet<String>,
    /// Which rules and functions each rule names, and where it stands.
    names: BTreeMap<String, (Place, BTreeSet<String>)>,
    /// Of the rule being walked: names it refers to, and names it binds itself.
    used: BTreeSet<String>,
    called: BTreeSet<String>,
    bound: BTreeSet<String>,
}

impl Walk {
    fn rule(&mut self, rule: &Ref<Rule>) -> Result<(), PolicyError> {
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
        self.names
            .entry(name)
            .or_insert_with(|| (place(rule.span()), BTreeSet::new()))
            .1
            .extend(named);
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
            self.texts_in_path(expr);
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

    fn texts_in_path(&mut self, expr: &Ref<Expr>) {
        self.literals.extend(path(expr).into_iter().flatten());
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

    /// A function that calls itself would exhaust the stack: the engine has no bound of its own for that.
    fn check_recursion(&self) -> Result<(), PolicyError> {
        let mut finished = BTreeSet::new();
        for name in self.names.keys() {
            self.visit(name, &mut finished)?;
        }
        Ok(())
    }

    /// Depth first from one rule, with the path on a stack of its own: rules can be thousands.
    fn visit<'a>(&'a self, from: &'a str, finished: &mut BTreeSet<&'a str>) -> Result<(), PolicyError> {
        let next_of = |name: &str| {
            self.names
                .get(name)
                .map(|(_, next)| next.iter())
                .unwrap_or_default()
        };
        if finished.contains(from) {
            return Ok(());
        }
        let mut open = vec![(from, next_of(from))];
        let mut on_path = BTreeSet::from([from]);
        while let Some((name, next)) = open.last_mut() {
            match next.next() {
                None => {
                    on_path.remove(*name);
                    finished.insert(*name);
                    open.pop();
                }
                Some(next) if on_path.contains(next.as_str()) => return Err(self.recursion(next)),
                Some(next) if finished.contains(next.as_str()) => {}
                Some(next) => {
                    on_path.insert(next);
                    open.push((next, next_of(next)));
                }
            }
        }
        Ok(())
    }

    fn recursion(&self, name: &str) -> PolicyError {
        let at = self.names.get(name).map_or(Place::START, |(at, _)| *at);
        PolicyError::Contract {
            at,
            reason: format!("`{name}` leads back to itself; rules may not be recursive"),
        }
    }
}

/// `data.counterfoil.f` and `f` are the same function.
fn local_name(parts: &[String]) -> String {
    match parts {
        [data, package, rest @ ..] if data == "data" && package == PACKAGE => rest.join("."),
        _ => parts.join("."),
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
