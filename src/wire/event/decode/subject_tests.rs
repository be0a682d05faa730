use super::tests::{code, decode, minimal_with};
use crate::session::{Attributes, Subject, UserRef};

fn revoke(fields: &str) -> String {
    format!(r#"{{"event": "revoke", "activity_timestamp": 0, {fields}}}"#)
}

#[test]
fn revocations_of_many_sessions_select_by_user_or_attributes() {
    let value = revoke(r#""user_id": 7, "except_session_id": "a""#);
    let decoded = decode(Some(value.as_bytes())).unwrap();
    let user = UserRef {
        text: "7",
        number: true,
    };
    let except = Some("a");
    let expected = Subject::AllSessionsOf { user, except };
    assert_eq!(decoded.event().subject, expected);

    for (fields, expected) in [
        (r#""match": {}"#, vec![]),
        (
            r#""match": {"attributes": {"tenant": "acme", "aal": 2}}"#,
            vec![("tenant", "acme"), ("aal", "2")],
        ),
    ] {
        let value = revoke(fields);
        let decoded = decode(Some(value.as_bytes())).unwrap();
        let attributes = Attributes::new(expected).unwrap();
        let expected = Subject::Matching {
            attributes: &attributes,
        };
        assert_eq!(decoded.event().subject, expected, "{fields}");
    }
}

#[test]
fn nothing_widens_a_revocation() {
    let large = format!(
        r#""match": {{"attributes": {{"a": "{}"}}}}"#,
        "x".repeat(1024)
    );
    for fields in [
        r#""match": []"#,
        r#""match": "all""#,
        r#""match": {"attribute": {"tenant": "acme"}}"#,
        r#""match": {"attributes": {"tenant": "acme"}, "users": []}"#,
        r#""match": {"attributes": {}}"#,
        r#""match": {"attributes": null}"#,
        r#""match": {"attributes": {"tenant": null}}"#,
        r#""match": {"attributes": {"tenant": ["acme"]}}"#,
        r#""match": {}, "session_id": "a""#,
        r#""match": {}, "user_id": 7"#,
        r#""match": {}, "except_session_id": "a""#,
        r#""session_id": "a", "except_session_id": "a""#,
        r#""user_id": 7, "except_session_id": """#,
        &large,
    ] {
        assert_eq!(code(revoke(fields).as_bytes()), "invalid_field", "{fields}");
    }
    assert_eq!(code(revoke(r#""match": null"#).as_bytes()), "missing_field");
    for kind in ["activity", "login"] {
        let value = minimal_with("event", &format!(r#""{kind}", "match": 7"#));
        assert_eq!(code(value.as_bytes()), "decoded", "{value}");
    }
}

#[test]
fn the_initiator_is_decoded_if_it_is_usable() {
    let long = "é".repeat(300);
    for (fields, by, note) in [
        (
            r#""by": "ann", "note": "fraud""#.to_owned(),
            Some("ann"),
            Some("fraud"),
        ),
        (r#""by": 7"#.to_owned(), Some("7"), None),
        (r#""by": "", "note": null"#.to_owned(), None, None),
        (format!(r#""note": "{long}""#), None, Some(&long[..512])),
    ] {
        let value = revoke(&format!(r#""session_id": "a", {fields}"#));
        let decoded = decode(Some(value.as_bytes())).unwrap();
        let initiator = decoded.event().initiator.cloned().unwrap_or_default();
        assert_eq!(initiator.by.as_deref(), by, "{fields}");
        assert_eq!(initiator.note.as_deref(), note, "{fields}");
    }
    let value = revoke(r#""session_id": "a", "by": {"name": "ann"}"#);
    let decoded = decode(Some(value.as_bytes())).unwrap();
    assert_eq!(decoded.event().initiator, None);
    assert_eq!(decoded.dropped_attributes().unusable, 1);
    let login = minimal_with("by", r#""ann""#);
    assert_eq!(
        decode(Some(login.as_bytes())).unwrap().event().initiator,
        None
    );
}
