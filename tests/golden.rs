//! Reading golden sets: see `testdata/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A directory with `manifest.json`, `model/`, and what a model must compute.
pub struct Golden {
    pub dir: PathBuf,
    pub manifest: Value,
    pub inputs: BTreeMap<String, Array>,
    pub expected: BTreeMap<String, Array>,
}

/// A tensor of a safetensors file; integers are exact as f32 below 2^24.
pub struct Array {
    pub values: Vec<f32>,
}

/// The set that stands in the repository, and those below `OPENCLAW_RL_GOLDEN`.
pub fn sets() -> Vec<Golden> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    let mut dirs = vec![own.join("golden-a")];
    if let Some(more) = std::env::var_os("OPENCLAW_RL_GOLDEN") {
        find(Path::new(&more), 0, "model", &mut dirs);
    }
    dirs.iter().map(|dir| Golden::open(dir)).collect()
}

/// The hybrid set that stands in the repository, and those below `OPENCLAW_RL_GOLDEN`.
pub fn hybrid_sets() -> Vec<Golden> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    let mut dirs = vec![own.join("hybrid-a")];
    if let Some(more) = std::env::var_os("OPENCLAW_RL_GOLDEN") {
        find(Path::new(&more), 0, "unit.safetensors", &mut dirs);
    }
    dirs.iter().map(|dir| Golden::open(dir)).collect()
}

/// Sets with a model of their own (or another mark), at most four levels down.
fn find(dir: &Path, depth: usize, mark: &str, dirs: &mut Vec<PathBuf>) {
    if dir.join("manifest.json").is_file() && dir.join(mark).exists() {
        dirs.push(dir.to_owned());
    } else if depth < 4 {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries
            .iter()
            .filter(|path| path.is_dir())
            .for_each(|path| find(path, depth + 1, mark, dirs));
    }
}

impl Golden {
    fn open(dir: &Path) -> Self {
        let manifest = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
        Self {
            dir: dir.to_owned(),
            manifest: serde_json::from_str(&manifest).unwrap(),
            inputs: read(&dir.join("inputs.safetensors")),
            expected: read(&dir.join("expected.safetensors")),
        }
    }

    /// The directory of the model, which may be that of another set.
    pub fn model(&self) -> PathBuf {
        match self.manifest["model"].as_str() {
            None => self.dir.join("model"),
            Some(beside) => self.dir.join("..").join(beside),
        }
    }

    pub fn name(&self) -> String {
        self.dir.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Ten times the difference that f32 arithmetic makes to this quantity.
    pub fn tolerance(&self, quantity: &str) -> f32 {
        let floors = &self.manifest["noise_floor_hf_f32_reference_vs_f64"];
        let floor = floors[quantity].as_f64().unwrap_or_else(|| panic!("no floor of {quantity}"));
        (10.0 * floor) as f32
    }

    /// Each sample's tokens and the place of its response among all responses.
    pub fn samples(&self) -> Vec<Sample> {
        let lengths = |key: &str| -> Vec<usize> {
            let list = self.manifest[key].as_array().unwrap();
            list.iter().map(|len| len.as_u64().unwrap() as usize).collect()
        };
        let ids = &self.inputs["input_ids"].values;
        let (mut token, mut response) = (0, 0);
        let samples = lengths("total_lengths").into_iter().zip(lengths("response_lengths"));
        samples
            .map(|(total, replied)| {
                let tokens = ids[token..token + total].iter().map(|id| *id as u32).collect();
                let sample = Sample {
                    tokens,
                    response_start: total - replied,
                    first_row: token,
                    responses: response..response + replied,
                };
                token += total;
                response += replied;
                sample
            })
            .collect()
    }
}

/// One sample of a set.
pub struct Sample {
    pub tokens: Vec<u32>,
    /// Index of the first response token among `tokens`.
    pub response_start: usize,
    /// Row of the first token in `logits`.
    pub first_row: usize,
    /// Where its response stands in the tensors of all response tokens.
    pub responses: std::ops::Range<usize>,
}

/// Every tensor of a file.
pub fn read(path: &Path) -> BTreeMap<String, Array> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let words = view.data().as_chunks::<4>().0.iter();
            let values = match view.dtype() {
                Dtype::F32 => words.map(|word| f32::from_le_bytes(*word)).collect(),
                Dtype::I32 => words.map(|word| i32::from_le_bytes(*word) as f32).collect(),
                dtype => panic!("{name} of dtype {dtype:?}"),
            };
            (name.to_owned(), Array { values })
        })
        .collect()
}

/// The largest absolute difference; NaN counts as infinite.
pub fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst, next| if next.is_nan() { f32::INFINITY } else { worst.max(next) })
}
