//! CEL expressions over a record.

use std::collections::BTreeSet;
use std::sync::Arc;

use cel::common::ast::SourceInfo;
use cel::common::types::{CelBytes, CelInt, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, ExecutionError, Program, Value};

use super::check::{ExpressionProblem, check};
use super::functions::ENVIRONMENT;
use super::record::InputRecord;

/// Limit on the length of an expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;

/// The variables of expressions.
pub const VARIABLES: [&str; 6] = ["value", "key", "headers", "timestamp", "topic", "partition"];

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    /// The field that holds it, such as `spec.session.id`.
    field: String,
    text: String,
    program: Program,
    variables: BTreeSet<String>,
    fields: Option<BTreeSet<String>>,
}

/// An expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: line {line}, column {column} of `{text}`: {problem}")]
pub struct ExpressionError {
    field: String,
    text: String,
    line: usize,
    column: usize,
    problem: String,
}

impl Expression {
    /// Compiles `text`, the value of `field`. If the fields of `value` are known, they are
    /// `fields`.
    ///
    /// # Errors
    /// [`ExpressionError`] for syntax errors, unknown variables, fields and functions, and for
    /// expressions whose cost has no bound.
    pub fn compile(
        field: &str,
        text: &str,
        fields: Option<&[String]>,
    ) -> Result<Self, ExpressionError> {
        let fail = |(line, column), problem: String| ExpressionError {
            field: field.to_owned(),
            text: text.to_owned(),
            line,
            column,
            problem,
        };
        if text.len() > MAX_EXPRESSION_BYTES {
            let bytes = text.len();
            let problem = format!("it has {bytes} bytes; the limit is {MAX_EXPRESSION_BYTES}");
            return Err(fail((1, 1), problem));
        }
        let program = ENVIRONMENT.compile(text).map_err(|errors| {
            let Some(first) = errors.errors.first() else {
                return fail((1, 1), "it cannot be parsed".to_owned());
            };
            let (line, column) = first.pos;
            let position = |n: isize| usize::try_from(n).unwrap_or_default().max(1);
            fail((position(line), position(column)), first.msg.clone())
        })?;
        let reads = check(program.expression(), &VARIABLES, fields).map_err(
            |ExpressionProblem { id, text: problem }| {
                fail(position(program.source_info(), id, text), problem)
            },
        )?;
        Ok(Self {
            field: field.to_owned(),
            text: text.to_owned(),
            program,
            variables: reads.variables,
            fields: (!reads.all_fields).then_some(reads.fields),
        })
    }

    /// The field that holds it, such as `spec.session.id`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The expression.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it reads this variable.
    #[must_use]
    pub fn reads(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }

    /// The fields of `value` that it reads; `None` if it may read any.
    #[must_use]
    pub fn fields(&self) -> Option<&BTreeSet<String>> {
        self.fields.as_ref()
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// CEL's errors: a missing field, an operator on the wrong types, …
    pub(super) fn evaluate<'e, 'v>(
        &'e self,
        context: &'e Context<'e, 'v>,
    ) -> Result<CowVal<'e, 'v>, ExecutionError> {
        Value::resolve_val(self.program.expression(), context)
    }
}

/// The line and column of the expression `id`, from 1.
fn position(source: &SourceInfo, id: u64, text: &str) -> (usize, usize) {
    let start = source.offset_for(id).map_or(0, |(start, _)| start);
    let start = usize::try_from(start).unwrap_or_default();
    let before: String = text.chars().take(start).collect();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count());
    (line, column + 1)
}

/// The variables of one record.
#[derive(Debug)]
pub(super) struct Variables<'r> {
    pub(super) record: &'r InputRecord<'r>,
    pub(super) value: Box<dyn Val + 'r>,
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(match variable {
            "value" => CowVal::Borrowed(&*self.value),
            "key" => text_or_bytes(self.record.key),
            "headers" => CowVal::owned(headers(self.record)),
            "timestamp" => match self.record.timestamp {
                Some(at) => CowVal::owned(CelInt::from(at.as_millis())),
                None => CowVal::owned(CelNull),
            },
            "topic" => CowVal::owned(CelString::from(self.record.topic)),
            "partition" => CowVal::owned(CelInt::from(i64::from(self.record.partition))),
            _ => return None,
        })
    }
}

/// The context in which expressions read `variables`.
pub(super) fn context<'p, 'v>(variables: &'v Variables<'v>) -> Context<'p, 'v> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(variables);
    context
}

/// The headers as a map; of headers of one name, the last.
fn headers<'r>(record: &'r InputRecord<'r>) -> CelMap<'r> {
    let entries = record.headers.iter().map(|(name, value)| {
        let value: Box<dyn Val + 'r> = match value.as_deref() {
            Some(bytes) => match str::from_utf8(bytes) {
                Ok(text) => Box::new(CelString::from(text)),
                Err(_) => Box::new(CelBytes::from(bytes)),
            },
            None => Box::new(CelNull),
        };
        (CelMapKey::from(name.as_str()), value)
    });
    CelMap::from(entries.collect::<std::collections::HashMap<_, _>>())
}

fn text_or_bytes<'b>(bytes: Option<&'b [u8]>) -> CowVal<'b, 'b> {
    match bytes.map(|bytes| str::from_utf8(bytes).map_err(|_| bytes)) {
        Some(Ok(text)) => CowVal::owned(CelString::from(text)),
        Some(Err(bytes)) => CowVal::owned(CelBytes::from(bytes)),
        None => CowVal::owned(CelNull),
    }
}
