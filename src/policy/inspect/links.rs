//! What the parts of a statement need, and which variables they give a value: the links that `safety` follows.

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Query};

/// With all of `needs` known, `gives` are.
pub(super) struct Link<'a> {
    pub(super) needs: Vec<&'a str>,
    pub(super) gives: Vec<&'a str>,
}

/// The links of a statement. One that is negated gives nothing, as it has no answers.
pub(super) fn statement_links<'a>(stmt: &'a LiteralStmt, links: &mut Vec<Link<'a>>) {
    match &stmt.literal {
        Literal::SomeVars { .. } | Literal::NotExpr { .. } => {}
        Literal::SomeIn {
            key,
            value,
            collection,
            ..
        } => {
            let patterns = key.iter().chain([value]);
            links.push(Link {
                needs: variables(collection),
                gives: patterns.flat_map(|part| pattern(part)).collect(),
            });
            reference_links(collection, links);
        }
        Literal::Expr { expr, .. } => {
            if let Expr::AssignExpr { op, lhs, rhs, .. } = expr.as_ref() {
                assignment_links(op, lhs, rhs, links);
            }
            reference_links(expr, links);
        }
        Literal::Every { domain, .. } => reference_links(domain, links),
    }
    for with in &stmt.with_mods {
        reference_links(&with.r#as, links);
    }
}

/// `:=` gives to the left; `=` either way, and for lists item by item.
fn assignment_links<'a>(op: &AssignOp, lhs: &'a Expr, rhs: &'a Expr, links: &mut Vec<Link<'a>>) {
    if let (Expr::Array { items: left, .. }, Expr::Array { items: right, .. }) = (lhs, rhs)
        && left.len() == right.len()
    {
        for (left, right) in left.iter().zip(right) {
            assignment_links(op, left, right, links);
        }
        return;
    }
    links.push(Link {
        needs: variables(rhs),
        gives: pattern(lhs),
    });
    if *op == AssignOp::Eq {
        links.push(Link {
            needs: variables(lhs),
            gives: pattern(rhs),
        });
    }
}

/// `a[i][j]` gives `i` and `j` what `a` holds, wherever it stands in an expression.
pub(super) fn reference_links<'a>(expr: &'a Expr, links: &mut Vec<Link<'a>>) {
    let (mut root, mut gives) = (expr, Vec::new());
    while let Expr::RefBrack { refr, .. } | Expr::RefDot { refr, .. } = root {
        if let Expr::RefBrack { index, .. } = root {
            gives.extend(pattern(index));
            reference_links(index, links);
        }
        root = refr;
    }
    if !gives.is_empty() {
        links.push(Link {
            needs: variables(root),
            gives,
        });
    }
    for child in children(root) {
        reference_links(child, links);
    }
}

/// The variables that a pattern gives a value to.
fn pattern(expr: &Expr) -> Vec<&str> {
    match expr {
        Expr::Var { span, .. } => vec![span.text()],
        Expr::Array { items, .. } => items.iter().flat_map(|item| pattern(item)).collect(),
        Expr::Object { fields, .. } => fields.iter().flat_map(|(_, _, value)| pattern(value)).collect(),
        _ => Vec::new(),
    }
}

/// The variables of an expression; those of a comprehension are its own.
pub(super) fn variables(expr: &Expr) -> Vec<&str> {
    match expr {
        Expr::Var { span, .. } => vec![span.text()],
        _ => children(expr).into_iter().flat_map(variables).collect(),
    }
}

/// A comprehension's query, and what is made of its answers.
pub(super) fn nested(expr: &Expr) -> Option<(&Query, Vec<&Expr>)> {
    match expr {
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            Some((query, vec![term]))
        }
        Expr::ObjectCompr {
            key, value, query, ..
        } => Some((query, vec![key, value])),
        _ => None,
    }
}

/// The parts of an expression that are values of this place: no function's name, nothing inside a comprehension.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().map(AsRef::as_ref).collect(),
        Expr::Object { fields, .. } => {
            let both = fields.iter().flat_map(|(_, key, value)| [key, value]);
            both.map(AsRef::as_ref).collect()
        }
        Expr::Call { params, .. } => params.iter().map(AsRef::as_ref).collect(),
        Expr::UnaryExpr { expr, .. } => vec![expr],
        Expr::RefDot { refr, .. } => vec![refr],
        Expr::RefBrack { refr, index, .. } => vec![refr, index],
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership {
            key,
            value,
            collection,
            ..
        } => key.iter().chain([value, collection]).map(AsRef::as_ref).collect(),
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. }
        | Expr::ArrayCompr { .. }
        | Expr::SetCompr { .. }
        | Expr::ObjectCompr { .. } => Vec::new(),
    }
}
