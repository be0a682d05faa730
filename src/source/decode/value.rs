//! Values of records.

use cel::common::value::Val;

/// Limit on the values that a record may have, those in skipped fields excepted.
pub(super) const MAX_VALUES: usize = 20_000;

/// A value of any type, which may borrow from the record.
pub(in crate::source) type BoxedValue<'a> = Box<dyn Val + 'a>;
