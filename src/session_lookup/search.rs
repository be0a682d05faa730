//! Searches trackers for sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize, Serializer};

use super::owners::TrackerEndpoint;
use super::{
    ENDINGS_PATH, EndedSession, FoundSession, LookupQuery, LookupResponse, PATH, PolicyChanges,
};
use crate::http::client::{self, BodyError};
use crate::http::token::Token;
use crate::wire::partitioner::murmur2_partition;

/// Bounds a request to a tracker; longer than the tracker's own timeout.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
/// Bounds concurrent requests.
const MAX_CONCURRENT_REQUESTS: usize = 16;
/// The longest response in bytes: the most sessions with the longest ids and attributes.
const MAX_RESPONSE_BYTES: usize = 2 << 20;

/// Searches trackers through their admin ports.
#[derive(Clone, Debug)]
pub struct Searcher {
    client: Client,
    token: Option<Token>,
}

/// The sessions found, and the partitions that could not be searched.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SearchResult {
    /// The sessions, ordered by deadline.
    pub sessions: Vec<FoundSession>,
    /// The endings that trackers remember of the session looked up by its id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndedSession>,
    /// Whether more sessions match.
    pub more: bool,
    /// The number of matching sessions, if they are counted.
    #[serde(skip)]
    pub count: u64,
    /// Why sessions may be missing.
    pub gaps: Vec<SearchGap>,
}

/// The number of live sessions, and the partitions that could not be searched.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SessionCount {
    pub sessions: u64,
    /// Why sessions may be missing.
    pub gaps: Vec<SearchGap>,
}

/// How many sessions changes of policies would end within [`ENDINGS_AHEAD`](super::ENDINGS_AHEAD), on
/// the partitions that could be searched.
#[derive(Clone, Debug, Default)]
pub struct MassEnding {
    pub live: u64,
    pub ending: u64,
    /// Whether a tracker has counted those of a partition.
    pub counted: bool,
    /// Why sessions may be missing.
    pub gaps: Vec<SearchGap>,
}

/// A part of the state that could not be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchGap {
    #[error("no tracker has reported recently; check that one is running (sundown tracker)")]
    NoTrackers,
    /// No tracker owns these partitions.
    #[error("no tracker owns partition {}; retry after the group has rebalanced", list(.0))]
    NoOwner(BTreeSet<i32>),
    #[error("{tracker} is restoring partition {}; retry later", list(partitions))]
    Restoring {
        tracker: String,
        partitions: BTreeSet<i32>,
    },
    #[error(
        "{tracker} cannot be reached at {admin}: {reason}; check its --admin-host and that its admin port is open to this machine"
    )]
    Unreachable {
        tracker: String,
        admin: String,
        reason: String,
    },
    /// The tracker rejected the request, or its response is invalid.
    #[error("{tracker} at {admin} failed: {reason}")]
    Failed {
        tracker: String,
        admin: String,
        reason: String,
    },
}

impl Searcher {
    /// Creates a searcher that authenticates with this token.
    ///
    /// # Errors
    /// If the HTTP client cannot be created.
    pub fn new(token: Option<Token>) -> anyhow::Result<Self> {
        Ok(Self {
            client: client::client_without_proxy(REQUEST_TIMEOUT)?,
            token,
        })
    }

    /// Counts live sessions; see [`Searcher::find`].
    pub async fn count(
        &self,
        query: LookupQuery,
        trackers: &[TrackerEndpoint],
        partition_count: i32,
    ) -> SessionCount {
        let query = LookupQuery {
            count: true,
            ..query
        };
        let result = self.find(&query, trackers, partition_count).await;
        SessionCount {
            sessions: result.count,
            gaps: result.gaps,
        }
    }

    /// Counts the sessions that changes of policies would end.
    pub async fn count_endings(
        &self,
        changes: &PolicyChanges,
        trackers: &[TrackerEndpoint],
    ) -> MassEnding {
        let mut requests = Vec::with_capacity(trackers.len());
        for tracker in trackers {
            let url = format!("http://{}{ENDINGS_PATH}", tracker.admin);
            requests.push(self.request(self.client.post(url).json(changes), tracker));
        }
        let responses = stream::iter(requests).buffered(MAX_CONCURRENT_REQUESTS);
        let mut responses = responses.zip(stream::iter(trackers));
        let mut total = MassEnding::default();
        while let Some((response, tracker)) = responses.next().await {
            match response {
                Ok(response) => {
                    total.live = total.live.saturating_add(response.live);
                    total.ending = total.ending.saturating_add(response.count);
                    total.counted |= response.partitions.iter().any(|one| !one.restoring);
                    total.gaps.extend(restoring(&response, tracker));
                }
                Err(gap) => total.gaps.push(gap),
            }
        }
        total
    }

    /// Searches for live sessions on `partition_count` partitions. For a session id, the owner
    /// of the partition that the id hashes to is searched first, then the others, because
    /// applications may use other keys.
    pub async fn find(
        &self,
        query: &LookupQuery,
        trackers: &[TrackerEndpoint],
        partition_count: i32,
    ) -> SearchResult {
        let likely = query
            .session
            .as_deref()
            .and_then(|id| murmur2_partition(Some(id.as_bytes()), partition_count));
        let (first, rest): (Vec<_>, Vec<_>) = trackers
            .iter()
            .partition(|tracker| likely.is_some_and(|one| tracker.partitions.contains(&one)));
        let mut result = self.search_all(query, &first).await;
        if query.session.is_none() || result.sessions.is_empty() {
            result.add(self.search_all(query, &rest).await);
            result.gaps.extend(unowned(trackers, partition_count));
        }
        let deadline = |one: &FoundSession| (one.deadline.is_none(), one.deadline.clone());
        result.sessions.sort_by_key(deadline);
        result
    }

    async fn search_all(&self, query: &LookupQuery, trackers: &[&TrackerEndpoint]) -> SearchResult {
        // The compiler rejects a `map` here: the closure's future is not general enough.
        let mut requests = Vec::with_capacity(trackers.len());
        for tracker in trackers {
            requests.push(self.search(query, tracker));
        }
        let mut responses = stream::iter(requests).buffered(MAX_CONCURRENT_REQUESTS);
        let mut result = SearchResult::default();
        while let Some(response) = responses.next().await {
            result.add(response);
        }
        result
    }

    async fn search(&self, query: &LookupQuery, tracker: &TrackerEndpoint) -> SearchResult {
        let request = self.client.get(url(query, &tracker.admin));
        match self.request(request, tracker).await {
            Ok(response) => {
                let gap = restoring(&response, tracker);
                SearchResult {
                    sessions: response.sessions,
                    ended: response.ended,
                    more: response.more,
                    count: response.count,
                    gaps: gap.into_iter().collect(),
                }
            }
            Err(gap) => SearchResult {
                gaps: vec![gap],
                ..SearchResult::default()
            },
        }
    }

    async fn request(
        &self,
        mut request: RequestBuilder,
        tracker: &TrackerEndpoint,
    ) -> Result<LookupResponse, SearchGap> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.secret());
        }
        let unreachable = |error: reqwest::Error| SearchGap::Unreachable {
            tracker: tracker.id.clone(),
            admin: tracker.admin.clone(),
            reason: client::describe(error),
        };
        let failed = |reason: String| SearchGap::Failed {
            tracker: tracker.id.clone(),
            admin: tracker.admin.clone(),
            reason,
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let body = client::read_body(&mut response, MAX_RESPONSE_BYTES).await;
        let body = body.map_err(|error| match error {
            BodyError::TooLong(_) => failed("the response is too long".to_owned()),
            BodyError::Broken(error) => unreachable(error),
        })?;
        if !response.status().is_success() {
            return Err(failed(error_message(response.status().as_u16(), &body)));
        }
        serde_json::from_slice(&body)
            .map_err(|error| failed(format!("cannot decode the response: {error}")))
    }
}

impl SearchResult {
    /// Returns the latest ending; `None` if a live session was found.
    #[must_use]
    pub fn latest_ending(&self) -> Option<&EndedSession> {
        // RFC 3339 in UTC with a fixed number of digits sorts by time.
        let latest = self.ended.iter().max_by_key(|ended| &ended.ended_at);
        latest.filter(|_| self.sessions.is_empty())
    }

    fn add(&mut self, other: Self) {
        self.sessions.extend(other.sessions);
        self.ended.extend(other.ended);
        self.more |= other.more;
        self.count = self.count.saturating_add(other.count);
        self.gaps.extend(other.gaps);
    }
}

impl Serialize for SearchGap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn url(query: &LookupQuery, admin: &str) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("session", &query.session),
        ("user", &query.user),
        ("except", &query.except),
        ("attributes", &query.attributes),
    ] {
        if let Some(value) = value {
            pairs.append_pair(name, value);
        }
    }
    for (name, value) in [("string", query.string), ("count", query.count)] {
        if value {
            pairs.append_pair(name, "true");
        }
    }
    format!("http://{admin}{PATH}?{}", pairs.finish())
}

/// The error in the body of a response, or else its status.
fn error_message(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct ErrorResponse {
        error: String,
    }
    match serde_json::from_slice::<ErrorResponse>(body) {
        Ok(body) => body.error,
        Err(_) => format!("status {status}"),
    }
}

fn restoring(response: &LookupResponse, tracker: &TrackerEndpoint) -> Option<SearchGap> {
    let partitions = response.partitions.iter().filter(|one| one.restoring);
    let partitions: BTreeSet<_> = partitions.map(|one| one.partition).collect();
    (!partitions.is_empty()).then(|| SearchGap::Restoring {
        tracker: tracker.id.clone(),
        partitions,
    })
}

fn unowned(trackers: &[TrackerEndpoint], partition_count: i32) -> Option<SearchGap> {
    if trackers.is_empty() {
        return Some(SearchGap::NoTrackers);
    }
    let owned = |partition: &i32| {
        trackers
            .iter()
            .any(|one| one.partitions.contains(partition))
    };
    let missing: BTreeSet<i32> = (0..partition_count)
        .filter(|partition| !owned(partition))
        .collect();
    (!missing.is_empty()).then_some(SearchGap::NoOwner(missing))
}

fn list(partitions: &BTreeSet<i32>) -> String {
    let numbers: Vec<_> = partitions.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_percent_encoded() {
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
    async fn partitions_that_could_not_be_searched_are_reported() {
        let searcher = Searcher::new(None).unwrap();
        let query = LookupQuery {
            session: Some("s".to_owned()),
            ..LookupQuery::default()
        };
        let found = searcher.find(&query, &[], 3).await;
        assert_eq!(found.gaps, [SearchGap::NoTrackers]);
        let unreachable = TrackerEndpoint {
            id: "t".to_owned(),
            // No process listens on this privileged port.
            admin: "127.0.0.1:1".to_owned(),
            partitions: [0, 2].into(),
        };
        let found = searcher.find(&query, &[unreachable], 3).await;
        let [SearchGap::Unreachable { .. }, SearchGap::NoOwner(missing)] = found.gaps.as_slice()
        else {
            panic!("{:?}", found.gaps)
        };
        assert_eq!(missing, &BTreeSet::from([1]));
    }
}
