//! Protobuf messages as CEL values.
//!
//! Fields have their names in the `.proto` file. A field without presence has its default if it
//! is not set; a field with presence is absent then.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use chrono::{DateTime, SecondsFormat};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FileDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::value::{BoxedValue, MAX_VALUES};
use crate::source::registry::definition::SchemaDefinition;

/// The name that the schema itself is compiled under.
const ROOT: &str = "sundown-schema.proto";

/// A compiled `.proto` file.
#[derive(Debug)]
pub(in crate::source) struct ProtobufSchema(FileDescriptor);

impl ProtobufSchema {
    /// Compiles a schema and those that it imports. Google's well-known types are built in.
    ///
    /// # Errors
    /// If it is not a valid `.proto` file.
    pub(in crate::source) fn parse(definition: &SchemaDefinition) -> Result<Self, String> {
        let mut files = definition.references.clone();
        files.insert(ROOT.to_owned(), definition.text.clone());
        let mut resolver = ChainFileResolver::new();
        resolver.add(Files(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        let compiled = compiler.open_file(ROOT);
        compiled.map_err(|error| format!("not a Protobuf schema: {error}"))?;
        let root = compiler.descriptor_pool().get_file_by_name(ROOT);
        root.map(Self)
            .ok_or_else(|| "the Protobuf schema is empty".to_owned())
    }

    /// The message type that the indexes before the data name: the first is one of the file, each
    /// further one is nested in the one before. As in Confluent's Java client, the types that the
    /// compiler makes for maps do not count.
    fn message(&self, indexes: &[usize]) -> Option<MessageDescriptor> {
        let (first, nested) = indexes.split_first()?;
        let first = self.0.messages().nth(*first)?;
        let mut nested = nested.iter();
        nested.try_fold(first, |message, index| {
            let mut written = message
                .child_messages()
                .filter(|child| !child.is_map_entry());
            written.nth(*index)
        })
    }
}

/// The schema and its imports.
struct Files(BTreeMap<String, String>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Decodes a message with its indexes. Of its fields, only those in `keep` are returned.
pub(super) fn value(
    schema: &ProtobufSchema,
    data: &[u8],
    keep: Option<&BTreeSet<String>>,
) -> Result<BoxedValue<'static>, String> {
    let (indexes, data) = indexes(data)?;
    let Some(message) = schema.message(&indexes) else {
        return Err(format!("its schema has no message type {indexes:?}"));
    };
    let message = DynamicMessage::decode(message, data)
        .map_err(|error| format!("not Protobuf of its schema: {error}"))?;
    let mut converter = Converter { values: 0 };
    converter.fields(&message, keep)
}

/// Reads the path to the message type: its length and the indexes as zigzag varints; a zero alone
/// is the first message of the file.
fn indexes(mut data: &[u8]) -> Result<(Vec<usize>, &[u8]), String> {
    /// Nested message types are never as deep.
    const MAX_LENGTH: usize = 32;
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let (byte, rest) = data.split_first()?;
            data = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // Indexes are never negative.
                return (value & 1 == 0).then(|| usize::try_from(value >> 1).ok())?;
            }
        }
        None
    };
    let length = number().filter(|length| *length <= MAX_LENGTH);
    let indexes = match length {
        Some(0) => Some(vec![0]),
        Some(length) => (0..length).map(|_| number()).collect(),
        None => None,
    };
    let indexes = indexes.ok_or("the indexes of the message type are malformed")?;
    Ok((indexes, data))
}

struct Converter {
    values: usize,
}

impl Converter {
    fn fields(
        &mut self,
        message: &DynamicMessage,
        keep: Option<&BTreeSet<String>>,
    ) -> Result<BoxedValue<'static>, String> {
        let mut map = HashMap::new();
        for field in message.descriptor().fields() {
            let is_kept = keep.is_none_or(|keep| keep.contains(field.name()));
            if is_kept && (message.has_field(&field) || !field.supports_presence()) {
                let value = self.value(&message.get_field(&field), &field.kind())?;
                map.insert(CelMapKey::from(field.name().to_owned()), value);
            }
        }
        Ok(Box::new(CelMap::from(map)))
    }

    fn value(&mut self, value: &Value, kind: &Kind) -> Result<BoxedValue<'static>, String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        Ok(match value {
            Value::Bool(value) => Box::new(CelBool::from(*value)),
            Value::I32(value) => Box::new(CelInt::from(i64::from(*value))),
            Value::I64(value) => Box::new(CelInt::from(*value)),
            Value::U32(value) => Box::new(CelInt::from(i64::from(*value))),
            Value::U64(value) => match i64::try_from(*value) {
                Ok(value) => Box::new(CelInt::from(value)),
                Err(_) => Box::new(CelUInt::from(*value)),
            },
            Value::F32(value) => Box::new(CelDouble::from(f64::from(*value))),
            Value::F64(value) => Box::new(CelDouble::from(*value)),
            Value::String(value) => Box::new(CelString::from(value.clone())),
            Value::Bytes(value) => Box::new(CelBytes::from(value.to_vec())),
            Value::EnumNumber(number) => match kind {
                Kind::Enum(kind) => symbol(kind, *number),
                _ => Box::new(CelInt::from(i64::from(*number))),
            },
            Value::Message(message) => self.message(message)?,
            Value::List(list) => {
                let list = list.iter().map(|value| self.value(value, kind));
                Box::new(CelList::from(list.collect::<Result<Vec<_>, _>>()?))
            }
            Value::Map(map) => {
                let kind = match kind {
                    Kind::Message(entry) => entry.map_entry_value_field().kind(),
                    other => other.clone(),
                };
                let entries = map.iter().map(|(key, value)| {
                    let key = match key {
                        MapKey::String(key) => CelMapKey::from(key.clone()),
                        MapKey::Bool(key) => CelMapKey::from(*key),
                        MapKey::I32(key) => CelMapKey::from(i64::from(*key)),
                        MapKey::I64(key) => CelMapKey::from(*key),
                        MapKey::U32(key) => CelMapKey::from(u64::from(*key)),
                        MapKey::U64(key) => CelMapKey::from(*key),
                    };
                    Ok((key, self.value(value, &kind)?))
                });
                Box::new(CelMap::from(
                    entries.collect::<Result<HashMap<_, _>, String>>()?,
                ))
            }
        })
    }

    /// A message; timestamps are RFC 3339, wrappers are what they wrap.
    fn message(&mut self, message: &DynamicMessage) -> Result<BoxedValue<'static>, String> {
        let descriptor = message.descriptor();
        let name = descriptor.full_name();
        let field = |number| message.get_field_by_number(number).map(Cow::into_owned);
        if name == "google.protobuf.Timestamp" {
            let seconds = field(1)
                .and_then(|value| value.as_i64())
                .unwrap_or_default();
            let nanos = field(2)
                .and_then(|value| value.as_i32())
                .unwrap_or_default();
            let nanos = u32::try_from(nanos).unwrap_or_default();
            let time = DateTime::from_timestamp(seconds, nanos)
                .ok_or("a timestamp is out of the range of times")?;
            let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            return Ok(Box::new(CelString::from(text)));
        }
        let is_wrapper = name.starts_with("google.protobuf.") && name.ends_with("Value");
        if is_wrapper && name != "google.protobuf.Value" && name != "google.protobuf.ListValue" {
            let Some(field) = descriptor.get_field(1) else {
                return Ok(Box::new(CelNull));
            };
            return self.value(&message.get_field(&field), &field.kind());
        }
        self.fields(message, None)
    }
}

/// The name of an enum's value; its number if the schema has none.
fn symbol(kind: &EnumDescriptor, number: i32) -> BoxedValue<'static> {
    match kind.get_value(number) {
        Some(value) => Box::new(CelString::from(value.name().to_owned())),
        None => Box::new(CelInt::from(i64::from(number))),
    }
}
