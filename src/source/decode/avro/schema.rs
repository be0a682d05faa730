//! Avro schemas.

use std::collections::HashMap;

use serde_json::Value;

use crate::source::registry::definition::SchemaDefinition;

/// The largest scale of a decimal: more digits than 128 bits have.
const MAX_SCALE: u64 = 38;

/// A schema in which all names are resolved.
#[derive(Debug)]
pub(in crate::source) struct AvroSchema {
    root: Type,
    named: Vec<Named>,
}

/// What a type is to the decoder. Logical types but decimals are decoded as their type.
#[derive(Debug, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    /// `int` and `long`.
    Long,
    Float,
    Double,
    Bytes,
    String,
    Decimal {
        scale: usize,
    },
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// The index of a named type.
    Named(usize),
}

/// A type with a name, which the schema may refer to again.
#[derive(Debug, PartialEq)]
pub(super) enum Named {
    Record(Vec<(String, Type)>),
    Enum(Vec<String>),
    Fixed(usize),
    FixedDecimal { size: usize, scale: usize },
}

impl AvroSchema {
    /// Compiles a schema and those that it refers to.
    ///
    /// # Errors
    /// If it is not a valid Avro schema.
    pub(in crate::source) fn parse(definition: &SchemaDefinition) -> Result<Self, String> {
        let mut parser = Parser::default();
        // References may be listed in any order.
        for (name, text) in &definition.references {
            let parsed = parser.document(text);
            parsed.map_err(|problem| format!("{problem} in the referenced schema {name}"))?;
        }
        let root = parser.document(&definition.text)?;
        let missing = parser.names.iter().find(|(_, index)| {
            let named = parser.named.get(**index);
            !matches!(named, Some(Some(_)))
        });
        if let Some((name, _)) = missing {
            return Err(format!("the Avro type {name} is not defined"));
        }
        let named = parser.named.into_iter().flatten().collect();
        Ok(Self { root, named })
    }

    pub(super) fn root(&self) -> &Type {
        &self.root
    }

    pub(super) fn named(&self, index: usize) -> &Named {
        &self.named[index]
    }
}

#[derive(Default)]
struct Parser {
    /// Indexes by full name, of types that are not defined yet too.
    names: HashMap<String, usize>,
    named: Vec<Option<Named>>,
}

impl Parser {
    fn document(&mut self, text: &str) -> Result<Type, String> {
        // A name alone is a schema, though not JSON; registries return it quoted or not.
        let schema = serde_json::from_str(text);
        let schema = schema.map_err(|error| format!("not an Avro schema: {error}"))?;
        self.parse(&schema, "")
    }

    fn parse(&mut self, schema: &Value, namespace: &str) -> Result<Type, String> {
        match schema {
            Value::String(name) => Ok(self.primitive_or_named(name, namespace)),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.parse(branch, namespace));
                Ok(Type::Union(branches.collect::<Result<_, _>>()?))
            }
            Value::Object(_) => self.complex(schema, namespace),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                Err(format!("not an Avro schema: {schema}"))
            }
        }
    }

    fn complex(&mut self, schema: &Value, namespace: &str) -> Result<Type, String> {
        let kind = match &schema["type"] {
            Value::String(kind) => kind.as_str(),
            // `{"type": {"type": …}}`
            nested @ (Value::Object(_) | Value::Array(_)) => return self.parse(nested, namespace),
            _ => return Err(format!("an Avro type has no type: {schema}")),
        };
        match kind {
            "array" => {
                let items = self.parse(&schema["items"], namespace)?;
                Ok(Type::Array(Box::new(items)))
            }
            "map" => {
                let values = self.parse(&schema["values"], namespace)?;
                Ok(Type::Map(Box::new(values)))
            }
            "record" | "error" => {
                let (index, namespace) = self.define(schema, namespace)?;
                let fields = schema["fields"].as_array();
                let fields = fields.ok_or("an Avro record has no fields")?;
                let fields = fields.iter().map(|field| {
                    let name = field["name"].as_str().ok_or("an Avro field has no name")?;
                    let kind = self.parse(&field["type"], &namespace)?;
                    Ok((name.to_owned(), kind))
                });
                let fields = fields.collect::<Result<_, String>>()?;
                self.named[index] = Some(Named::Record(fields));
                Ok(Type::Named(index))
            }
            "enum" => {
                let (index, _) = self.define(schema, namespace)?;
                let symbols = schema["symbols"].as_array().into_iter().flatten();
                let symbols = symbols.filter_map(Value::as_str).map(str::to_owned);
                self.named[index] = Some(Named::Enum(symbols.collect()));
                Ok(Type::Named(index))
            }
            "fixed" => {
                let (index, _) = self.define(schema, namespace)?;
                let size = schema["size"].as_u64();
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("an Avro fixed has no size")?;
                self.named[index] = Some(match decimal_scale(schema) {
                    Some(scale) => Named::FixedDecimal { size, scale },
                    None => Named::Fixed(size),
                });
                Ok(Type::Named(index))
            }
            "bytes" => {
                Ok(decimal_scale(schema).map_or(Type::Bytes, |scale| Type::Decimal { scale }))
            }
            name => Ok(self.primitive_or_named(name, namespace)),
        }
    }

    fn primitive_or_named(&mut self, name: &str, namespace: &str) -> Type {
        match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" | "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::String,
            name => Type::Named(self.index(full_name(name, namespace))),
        }
    }

    /// The index of the type that `schema` defines, and the namespace within it.
    fn define(&mut self, schema: &Value, namespace: &str) -> Result<(usize, String), String> {
        let name = schema["name"].as_str().ok_or("an Avro type has no name")?;
        let namespace = schema["namespace"].as_str().unwrap_or(namespace);
        let name = full_name(name, namespace);
        let within = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let within = within.to_owned();
        Ok((self.index(name), within))
    }

    fn index(&mut self, name: String) -> usize {
        let next = self.named.len();
        let index = *self.names.entry(name).or_insert(next);
        if index == next {
            self.named.push(None);
        }
        index
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// The scale of a decimal; other logical types, and decimals out of range, are as their type.
fn decimal_scale(schema: &Value) -> Option<usize> {
    if schema["logicalType"] != "decimal" {
        return None;
    }
    let scale = schema["scale"].as_u64().unwrap_or_default();
    (scale <= MAX_SCALE).then(|| usize::try_from(scale).unwrap_or_default())
}
