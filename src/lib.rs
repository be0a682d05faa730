//! Sundown.
