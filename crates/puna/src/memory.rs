//! How much memory this process may use, and does.

use std::path::Path;

/// Bytes that can be had without pushing others out: what the system calls available, or the limit of a
/// container or of this process (`ulimit -v`) if that is less. `None` where the system does not say (only
/// Linux is asked).
pub(crate) fn available() -> Option<usize> {
    let of_system = kib_line(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let limit = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|groups| group_limit(&groups));
    Some(of_system.min(limit.unwrap_or(usize::MAX)).min(addresses_left().unwrap_or(usize::MAX)))
}

/// The least limit of the control groups that this process is in, and of those around them. In a container
/// the first folders may be hidden, and its own group stands at the root.
fn group_limit(groups: &str) -> Option<usize> {
    let limits = groups.lines().filter_map(|line| {
        let (_, group) = line.split_once(':')?;
        let (controllers, path) = group.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let of_folder = |folder: &Path| {
            let folder = Path::new(root).join(folder.strip_prefix("/").unwrap_or(folder));
            std::fs::read_to_string(folder.join(file)).ok()?.trim().parse::<usize>().ok()
        };
        Path::new(path).ancestors().filter_map(of_folder).min()
    });
    limits.min()
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
        let root = group_limit("0::/").into_iter().chain(group_limit("4:memory:/")).min();
        for groups in nothing {
            assert!(group_limit(groups).is_none_or(|limit| Some(limit) == root), "{groups}");
        }
        if cfg!(target_os = "linux") {
            assert!(available().unwrap() > 1 << 20);
            assert!(resident_bytes().unwrap() > 1 << 20);
        }
    }
}
