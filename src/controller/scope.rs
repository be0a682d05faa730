//! The namespaces whose resources a controller manages.

/// The watched namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Namespaces(Vec<String>),
}

impl Scope {
    /// Returns whether this controller manages resources of `namespace`.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }

    /// Returns whether this controller manages the record of the resource with this full name.
    /// Names without a namespace belong to `sundown policy` and `sundown source`.
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        name.split_once('/')
            .is_some_and(|(namespace, _)| self.covers(namespace))
    }
}
