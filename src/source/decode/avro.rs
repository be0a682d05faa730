//! Avro's binary encoding as CEL values, in one pass, with bounds on depth and size.

mod schema;

use std::collections::{BTreeSet, HashMap};

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString,
};

use super::value::{BoxedValue, MAX_VALUES};
use schema::{Named, Type};

pub(in crate::source) use schema::AvroSchema;

/// Limit on the nesting of values; recursive schemas allow any.
const MAX_DEPTH: usize = 100;

/// Decodes a value. Of a record at the top, only the fields `keep` are returned.
pub(super) fn value<'a>(
    schema: &'a AvroSchema,
    data: &'a [u8],
    keep: Option<&BTreeSet<String>>,
) -> Result<BoxedValue<'a>, String> {
    let mut reader = AvroReader {
        schema,
        rest: data,
        values: 0,
        max_steps: MAX_VALUES + 4 * data.len(),
        steps: 0,
        depth: 0,
    };
    let decoded = reader.value(schema.root(), keep);
    let decoded = decoded.map_err(|problem| format!("not Avro of its schema: {problem}"))?;
    match reader.rest.len() {
        0 => Ok(decoded),
        more => Err(format!(
            "not Avro of its schema: {more} bytes are left after the value"
        )),
    }
}

struct AvroReader<'a> {
    schema: &'a AvroSchema,
    rest: &'a [u8],
    values: usize,
    /// Values, those that are skipped included. They may have no bytes.
    steps: usize,
    max_steps: usize,
    depth: usize,
}

impl<'a> AvroReader<'a> {
    fn value(
        &mut self,
        kind: &'a Type,
        keep: Option<&BTreeSet<String>>,
    ) -> Result<BoxedValue<'a>, String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.enter()?;
        let value: BoxedValue<'a> = match kind {
            Type::Null => Box::new(CelNull),
            Type::Boolean => Box::new(CelBool::from(self.boolean()?)),
            Type::Long => Box::new(CelInt::from(self.long()?)),
            Type::Float => Box::new(CelDouble::from(f64::from(f32::from_le_bytes(
                self.array()?,
            )))),
            Type::Double => Box::new(CelDouble::from(f64::from_le_bytes(self.array()?))),
            Type::Bytes => Box::new(CelBytes::from(self.bytes()?)),
            Type::String => Box::new(CelString::from(self.string()?)),
            Type::Decimal { scale } => decimal(self.bytes()?, *scale)?,
            Type::Array(items) => Box::new(CelList::from(self.list(items)?)),
            Type::Map(values) => Box::new(CelMap::from(self.map(values)?)),
            Type::Union(branches) => {
                let branch = self.branch(branches)?;
                self.value(branch, keep)?
            }
            Type::Named(index) => match self.schema.named(*index) {
                Named::Enum(symbols) => {
                    let symbol = symbols.get(self.index()?);
                    let symbol = symbol.ok_or("an enum has a symbol that its schema lacks")?;
                    Box::new(CelString::from(symbol.as_str()))
                }
                Named::Fixed(size) => Box::new(CelBytes::from(self.take(*size)?)),
                Named::FixedDecimal { size, scale } => decimal(self.take(*size)?, *scale)?,
                Named::Record(fields) => Box::new(CelMap::from(self.record(fields, keep)?)),
            },
        };
        self.depth -= 1;
        Ok(value)
    }

    fn record(
        &mut self,
        fields: &'a [(String, Type)],
        keep: Option<&BTreeSet<String>>,
    ) -> Result<HashMap<CelMapKey<'a>, BoxedValue<'a>>, String> {
        let mut map = HashMap::new();
        for (name, kind) in fields {
            if keep.is_some_and(|keep| !keep.contains(name)) {
                self.skip(kind)?;
            } else {
                map.insert(CelMapKey::from(name.as_str()), self.value(kind, None)?);
            }
        }
        Ok(map)
    }

    fn list(&mut self, items: &'a Type) -> Result<Vec<BoxedValue<'a>>, String> {
        let mut list = Vec::new();
        while let Some((count, _)) = self.block()? {
            for _ in 0..count {
                list.push(self.value(items, None)?);
            }
        }
        Ok(list)
    }

    fn map(&mut self, values: &'a Type) -> Result<HashMap<CelMapKey<'a>, BoxedValue<'a>>, String> {
        let mut map = HashMap::new();
        while let Some((count, _)) = self.block()? {
            for _ in 0..count {
                let name = self.string()?;
                map.insert(CelMapKey::from(name), self.value(values, None)?);
            }
        }
        Ok(map)
    }

    fn skip(&mut self, kind: &'a Type) -> Result<(), String> {
        self.enter()?;
        match kind {
            Type::Null => {}
            Type::Boolean => drop(self.boolean()?),
            Type::Long => drop(self.long()?),
            Type::Float => drop(self.take(4)?),
            Type::Double => drop(self.take(8)?),
            Type::Bytes | Type::String | Type::Decimal { .. } => drop(self.bytes()?),
            Type::Array(items) => self.skip_blocks(items, false)?,
            Type::Map(values) => self.skip_blocks(values, true)?,
            Type::Union(branches) => {
                let branch = self.branch(branches)?;
                self.skip(branch)?;
            }
            Type::Named(index) => match self.schema.named(*index) {
                Named::Enum(_) => drop(self.index()?),
                Named::Fixed(size) | Named::FixedDecimal { size, .. } => drop(self.take(*size)?),
                Named::Record(fields) => fields.iter().try_for_each(|(_, kind)| self.skip(kind))?,
            },
        }
        self.depth -= 1;
        Ok(())
    }

    fn skip_blocks(&mut self, items: &'a Type, with_keys: bool) -> Result<(), String> {
        while let Some((count, size)) = self.block()? {
            if let Some(size) = size {
                self.take(size)?;
                continue;
            }
            for _ in 0..count {
                if with_keys {
                    self.bytes()?;
                }
                self.skip(items)?;
            }
        }
        Ok(())
    }

    /// The number of items in the next block of an array or map, and its size in bytes if the
    /// writer has stated it; `None` at the end.
    fn block(&mut self) -> Result<Option<(u64, Option<usize>)>, String> {
        let count = self.long()?;
        let size = if count < 0 { Some(self.index()?) } else { None };
        Ok((count != 0).then_some((count.unsigned_abs(), size)))
    }

    fn branch(&mut self, branches: &'a [Type]) -> Result<&'a Type, String> {
        let branch = branches.get(self.index()?);
        branch.ok_or_else(|| "a union has a branch that its schema lacks".to_owned())
    }

    /// Counts a value; the caller leaves it by decrementing `depth`.
    fn enter(&mut self) -> Result<(), String> {
        self.steps += 1;
        self.depth += 1;
        if self.steps > self.max_steps {
            return Err("more values than its bytes can have".to_owned());
        }
        if self.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels"));
        }
        Ok(())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("a boolean has the value {other}")),
        }
    }

    /// A zigzag varint.
    fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                #[expect(clippy::cast_possible_wrap, reason = "zigzag")]
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn index(&mut self) -> Result<usize, String> {
        let index = self.long()?;
        usize::try_from(index).map_err(|_| format!("{index} is no length or index"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.index()?;
        self.take(length)
    }

    fn string(&mut self) -> Result<&'a str, String> {
        str::from_utf8(self.bytes()?).map_err(|_| "a string is not UTF-8".to_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(ends)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(ends)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn ends() -> String {
    "it ends too early".to_owned()
}

/// A decimal as text: a double would not be exact.
fn decimal<'a>(unscaled: &[u8], scale: usize) -> Result<BoxedValue<'a>, String> {
    let negative = unscaled.first().is_some_and(|first| first & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 16];
    let start = bytes.len().checked_sub(unscaled.len());
    let start = start.ok_or("a decimal has more than 128 bits")?;
    bytes[start..].copy_from_slice(unscaled);
    let number = i128::from_be_bytes(bytes);
    let mut digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    let sign = if negative { "-" } else { "" };
    Ok(Box::new(CelString::from(format!("{sign}{digits}"))))
}
