//! Decodes who ended a session, and why.

use super::attributes::{DroppedAttributes, scalar};
use super::fields::Fields;
use crate::session::{EventKind, Initiator};

/// The longest `by` or `note`, in bytes; the rest is cut off.
const MAX_INITIATOR_BYTES: usize = 512;

/// Decodes `by` and `note` of an event that ends sessions. What is unusable is counted and dropped.
pub(super) fn decode(
    fields: &Fields<'_>,
    kind: EventKind,
    dropped: &mut DroppedAttributes,
) -> Option<Box<Initiator>> {
    kind.ends_with()?;
    let mut text = |literal: Option<&str>| match scalar(literal?) {
        Ok(text) => text
            .filter(|text| !text.is_empty())
            .map(|text| truncate(&text)),
        Err(_) => {
            dropped.unusable = dropped.unusable.saturating_add(1);
            None
        }
    };
    let (by, note) = (text(fields.by), text(fields.note));
    (by.is_some() || note.is_some()).then(|| Box::new(Initiator { by, note }))
}

fn truncate(text: &str) -> Box<str> {
    let end = text.floor_char_boundary(MAX_INITIATOR_BYTES);
    text[..end].into()
}
