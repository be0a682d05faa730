//! Grants and revokes permissions. The client library has no API for this, and Kafka's own tool
//! takes seconds per call, so this module encodes the two requests (KIP-140, version 1).

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

const CREATE: i16 = 30;
const DELETE: i16 = 31;
const VERSION: i16 = 1;
const ALLOW: i8 = 3;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A permission of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `User:…`.
    pub principal: String,
    /// As in a KafkaUser: `topic`, `group`, `transactionalId`.
    pub kind: String,
    pub name: String,
    /// Whether it holds for all names that begin like this.
    pub prefix: bool,
    /// As in a KafkaUser: `Read`, `DescribeConfigs`.
    pub operation: String,
}

impl Permission {
    /// Those of a rule of a KafkaUser.
    pub fn of_rule(principal: &str, rule: &Value) -> Vec<Self> {
        let resource = &rule["resource"];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let operations = rule["operations"].as_array().expect("operations");
        let each = operations.iter().map(|operation| Self {
            principal: principal.to_owned(),
            kind: text(&resource["type"]),
            name: text(&resource["name"]),
            prefix: resource["patternType"] == "prefix",
            operation: text(operation),
        });
        each.collect()
    }

    fn resource_type(&self) -> i8 {
        match self.kind.as_str() {
            "topic" => 2,
            "group" => 3,
            "transactionalId" => 5,
            other => panic!("'{other}' is no kind of resource that the chart uses"),
        }
    }

    fn pattern(&self) -> i8 {
        if self.prefix { 4 } else { 3 }
    }

    fn operation(&self) -> i8 {
        match self.operation.as_str() {
            "Read" => 3,
            "Write" => 4,
            "Describe" => 8,
            "DescribeConfigs" => 10,
            other => panic!("'{other}' is no operation that the chart uses"),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            kind,
            name,
            ..
        } = self;
        write!(f, "{operation} on {kind} {name}")
    }
}

/// Grants a permission, through a superuser's listener.
pub fn grant(bootstrap: &str, permission: &Permission) {
    change(bootstrap, CREATE, permission);
}

/// Takes a permission away.
pub fn revoke(bootstrap: &str, permission: &Permission) {
    change(bootstrap, DELETE, permission);
}

/// What is to be created and what finds what is to be deleted is written alike.
fn change(bootstrap: &str, api: i16, permission: &Permission) {
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    put(&mut request, "tests");
    // One of them.
    request.extend(1_i32.to_be_bytes());
    request.extend(permission.resource_type().to_be_bytes());
    put(&mut request, &permission.name);
    request.extend(permission.pattern().to_be_bytes());
    put(&mut request, &permission.principal);
    put(&mut request, "*");
    request.extend(permission.operation().to_be_bytes());
    request.extend(ALLOW.to_be_bytes());

    let answer = ask(bootstrap, &request);
    // Behind the id of the request, the time that it was throttled and the number of results.
    let code = i16::from_be_bytes([answer[12], answer[13]]);
    assert_eq!(code, 0, "{permission}: the broker refuses");
}

fn put(request: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).expect("a short text");
    request.extend(length.to_be_bytes());
    request.extend(text.as_bytes());
}

fn ask(bootstrap: &str, request: &[u8]) -> Vec<u8> {
    let mut broker = TcpStream::connect(bootstrap).expect("the broker is there");
    broker.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let length = i32::try_from(request.len()).expect("a short request");
    broker.write_all(&length.to_be_bytes()).expect("written");
    broker.write_all(request).expect("written");
    let mut length = [0; 4];
    broker.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; i32::from_be_bytes(length).try_into().expect("a length")];
    broker.read_exact(&mut answer).expect("an answer");
    answer
}
