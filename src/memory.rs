//! The memory of this process and of its container.

use std::fs;
use std::path::Path;

/// Limits from here on mean no limit: cgroups of version 1 write it as a number.
const UNLIMITED: u64 = 1 << 60;

/// Returns the resident memory of this process in bytes; `None` on systems without `/proc`.
#[must_use]
pub fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns the memory limit of this container in bytes: the least of its cgroup (version 2 or 1) and
/// those above. `None` without one.
#[must_use]
pub fn container_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit(Path::new("/sys/fs/cgroup"), &own)
}

/// Returns the least limit below `root` of the cgroups in `own`, the content of `/proc/self/cgroup`.
fn limit(root: &Path, own: &str) -> Option<u64> {
    let limits = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let path = Path::new(path.trim_start_matches('/'));
        let limits = path.ancestors().filter_map(|above| {
            let text = fs::read_to_string(root.join(above).join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        });
        limits.filter(|limit| *limit < UNLIMITED).min()
    });
    limits.min()
}

/// Parses a size in bytes, or with a unit: `Ki`, `Mi`, `Gi` (powers of 1024), `k`, `M`, `G` (of
/// 1000), as in Kubernetes.
///
/// # Errors
/// If it is not such a size, or zero.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => 0,
    };
    let size = digits.parse::<u64>().ok();
    let size = size.and_then(|size| size.checked_mul(unit));
    size.filter(|size| *size > 0)
        .ok_or_else(|| "expected bytes, or a size such as 800Mi or 2Gi".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_cgroups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, value: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        };
        assert_eq!(limit(root.path(), "0::/pod/one\n"), None);
        write("pod/one/memory.max", "max\n");
        assert_eq!(limit(root.path(), "0::/pod/one\n"), None);
        write("pod/memory.max", "1073741824\n");
        write("memory.max", "4294967296\n");
        assert_eq!(limit(root.path(), "0::/pod/one\n"), Some(1 << 30));
        // In a cgroup namespace.
        assert_eq!(limit(root.path(), "0::/\n"), Some(1 << 32));
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/pod/memory.limit_in_bytes", "536870912\n");
        let own = "3:cpu,cpuacct:/pod\n2:memory:/pod\n1:name=systemd:/pod\n";
        assert_eq!(limit(root.path(), own), Some(1 << 29));
        assert_eq!(limit(root.path(), "2:memory:/other\n"), None);
    }

    #[test]
    fn sizes_have_the_units_of_kubernetes() {
        for (text, bytes) in [
            ("1", 1),
            ("2Ki", 2048),
            ("800Mi", 800 << 20),
            ("1G", 1_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in [
            "",
            "0",
            "Gi",
            "1.5Gi",
            "-1",
            "1 Gi",
            "99999999999Gi",
            "1gb",
            "1\u{e4}",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn this_process_has_memory() {
        if cfg!(target_os = "linux") {
            assert!(resident().unwrap() > 1 << 20);
        }
    }
}
