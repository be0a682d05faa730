//! Readers of files and of records of the policy topic.

use std::collections::BTreeSet;
use std::io::Write as _;

use sundown::handler::actions_file::Actions;
use sundown::kafka::topic_feed::TopicRecord;
use sundown::policy::record::{PolicyRecord, encode};
use sundown::policy::store::{PolicyStore, StoreChange};
use sundown::session::Timestamp;
use sundown::source::topic::SourceStore;
use sundown::wire::record::TimestampKind;
use sundown::{policy, source};
use tempfile::NamedTempFile;

use super::first_line;

/// A policy of a file becomes the same policy when it is published.
pub(super) fn policy_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for parsed in policy::yaml::parse(&text, &mut BTreeSet::new()) {
        let Ok((mut document, mut policy)) = parsed else {
            continue;
        };
        document.metadata.generation = Some(1);
        policy.generation = 1;
        let key = document.full_name();
        let value = encode(&document);
        match policy::record::decode(Some(key.as_bytes()), Some(value.as_bytes())) {
            Ok(PolicyRecord::Active { policy: read, .. }) => assert_eq!(read, policy),
            other => panic!("{value}: {other:?}"),
        }
    }
}

/// The first line is the key, the rest the value: of a policy, a source or a pause.
pub(super) fn policy_record(data: &[u8]) {
    let (key, value) = first_line(data);
    let mut policies = PolicyStore::default();
    let mut sources = SourceStore::default();
    let record = |value: Option<&[u8]>| TopicRecord {
        partition: 0,
        offset: 0,
        timestamp: Timestamp::from_millis(0),
        timestamp_kind: TimestampKind::CreateTime,
        key: Some(key.to_vec()),
        value: value.map(<[u8]>::to_vec),
    };
    if policies.apply(&record(Some(value))).is_ok() {
        let again = policies.apply(&record(Some(value)));
        assert!(matches!(again, Ok(StoreChange::Nothing)), "{again:?}");
    }
    if sources.apply(Some(key), Some(value)).is_ok() {
        let again = sources.apply(Some(key), Some(value));
        assert!(matches!(again, Ok(false)), "{again:?}");
    }
    let _deleted = (
        policies.apply(&record(None)),
        sources.apply(Some(key), None),
    );
    assert_eq!(policies.documents().len() + sources.documents().len(), 0);
    assert_eq!(policies.pauses().iter().count(), 0);
}

/// A source of a file becomes the same source when it is published.
pub(super) fn source_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for (document, _) in source::yaml::parse(&text, &mut BTreeSet::new())
        .into_iter()
        .flatten()
    {
        let name = document.full_name();
        let value = serde_json::to_vec(&document).expect("a source can be written");
        let mut store = SourceStore::default();
        let applied = store.apply(Some(source::topic::key(&name).as_bytes()), Some(&value));
        assert!(matches!(applied, Ok(true)), "{applied:?}");
        assert_eq!(store.document(&name), Some(&document));
    }
}

/// The secrets that it names are read, too: the seeds name none.
pub(super) fn actions_file(data: &[u8]) {
    if data
        .windows(4)
        .any(|text| text.eq_ignore_ascii_case(b"file"))
    {
        return;
    }
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("a temporary file");
    let _read_or_refused = Actions::load(file.path());
}
