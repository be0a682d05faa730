use proptest::prelude::*;
use serde_json::json;

use super::super::subject::MAX_ID_BYTES;
use super::*;
use crate::session::{Subject, UserRef};

pub(super) const AT: Timestamp = Timestamp::from_millis(1_738_929_600_000);

/// Decodes without a record timestamp.
pub(super) fn decode(value: Option<&[u8]>) -> Result<Decoded<'_>, DecodeError> {
    super::decode(value, None, &DecodeLimits::default())
}

pub(super) fn code(value: &[u8]) -> &'static str {
    decode(Some(value)).map_or_else(|error| error.code(), |_| "decoded")
}

pub(super) fn minimal_with(field: &str, literal: &str) -> String {
    let fields = [
        ("session_id", r#""abc123""#),
        ("user_id", "123"),
        ("activity_timestamp", r#""2025-02-07T12:00:00Z""#),
    ];
    let others = fields.into_iter().filter(|(name, _)| *name != field);
    let all = others.chain([(field, literal)]);
    let pairs: Vec<String> = all
        .map(|(name, literal)| format!("{name:?}: {literal}"))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

pub(super) fn code_with(field: &str, literal: &str) -> &'static str {
    code(minimal_with(field, literal).as_bytes())
}

#[test]
fn a_minimal_event_is_decoded() {
    let value = br#"{"user_id": 123, "session_id": "abc123", "activity_timestamp": "2025-02-07T12:00:00Z"}"#;
    let decoded = decode(Some(value)).unwrap();
    let user = UserRef {
        text: "123",
        number: true,
    };
    assert_eq!(
        decoded.event(),
        Event {
            subject: Subject::Session {
                id: "abc123",
                user: Some(user)
            },
            at: AT,
            kind: EventKind::Activity,
            attributes: None,
            initiator: None,
        }
    );
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let value = minimal_with("user_id", r#""ann""#);
    let decoded = decode(Some(value.as_bytes())).unwrap();
    let DecodedSubject::Session { id, user } = decoded.subject else {
        panic!("{value} has a session id");
    };
    assert!(matches!(id, Cow::Borrowed("abc123")));
    assert!(matches!(user.unwrap().text, Cow::Borrowed("ann")));
}

#[test]
fn unknown_fields_are_ignored() {
    assert_eq!(
        code_with("device", r#"{"os": ["linux", 6.1, null]}"#),
        "decoded"
    );
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(code_with("deep", &deep), "decoded");
}

#[test]
fn null_is_absent() {
    assert_eq!(code_with("event", "null"), "decoded");
    assert_eq!(code_with("attributes", "null"), "decoded");
    for field in ["session_id", "user_id", "activity_timestamp"] {
        assert_eq!(code_with(field, "null"), "missing_field", "{field}");
    }
}

#[test]
fn only_known_kinds_of_events_are_accepted() {
    for (name, kind) in [
        ("activity", EventKind::Activity),
        ("login", EventKind::Login),
        ("logout", EventKind::Logout),
        ("revoke", EventKind::Revoke),
        ("rotated", EventKind::Rotated),
    ] {
        let value = minimal_with("event", &format!("{name:?}"));
        assert_eq!(decode(Some(value.as_bytes())).unwrap().event().kind, kind);
    }
    for other in ["", "Login", "logged out", "activity "] {
        assert_eq!(
            code_with("event", &format!("{other:?}")),
            "invalid_field",
            "{other:?}"
        );
    }
}

#[test]
fn only_logouts_and_revocations_may_omit_an_id() {
    let without = |field: &str, event: &str| {
        let mut value: serde_json::Value =
            serde_json::from_str(&minimal_with("event", &format!("{event:?}"))).unwrap();
        value.as_object_mut().unwrap().remove(field);
        value.to_string()
    };
    for (event, expected) in [
        ("activity", "missing_field"),
        ("login", "missing_field"),
        ("logout", "decoded"),
        ("revoke", "decoded"),
    ] {
        for field in ["session_id", "user_id"] {
            let value = without(field, event);
            assert_eq!(code(value.as_bytes()), expected, "{value}");
        }
    }
    let value = without("session_id", "logout");
    let decoded = decode(Some(value.as_bytes())).unwrap();
    let subject = decoded.event().subject;
    assert!(matches!(subject, Subject::AllSessionsOf { user, except: None } if user.text == "123"));
    assert_eq!(
        code(br#"{"event": "logout", "activity_timestamp": 0}"#),
        "missing_field"
    );
}

#[test]
fn a_rotation_needs_the_session_only() {
    let value =
        |fields: &str| format!(r#"{{"event": "rotated", "activity_timestamp": 0, {fields}}}"#);
    for (fields, expected) in [
        (r#""session_id": "a""#, "decoded"),
        (r#""session_id": "a", "user_id": 1"#, "decoded"),
        (r#""user_id": 1"#, "missing_field"),
        (r#""match": {}"#, "missing_field"),
    ] {
        assert_eq!(code(value(fields).as_bytes()), expected, "{fields}");
    }
}

#[test]
fn values_other_than_objects_of_the_right_types_are_malformed() {
    for value in [
        "",
        " ",
        "{",
        "null",
        "42",
        "\"text\"",
        "[]",
        r#"["abc123", 123, 0, "activity", {}]"#,
        "{} {}",
        r#"{"session_id": "a", "session_id": "b"}"#,
        "\u{feff}{}",
        "{'session_id': 'a'}",
        r#"{"session_id": "a",}"#,
    ] {
        assert_eq!(code(value.as_bytes()), "malformed", "{value}");
    }
    for (field, literal) in [
        ("event", "1"),
        ("event", r#"["login"]"#),
        ("session_id", "012"),
        ("user_id", "012"),
        ("user_id", "+1"),
        ("user_id", "NaN"),
        ("session_id", "\"a\u{1}b\""),
    ] {
        assert_eq!(code_with(field, literal), "malformed", "{field}: {literal}");
    }
}

#[test]
fn invalid_utf8_is_malformed() {
    for field in ["session_id", "user_id", "activity_timestamp", "event"] {
        let mut value = minimal_with(field, r#""???""#).into_bytes();
        for byte in &mut value {
            if *byte == b'?' {
                *byte = 0xff;
            }
        }
        assert_eq!(code(&value), "malformed", "{field}");
    }
}

#[test]
fn a_record_without_a_value_has_its_own_code() {
    assert_eq!(decode(None).unwrap_err().code(), "no_value");
}

#[test]
fn ids_have_from_one_to_512_bytes() {
    for field in ["session_id", "user_id"] {
        for (length, expected) in [
            (0, "invalid_field"),
            (1, "decoded"),
            (MAX_ID_BYTES, "decoded"),
            (MAX_ID_BYTES + 1, "invalid_field"),
            (1 << 20, "invalid_field"),
        ] {
            let literal = format!("{:?}", "x".repeat(length));
            assert_eq!(code_with(field, &literal), expected, "{field}: {length}");
        }
    }
    assert_eq!(
        code_with("user_id", &"9".repeat(MAX_ID_BYTES + 1)),
        "invalid_field"
    );
    let error = decode(Some(minimal_with("session_id", "\"\"").as_bytes())).unwrap_err();
    assert_eq!(error.to_string(), "session_id is empty");
}

#[test]
fn session_ids_are_strings_or_whole_numbers() {
    for (literal, id) in [
        ("4711", "4711"),
        ("\"4711\"", "4711"),
        ("-1", "-1"),
        ("18446744073709551616", "18446744073709551616"),
        (r#""a\u0062c""#, "abc"),
    ] {
        let value = minimal_with("session_id", literal);
        let decoded = decode(Some(value.as_bytes())).unwrap();
        let Subject::Session { id: actual, .. } = decoded.event().subject else {
            panic!("{value} has a session id");
        };
        assert_eq!(actual, id, "{literal}");
    }
    for literal in [
        "1.5",
        "1e3",
        "true",
        r#"["a"]"#,
        r#"{"id": 1}"#,
        r#""\ud800""#,
        r#""\u0000a""#,
    ] {
        assert_eq!(
            code_with("session_id", literal),
            "invalid_field",
            "{literal}"
        );
    }
}

#[test]
fn unusable_attributes_do_not_cost_the_event() {
    let dropped = |unusable, too_large| DroppedAttributes {
        unusable,
        too_large,
    };
    let token = json!({ "tenant": "acme", "token": "x".repeat(1321) }).to_string();
    for (literal, expected) in [
        (r#"{"tenant": "acme", "aal": 2}"#, dropped(0, 0)),
        (r#"{"tenant": "acme", "roles": ["admin"]}"#, dropped(1, 0)),
        (&token, dropped(0, 1)),
        (r#""tenant=acme""#, dropped(1, 0)),
    ] {
        let value = minimal_with("attributes", literal);
        let decoded = decode(Some(value.as_bytes())).unwrap();
        assert_eq!(decoded.dropped_attributes(), expected, "{literal}");
        let attributes = decoded.event().attributes;
        let expected = literal.starts_with('{').then_some("acme");
        assert_eq!(attributes.and_then(|all| all.get("tenant")), expected);
    }
}

#[test]
fn attributes_are_bounded_by_the_limit() {
    let value = minimal_with("attributes", &json!({ "a": "x".repeat(2000) }).to_string());
    for (max_attribute_bytes, dropped) in [(2001, 0), (2000, 1), (0, 1)] {
        let limits = DecodeLimits {
            max_attribute_bytes,
            ..DecodeLimits::default()
        };
        let decoded = super::decode(Some(value.as_bytes()), None, &limits).unwrap();
        assert_eq!(decoded.dropped_attributes().too_large, dropped);
        assert!(decoded.event().attributes.is_some());
    }
}

#[test]
fn user_ids_are_preserved() {
    for (literal, text, number) in [
        ("123", "123", true),
        ("-0", "-0", true),
        ("12.50", "12.50", true),
        ("1E400", "1E400", true),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
            true,
        ),
        (r#""123""#, "123", false),
        (r#""ann\u0040example.org""#, "ann@example.org", false),
        (
            r#""a \"quoted\" \\ name\n""#,
            "a \"quoted\" \\ name\n",
            false,
        ),
        (r#""\ud83d\ude00""#, "😀", false),
    ] {
        let value = minimal_with("user_id", literal);
        let decoded = decode(Some(value.as_bytes())).unwrap();
        let expected = Some(UserRef { text, number });
        let Subject::Session { user, .. } = decoded.event().subject else {
            panic!("{value} has a session id");
        };
        assert_eq!(user, expected, "{literal}");
    }
    for literal in ["true", "[1]", r#"{"id": 1}"#, r#""\ud800""#, r#""""#] {
        assert_eq!(code_with("user_id", literal), "invalid_field", "{literal}");
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_to_an_event_or_an_error(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(Some(&value));
    }

    /// Removes bytes from an event and inserts others.
    #[test]
    fn a_corrupted_event_decodes_to_an_event_or_an_error(
        at in 0..120_usize,
        removed in 0..8_usize,
        inserted in "[\"\\\\{}:,0-9a-z\u{0}é]{0,4}",
    ) {
        for (field, literal) in [("attributes", r#"{"tenant": "acme"}"#), ("event", r#""login""#)] {
            let mut value = minimal_with(field, literal).into_bytes();
            let start = at.min(value.len());
            let end = (start + removed).min(value.len());
            value.splice(start..end, inserted.bytes());
            let _ = decode(Some(&value));
            if let Some(fields) = fast_path::parse(&value) {
                prop_assert_eq!(Ok(fields), parse(&value), "the fast path and serde agree");
            }
        }
    }

    #[test]
    fn ids_come_out_as_they_went_in(session in ".{1,40}", user in ".{1,40}") {
        let value = json!({ "session_id": session, "user_id": user, "activity_timestamp": 0 });
        prop_assume!(!session.starts_with('\0') && !user.starts_with('\0'));
        let value = value.to_string();
        let decoded = decode(Some(value.as_bytes())).unwrap();
        let user = UserRef { text: &user, number: false };
        let expected = Subject::Session { id: &session, user: Some(user) };
        prop_assert_eq!(decoded.event().subject, expected);
    }
}
