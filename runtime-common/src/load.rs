//! The load average.

use etracker_core::interval::LoadAverage;

use crate::sys;

/// The load averages over 1, 5 and 15 minutes, without `/proc`; zeros where the system has none.
#[must_use]
pub fn load_average() -> LoadAverage {
    sys::load_average().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn is_what_proc_says() {
        let near = |(a, b): (f64, f64)| (a - b).abs() < 0.5;
        // The kernel may move the averages between the two readings, but not twice in a row.
        let agrees = (0..3).any(|_| {
            let text = std::fs::read_to_string("/proc/loadavg").unwrap();
            let proc: Vec<f64> = text
                .split(' ')
                .take(3)
                .map(|word| word.parse().unwrap())
                .collect();
            load_average().into_iter().zip(proc).all(near)
        });
        assert!(agrees);
    }
}
