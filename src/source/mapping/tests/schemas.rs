//! Confluent's wire format.

use std::collections::BTreeMap;

use super::*;
use crate::source::registry::definition::{SchemaDefinition, SchemaType};

/// A source of records whose schema 7 has these texts.
fn with_schema(format: &str, expressions: &str, texts: &[(&str, &str)]) -> Mapping {
    let spec = format!(
        "format: {format}, schemaRegistry: {{url: 'http://registry'}}, session: {{{expressions}}}"
    );
    let mapping = source(&spec).unwrap();
    let ((_, text), references) = texts.split_first().unwrap();
    let references = references
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let kind = match format {
        "avro" => SchemaType::Avro,
        _ => SchemaType::Protobuf,
    };
    let definition = SchemaDefinition {
        kind,
        text: (*text).to_owned(),
        references: references.collect(),
    };
    mapping.schemas().unwrap().add(7, &definition);
    mapping
}

fn framed(data: &[&[u8]]) -> Vec<u8> {
    [&[&[0, 0, 0, 0, 7][..]], data].concat().concat()
}

/// Avro's encoding of a short string.
fn avro_text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() * 2).unwrap();
    [&[length], text.as_bytes()].concat()
}

fn problem(mapping: &Mapping, value: &[u8]) -> String {
    match mapping.map(&record(value)) {
        Err(MappingError::Malformed { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

const CLICK: &str = r#"{
    "type": "record", "name": "Click", "namespace": "shop", "fields": [
        {"name": "session", "type": {"type": "record", "name": "Session", "fields": [
            {"name": "id", "type": "string"},
            {"name": "previous", "type": ["null", "Session"], "default": null}
        ]}},
        {"name": "user", "type": ["null", "long"], "default": null},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "limits", "type": {"type": "map", "values": "double"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["CLICK", "LOGOUT"]}},
        {"name": "digest", "type": {"type": "fixed", "name": "Digest", "size": 2}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "flag", "type": "boolean"}
    ]
}"#;

/// A click of session `s` that replaced `r`, by user 42.
fn click() -> Vec<u8> {
    let at = 1_738_929_600_000_i64;
    let mut zigzag = u64::try_from(at * 2).unwrap();
    let mut time = Vec::new();
    while zigzag >= 0x80 {
        time.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
        zigzag >>= 7;
    }
    time.push(u8::try_from(zigzag).unwrap());
    framed(&[
        &avro_text("s"),
        &[2],
        &avro_text("r"),
        &[0],
        &[2, 84],
        &time,
        // A block of one with its size in bytes, then one of one.
        &[1, 4],
        &avro_text("a"),
        &[2],
        &avro_text("b"),
        &[0],
        &[2],
        &avro_text("k"),
        &1.5_f64.to_le_bytes(),
        &[0],
        &[2],
        &[0xab, 0xcd],
        // -12.34
        &[4, 0xfb, 0x2e],
        &[1],
    ])
}

#[test]
fn avro_of_every_type_is_mapped() {
    let mapping = with_schema(
        "avro",
        "id: value.session.id, user: value.user, time: value.at, event: \"value.kind == 'LOGOUT' ? 'logout' : 'activity'\", \
         attributes: {tag: 'value.tags[1]', limit: value.limits.k, amount: value.amount, flag: value.flag, \
         previous: value.session.previous.id, none: value.session.previous.previous, digest: 'string(value.digest.size())'}",
        &[("", CLICK)],
    );
    let expected = json!({
        "session_id": "s", "user_id": 42, "activity_timestamp": 1_738_929_600_000_i64, "event": "logout",
        "attributes": {
            "tag": "b", "limit": "1.5", "amount": "-12.34", "flag": "true", "previous": "r", "digest": "2",
        },
    });
    assert_eq!(event(&mapping, &record(&click())), expected);
    // Fields that no expression reads are passed over.
    let mapping = with_schema(
        "avro",
        "id: value.session.id, user: 'value.flag ? 1 : 2'",
        &[("", CLICK)],
    );
    assert_eq!(event(&mapping, &record(&click()))["user_id"], 1);
}

#[test]
fn avro_types_of_other_schemas_are_found_in_any_order() {
    let outer = r#"{"type": "record", "name": "Outer", "namespace": "shop", "fields": [{"name": "inner", "type": "Inner"}]}"#;
    let inner = r#"{"type": "record", "name": "shop.Inner", "fields": [{"name": "id", "type": "other.Id"}]}"#;
    let id = r#"{"type": "record", "name": "Id", "namespace": "other", "fields": [{"name": "text", "type": "string"}]}"#;
    let references = [("", outer), ("a", inner), ("b", id)];
    let mapping = with_schema(
        "avro",
        "id: value.inner.id.text, user: \"'ann'\"",
        &references,
    );
    let mapped = event(&mapping, &record(&framed(&[&avro_text("s")])));
    assert_eq!(mapped["session_id"], "s");
    let mapping = with_schema(
        "avro",
        "id: value.inner.id.text, user: \"'ann'\"",
        &references[..2],
    );
    let problem = problem(&mapping, &framed(&[&avro_text("s")]));
    assert_eq!(problem, "schema 7: the Avro type other.Id is not defined");
}

#[test]
fn what_is_not_of_the_schema_names_the_problem() {
    let mapping = with_schema(
        "avro",
        "id: value.id",
        &[(
            "",
            r#"{"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}]}"#,
        )],
    );
    for (value, expected) in [
        (
            &b"{}"[..],
            "not Confluent's wire format: it begins with the byte 123",
        ),
        (
            &[0, 0, 0],
            "it has 3 bytes, fewer than the 5 of a schema id",
        ),
        (&framed(&[&[8, b's']]), "it ends too early"),
        (
            &framed(&[&[2, b's', 0]]),
            "1 bytes are left after the value",
        ),
        (&framed(&[&[2, 0xff]]), "a string is not UTF-8"),
        (&framed(&[&[1]]), "-1 is no length or index"),
    ] {
        let problem = problem(&mapping, value);
        assert!(problem.contains(expected), "{problem}");
    }
    let missing = mapping.map(&record(&[0, 0, 0, 1, 0, 0]));
    let Err(MappingError::MissingSchema { missing, .. }) = missing else {
        panic!("{missing:?}");
    };
    assert_eq!(missing.0, 256);
}

#[test]
fn recursion_and_sizes_in_avro_are_bounded() {
    let list =
        r#"{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}"#;
    let nulls = r#"{"type": "record", "name": "N", "fields": [{"name": "all", "type": {"type": "array", "items": "null"}}, {"name": "id", "type": "string"}]}"#;
    let deep = framed(&[&[2; 1_000_000]]);
    let many = framed(&[&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]);
    for (schema, id, value, expected) in [
        (list, "value.next.next", &deep, "more than 100 levels"),
        (nulls, "value.all.size()", &many, "more than 20000 values"),
        (
            nulls,
            "value.id",
            &many,
            "more values than its bytes can have",
        ),
    ] {
        let mapping = with_schema("avro", &format!("id: {id}"), &[("", schema)]);
        let problem = problem(&mapping, value);
        assert!(problem.contains(expected), "{problem}");
    }
}

const PROTO: &str = r#"syntax = "proto3";
package shop;
import "user.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Ignored {}
message Click {
  string session = 1;
  User user = 2;
  google.protobuf.Timestamp at = 3;
  optional string tenant = 4;
  Kind kind = 5;
  google.protobuf.StringValue client = 6;
  map<string, int64> counts = 7;
  enum Kind { CLICK = 0; LOGOUT = 1; }
  message Nested { repeated string ids = 1; }
}"#;
const USER: &str =
    r#"syntax = "proto3"; package shop; message User { uint64 id = 1; string name = 2; }"#;

#[test]
fn protobuf_is_mapped_by_its_indexes_and_imports() {
    let references = [("", PROTO), ("user.proto", USER)];
    let mapping = with_schema(
        "protobuf",
        "id: value.session, user: value.user.id, time: value.at, event: \"value.kind == 'LOGOUT' ? 'logout' : 'activity'\", \
         attributes: {tenant: value.tenant, name: value.user.name, client: value.client, count: value.counts.a}",
        &references,
    );
    let data: &[&[u8]] = &[
        // The second message of the file.
        &[2, 2],
        b"\x0a\x01s",
        b"\x12\x02\x08\x2a",
        // 1738929600 s
        b"\x1a\x06\x08\xc0\xeb\x97\xbd\x06",
        b"\x28\x01",
        b"\x32\x05\x0a\x03web",
        b"\x3a\x05\x0a\x01a\x10\x05",
    ];
    let expected = json!({
        "session_id": "s", "user_id": 42, "activity_timestamp": "2025-02-07T12:00:00Z", "event": "logout",
        // A field with presence is absent; one without is empty.
        "attributes": {"name": "", "client": "web", "count": "5"},
    });
    assert_eq!(event(&mapping, &record(&framed(data))), expected);

    let mapping = with_schema("protobuf", "id: 'value.ids[0]', user: '1'", &references);
    let nested = framed(&[&[4, 2, 0], b"\x0a\x01s"]);
    assert_eq!(event(&mapping, &record(&nested))["session_id"], "s");
    assert!(problem(&mapping, &framed(&[&[2, 8]])).contains("no message type [4]"));
    assert!(problem(&mapping, &framed(&[&[1]])).contains("indexes"));
    assert!(problem(&mapping, &framed(&[&[4, 2, 0], &[0x0a, 9]])).contains("not Protobuf"));

    let mapping = with_schema("protobuf", "id: value.session", &references[..1]);
    let problem = problem(&mapping, &framed(&[&[0]]));
    assert!(problem.contains("user.proto"), "{problem}");
}

#[test]
fn json_with_a_schema_id_needs_no_registry() {
    for registry in ["", ", schemaRegistry: {url: 'http://registry'}"] {
        let spec = format!("format: jsonSchema{registry}, session: {{id: value.id, user: '1'}}");
        let mapping = source(&spec).unwrap();
        assert!(mapping.schemas().is_none());
        let value = framed(&[br#"{"id": "s"}"#]);
        assert_eq!(event(&mapping, &record(&value))["session_id"], "s");
        assert!(problem(&mapping, br#"{"id": "s"}"#).contains("not Confluent's wire format"));
    }
}

#[test]
fn a_registry_belongs_to_formats_with_schemas() {
    for (spec, expected) in [
        (
            "format: avro",
            "spec.schemaRegistry: is missing: format avro",
        ),
        (
            "format: json, schemaRegistry: {url: 'http://registry'}",
            "does not apply to format json",
        ),
        (
            "format: avro, schemaRegistry: {url: 'http://ann:secret@registry'}",
            "name them in credentialsSecret instead",
        ),
    ] {
        let error = source(&format!("{spec}, session: {{id: value.id}}")).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret@"), "{error}");
    }
}

#[test]
fn a_schema_of_another_type_is_refused() {
    let mapping =
        source("format: avro, schemaRegistry: {url: 'http://registry'}, session: {id: value.id}")
            .unwrap();
    let definition = SchemaDefinition {
        kind: SchemaType::Protobuf,
        text: USER.to_owned(),
        references: BTreeMap::new(),
    };
    mapping.schemas().unwrap().add(7, &definition);
    let expected = "schema 7 is Protobuf, and the source's format is avro";
    assert!(problem(&mapping, &framed(&[&[0]])).contains(expected));
}

proptest! {
    #[test]
    fn no_bytes_make_a_schema_format_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let framed = framed(&[&data]);
        for (format, texts) in [("avro", &[("", CLICK)][..]), ("protobuf", &[("", PROTO), ("user.proto", USER)])] {
            let mapping = with_schema(format, "id: value.session, user: value", texts);
            let _any_result = mapping.map(&record(&framed));
            let _any_result = mapping.map(&record(&data));
        }
    }
}
