//! Times of events, and records that wrap an event.

use serde_json::json;

use super::DecodeLimits;
use super::tests::{AT, code, code_with, decode, minimal_with};
use crate::session::Span;
use crate::wire::time;

#[test]
fn times_are_rfc_3339_or_numbers() {
    for (literal, millis) in [
        (r#""2025-02-07T12:00:00Z""#, AT.as_millis()),
        (r#""2025-02-07T14:00:00.000+02:00""#, AT.as_millis()),
        (r#""2025-02-07t12:00:00.0005z""#, AT.as_millis()),
        (r#""2025-02-07T12:00:00\u005a""#, AT.as_millis()),
        ("1738929600000", AT.as_millis()),
        ("1738929600", AT.as_millis()),
        ("1738929600.0", AT.as_millis()),
        ("1738929600000000", AT.as_millis()),
        ("1738929600000000000", AT.as_millis()),
        ("1.7389296e12", AT.as_millis()),
        (r#""1738929600000""#, AT.as_millis()),
        (r#""1738929600.000""#, AT.as_millis()),
        ("0", 0),
        ("-1", -1000),
        (r#""0001-01-01T00:00:00Z""#, -62_135_596_800_000),
        (r#""9999-12-31T23:59:59.999Z""#, time::LATEST.as_millis()),
        ("253402300799999999999", time::LATEST.as_millis()),
        ("-62167219200", time::EARLIEST.as_millis()),
    ] {
        let value = minimal_with("activity_timestamp", literal);
        let at = decode(Some(value.as_bytes())).map(|decoded| decoded.at.as_millis());
        assert_eq!(at, Ok(millis), "{literal}");
    }
    for literal in [
        r#""""#,
        r#""yesterday""#,
        r#""2025-02-07""#,
        r#""2025-02-07T12:00:00""#,
        r#""2025-02-30T12:00:00Z""#,
        r#""10000-01-01T00:00:00Z""#,
        "253402300800000000000",
        "-62167219201",
        "99999999999999999999999",
        "true",
        "{}",
    ] {
        assert_eq!(
            code_with("activity_timestamp", literal),
            "invalid_field",
            "{literal}"
        );
    }
}

#[test]
fn an_event_without_a_time_gets_that_of_its_record() {
    let value = br#"{"session_id": "abc123", "user_id": 123}"#;
    assert_eq!(code(value), "missing_field");
    let decoded = super::decode(Some(value), Some(AT), &DecodeLimits::default());
    assert_eq!(decoded.unwrap().at, AT);
}

#[test]
fn an_event_much_older_than_its_record_is_implausible() {
    let limits = DecodeLimits::default();
    let value = minimal_with("activity_timestamp", &AT.as_millis().to_string());
    let decode = |record| super::decode(Some(value.as_bytes()), record, &limits);
    let latest = AT + limits.max_event_age;
    assert!(decode(Some(latest)).is_ok());
    assert!(decode(None).is_ok());
    let error = decode(Some(latest + Span::from_millis(1))).unwrap_err();
    assert_eq!(error.code(), "implausible_time");
    assert_eq!(
        error.to_string(),
        "activity_timestamp 2025-02-07T12:00:00.000Z is 7d1ms older than the record's timestamp \
         2025-02-14T12:00:00.001Z; the limit is 7d (--max-event-age)"
    );
}

#[test]
fn known_wrappings_are_named() {
    let event = minimal_with("user_id", "123");
    let framed = [&[0, 0, 0, 1, 2], event.as_bytes()].concat();
    let gzip = [0x1f, 0x8b, 8, 0].to_vec();
    let text = |value: serde_json::Value| value.to_string().into_bytes();
    let connect = text(json!({ "schema": {"type": "struct"}, "payload": {"session_id": "a"} }));
    let cloud_event = text(json!({
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "login", "data": {}
    }));
    let keycloak = text(json!({
        "time": 1_738_929_600_000_i64, "type": "LOGIN", "realmId": "shop", "sessionId": "a"
    }));
    for (value, code, wrapping) in [
        (framed, "malformed", "Confluent's wire format"),
        (gzip, "malformed", "gzip"),
        (
            connect,
            "missing_field",
            "Kafka Connect's schema/payload envelope",
        ),
        (cloud_event, "missing_field", "a structured CloudEvent"),
        (keycloak, "missing_field", "a Keycloak event"),
    ] {
        let error = decode(Some(&value)).unwrap_err();
        assert_eq!(error.code(), code, "{wrapping}");
        let text = error.to_string();
        assert!(text.contains(&format!("looks like {wrapping}")), "{text}");
        assert!(text.ends_with("configure a source for it"), "{text}");
    }
    let with_type = minimal_with("type", "\"page\"");
    assert_eq!(code(with_type.as_bytes()), "decoded");
    let plain = decode(Some(b"{}")).unwrap_err();
    assert!(!plain.to_string().contains("source"), "{plain}");
}
