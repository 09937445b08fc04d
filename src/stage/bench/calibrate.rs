//! How fast the machine is at what reading and writing turns is made of, so that figures can be
//! compared.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{BenchError, broken};

/// Each figure is the best of so many.
const REPEATS: usize = 3;
const MIB: usize = 1 << 20;

/// Figures of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// SHA-256, 10⁶ bytes a second.
    pub sha256_mb_s: f64,
    /// Parsing JSON into values, 10⁶ bytes a second.
    pub json_mb_s: f64,
    /// Copying memory, 10⁹ bytes a second.
    pub copy_gb_s: f64,
    /// Making a new small file durable, in milliseconds.
    pub fsync_ms: f64,
    /// Threads that the machine runs at the same time.
    pub cores: usize,
}

/// Measures the machine; files are made in `dir`.
pub fn calibrate(dir: &Path) -> Result<Calibration, BenchError> {
    let bytes: Vec<u8> = (0..8 * MIB).map(|at| (at % 251) as u8).collect();
    let message = json!({"role": "user", "content": "a message of some words, ".repeat(8)});
    let text = Value::from(vec![message; 8_000]).to_string();
    let mut into = vec![0_u8; bytes.len()];
    let sha = best(|| {
        black_box(Sha256::digest(black_box(&bytes)));
    });
    let parse = best(|| {
        black_box(serde_json::from_str::<Value>(black_box(&text)).is_ok());
    });
    let copy = best(|| into.copy_from_slice(black_box(&bytes)));
    let mut fsync = f64::INFINITY;
    for _ in 0..REPEATS {
        let begin = Instant::now();
        let put = || {
            let mut file = File::create(dir.join("calibrate"))?;
            file.write_all(&bytes[..4096])?;
            file.sync_all()
        };
        put().map_err(broken)?;
        fsync = fsync.min(begin.elapsed().as_secs_f64());
    }
    std::fs::remove_file(dir.join("calibrate")).map_err(broken)?;
    Ok(Calibration {
        sha256_mb_s: bytes.len() as f64 / sha / 1e6,
        json_mb_s: text.len() as f64 / parse / 1e6,
        copy_gb_s: bytes.len() as f64 / copy / 1e9,
        fsync_ms: fsync * 1e3,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    })
}

fn best(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let begin = Instant::now();
        work();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    best
}
