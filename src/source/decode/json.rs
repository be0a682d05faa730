//! JSON as CEL values, in one pass.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::value::{BoxedValue, MAX_VALUES};
use crate::source::spec::Envelope;

/// Parses JSON. Of an object at the top, only the fields `keep` are parsed.
pub(super) fn value<'de>(
    json: &'de [u8],
    keep: Option<&BTreeSet<String>>,
) -> Result<BoxedValue<'de>, String> {
    let mut values = 0;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let seed = Seed {
        keep,
        values: &mut values,
    };
    let parsed = seed.deserialize(&mut deserializer);
    let value = parsed.map_err(|error| format!("not JSON: {error}"))?;
    deserializer
        .end()
        .map_err(|error| format!("not JSON: {error}"))?;
    Ok(value)
}

/// Removes an envelope.
pub(super) fn unwrap(json: &[u8], envelope: Option<Envelope>) -> Result<&[u8], String> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    let Some(envelope) = envelope else {
        return Ok(json);
    };
    let wrapped: Wrapped<'_> =
        serde_json::from_slice(json).map_err(|error| format!("not JSON: {error}"))?;
    match (wrapped.payload, envelope) {
        (Some(payload), _) => Ok(payload.get().as_bytes()),
        // Converters with schemas.enable=false write the change event itself.
        (None, Envelope::Debezium) => Ok(json),
        (None, Envelope::Connect) => {
            Err("it has no payload: not a Kafka Connect envelope".to_owned())
        }
    }
}

struct Seed<'k, 'n> {
    keep: Option<&'k BTreeSet<String>>,
    values: &'n mut usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = BoxedValue<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        *self.values += 1;
        if *self.values > MAX_VALUES {
            return Err(D::Error::custom(format!("more than {MAX_VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = BoxedValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Box::new(CelInt::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => Box::new(CelInt::from(value)),
            Err(_) => Box::new(CelUInt::from(value)),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Box::new(CelString::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Box::new(CelString::from(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Seed {
            keep: None,
            values: &mut *self.values,
        })? {
            list.push(element);
        }
        Ok(Box::new(CelList::from(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = HashMap::new();
        while let Some(FieldName(name)) = entries.next_key()? {
            if self.keep.is_some_and(|keep| !keep.contains(name.as_ref())) {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = entries.next_value_seed(Seed {
                keep: None,
                values: &mut *self.values,
            })?;
            map.insert(CelMapKey::String(CelString::from(name)), value);
        }
        Ok(Box::new(CelMap::from(map)))
    }
}

/// Makes serde borrow names without escapes.
#[derive(Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);
