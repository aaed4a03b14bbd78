//! How much memory this process may use.

/// Bytes that can be had without pushing others out: what the system calls available, or the limit of a container if that
/// is less. `None` where the system does not say (only Linux is asked).
pub(crate) fn available() -> Option<usize> {
    let of_system = available_in(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limits.iter().find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    Some(of_system.min(limit.unwrap_or(usize::MAX)))
}

/// The line `MemAvailable:   123 kB` in bytes.
fn available_in(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_says() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:    1000 kB\n";
        assert_eq!(available_in(text), Some(1_024_000));
        for bad in ["", "MemAvailable:", "MemAvailable: x kB", "MemAvailable: 99999999999999999999 kB"] {
            assert_eq!(available_in(bad), None);
        }
        if cfg!(target_os = "linux") {
            assert!(available().unwrap() > 1 << 20);
        }
    }
}
