//! Whether a version's files are whole, and every weight in them finite.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fault::chain;
use crate::rollout::Version;
use crate::weights::{ADAPTER_WEIGHTS, Registry};

/// Longest header of a safetensors file, as the format's own reader limits it.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Bytes that are looked at in one go; a multiple of every element's size.
const CHUNK_BYTES: usize = 1 << 20;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Files whose size and SHA-256 are those of the manifest.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Weights that are finite; all of them.
    pub weights: u64,
}

/// Looks at a version: every file is as its manifest says (of the base too, where the version is an
/// adapter), and every weight of its own is finite.
///
/// # Errors
/// Why it must not go live, in words.
pub fn inspect(registry: &Registry, version: Version) -> Result<Figures, String> {
    let manifest = registry.verify(version).map_err(|error| chain(&error))?;
    if let Some(base) = registry.base_of(version).map_err(|error| chain(&error))? {
        registry.verify(base).map_err(|error| chain(&error))?;
    }
    let mut figures = Figures::default();
    for file in &manifest.files {
        figures.files += 1;
        figures.bytes += file.bytes;
        let is_model = file.name.starts_with("model") && file.name.ends_with(".safetensors");
        if is_model || file.name == ADAPTER_WEIGHTS {
            let path = registry.dir(version).join(&file.name);
            figures.weights +=
                finite(&path).map_err(|reason| format!("{}: {reason}", file.name))?;
        }
    }
    if figures.weights == 0 {
        return Err("it holds no weights".to_owned());
    }
    Ok(figures)
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    data_offsets: [u64; 2],
}

/// Number of weights in a safetensors file, all finite. Reads it in chunks.
fn finite(path: &Path) -> Result<u64, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let mut file = BufReader::new(File::open(path).map_err(|error| words(&error))?);
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| words(&error))?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_BYTES_MAX {
        return Err("its header is too long".to_owned());
    }
    let mut header = Vec::new();
    (&mut file).take(length).read_to_end(&mut header).map_err(|error| words(&error))?;
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|error| words(&error))?;
    let mut entries = Vec::new();
    for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let entry: Entry = serde_json::from_value(value).map_err(|error| words(&error))?;
        entries.push((name, entry));
    }
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut weights = 0;
    for (name, Entry { dtype, data_offsets: [start, end] }) in entries {
        let width = width(&dtype).ok_or_else(|| format!("`{name}` is {dtype}"))?;
        let bytes = end.saturating_sub(start);
        if !all_finite(&mut (&mut file).take(bytes), width).map_err(|error| words(&error))? {
            return Err(format!("`{name}` holds a weight that is not finite"));
        }
        weights += bytes / width.bytes() as u64;
    }
    Ok(weights)
}

/// How an element is laid out.
#[derive(Clone, Copy)]
enum Width {
    F32,
    Bf16,
    F16,
}

impl Width {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    fn is_finite(self, element: &[u8]) -> bool {
        match (self, element) {
            (Self::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).is_finite(),
            (Self::Bf16, &[a, b]) => half::bf16::from_le_bytes([a, b]).is_finite(),
            (Self::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).is_finite(),
            _ => false,
        }
    }
}

fn width(dtype: &str) -> Option<Width> {
    match dtype {
        "F32" => Some(Width::F32),
        "BF16" => Some(Width::Bf16),
        "F16" => Some(Width::F16),
        _ => None,
    }
}

fn all_finite(data: &mut impl Read, width: Width) -> std::io::Result<bool> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        data.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        if !chunk.chunks(width.bytes()).all(|element| width.is_finite(element)) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use safetensors::{Dtype, tensor::TensorView};

    use super::*;

    fn count(dtype: Dtype, bytes: &[u8], width: usize) -> Result<u64, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let view = TensorView::new(dtype, vec![bytes.len() / width], bytes).unwrap();
        safetensors::serialize_to_file([("w", view)], None, &path).unwrap();
        finite(&path)
    }

    #[test]
    fn every_weight_is_looked_at_in_every_type() {
        let mut words: Vec<f32> = vec![0.5; CHUNK_BYTES / 2];
        let bytes = |words: &[f32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(count(Dtype::F32, &bytes(&words), 4), Ok(words.len() as u64));
        *words.last_mut().unwrap() = f32::NAN;
        let error = count(Dtype::F32, &bytes(&words), 4).unwrap_err();
        assert_eq!(error, "`w` holds a weight that is not finite");
        assert!(count(Dtype::BF16, &[0x80, 0x3f, 0x80, 0x7f], 2).is_err());
        assert_eq!(count(Dtype::BF16, &[0x80, 0x3f, 0x00, 0x3f], 2), Ok(2));
        assert!(count(Dtype::F16, &[0x00, 0x7c], 2).is_err());
        assert!(count(Dtype::I8, &[1], 1).unwrap_err().contains("I8"));
    }

    #[test]
    fn what_is_no_safetensors_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        for bytes in [&b""[..], b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x02\0\0\0\0\0\0\0no"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(finite(&path).is_err());
        }
    }
}
