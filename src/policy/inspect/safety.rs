//! Every variable that is used must get a value from somewhere: else it is unsafe, as OPA says
//! (<https://www.openpolicyagent.org/docs/faq#safety>), and what it stands in could only be undefined. The engine finds
//! some of them, and only in statements of a body.
//!
//! A query is read as links: what is known on one side gives the variables on the other. What no chain of links reaches
//! is refused, where it is used. Runs after `walk`, which has bounded the nesting.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, LiteralStmt, Module, Query, Rule, RuleBody, RuleHead, Span};

use super::links::{Link, children, nested, reference_links, statement_links, variables};
use super::names::{contract, path, rule_names};
use crate::policy::error::PolicyError;

/// The names that every rule knows: rules, imports, documents.
pub(super) struct Safety {
    globals: BTreeSet<String>,
}

/// What is known at one place, within what is known around it.
#[derive(Default)]
struct Scope<'a> {
    around: Option<&'a Scope<'a>>,
    bound: BTreeSet<&'a str>,
    /// By `some`: whatever has that name outside is not meant.
    declared: BTreeSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn within(around: &'a Scope<'a>) -> Self {
        Self {
            around: Some(around),
            ..Self::default()
        }
    }
}

impl Safety {
    /// For the rules of this module.
    pub(super) fn of(module: &Module) -> Self {
        let mut globals = rule_names(module);
        globals.extend(["input", "data"].map(str::to_owned));
        for import in &module.imports {
            let whole = path(&import.refr).unwrap_or_default();
            let alias = import.r#as.as_ref().map(|alias| alias.text().to_owned());
            globals.extend(alias.or_else(|| whole.last().cloned()));
        }
        Self { globals }
    }

    /// Refuses the first unsafe variable of a rule.
    pub(super) fn rule(&self, rule: &Rule) -> Result<(), PolicyError> {
        match rule {
            Rule::Spec { head, bodies, .. } => {
                let of_head = head_outputs(head);
                if bodies.is_empty() {
                    return self.query(None, &of_head, arguments(head));
                }
                for (index, body) in bodies.iter().enumerate() {
                    let outputs = body_outputs(index, body, &of_head);
                    self.query(Some(&body.query), &outputs, arguments(head))?;
                }
                Ok(())
            }
            Rule::Default { value, .. } => self.query(None, &[value.as_ref()], Scope::default()),
        }
    }

    /// A query, and what is made of each of its answers.
    fn query<'a>(
        &self,
        query: Option<&'a Query>,
        outputs: &[&'a Expr],
        mut scope: Scope<'a>,
    ) -> Result<(), PolicyError> {
        let stmts = query.map_or(&[][..], |query| &query.stmts[..]);
        let mut links = Vec::new();
        for stmt in stmts {
            if let Literal::SomeVars { vars, .. } = &stmt.literal {
                scope.declared.extend(vars.iter().map(Span::text));
            }
            statement_links(stmt, &mut links);
        }
        for output in outputs {
            reference_links(output, &mut links);
        }
        self.follow(links, &mut scope);
        for stmt in stmts {
            self.statement(stmt, &scope)?;
        }
        outputs.iter().try_for_each(|output| self.used(output, &scope))
    }

    /// Binds whatever a chain of links reaches. Each link is looked at once for each variable that it needs.
    fn follow<'a>(&self, links: Vec<Link<'a>>, scope: &mut Scope<'a>) {
        let mut waiting: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut missing = Vec::new();
        let mut open = Vec::new();
        for (index, link) in links.iter().enumerate() {
            let needs: BTreeSet<&str> = link.needs.iter().copied().collect();
            let unknown: Vec<&str> = needs
                .into_iter()
                .filter(|name| !self.knows(scope, name))
                .collect();
            if unknown.is_empty() {
                open.push(index);
            }
            missing.push(unknown.len());
            for name in unknown {
                waiting.entry(name).or_default().push(index);
            }
        }
        while let Some(index) = open.pop() {
            for name in &links[index].gives {
                scope.bound.insert(name);
                for index in waiting.remove(name).unwrap_or_default() {
                    missing[index] -= 1;
                    open.extend((missing[index] == 0).then_some(index));
                }
            }
        }
    }

    fn knows(&self, scope: &Scope<'_>, name: &str) -> bool {
        let mut scope = Some(scope);
        while let Some(here) = scope {
            if here.bound.contains(name) {
                return true;
            }
            if here.declared.contains(name) {
                return false;
            }
            scope = here.around;
        }
        self.globals.contains(name)
    }

    fn statement(&self, stmt: &LiteralStmt, scope: &Scope<'_>) -> Result<(), PolicyError> {
        for with in &stmt.with_mods {
            self.used(&with.r#as, scope)?;
        }
        match &stmt.literal {
            Literal::SomeVars { .. } => Ok(()),
            Literal::SomeIn {
                key,
                value,
                collection,
                ..
            } => {
                let mut parts = key.iter().chain([value, collection]);
                parts.try_for_each(|part| self.used(part, scope))
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.used(expr, scope),
            Literal::Every {
                key,
                value,
                domain,
                query,
                ..
            } => {
                self.used(domain, scope)?;
                let mut inner = Scope::within(scope);
                inner.bound.extend(key.iter().chain([value]).map(Span::text));
                self.query(Some(query), &[], inner)
            }
        }
    }

    /// Refuses an expression with a variable that is not known.
    fn used(&self, expr: &Expr, scope: &Scope<'_>) -> Result<(), PolicyError> {
        if let Expr::Var { span, .. } = expr {
            return match self.knows(scope, span.text()) {
                true => Ok(()),
                false => Err(unsafe_variable(span)),
            };
        }
        if let Some((query, outputs)) = nested(expr) {
            return self.query(Some(query), &outputs, Scope::within(scope));
        }
        children(expr)
            .into_iter()
            .try_for_each(|child| self.used(child, scope))
    }
}

/// What a function is given is known in it.
fn arguments(head: &RuleHead) -> Scope<'_> {
    let mut scope = Scope::default();
    if let RuleHead::Func { args, .. } = head {
        scope.bound.extend(args.iter().flat_map(|arg| variables(arg)));
    }
    scope
}

/// What a rule makes of the answers to its body: keys in its name, its key, its value.
fn head_outputs(head: &RuleHead) -> Vec<&Expr> {
    let (refr, output) = match head {
        RuleHead::Compr { refr, assign, .. } | RuleHead::Func { refr, assign, .. } => {
            (refr, assign.as_ref().map(|assign| assign.value.as_ref()))
        }
        RuleHead::Set { refr, key, .. } => (refr, key.as_ref().map(AsRef::as_ref)),
    };
    let mut outputs: Vec<&Expr> = output.into_iter().collect();
    let mut refr = refr.as_ref();
    loop {
        match refr {
            Expr::RefDot { refr: inner, .. } => refr = inner,
            Expr::RefBrack {
                refr: inner, index, ..
            } => {
                outputs.push(index);
                refr = inner;
            }
            _ => return outputs,
        }
    }
}

/// The first body makes what the head says; those behind `else` make what they say themselves, or just `true`.
fn body_outputs<'a>(index: usize, body: &'a RuleBody, of_head: &[&'a Expr]) -> Vec<&'a Expr> {
    match (index, &body.assign) {
        (0, _) => of_head.to_vec(),
        (_, Some(assign)) => vec![assign.value.as_ref()],
        (_, None) => Vec::new(),
    }
}

fn unsafe_variable(span: &Span) -> PolicyError {
    contract(
        span,
        format!(
            "`{}` is unsafe: nothing gives it a value, neither this rule nor a rule or import of that name",
            span.text()
        ),
    )
}
