//! Values of records.

use cel::common::value::Val;

/// A value of any type, which may borrow from the record.
pub(in crate::source) type BoxedValue<'a> = Box<dyn Val + 'a>;
