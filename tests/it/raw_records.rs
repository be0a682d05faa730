//! Records that no client library writes: headers with any bytes as names.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::kafka::Kafka;

const TIMEOUT: Duration = Duration::from_secs(30);
/// `Produce`, in the oldest version that brokers still support.
const API: i16 = 0;
const VERSION: i16 = 3;

/// A record, byte for byte.
#[derive(Clone, Debug, Default)]
pub struct RawRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Kafka {
    /// Writes records to a partition of a cluster with one broker.
    ///
    /// # Panics
    /// If the broker refuses them.
    pub fn produce_raw(&self, topic: &str, partition: i32, records: &[RawRecord]) {
        for record in records {
            let code = self.try_produce_raw(topic, partition, record);
            assert_eq!(code, 0, "{topic} refuses a record: error {code}");
        }
    }

    /// Writes a record; returns Kafka's error code.
    pub fn try_produce_raw(&self, topic: &str, partition: i32, record: &RawRecord) -> i16 {
        let batch = batch(record);
        let mut request = Vec::new();
        request.extend(API.to_be_bytes());
        request.extend(VERSION.to_be_bytes());
        request.extend(1_i32.to_be_bytes());
        put_text(&mut request, "tests");
        // No transaction; all replicas; timeout; one topic; one partition.
        request.extend((-1_i16).to_be_bytes());
        request.extend((-1_i16).to_be_bytes());
        request.extend(30_000_i32.to_be_bytes());
        request.extend(1_i32.to_be_bytes());
        put_text(&mut request, topic);
        request.extend(1_i32.to_be_bytes());
        request.extend(partition.to_be_bytes());
        request.extend(len(&batch).to_be_bytes());
        request.extend(&batch);
        let response = ask(self.bootstrap(), &request);
        // After correlation id, number of topics, name, number of partitions and index.
        let at = 4 + 4 + 2 + topic.len() + 4 + 4;
        i16::from_be_bytes([response[at], response[at + 1]])
    }
}

fn batch(record: &RawRecord) -> Vec<u8> {
    let record = encoded(record);
    // From the attributes on, the checksum covers the batch.
    let mut covered = Vec::new();
    covered.extend(0_i16.to_be_bytes());
    covered.extend(0_i32.to_be_bytes());
    let now = sundown::clock::Clock::default().wall().as_millis();
    covered.extend(now.to_be_bytes());
    covered.extend(now.to_be_bytes());
    covered.extend((-1_i64).to_be_bytes());
    covered.extend((-1_i16).to_be_bytes());
    covered.extend((-1_i32).to_be_bytes());
    covered.extend(1_i32.to_be_bytes());
    covered.extend(&record);
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes());
    batch.extend((len(&covered) + 4 + 1 + 4).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&covered).to_be_bytes());
    batch.extend(covered);
    batch
}

fn encoded(record: &RawRecord) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, 0);
    put_varint(&mut body, 0);
    put_bytes(&mut body, record.key.as_deref());
    put_bytes(&mut body, record.value.as_deref());
    put_varint(&mut body, i64::try_from(record.headers.len()).unwrap());
    for (name, value) in &record.headers {
        put_bytes(&mut body, Some(name));
        put_bytes(&mut body, value.as_deref());
    }
    let mut encoded = Vec::new();
    put_varint(&mut encoded, i64::from(len(&body)));
    encoded.extend(body);
    encoded
}

/// Bytes after their length, as in a record.
pub fn put_bytes(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(to, -1),
        Some(bytes) => {
            put_varint(to, i64::from(len(bytes)));
            to.extend(bytes);
        }
    }
}

fn put_varint(to: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        to.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.push((rest & 0x7f) as u8);
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    to.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    to.extend(text.as_bytes());
}

fn len(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap()
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, add)
}

fn ask(bootstrap: &str, request: &[u8]) -> Vec<u8> {
    let mut broker = TcpStream::connect(bootstrap).expect("the broker is there");
    broker.set_read_timeout(Some(TIMEOUT)).unwrap();
    broker.write_all(&len(request).to_be_bytes()).unwrap();
    broker.write_all(request).unwrap();
    let mut length = [0; 4];
    broker.read_exact(&mut length).expect("a response");
    let mut response = vec![0; i32::from_be_bytes(length).try_into().unwrap()];
    broker.read_exact(&mut response).expect("a response");
    response
}
