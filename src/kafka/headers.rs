//! Headers of records, which may have any bytes as names.
//!
//! rdkafka panics when it reads a header whose name is not UTF-8. Such headers are never read
//! here; copies of all headers keep them.

use rdkafka::message::{Header, Headers};

use crate::panics;
use crate::wire::record::RecordHeader;

/// The headers of a record whose names are UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadableHeaders {
    /// The headers, in order.
    pub list: Vec<RecordHeader>,
    /// The number of headers that are left out because their names are not UTF-8.
    pub unreadable: usize,
}

impl ReadableHeaders {
    /// Copies the headers of a record.
    #[must_use]
    pub fn copy<H: Headers>(headers: Option<&H>) -> Self {
        let mut copied = Self::default();
        for header in headers.into_iter().flat_map(all) {
            match header {
                Some(Header { key, value }) => {
                    let value = value.map(<[u8]>::to_vec);
                    copied.list.push((key.to_owned(), value));
                }
                None => copied.unreadable += 1,
            }
        }
        copied
    }

    /// The value of the last header of this name.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        last(&self.list, name)
    }
}

/// The value of the last header of this name. A record that was written again may have had an
/// earlier one.
#[must_use]
pub fn last<'a>(headers: &'a [RecordHeader], name: &str) -> Option<&'a [u8]> {
    let mut headers = headers.iter().rev();
    headers.find(|(other, _)| other == name)?.1.as_deref()
}

/// The value of the last header of this name of a record.
#[must_use]
pub fn find<'a, H: Headers>(headers: Option<&'a H>, name: &str) -> Option<&'a [u8]> {
    let named = all(headers?).flatten().filter(|header| header.key == name);
    named.last()?.value
}

/// The headers in order; `None` for those whose names are not UTF-8.
fn all<H: Headers>(headers: &H) -> impl Iterator<Item = Option<Header<'_, &[u8]>>> {
    let read = |index| panics::caught(|| headers.try_get(index)).ok().flatten();
    (0..headers.count()).map(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::FromBytes;

    /// Headers as rdkafka has them: reading a name that is not UTF-8 panics.
    struct Raw(Vec<(&'static [u8], Option<&'static [u8]>)>);

    impl Headers for Raw {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            let &(name, value) = self.0.get(index)?;
            let key = str::from_utf8(name).unwrap();
            Some(Header { key, value })
        }

        fn try_get_as<V: FromBytes + ?Sized>(
            &self,
            _: usize,
        ) -> Option<Result<Header<'_, &V>, V::Error>> {
            None
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_hides_no_other_header() {
        let headers = Raw(vec![
            (b"a", Some(b"1")),
            (b"gr\xf6\xdfe", Some(b"2")),
            (b"a", Some(b"3")),
            (b"", None),
        ]);
        assert_eq!(find(Some(&headers), "a"), Some(b"3".as_slice()));
        assert_eq!(find(Some(&headers), ""), None);
        assert_eq!(find(Some(&headers), "b"), None);
        let copied = ReadableHeaders::copy(Some(&headers));
        assert_eq!(copied.unreadable, 1);
        assert_eq!(copied.list.len(), 3);
        assert_eq!(copied.last("a"), Some(b"3".as_slice()));
    }
}
