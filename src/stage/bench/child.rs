//! A command of this program as a process of its own, watched from outside.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{BenchError, broken};

/// Time between two looks at the process.
const LOOK: Duration = Duration::from_millis(10);

/// A home that is removed at the end.
pub fn temporary(dir: Option<&Path>) -> Result<TempDir, BenchError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("openclaw-rl-bench-");
    match dir {
        Some(dir) => builder.tempdir_in(dir),
        None => builder.tempdir(),
    }
    .map_err(|error| broken(format!("no home could be made: {error}")))
}

/// A running command. It is killed where the measurement breaks off.
pub struct Child {
    name: &'static str,
    process: std::process::Child,
    peak_rss_mib: Option<f64>,
    cpu_seconds: Option<f64>,
}

/// How it ended.
pub struct Ended {
    /// Its line on stdout.
    pub summary: Value,
    /// The most memory that it had resident.
    pub peak_rss_mib: Option<f64>,
    /// Time that it was computed for, on all cores together.
    pub cpu_seconds: Option<f64>,
}

impl Child {
    /// Starts the command `name` with some flags on a home.
    pub fn start(
        program: &Path,
        name: &'static str,
        home: &Path,
        flags: &[&str],
    ) -> Result<Self, BenchError> {
        let process = Command::new(program)
            .args([name, "--log", "warn", "--home"])
            .arg(home)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| broken(format!("{name} not started: {error}")))?;
        Ok(Self { name, process, peak_rss_mib: None, cpu_seconds: None })
    }

    /// Tells it to leave.
    pub fn stop(&self) -> Result<(), BenchError> {
        let id = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.ok_or_else(|| broken(format!("{} has no process id", self.name)))?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM).map_err(broken)
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<Ended, BenchError> {
        let status = loop {
            // Both only grow: the last look is right but for the last moment.
            self.cpu_seconds = cpu_seconds(self.process.id()).or(self.cpu_seconds);
            self.peak_rss_mib = peak_rss_mib(self.process.id()).or(self.peak_rss_mib);
            match self.process.try_wait().map_err(broken)? {
                Some(status) => break status,
                None => std::thread::sleep(LOOK),
            }
        };
        let mut text = String::new();
        if let Some(mut stdout) = self.process.stdout.take() {
            stdout.read_to_string(&mut text).map_err(broken)?;
        }
        if !status.success() {
            return Err(broken(format!("{} ended with {status}", self.name)));
        }
        let summary = serde_json::from_str(text.trim()).map_err(broken)?;
        Ok(Ended { summary, peak_rss_mib: self.peak_rss_mib, cpu_seconds: self.cpu_seconds })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// `VmHWM` of a process.
pub fn peak_rss_mib(id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// User and system time of a process, which Linux tells in hundredths of a second.
pub fn cpu_seconds(id: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0).filter(|seconds| *seconds > 0.0)
}
