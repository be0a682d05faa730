//! `success`: the response statuses that count as done.

use std::fmt;

use reqwest::StatusCode;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// A list such as `[2xx, 404]`; by default `[2xx]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Status>", expecting = "a list such as [2xx, 404]")]
pub struct SuccessStatuses(Vec<Status>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Code(u16),
    /// 2 for 2xx.
    Class(u16),
}

impl SuccessStatuses {
    #[must_use]
    pub fn contains(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.0.iter().any(|success| match *success {
            Status::Code(code) => status == code,
            Status::Class(class) => status / 100 == class,
        })
    }
}

impl Default for SuccessStatuses {
    fn default() -> Self {
        Self(vec![Status::Class(2)])
    }
}

impl TryFrom<Vec<Status>> for SuccessStatuses {
    type Error = &'static str;

    fn try_from(list: Vec<Status>) -> Result<Self, Self::Error> {
        if list.is_empty() {
            return Err("success: is empty, so no attempt could succeed; name a status");
        }
        Ok(Self(list))
    }
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse().ok()?;
            return (2..=5).contains(&class).then_some(Self::Class(class));
        }
        let code = text.parse().ok()?;
        (200..=599).contains(&code).then_some(Self::Code(code))
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        struct StatusVisitor;

        impl Visitor<'_> for StatusVisitor {
            type Value = Status;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 404 or 2xx")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Status, E> {
                let status = Status::parse(text);
                status
                    .ok_or_else(|| E::custom(format!("'{text}' is not a status; write 404 or 2xx")))
            }

            fn visit_u64<E: de::Error>(self, code: u64) -> Result<Status, E> {
                self.visit_str(&code.to_string())
            }
        }
        field.deserialize_any(StatusVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_classes_are_listed() {
        let list: SuccessStatuses = serde_yaml::from_str("[2xx, 404, '410']").unwrap();
        for (status, success) in [
            (200, true),
            (299, true),
            (404, true),
            (410, true),
            (400, false),
            (304, false),
            (500, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(list.contains(status), success, "{status}");
        }
        for wrong in ["[]", "[6xx]", "[1xx]", "[20]", "[ok]", "404", "[-1]"] {
            let parsed = serde_yaml::from_str::<SuccessStatuses>(wrong);
            assert!(parsed.is_err(), "{wrong}");
        }
    }
}
