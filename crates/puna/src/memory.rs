//! How much memory this process may use, and does.

use std::path::Path;

/// Bytes that can be had without pushing others out: what the system calls available, or the limit of a
/// container or of this process (`ulimit -v`) if that is less. `None` where the system does not say (only
/// Linux is asked).
pub(crate) fn available() -> Option<usize> {
    let of_system = kib_line(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let of_groups =
        std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|groups| left_by_groups(&groups));
    Some(of_system.min(of_groups.unwrap_or(usize::MAX)).min(addresses_left().unwrap_or(usize::MAX)))
}

/// Bytes that models may have together: what is available, less a sixteenth, and what may be swapped out. `None` where the
/// system does not say.
pub fn memory_for_models() -> Option<usize> {
    Some(for_keys_and_values(available()?, 0))
}

/// What the limits of the control groups leave that this process is in, and of those around them: the least of the limits,
/// less what is in use there but for pages of files, which can go. In a container the first folders may be hidden, and its
/// own group stands at the root.
fn left_by_groups(groups: &str) -> Option<usize> {
    let left = groups.lines().filter_map(|line| {
        let (_, group) = line.split_once(':')?;
        let (controllers, path) = group.split_once(':')?;
        let (root, limit, in_use) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "anon "),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss ")
            }
            _ => return None,
        };
        let of_folder = |folder: &Path| {
            let folder = Path::new(root).join(folder.strip_prefix("/").unwrap_or(folder));
            left_in_group(&folder, limit, in_use)
        };
        Path::new(path).ancestors().filter_map(of_folder).min()
    });
    left.min()
}

fn left_in_group(folder: &Path, limit: &str, in_use: &str) -> Option<usize> {
    let limit = std::fs::read_to_string(folder.join(limit)).ok()?.trim().parse::<usize>().ok()?;
    let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let in_use = stat.lines().find_map(|line| line.strip_prefix(in_use)?.trim().parse::<usize>().ok());
    Some(limit.saturating_sub(in_use.unwrap_or(0)))
}

/// Bytes that the limit of this process leaves, mapped files included; `None` without a limit.
fn addresses_left() -> Option<usize> {
    let limit = address_limit(&std::fs::read_to_string("/proc/self/limits").ok()?)?;
    let used = kib_line(&std::fs::read_to_string("/proc/self/status").ok()?, "VmSize:")?;
    Some(limit.saturating_sub(used))
}

/// The limit in force, which comes before the one that it can be raised to.
fn address_limit(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Of the bytes available, those that keys and values may take beside copies of weights: what a pass computes
/// with needs some too, and what others take meanwhile may be swapped out.
pub(crate) fn for_keys_and_values(available: usize, repack_bytes: usize) -> usize {
    let swap = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib_line(&text, "SwapFree:"));
    let own = available.saturating_sub(repack_bytes) / 16 * 15;
    match addresses_left() {
        Some(_) => own, // The limit does not ask where the bytes are.
        None => own.saturating_add(swap.unwrap_or(0)),
    }
}

/// Bytes of this process that are in memory now, mapped files included. `None` where the system does not say.
pub fn resident_bytes() -> Option<usize> {
    kib_line(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// A line like `MemAvailable:   123 kB` in bytes.
fn kib_line(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// What to expect of a model whose weights do not fit the memory that is available: they are read from the
/// file again and again. `None` where they fit.
pub(crate) fn note(weights: usize, per_token: usize, available: Option<usize>) -> Option<String> {
    let available = available.filter(|available| weights > *available)?;
    let gb = |bytes: usize| bytes as f64 / 1e9;
    // What a good disk reads in a second; others are slower.
    const DISK: f64 = 3e9;
    // Parts that every token needs stay, as far as there is room; of the others a share is there.
    let missing = per_token as f64 * (1.0 - available as f64 / weights as f64);
    Some(format!(
        "the weights take {:.1} GB, but {:.1} GB of memory are free: they are read from the file as they are needed, up to \
         {:.1} GB for a token; with a disk that reads 3 GB/s expect about {:.1} s a token, or more memory to help",
        gb(weights),
        gb(available),
        gb(per_token),
        missing / DISK
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_does_not_fit_is_said_to_be_slow() {
        let note = |available| note(200_000_000_000, 34_000_000_000, available);
        assert_eq!(note(None), None);
        assert_eq!(note(Some(200_000_000_000)), None);
        let said = note(Some(20_000_000_000)).unwrap();
        assert!(said.contains("200.0 GB, but 20.0 GB") && said.contains("34.0 GB for a token"), "{said}");
        assert!(said.contains("about 10.2 s a token"), "{said}");
    }

    #[test]
    fn reads_what_linux_says() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:    1000 kB\n";
        let available_in = |text| kib_line(text, "MemAvailable:");
        assert_eq!(available_in(text), Some(1_024_000));
        for bad in ["", "MemAvailable:", "MemAvailable: x kB", "MemAvailable: 99999999999999999999 kB"] {
            assert_eq!(available_in(bad), None);
        }
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max address space         2147483648           unlimited            bytes     \n";
        assert_eq!(address_limit(limits), Some(2 << 30));
        assert_eq!(address_limit(&limits.replace("2147483648", "unlimited")), None);
        // Groups that are nowhere limit nothing, whatever their names.
        let nothing =
            ["", "x", "0:", "5:cpu:/", "4:memory", "0::/no/such/group/../..", "4:cpu,memory:no/such"];
        let has_root = left_by_groups("0::/").or(left_by_groups("4:memory:/")).is_some();
        for groups in nothing {
            assert!(left_by_groups(groups).is_none() || has_root, "{groups}");
        }
        let folder = tempfile::tempdir().unwrap();
        let left = |limit: &str, stat: &str| {
            std::fs::write(folder.path().join("memory.max"), limit).unwrap();
            std::fs::write(folder.path().join("memory.stat"), stat).unwrap();
            left_in_group(folder.path(), "memory.max", "anon ")
        };
        assert_eq!(left("5000\n", "anon_thp 9\nanon 1000\nfile 2000\n"), Some(4000));
        assert_eq!((left("5000", ""), left("5000", "anon 6000")), (Some(5000), Some(0)));
        assert_eq!(left("max\n", "anon 1000\n"), None);
        if cfg!(target_os = "linux") {
            assert!(available().unwrap() > 1 << 20);
            assert!(resident_bytes().unwrap() > 1 << 20);
        }
    }
}
