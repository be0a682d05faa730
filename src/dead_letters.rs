//! Dead letters of both kinds: found, shown, redriven and discarded.

pub mod filter;
pub mod letter;
pub mod redrive;
pub mod scan;
