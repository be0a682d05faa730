//! Asking trackers for sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::Client;
use serde::{Deserialize, Serialize, Serializer};

use super::owners::Tracker;
use super::{FoundSession, LookupQuery, LookupResponse, PATH};
use crate::http::client;
use crate::http::token::Token;
use crate::wire::partitioner::murmur2_partition;

/// How long one tracker may take: longer than it gives itself.
const PATIENCE: Duration = Duration::from_secs(7);
/// Trackers that are asked at once.
const AT_ONCE: usize = 16;
/// The longest answer, in bytes: the most sessions with the longest ids and attributes.
const MAX_ANSWER: usize = 2 << 20;

/// Asks trackers.
#[derive(Clone, Debug)]
pub struct Searcher {
    client: Client,
    token: Option<Token>,
}

/// What has been found, and where nobody has looked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// The sessions, the one that ends first in front.
    pub sessions: Vec<FoundSession>,
    /// Whether there are more than these.
    pub more: bool,
    /// Why there may be others.
    pub gaps: Vec<Gap>,
}

/// Sessions that nobody could look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// There are no trackers at all.
    #[error("no tracker has reported lately: is one running (sundown tracker)?")]
    NoTrackers,
    /// Nobody has these partitions.
    #[error("no tracker has partition {}: has it just been given away, or do trackers wait for their group?", list(.0))]
    NoOwner(BTreeSet<i32>),
    /// Their tracker is still reading their state.
    #[error(
        "{tracker} is restoring partition {}: try again in a moment",
        list(partitions)
    )]
    Restoring {
        /// Which tracker.
        tracker: String,
        /// Which partitions.
        partitions: BTreeSet<i32>,
    },
    /// It does not answer.
    #[error(
        "{tracker} cannot be reached at {admin}: {reason}; check that its admin port is open to this machine and that --admin-host is right"
    )]
    Unreachable {
        /// Which tracker.
        tracker: String,
        /// Where it should be.
        admin: String,
        /// What went wrong.
        reason: String,
    },
    /// It answers with a refusal.
    #[error("{tracker} does not answer at {admin}: {reason}")]
    Refused {
        /// Which tracker.
        tracker: String,
        /// Where it is.
        admin: String,
        /// What it says.
        reason: String,
    },
}

impl Searcher {
    /// Asks with this token, where it is wanted.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn new(token: Option<Token>) -> anyhow::Result<Self> {
        Ok(Self {
            client: client::client_without_proxy(PATIENCE)?,
            token,
        })
    }

    /// Asks for live sessions: the tracker whose partition a session's id belongs on first,
    /// then, for applications may use other keys, the others. The topic has `partition_count`
    /// partitions; those that no tracker has are a gap.
    pub async fn find(
        &self,
        query: &LookupQuery,
        trackers: &[Tracker],
        partition_count: i32,
    ) -> Findings {
        let likely = query
            .session
            .as_deref()
            .and_then(|id| murmur2_partition(Some(id.as_bytes()), partition_count));
        let (first, rest): (Vec<_>, Vec<_>) = trackers
            .iter()
            .partition(|tracker| likely.is_some_and(|one| tracker.partitions.contains(&one)));
        let mut findings = self.ask_all(query, &first).await;
        if query.session.is_none() || findings.sessions.is_empty() {
            findings.add(self.ask_all(query, &rest).await);
            findings.gaps.extend(unowned(trackers, partition_count));
        }
        let deadline = |one: &FoundSession| (one.deadline.is_none(), one.deadline.clone());
        findings.sessions.sort_by_key(deadline);
        findings
    }

    async fn ask_all(&self, query: &LookupQuery, trackers: &[&Tracker]) -> Findings {
        // Not a `map`: the compiler cannot tell that such a closure's future may move.
        let mut asked = Vec::with_capacity(trackers.len());
        for tracker in trackers {
            asked.push(self.ask(query, tracker));
        }
        let mut answers = stream::iter(asked).buffered(AT_ONCE);
        let mut findings = Findings::default();
        while let Some(answer) = answers.next().await {
            findings.add(answer);
        }
        findings
    }

    async fn ask(&self, query: &LookupQuery, tracker: &Tracker) -> Findings {
        match self.answer(query, tracker).await {
            Ok(answer) => {
                let partitions = answer.partitions.iter().filter(|one| one.restoring);
                let partitions: BTreeSet<_> = partitions.map(|one| one.partition).collect();
                let gap = (!partitions.is_empty()).then(|| Gap::Restoring {
                    tracker: tracker.id.clone(),
                    partitions,
                });
                Findings {
                    sessions: answer.sessions,
                    more: answer.more,
                    gaps: gap.into_iter().collect(),
                }
            }
            Err(gap) => Findings {
                gaps: vec![gap],
                ..Findings::default()
            },
        }
    }

    async fn answer(&self, query: &LookupQuery, tracker: &Tracker) -> Result<LookupResponse, Gap> {
        let mut request = self.client.get(url(query, &tracker.admin));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.secret());
        }
        let unreachable = |error: reqwest::Error| Gap::Unreachable {
            tracker: tracker.id.clone(),
            admin: tracker.admin.clone(),
            reason: client::describe(error),
        };
        let refused = |reason: String| Gap::Refused {
            tracker: tracker.id.clone(),
            admin: tracker.admin.clone(),
            reason,
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(refused("its answer is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if !response.status().is_success() {
            return Err(refused(told(response.status().as_u16(), &body)));
        }
        serde_json::from_slice(&body)
            .map_err(|error| refused(format!("its answer cannot be understood: {error}")))
    }
}

impl Findings {
    fn add(&mut self, other: Self) {
        self.sessions.extend(other.sessions);
        self.more |= other.more;
        self.gaps.extend(other.gaps);
    }
}

impl Serialize for Gap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn url(query: &LookupQuery, admin: &str) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("session", &query.session), ("user", &query.user)] {
        if let Some(value) = value {
            pairs.append_pair(name, value);
        }
    }
    if query.string {
        pairs.append_pair("string", "true");
    }
    format!("http://{admin}{PATH}?{}", pairs.finish())
}

/// What a refusal says for itself.
fn told(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(body) => body.error,
        Err(_) => format!("status {status}"),
    }
}

fn unowned(trackers: &[Tracker], partition_count: i32) -> Option<Gap> {
    if trackers.is_empty() {
        return Some(Gap::NoTrackers);
    }
    let owned = |partition: &i32| {
        trackers
            .iter()
            .any(|one| one.partitions.contains(partition))
    };
    let missing: BTreeSet<i32> = (0..partition_count)
        .filter(|partition| !owned(partition))
        .collect();
    (!missing.is_empty()).then_some(Gap::NoOwner(missing))
}

fn list(partitions: &BTreeSet<i32>) -> String {
    let numbers: Vec<_> = partitions.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_form_fit_into_the_question() {
        let query = LookupQuery {
            session: Some("a/../b?c=d&e#é".to_owned()),
            ..LookupQuery::default()
        };
        let url = url(&query, "[::1]:80");
        assert_eq!(
            url,
            "http://[::1]:80/sessions?session=a%2F..%2Fb%3Fc%3Dd%26e%23%C3%A9"
        );
    }

    #[tokio::test]
    async fn what_nobody_could_look_for_is_told() {
        let searcher = Searcher::new(None).unwrap();
        let query = LookupQuery {
            session: Some("s".to_owned()),
            ..LookupQuery::default()
        };
        let found = searcher.find(&query, &[], 3).await;
        assert_eq!(found.gaps, [Gap::NoTrackers]);
        let gone = Tracker {
            id: "t".to_owned(),
            // Nobody listens on a privileged port that nobody has been given.
            admin: "127.0.0.1:1".to_owned(),
            partitions: [0, 2].into(),
        };
        let found = searcher.find(&query, &[gone], 3).await;
        let [Gap::Unreachable { .. }, Gap::NoOwner(missing)] = found.gaps.as_slice() else {
            panic!("{:?}", found.gaps)
        };
        assert_eq!(missing, &BTreeSet::from([1]));
    }
}
