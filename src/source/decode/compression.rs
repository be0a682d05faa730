//! Compressed values, recognized by their first bytes.

use std::borrow::Cow;
use std::io::Read;

/// Limit on a decompressed value, in bytes.
const MAX_BYTES: u64 = 16 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Decompresses gzip and zstd; other bytes are returned as they are.
pub(super) fn decompress(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if bytes.starts_with(&GZIP) {
        return read(flate2::read::MultiGzDecoder::new(bytes), "gzip").map(Cow::Owned);
    }
    if bytes.starts_with(&ZSTD) {
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
        let decoder = decoder.map_err(|error| format!("invalid zstd: {error}"))?;
        return read(decoder, "zstd").map(Cow::Owned);
    }
    Ok(Cow::Borrowed(bytes))
}

fn read(decoder: impl Read, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = decoder.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("invalid {name}: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{name} of more than {MAX_BYTES} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_and_zstd_are_decompressed() {
        for compressed in [gzip(b"{}"), zstd::encode_all(&b"{}"[..], 1).unwrap()] {
            assert_eq!(decompress(&compressed).unwrap(), &b"{}"[..]);
        }
        assert_eq!(decompress(b"{}").unwrap(), &b"{}"[..]);
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; usize::try_from(MAX_BYTES).unwrap() + 1];
        for compressed in [gzip(&zeros), zstd::encode_all(&zeros[..], 1).unwrap()] {
            let error = decompress(&compressed).unwrap_err();
            assert!(error.contains("more than 16777216 bytes"), "{error}");
        }
    }

    #[test]
    fn truncated_data_is_refused() {
        let compressed = gzip(b"{\"a\": 1}");
        let error = decompress(&compressed[..compressed.len() - 9]).unwrap_err();
        assert!(error.starts_with("invalid gzip"), "{error}");
    }
}
