//! Validates the API server's sources: each by itself, then that no two read the same topic.

use std::collections::BTreeMap;

use kube::api::DynamicObject;

use crate::controller::published::PublishedRecords;
use crate::controller::scope::Scope;
use crate::controller::validate::{Rejection, ValidResource, Validation, metadata_of, spec_of};
use crate::kafka::Topics;
use crate::policy::document::API_VERSION;
use crate::source::document::{KIND, SessionSource};
use crate::source::mapping::Mapping;
use crate::source::set::{SharedTopic, check_topics};
use crate::source::spec::SessionSourceSpec;
use crate::source::topic::MAX_SOURCES;

/// Validates the sources. A topic belongs to the source that has it already; published sources
/// take precedence over new ones.
pub(super) fn validate(
    known: &Scope,
    objects: &BTreeMap<String, DynamicObject>,
    published: &PublishedRecords,
    own_topics: &Topics,
) -> Validation<SessionSourceSpec> {
    let mut claims = Claims::default();
    let mut count = 0;
    for (name, document) in published.sources.documents() {
        if !known.owns(name) {
            claims.add(name, &document.spec.topics);
            count += 1;
        }
    }
    let mut candidates: Vec<_> = objects
        .iter()
        .map(|(name, object)| Candidate::new(name, object, published, own_topics))
        .collect();
    candidates.sort_by_key(|candidate| candidate.precedence);
    let mut validation = Validation::default();
    for candidate in candidates {
        let name = candidate.name;
        let resource = candidate.resource.and_then(|resource| {
            let rejection = claims.conflict(name, &resource.spec.topics);
            rejection.map_or(Ok(resource), Err)
        });
        let resource = match resource {
            Ok(_) if count >= MAX_SOURCES => Err(Rejection {
                reason: "TooManySources",
                problem: format!("there are {MAX_SOURCES} sources already: delete some"),
            }),
            other => other,
        };
        match resource {
            Ok(resource) => {
                count += 1;
                claims.add(name, &resource.spec.topics);
                validation.valid.insert(name.to_owned(), resource);
            }
            Err(rejection) => {
                // The published generation stays active.
                if let Some(active) = published.sources.document(name) {
                    count += 1;
                    claims.add(name, &active.spec.topics);
                }
                validation.rejected.insert(name.to_owned(), rejection);
            }
        }
    }
    validation
}

/// Which source reads a topic.
#[derive(Default)]
struct Claims(BTreeMap<String, String>);

impl Claims {
    fn add(&mut self, name: &str, topics: &[String]) {
        for topic in topics {
            let claimed = self.0.entry(topic.clone());
            claimed.or_insert_with(|| name.to_owned());
        }
    }

    fn conflict(&self, name: &str, topics: &[String]) -> Option<Rejection> {
        let taken = topics
            .iter()
            .find_map(|topic| Some((topic, self.0.get(topic)?)));
        taken.map(|(topic, owner)| Rejection {
            reason: "SharedTopic",
            problem: SharedTopic {
                topic: topic.clone(),
                first: owner.clone(),
                second: name.to_owned(),
            }
            .to_string(),
        })
    }
}

struct Candidate<'a> {
    name: &'a str,
    resource: Result<ValidResource<SessionSourceSpec>, Rejection>,
    precedence: Precedence,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    /// Its active generation stays.
    Unchanged,
    Changed,
    New,
}

impl<'a> Candidate<'a> {
    fn new(
        name: &'a str,
        object: &DynamicObject,
        published: &PublishedRecords,
        own_topics: &Topics,
    ) -> Self {
        let document = to_document(object, own_topics);
        let resource = document.map_err(Rejection::invalid).map(|document| {
            // Strings, numbers and maps of strings always serialize.
            let value = serde_json::to_string(&document).unwrap_or_default();
            let spec = document.spec;
            ValidResource { spec, value }
        });
        let value = published.source_values.get(name);
        let stays = match &resource {
            Ok(resource) => resource.is_published(value),
            Err(_) => true,
        };
        let precedence = match value {
            None => Precedence::New,
            Some(_) if stays => Precedence::Unchanged,
            Some(_) => Precedence::Changed,
        };
        Self {
            name,
            resource,
            precedence,
        }
    }
}

/// Converts an object to a document, and compiles its expressions.
fn to_document(object: &DynamicObject, own_topics: &Topics) -> Result<SessionSource, String> {
    let document = SessionSource {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: metadata_of(object),
        spec: spec_of(object, "source")?,
    };
    Mapping::compile(&document).map_err(|error| error.to_string())?;
    check_topics(&document.spec.topics, own_topics)
        .map_err(|error| format!("spec.topics: {error}"))?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::published::PublishedRecords;
    use crate::kafka::TopicArgs;
    use crate::source::topic::key;
    use clap::Parser;
    use serde_json::{Value, json};

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        topics: TopicArgs,
    }

    fn object(name: &str, generation: i64, topics: &[&str]) -> (String, DynamicObject) {
        with_session(name, generation, topics, &json!({"id": "value.id"}))
    }

    fn with_session(
        name: &str,
        generation: i64,
        topics: &[&str],
        session: &Value,
    ) -> (String, DynamicObject) {
        let object = json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": {"name": name, "namespace": "ns", "generation": generation},
            "spec": {"topics": topics, "session": session},
        });
        (
            format!("ns/{name}"),
            serde_json::from_value(object).unwrap(),
        )
    }

    fn validated(
        objects: &[(String, DynamicObject)],
        published: &PublishedRecords,
    ) -> Validation<SessionSourceSpec> {
        let known = Scope::Namespaces(vec!["ns".to_owned()]);
        let objects = objects.iter().cloned().collect();
        let own = Flags::parse_from(["test"]).topics.topics();
        validate(&known, &objects, published, &own)
    }

    /// What the topic holds once these have been validated and published.
    fn publish(published: &mut PublishedRecords, objects: &[(String, DynamicObject)]) {
        for (name, resource) in validated(objects, published).valid {
            let value = resource.value.into_bytes();
            let applied = published
                .sources
                .apply(Some(key(&name).as_bytes()), Some(&value));
            applied.unwrap();
            published.source_values.insert(name, value);
        }
    }

    #[test]
    fn a_typo_is_located() {
        let typo = with_session("typo", 1, &["t"], &json!({"id": "value.id + vlaue.user"}));
        let rejected = validated(&[typo], &PublishedRecords::default()).rejected;
        let Rejection { reason, problem } = &rejected["ns/typo"];
        assert_eq!(*reason, "Invalid");
        let expected = "spec.session.id: line 1, column 12 of `value.id + vlaue.user`: unknown variable vlaue; did you mean value?";
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn the_topics_of_the_installation_are_no_sources() {
        let own = object("own", 1, &["session_logs"]);
        let rejected = validated(&[own], &PublishedRecords::default()).rejected;
        assert!(rejected["ns/own"].problem.contains("session_logs"));
    }

    #[test]
    fn a_topic_stays_with_the_source_that_has_it() {
        let mut published = PublishedRecords::default();
        let first = [object("b", 1, &["t"]), object("c", 1, &["u"])];
        publish(&mut published, &first);
        let named = |validation: &Validation<SessionSourceSpec>| {
            let rejected = validation.rejected.iter();
            rejected
                .map(|(name, rejection)| (name.clone(), rejection.reason))
                .collect::<Vec<_>>()
        };
        let newer = object("a", 1, &["t"]);
        let [b, c] = first;
        let found = validated(&[newer, b, c], &published);
        assert_eq!(named(&found), [("ns/a".to_owned(), "SharedTopic")]);
        // Neither an edit nor an invalid edit of another source takes it away.
        let greedy = object("c", 2, &["u", "t"]);
        let broken = with_session("b", 2, &["t"], &json!({}));
        let found = validated(&[broken, greedy.clone()], &published);
        let expected = [("ns/b", "Invalid"), ("ns/c", "SharedTopic")];
        assert_eq!(
            named(&found),
            expected.map(|(name, reason)| (name.to_owned(), reason))
        );
        // Once the owner is gone, it is free.
        published
            .sources
            .apply(Some(key("ns/b").as_bytes()), None)
            .unwrap();
        published.source_values.remove("ns/b");
        assert_eq!(named(&validated(&[greedy], &published)), []);
    }

    #[test]
    fn sources_of_other_owners_keep_their_topics() {
        let mut published = PublishedRecords::default();
        let foreign = json!({
            "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "cli"},
            "spec": {"topics": ["t"], "session": {"id": "value.id"}},
        });
        let value = foreign.to_string().into_bytes();
        published
            .sources
            .apply(Some(key("cli").as_bytes()), Some(&value))
            .unwrap();
        published.source_values.insert("cli".to_owned(), value);
        let rejected = validated(&[object("a", 1, &["t"])], &published).rejected;
        assert_eq!(rejected["ns/a"].reason, "SharedTopic");
        assert!(rejected["ns/a"].problem.contains("'cli'"));
    }
}
