//! Checks of an expression before it is ever evaluated.
//!
//! CEL has no loops but its macros. One that is not nested visits each element of a record once,
//! so without nested macros the cost of an expression is bounded by its length times the size of
//! the record.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, operators,
};

use super::functions::{FUNCTIONS, regex};

/// Names from another name that are near enough to suggest, by Jaro-Winkler similarity.
const NEAR: f64 = 0.75;

/// A problem, and the id of the expression that has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExpressionProblem {
    pub(super) id: u64,
    pub(super) text: String,
}

/// What an expression reads.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// The variables.
    pub(super) variables: BTreeSet<String>,
    /// The fields of `value`; meaningless if `all_fields`.
    pub(super) fields: BTreeSet<String>,
    /// Whether it reads `value` as a whole.
    pub(super) all_fields: bool,
}

/// Checks an expression over `variables`. If the fields of `value` are known, they are `fields`.
pub(super) fn check(
    expression: &IdedExpr,
    variables: &[&str],
    fields: Option<&[String]>,
) -> Result<Reads, ExpressionProblem> {
    let mut checker = Checker {
        variables,
        fields,
        scopes: Vec::new(),
        loops: 0,
        reads: Reads::default(),
    };
    checker.visit(expression)?;
    Ok(checker.reads)
}

/// Adds the nearest of the known names to `problem`, or all of them if none is near.
pub(super) fn unknown_name(problem: &str, name: &str, (are, known): (&str, &[&str])) -> String {
    let near = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = near.max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((similarity, near)) if similarity >= NEAR => {
            format!("{problem}; did you mean {near}?")
        }
        _ => format!("{problem}; {are} {}", known.join(", ")),
    }
}

struct Checker<'a> {
    variables: &'a [&'a str],
    fields: Option<&'a [String]>,
    /// Variables of the macros around.
    scopes: Vec<&'a str>,
    /// How many macros with a loop are around.
    loops: usize,
    reads: Reads,
}

impl<'a> Checker<'a> {
    fn visit(&mut self, expression: &'a IdedExpr) -> Result<(), ExpressionProblem> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                self.reads.all_fields |= name == "value" && !self.is_scoped(name);
                self.variable(expression.id, name)
            }
            Expr::Select(select) => {
                if self.is_value(&select.operand) {
                    return self.field(expression.id, &select.operand, &select.field);
                }
                self.visit(&select.operand)
            }
            Expr::Call(call) => self.call(expression.id, call),
            Expr::Comprehension(comprehension) => self.comprehension(expression.id, comprehension),
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(entry)),
            Expr::Struct(message) => Err(problem(
                expression.id,
                format!("unknown type {}", message.type_name),
            )),
        }
    }

    fn entry(&mut self, entry: &'a IdedEntryExpr) -> Result<(), ExpressionProblem> {
        match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key)?;
                self.visit(&entry.value)
            }
            EntryExpr::StructField(field) => self.visit(&field.value),
        }
    }

    fn call(&mut self, id: u64, call: &'a CallExpr) -> Result<(), ExpressionProblem> {
        let name = call.func_name.as_str();
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&name) {
            let unknown = format!("unknown function {name}()");
            return Err(problem(
                id,
                unknown_name(&unknown, name, ("there are", &FUNCTIONS)),
            ));
        }
        if name == "matches" {
            Self::check_pattern(id, call)?;
        }
        let is_field = [
            operators::INDEX,
            operators::OPT_INDEX,
            operators::OPT_SELECT,
        ];
        if let ([operand, field], true) = (call.args.as_slice(), is_field.contains(&name))
            && self.is_value(operand)
            && let Expr::Literal(LiteralValue::String(field)) = &field.expr
        {
            return self.field(id, operand, field.inner());
        }
        match call.target.as_deref() {
            // `optional.of(x)`: a namespace, not a variable.
            Some(target) if matches!(&target.expr, Expr::Ident(name) if name == "optional") => {}
            Some(target) => self.visit(target)?,
            None => {}
        }
        call.args
            .iter()
            .try_for_each(|argument| self.visit(argument))
    }

    /// A regular expression from a record could not be compiled once, nor checked now.
    fn check_pattern(id: u64, call: &CallExpr) -> Result<(), ExpressionProblem> {
        let (Some(_), [pattern]) = (&call.target, call.args.as_slice()) else {
            let usage = "matches() is a method with one argument: text.matches('pattern')";
            return Err(problem(id, usage.to_owned()));
        };
        let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
            let literal = "the pattern of matches() must be a literal string";
            return Err(problem(id, literal.to_owned()));
        };
        let compiled = regex(pattern.inner());
        compiled
            .map(drop)
            .map_err(|error| problem(id, error.to_string()))
    }

    fn comprehension(
        &mut self,
        id: u64,
        comprehension: &'a ComprehensionExpr,
    ) -> Result<(), ExpressionProblem> {
        self.visit(&comprehension.iter_range)?;
        self.visit(&comprehension.accu_init)?;
        // `optMap` becomes a loop over an empty list that only binds a variable.
        let is_binding =
            matches!(&comprehension.iter_range.expr, Expr::List(list) if list.elements.is_empty());
        if !is_binding && self.loops > 0 {
            let nested = "a macro inside another one is not allowed: its cost would grow with the square of the record";
            return Err(problem(id, nested.to_owned()));
        }
        let scope = self.scopes.len();
        self.loops += usize::from(!is_binding);
        self.scopes.push(&comprehension.accu_var);
        self.scopes.push(&comprehension.iter_var);
        self.scopes.extend(comprehension.iter_var2.as_deref());
        let steps = [
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ];
        let checked = steps.into_iter().try_for_each(|step| self.visit(step));
        self.scopes.truncate(scope);
        self.loops -= usize::from(!is_binding);
        checked
    }

    fn is_scoped(&self, name: &str) -> bool {
        self.scopes.contains(&name)
    }

    fn is_value(&self, expression: &IdedExpr) -> bool {
        matches!(&expression.expr, Expr::Ident(name) if name == "value") && !self.is_scoped("value")
    }

    fn variable(&mut self, id: u64, name: &str) -> Result<(), ExpressionProblem> {
        if self.is_scoped(name) || name.starts_with('@') {
            return Ok(());
        }
        if !self.variables.contains(&name) {
            let unknown = format!("unknown variable {name}");
            let known = ("the variables are", self.variables);
            return Err(problem(id, unknown_name(&unknown, name, known)));
        }
        self.reads.variables.insert(name.to_owned());
        Ok(())
    }

    /// A field of `value`.
    fn field(
        &mut self,
        id: u64,
        value: &'a IdedExpr,
        field: &str,
    ) -> Result<(), ExpressionProblem> {
        if let Some(fields) = self.fields
            && !fields.iter().any(|known| known == field)
        {
            let fields: Vec<_> = fields.iter().map(String::as_str).collect();
            let unknown = format!("value has no field {field}");
            return Err(problem(
                id,
                unknown_name(&unknown, field, ("its fields are", &fields)),
            ));
        }
        self.reads.fields.insert(field.to_owned());
        let Expr::Ident(name) = &value.expr else {
            return Ok(());
        };
        self.variable(value.id, name)
    }
}

fn problem(id: u64, text: String) -> ExpressionProblem {
    ExpressionProblem { id, text }
}
