//! Reading the weights of a Hugging Face directory: one safetensors file, an index of shards, or an
//! adapter with the directory of its base.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Adapter, Decoder, ModelConfig, ModelError, Parameter, ParameterSpec, Parameters};
use crate::weights::{CONFIG, Content, INDEX, WEIGHTS, adapter_base};

impl Decoder {
    /// Loads a Hugging Face model directory: `config.json` and `model.safetensors`, or
    /// `model.safetensors.index.json` with its shards; f32, bf16 or f16. Or an adapter version:
    /// the base that its settings name, with the adapter beside it.
    ///
    /// # Errors
    /// Anything missing, truncated, misshapen, of an unknown dtype, not finite, or of an
    /// architecture that is not supported; each names the file and the key or tensor. An adapter
    /// whose base is not there, or of another shape.
    pub fn load(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let Some(base) = adapter_base(dir)? else { return Ok(Self::read(dir, device)?.0) };
        let (base, _) = Self::read(&base, device)?;
        base.with_adapter(&Adapter::load(dir, base.config(), device)?)
    }

    /// Loads a directory that holds all weights, and tells what was read.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub fn read(dir: &Path, device: &Device) -> Result<(Self, Content), ModelError> {
        let mut content = Content::default();
        let path = dir.join(CONFIG);
        let text = read(&path, &mut content)?;
        let config = ModelConfig::parse(&String::from_utf8_lossy(&text), &path)?;
        let parameters = parameters(dir, &config, device, &mut content)?;
        Ok((Self::from_parameters(config, parameters, device)?, content))
    }
}

/// Reads every parameter of `config` from `dir`, as f32, to `device`.
///
/// Holds one file at a time in memory, beside what was read of the others.
fn parameters(
    dir: &Path,
    config: &ModelConfig,
    device: &Device,
    content: &mut Content,
) -> Result<Parameters, ModelError> {
    let files = weight_files(dir)?;
    let specs = config.parameters();
    let by_name: BTreeMap<&str, &ParameterSpec> =
        specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let mut parameters = Parameters::new();
    // A copy of the tied head, and the rotary frequencies that old checkpoints keep.
    let may_ignore = |name: &str| {
        let copied_head = config.tied && name == super::parameters::HEAD;
        copied_head || name.ends_with(".rotary_emb.inv_freq")
    };
    for (path, listed) in &files {
        let bytes = read(path, content)?;
        let file = parse(path, &bytes)?;
        let owner = config.architecture.name();
        let reader = Reader { path, owner, specs: &by_name, may_ignore: &may_ignore, device };
        reader.read(&file, listed, &mut parameters)?;
    }
    let at = if files.len() == 1 { files[0].0.clone() } else { dir.to_owned() };
    require(&specs, &parameters, &at)?;
    Ok(parameters)
}

/// Reads one file whose tensors must be those that `specs` makes of their names.
pub(super) fn named(
    path: &Path,
    specs: impl FnOnce(&[&str]) -> Vec<ParameterSpec>,
    owner: &'static str,
    device: &Device,
    content: &mut Content,
) -> Result<Parameters, ModelError> {
    let bytes = read(path, content)?;
    let file = parse(path, &bytes)?;
    let specs = specs(&file.names());
    let by_name: BTreeMap<&str, &ParameterSpec> =
        specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let mut parameters = Parameters::new();
    let reader = Reader { path, owner, specs: &by_name, may_ignore: &|_| false, device };
    reader.read(&file, &BTreeSet::new(), &mut parameters)?;
    require(&specs, &parameters, path)?;
    Ok(parameters)
}

/// The bytes of a file, and that they were read.
pub(super) fn read(path: &Path, content: &mut Content) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    content.note(path.file_name().and_then(|name| name.to_str()).unwrap_or_default(), &bytes);
    Ok(bytes)
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, ModelError> {
    SafeTensors::deserialize(bytes).map_err(|error| ModelError::Safetensors {
        path: path.to_owned(),
        bytes: bytes.len(),
        reason: error.to_string(),
    })
}

fn require(specs: &[ParameterSpec], there: &Parameters, at: &Path) -> Result<(), ModelError> {
    match specs.iter().find(|spec| there.get(&spec.name).is_none()) {
        None => Ok(()),
        Some(spec) => Err(ModelError::MissingTensor {
            path: at.to_owned(),
            tensor: spec.name.clone(),
            expected: spec.shape.clone(),
        }),
    }
}

/// The files that hold weights, each with the tensors that the index says are in it (none where
/// there is no index).
fn weight_files(dir: &Path) -> Result<Vec<(PathBuf, BTreeSet<String>)>, ModelError> {
    let whole = dir.join(WEIGHTS);
    let index = dir.join(INDEX);
    if whole.is_file() {
        return Ok(vec![(whole, BTreeSet::new())]);
    }
    if !index.is_file() {
        return Err(ModelError::NoWeights { path: dir.to_owned() });
    }
    let text = std::fs::read_to_string(&index)
        .map_err(|source| ModelError::Read { path: index.clone(), source })?;
    let root: serde_json::Value = serde_json::from_str(&text)
        .map_err(|source| ModelError::Json { path: index.clone(), source })?;
    let wrong = |reason: String| ModelError::Index { path: index.clone(), reason };
    let map = root
        .get("weight_map")
        .and_then(serde_json::Value::as_object)
        .filter(|map| !map.is_empty())
        .ok_or_else(|| wrong("`weight_map` is missing, empty or no object".to_owned()))?;
    let mut files: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for (tensor, file) in map {
        let file = file
            .as_str()
            .ok_or_else(|| wrong(format!("`weight_map.{tensor}` is {file}, no file name")))?;
        // A shard stands beside its index: a name that leads elsewhere is not followed.
        if Path::new(file).file_name().and_then(|name| name.to_str()) != Some(file) {
            return Err(wrong(format!("`weight_map.{tensor}` is {file:?}, no plain file name")));
        }
        files.entry(dir.join(file)).or_default().insert(tensor.clone());
    }
    Ok(files.into_iter().collect())
}

struct Reader<'a> {
    path: &'a Path,
    /// Whose tensors these are.
    owner: &'static str,
    specs: &'a BTreeMap<&'a str, &'a ParameterSpec>,
    /// Tensors that may be there without being needed.
    may_ignore: &'a dyn Fn(&str) -> bool,
    device: &'a Device,
}

impl Reader<'_> {
    fn read(
        &self,
        file: &SafeTensors<'_>,
        listed: &BTreeSet<String>,
        into: &mut Parameters,
    ) -> Result<(), ModelError> {
        let path = self.path;
        // In the order of names, so that the same fault is named each time.
        let views: BTreeMap<&str, TensorView<'_>> = file.iter().collect();
        for (name, view) in views {
            let Some(spec) = self.specs.get(name) else {
                if (self.may_ignore)(name) {
                    continue;
                }
                return Err(ModelError::UnexpectedTensor {
                    path: path.to_owned(),
                    tensor: name.to_owned(),
                    architecture: self.owner,
                });
            };
            if into.insert(name, self.parameter(spec, &view)?).is_some() {
                let tensor = name.to_owned();
                return Err(ModelError::DuplicateTensor { path: path.to_owned(), tensor });
            }
        }
        let expected = |name: &String| self.specs.get(name.as_str()).copied();
        match listed.iter().filter_map(expected).find(|spec| into.get(&spec.name).is_none()) {
            None => Ok(()),
            Some(spec) => Err(ModelError::MissingTensor {
                path: path.to_owned(),
                tensor: spec.name.clone(),
                expected: spec.shape.clone(),
            }),
        }
    }

    fn parameter(
        &self,
        spec: &ParameterSpec,
        view: &TensorView<'_>,
    ) -> Result<Parameter, ModelError> {
        let path = || self.path.to_owned();
        let tensor = || spec.name.clone();
        if view.shape() != spec.shape {
            return Err(ModelError::Shape {
                path: path(),
                tensor: tensor(),
                expected: spec.shape.clone(),
                found: view.shape().to_vec(),
            });
        }
        let Some(values) = to_f32(view.dtype(), view.data()) else {
            let found = format!("{:?}", view.dtype());
            return Err(ModelError::Dtype { path: path(), tensor: tensor(), found });
        };
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::NotFinite {
                path: path(),
                tensor: tensor(),
                index,
                found: values[index],
            });
        }
        Ok(Parameter::from_values(spec.shape.clone(), values, self.device))
    }
}

/// Little-endian elements as f32; nothing for a dtype that is not read.
fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F32 => {
            Some(bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect())
        }
        Dtype::BF16 => Some(pairs().map(|two| bf16::from_le_bytes(*two).to_f32()).collect()),
        Dtype::F16 => Some(pairs().map(|two| f16::from_le_bytes(*two).to_f32()).collect()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
