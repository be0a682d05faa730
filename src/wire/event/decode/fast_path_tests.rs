//! The fast path and serde agree.

use super::{fast_path, parse};

#[test]
fn the_fast_path_parses_common_events() {
    for common in [
        r#"{"user_id":123,"session_id":"abc123","activity_timestamp":"2025-02-07T12:00:00Z"}"#,
        r#"{ "session_id" : "", "user_id" : "ann" , "activity_timestamp" : -0, "event": "login" } "#,
        r#"{"event":"logout"}"#,
        r#"{"session_id":4711,"user_id":12.50,"activity_timestamp":1738929600.25}"#,
    ] {
        let fields = fast_path::parse(common.as_bytes());
        assert!(fields.is_some(), "{common}");
        assert_eq!(fields, parse(common.as_bytes()).ok(), "{common}");
    }
    for other in [
        r#"{"session_id":null}"#,
        r#"{"session_id":"é"}"#,
        r#"{"session_id":"\u0061"}"#,
        r#"{"session_id":"a","session_id":"b"}"#,
        r#"{"activity_timestamp":1.}"#,
        r#"{"activity_timestamp":1.5e9}"#,
        r#"{"user_id":01}"#,
        r#"{"user_id":-}"#,
        r#"{"device":"phone"}"#,
        r#"{"event":"login"} {}"#,
        r#"{"event":"login",}"#,
        r#"{"event":"login""#,
    ] {
        assert_eq!(fast_path::parse(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn the_fast_path_agrees_with_serde_on_any_byte_anywhere() {
    let event = r#"{ "session_id":"a","user_id" : 12.50,"activity_timestamp":-1, "event":"login"}"#;
    for (at, byte) in (0..=event.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
        let mut inserted = event.as_bytes().to_vec();
        inserted.insert(at, byte);
        let mut replaced = event.as_bytes().to_vec();
        replaced[at.min(event.len() - 1)] = byte;
        for value in [inserted, replaced] {
            if let Some(fields) = fast_path::parse(&value) {
                assert_eq!(Ok(fields), parse(&value), "{}", value.escape_ascii());
            }
        }
    }
    for space in [" ", "\t", "\r\n"] {
        let value = format!("{event}{space}");
        assert!(fast_path::parse(value.as_bytes()).is_some(), "{space:?}");
    }
}
