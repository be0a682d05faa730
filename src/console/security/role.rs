//! What a caller may do.

use serde::{Deserialize, Serialize};

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Looks at pages.
    Viewer,
    /// Pauses partitions, redrives and discards dead letters.
    Operator,
    /// Ends sessions.
    Admin,
}

impl UserRole {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// The values of a claim that give roles.
#[derive(Clone, Debug, Default)]
pub struct RoleRules {
    /// The claim's name, or its path with dots.
    pub claim: String,
    pub viewer: Vec<String>,
    pub operator: Vec<String>,
    pub admin: Vec<String>,
}

impl RoleRules {
    /// The highest role that the claims give.
    #[must_use]
    pub fn role(&self, claims: &serde_json::Value) -> Option<UserRole> {
        let values = self.values(claims);
        let has = |wanted: &[String]| wanted.iter().any(|one| values.contains(&one.as_str()));
        [
            (UserRole::Admin, &self.admin),
            (UserRole::Operator, &self.operator),
            (UserRole::Viewer, &self.viewer),
        ]
        .into_iter()
        .find_map(|(role, wanted)| has(wanted).then_some(role))
    }

    /// Whether the claims have the one that gives roles.
    #[must_use]
    pub fn applies(&self, claims: &serde_json::Value) -> bool {
        self.find(claims).is_some()
    }

    fn values<'a>(&self, claims: &'a serde_json::Value) -> Vec<&'a str> {
        match self.find(claims) {
            Some(serde_json::Value::String(value)) => vec![value],
            Some(serde_json::Value::Array(values)) => values
                .iter()
                .filter_map(serde_json::Value::as_str)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The claim of that name: names may contain dots themselves, as those that are URLs do.
    fn find<'a>(&self, claims: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        let path = || format!("/{}", self.claim.replace('.', "/"));
        claims.get(&self.claim).or_else(|| claims.pointer(&path()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_highest_role_of_a_claim_counts() {
        let rules = |claim: &str| RoleRules {
            claim: claim.to_owned(),
            viewer: vec!["staff".to_owned()],
            operator: vec!["on-call".to_owned()],
            admin: vec!["security".to_owned()],
        };
        let groups = rules("groups");
        for (claims, role) in [
            (
                json!({"groups": ["staff", "on-call"]}),
                Some(UserRole::Operator),
            ),
            (json!({"groups": "security"}), Some(UserRole::Admin)),
            (json!({"groups": ["security "]}), None),
            (json!({"groups": [7]}), None),
            (json!({}), None),
        ] {
            assert_eq!(groups.role(&claims), role, "{claims}");
        }
        let nested = json!({"realm_access": {"roles": ["staff"]}});
        assert_eq!(
            rules("realm_access.roles").role(&nested),
            Some(UserRole::Viewer)
        );
        let url = json!({"https://example.org/roles": ["security"]});
        assert_eq!(
            rules("https://example.org/roles").role(&url),
            Some(UserRole::Admin)
        );
    }
}
