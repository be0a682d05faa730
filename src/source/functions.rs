//! The functions of expressions: CEL's own and those on strings whose result is bounded by their
//! arguments.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelString, STRING_TYPE};
use cel::common::value::CowVal;
use cel::{Env, ExecutionError};
use regex::{Regex, RegexBuilder};

/// Functions and macros that expressions may call. `join`, `replace` and `format` are not among
/// them: their results can be much longer than the record.
pub(super) const FUNCTIONS: [&str; 36] = [
    "all",
    "bool",
    "bytes",
    "charAt",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "has",
    "hasValue",
    "indexOf",
    "int",
    "lastIndexOf",
    "lowerAscii",
    "map",
    "matches",
    "none",
    "of",
    "ofNonZeroValue",
    "optFlatMap",
    "optMap",
    "or",
    "orValue",
    "reverse",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "trim",
    "type",
    "uint",
    "upperAscii",
];

/// Limit on the compiled size of a regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;
/// Limit on the regular expressions that a thread keeps; sources that are edited leave old ones.
const MAX_CACHED: usize = 1_000;

/// The environment that all expressions share.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let extended = env.add_extension(cel::extensions::strings).and_then(|()| {
        let string = || STRING_TYPE.to_owned();
        env.add_member_overload(
            "matches",
            "string.matches",
            string(),
            vec![string()],
            matches,
        )
    });
    debug_assert!(extended.is_ok(), "{extended:?}");
    Arc::new(env)
});

thread_local! {
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// Compiles a regular expression within [`MAX_REGEX_BYTES`].
pub(super) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_BYTES)
        .build()
}

/// `text.matches(pattern)`. The pattern is a literal (see `check.rs`), so each is compiled once.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature of CEL functions"
)]
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = arguments.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, arguments.len()));
    };
    let text = text.downcast_ref::<CelString<'_>>();
    let pattern = pattern.downcast_ref::<CelString<'_>>();
    let (Some(text), Some(pattern)) = (text, pattern) else {
        return Err(ExecutionError::function_error("matches", "not a string"));
    };
    let matched = COMPILED.with_borrow_mut(|compiled| {
        if let Some(regex) = compiled.get(pattern.inner()) {
            return Ok(regex.is_match(text.inner()));
        }
        let regex = regex(pattern.inner())?;
        let matched = regex.is_match(text.inner());
        if compiled.len() == MAX_CACHED {
            compiled.clear();
        }
        compiled.insert(pattern.inner().to_owned(), regex);
        Ok(matched)
    });
    let matched =
        matched.map_err(|error: regex::Error| ExecutionError::function_error("matches", error))?;
    Ok(CowVal::owned(CelBool::from(matched)))
}
