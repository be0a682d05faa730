//! From the records of a source to session events.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use cel::common::types::CelBool;
use cel::common::value::CowVal;
use cel::{Context, ExecutionError};
use regex::Regex;

use super::decode::{Decoder, RecordProblem};
use super::document::{SessionSource, SourceError, SourceProblem};
use super::event::{self, EventFields, present};
use super::expression::{Expression, Variables, context};
use super::functions::regex;
use super::record::InputRecord;
use super::registry::schemas::{MissingSchema, Schemas};
use crate::kafka::event_writer::Target;
use crate::wire::event::DecodeError;
use crate::wire::time;

/// Limit on the message of an evaluation error, which may quote values of the record, in bytes.
const MAX_PROBLEM_BYTES: usize = 300;

/// The compiled mapping of a source.
#[derive(Debug)]
pub struct Mapping {
    name: String,
    generation: Option<u64>,
    topics: Vec<String>,
    topic_pattern: Option<Regex>,
    decoder: Decoder,
    when: Option<Expression>,
    id: Option<Expression>,
    user: Option<Expression>,
    time: Option<Expression>,
    event: Option<Expression>,
    attributes: Vec<(String, Expression)>,
}

/// What a record becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// `when` is false.
    Skipped,
    Event(MappedEvent),
}

/// A valid session event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedEvent {
    /// Where trackers expect it.
    pub target: Target,
    /// Its JSON.
    pub value: Vec<u8>,
    /// Attributes that are neither strings, numbers nor booleans, and were left out.
    pub unusable_attributes: u32,
}

/// Why a record does not become an event; it belongs in the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The value is not of the source's format.
    #[error("source '{source_name}': {problem}")]
    Malformed {
        source_name: String,
        problem: String,
    },
    /// The record can be mapped once its schema has been fetched; until then, this says nothing
    /// about it.
    #[error("source '{source_name}': {missing}")]
    MissingSchema {
        source_name: String,
        missing: MissingSchema,
    },
    /// An expression failed, or returned the wrong type.
    #[error("source '{source_name}': {field} `{expression}` {problem}")]
    Expression {
        source_name: String,
        field: String,
        expression: String,
        problem: String,
    },
    /// The expressions returned what is not a session event.
    #[error("source '{source_name}' returned an invalid event: {error}")]
    Invalid {
        source_name: String,
        error: DecodeError,
    },
}

impl MappingError {
    /// The reason of dead letters whose expressions fail.
    pub const MAPPING: &str = "mapping";

    /// The error code for headers and metrics: [`MAPPING`](Self::MAPPING), or one of
    /// [`DecodeError::CODES`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::MissingSchema { .. } => "malformed",
            Self::Expression { .. } => Self::MAPPING,
            Self::Invalid { error, .. } => error.code(),
        }
    }
}

impl Mapping {
    /// Validates a source and compiles its expressions.
    ///
    /// # Errors
    /// [`SourceError`]: the field, the problem, and for an expression the position.
    pub fn compile(source: &SessionSource) -> Result<Self, SourceError> {
        Self::try_compile(source).map_err(|problem| source.error(problem))
    }

    fn try_compile(source: &SessionSource) -> Result<Self, SourceProblem> {
        source.check()?;
        let spec = &source.spec;
        let mut decoder =
            Decoder::new(spec).map_err(|(field, problem)| SourceProblem::Field(field, problem))?;
        let fields = decoder.fields();
        let compile = |field: &str, text: &str| Expression::compile(field, text, fields.as_deref());
        let optional = |field: &str, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| compile(field, text)).transpose()
        };
        let session = &spec.session;
        let attributes = session.attributes.iter().map(|(name, text)| {
            let field = format!("spec.session.attributes.{name}");
            Ok((name.clone(), compile(&field, text)?))
        });
        let mut mapping = Self {
            name: source.full_name(),
            generation: source.metadata.generation,
            topics: spec.topics.clone(),
            topic_pattern: spec
                .topic_pattern
                .as_deref()
                .map(topic_pattern)
                .transpose()?,
            when: optional("spec.when", &spec.when)?,
            id: optional("spec.session.id", &session.id)?,
            user: optional("spec.session.user", &session.user)?,
            time: optional("spec.session.time", &session.time)?,
            event: optional("spec.session.event", &session.event)?,
            attributes: attributes.collect::<Result<_, SourceProblem>>()?,
            decoder: Decoder::new(spec)
                .map_err(|(field, problem)| SourceProblem::Field(field, problem))?,
        };
        decoder.keep(mapping.fields());
        mapping.decoder = decoder;
        Ok(mapping)
    }

    /// The full name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The generation of the source; `None` outside Kubernetes.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// The topics that it reads, if it names them.
    #[must_use]
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Whether it finds its topics by a pattern.
    #[must_use]
    pub fn has_pattern(&self) -> bool {
        self.topic_pattern.is_some()
    }

    /// Whether it reads a topic of this name, unless that is another source's.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        let named = self.topics.iter().any(|one| one == topic);
        let pattern = self.topic_pattern.as_ref();
        named || pattern.is_some_and(|pattern| pattern.is_match(topic))
    }

    /// The schemas that its records name, if they are needed.
    #[must_use]
    pub fn schemas(&self) -> Option<&Arc<Schemas>> {
        self.decoder.schemas()
    }

    /// Whether [`map`](Self::map) needs the headers of records.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        self.decoder.reads_headers() || self.expressions().any(|one| one.reads("headers"))
    }

    /// Maps a record.
    ///
    /// # Errors
    /// [`MappingError`]; the record then belongs in the dead-letter topic, unless it is
    /// [`MappingError::MissingSchema`].
    pub fn map(&self, record: &InputRecord<'_>) -> Result<Mapped, MappingError> {
        let malformed = |problem| self.malformed(problem);
        let bytes = Decoder::decompress(record).map_err(malformed)?;
        self.map_bytes(record, &bytes)
    }

    fn map_bytes<'a>(
        &'a self,
        record: &'a InputRecord<'a>,
        bytes: &'a [u8],
    ) -> Result<Mapped, MappingError> {
        let schema = self.decoder.writer_schema(record, bytes);
        let schema = schema.map_err(|error| match error {
            RecordProblem::Malformed(problem) => self.malformed(problem),
            RecordProblem::MissingSchema(missing) => MappingError::MissingSchema {
                source_name: self.name.clone(),
                missing,
            },
        })?;
        let value = self.decoder.decode(record, bytes, schema.as_deref());
        let value = value.map_err(|problem| self.malformed(problem))?;
        let variables = Variables { record, value };
        let context = context(&variables);
        if let Some(when) = &self.when {
            let result = self.evaluate(when, &context)?;
            match result.downcast_ref::<CelBool>().map(CelBool::inner) {
                Some(true) => {}
                Some(false) => return Ok(Mapped::Skipped),
                None => {
                    let problem = event::wrong_type(&*result, "a boolean");
                    return Err(self.failed(when, problem));
                }
            }
        }
        let (fields, unusable_attributes) = self.fields_of_event(record, &context)?;
        let invalid = |error| MappingError::Invalid {
            source_name: self.name.clone(),
            error,
        };
        let value = serde_json::to_vec(&fields)
            .map_err(|error| invalid(DecodeError::Malformed(error.to_string())))?;
        Ok(Mapped::Event(MappedEvent {
            target: Target::of(&value).map_err(invalid)?,
            value,
            unusable_attributes,
        }))
    }

    /// Evaluates the expressions of `spec.session`, and counts unusable attributes.
    fn fields_of_event(
        &self,
        record: &InputRecord<'_>,
        context: &Context<'_, '_>,
    ) -> Result<(EventFields, u32), MappingError> {
        let mut fields = EventFields {
            session_id: self.read(self.id.as_ref(), context, event::id)?,
            user_id: self.read(self.user.as_ref(), context, event::user)?,
            activity_timestamp: self.read(self.time.as_ref(), context, event::timestamp)?,
            event: self.read(self.event.as_ref(), context, event::text)?,
            ..EventFields::default()
        };
        if fields.activity_timestamp.is_none() {
            // Trackers would take the time at which this event is written.
            fields.activity_timestamp = record
                .timestamp
                .and_then(|at| serde_json::value::to_raw_value(&time::format(at)).ok());
        }
        let mut unusable = 0;
        for (name, expression) in &self.attributes {
            let result = match expression.evaluate(context) {
                Err(ExecutionError::NoSuchKey(_)) => continue,
                result => result.map_err(|error| self.failed(expression, describe(&error)))?,
            };
            let Some(value) = present(&*result) else {
                continue;
            };
            match event::attribute(value) {
                Some(text) => drop(fields.attributes.insert(name.clone(), text)),
                None => unusable += 1,
            }
        }
        Ok((fields, unusable))
    }

    /// Evaluates an expression and converts its result; `None` without one, and for null.
    fn read<T>(
        &self,
        expression: Option<&Expression>,
        context: &Context<'_, '_>,
        convert: impl Fn(&dyn cel::common::value::Val) -> Result<T, String>,
    ) -> Result<Option<T>, MappingError> {
        let Some(expression) = expression else {
            return Ok(None);
        };
        let result = self.evaluate(expression, context)?;
        let Some(value) = present(&*result) else {
            return Ok(None);
        };
        let converted = convert(value);
        converted
            .map(Some)
            .map_err(|problem| self.failed(expression, problem))
    }

    fn evaluate<'e, 'v>(
        &self,
        expression: &'e Expression,
        context: &'e Context<'e, 'v>,
    ) -> Result<CowVal<'e, 'v>, MappingError> {
        let result = expression.evaluate(context);
        result.map_err(|error| self.failed(expression, describe(&error)))
    }

    fn malformed(&self, problem: String) -> MappingError {
        MappingError::Malformed {
            source_name: self.name.clone(),
            problem,
        }
    }

    fn failed(&self, expression: &Expression, problem: String) -> MappingError {
        MappingError::Expression {
            source_name: self.name.clone(),
            field: expression.field().to_owned(),
            expression: expression.text().to_owned(),
            problem,
        }
    }

    /// The fields of `value` that the expressions read; `None` if they may read any.
    fn fields(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for expression in self.expressions() {
            all.extend(expression.fields()?.iter().cloned());
        }
        Some(all)
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let fields = [&self.when, &self.id, &self.user, &self.time, &self.event];
        let attributes = self.attributes.iter().map(|(_, expression)| expression);
        fields.into_iter().flatten().chain(attributes)
    }
}

/// Compiles a pattern for whole names.
fn topic_pattern(pattern: &str) -> Result<Regex, SourceProblem> {
    // Alone first: the errors quote it.
    let compiled = regex(pattern).and_then(|_| regex(&format!("^(?:{pattern})$")));
    compiled.map_err(|error| SourceProblem::Field("spec.topicPattern", error.to_string()))
}

fn describe(error: &ExecutionError) -> String {
    if let ExecutionError::NoSuchKey(name) = error {
        return format!(
            "failed: the record has no field {name}; test for it with has(), or read it with .?{name}.orValue(…)"
        );
    }
    let mut text = format!("failed: {error}");
    if text.len() > MAX_PROBLEM_BYTES {
        let mut end = MAX_PROBLEM_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
