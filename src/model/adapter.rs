//! LoRA adapters (arXiv 2106.09685) as PEFT directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rand::{RngExt, SeedableRng};

use super::config::Keys;
use super::linear::LowRank;
use super::parameters::block_name;
use super::{
    Decoder, ModelConfig, ModelError, Parameter, ParameterSpec, Parameters, Projection, load, save,
};
use crate::weights::{ADAPTER_CONFIG as SETTINGS, ADAPTER_WEIGHTS as WEIGHTS, Content};

/// What PEFT puts before the name that a module has in the model.
const PREFIX: &str = "base_model.model.";
/// Halves of a name: `[rank, in]`, and `[out, rank]`.
const HALVES: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// The constants of an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraSettings {
    /// Rank of every addition.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// The scale is `alpha / sqrt(rank)` (arXiv 2312.03732) instead of `alpha / rank`.
    pub rank_stabilized: bool,
}

impl LoraSettings {
    /// What the product of both halves is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }
}

/// A layer and one of its projections.
type Place = (usize, Projection);

/// Low-rank additions to some projections of a model, kept beside its weights and never merged
/// into them, so that any number of adapters share one base.
///
/// Cloning is cheap: tensors are shared.
#[derive(Clone, Debug)]
pub struct Adapter {
    settings: LoraSettings,
    /// Whether every layer has the same projections adapted.
    uniform: bool,
    added: BTreeMap<Place, LowRank>,
}

impl Adapter {
    /// Loads a PEFT directory: `adapter_config.json` and `adapter_model.safetensors`, for models
    /// of this configuration.
    ///
    /// `target_modules` may be a list of names, `all-linear`, or a regular expression, which is
    /// taken to mean the modules that the weights hold.
    ///
    /// # Errors
    /// Files that cannot be read, settings that ask for more than plain LoRA of attention and
    /// feed-forward projections, and tensors that are missing, too many, misshapen, of an unknown
    /// dtype or not finite; each names the file and the key or tensor.
    pub fn load(dir: &Path, config: &ModelConfig, device: &Device) -> Result<Self, ModelError> {
        Ok(Self::read(dir, config, device)?.0)
    }

    /// [`Adapter::load`], and what was read.
    ///
    /// # Errors
    /// As [`Adapter::load`].
    pub fn read(
        dir: &Path,
        config: &ModelConfig,
        device: &Device,
    ) -> Result<(Self, Content), ModelError> {
        let mut content = Content::default();
        let path = dir.join(SETTINGS);
        let text = load::read(&path, &mut content)?;
        let root: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|source| ModelError::Json { path: path.clone(), source })?;
        let keys = Keys::new(&root, &path);
        let settings = settings(&keys)?;
        refuse_unsupported(&keys)?;
        let weights = dir.join(WEIGHTS);
        let targets = targets(&keys, config)?;
        let specs = |names: &[&str]| {
            let places = match targets {
                Some(places) => places,
                None => names.iter().filter_map(|name| place(name, config)).collect(),
            };
            specs(&places, settings.rank, config)
        };
        let parameters = load::named(&weights, specs, "the adapter", device, &mut content)?;
        Ok((Self::from_parameters(settings, &parameters, config)?, content))
    }

    /// An adapter of these halves, by their PEFT names.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] for a half without its other one, or of a shape that does not fit
    /// the settings and the model, and for a name that is no adapted projection's.
    pub fn from_parameters(
        settings: LoraSettings,
        parameters: &Parameters,
        config: &ModelConfig,
    ) -> Result<Self, ModelError> {
        let places: BTreeSet<Place> =
            parameters.names().filter_map(|name| place(name, config)).collect();
        parameters.check_specs(&specs(&places, settings.rank, config))?;
        let matrix = |name: &str| parameters.get(name).map(Parameter::input_major);
        let mut added = BTreeMap::new();
        for &place in &places {
            let [down, up] = half_names(place);
            if let (Some(down), Some(up)) = (matrix(&down), matrix(&up)) {
                added.insert(place, LowRank { down, up, scale: settings.scale() });
            }
        }
        let projections: BTreeSet<Projection> = places.iter().map(|place| place.1).collect();
        let uniform = places.len() == projections.len() * config.layers;
        Ok(Self { settings, uniform, added })
    }

    /// An adapter of every projection that does nothing yet: A as PEFT draws it (uniform within
    /// ±1/√inputs, which is Kaiming's bound for a = √5), B = 0. The same on every device.
    pub fn fresh(settings: LoraSettings, config: &ModelConfig, seed: u64, device: &Device) -> Self {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let rank = settings.rank;
        let mut fresh = |place: Place| {
            let [inputs, outputs] = place.1.features(config);
            let bound = (inputs as f32).sqrt().recip();
            let values: Vec<f32> =
                (0..inputs * rank).map(|_| rng.random_range(-bound..bound)).collect();
            let down = Tensor::from_data(TensorData::new(values, [inputs, rank]), device);
            let up = Tensor::zeros([rank, outputs], device);
            (place, LowRank { down, up, scale: settings.scale() })
        };
        Self { settings, uniform: true, added: places(config).map(&mut fresh).collect() }
    }

    /// Rank and scale.
    pub fn settings(&self) -> LoraSettings {
        self.settings
    }

    /// Every half by its PEFT name and in its layout. Matrices are copied.
    pub fn parameters(&self) -> Parameters {
        let mut parameters = Parameters::new();
        for (place, added) in &self.added {
            give(added.clone(), *place, &mut parameters);
        }
        parameters
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`, f32, into `dir`, which must
    /// exist. Not atomic.
    ///
    /// # Errors
    /// A file that cannot be written, or a tensor that the device does not give back.
    pub fn save(&self, dir: &Path, base: Option<&str>) -> Result<(), ModelError> {
        let json = serde_json::json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": self.settings.rank,
            "lora_alpha": self.settings.alpha,
            "use_rslora": self.settings.rank_stabilized,
            "target_modules": self.target_modules(),
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "base_model_name_or_path": base,
        });
        save::write(&dir.join(SETTINGS), format!("{json:#}\n").as_bytes())?;
        save::tensors(&dir.join(WEIGHTS), self.parameters(), super::SaveDtype::F32)
    }

    /// As PEFT understands them: last parts of names where every layer is alike, else whole names.
    fn target_modules(&self) -> BTreeSet<String> {
        let name = |(layer, projection): &Place| match self.uniform {
            true => last_part(*projection).to_owned(),
            false => block_name(*layer, projection.name()),
        };
        self.added.keys().map(name).collect()
    }
}

impl Decoder {
    /// The same decoder with an adapter beside it. The base's tensors are shared, so that this
    /// costs no memory and no time to speak of.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] if the adapter is of a model of another shape, or if this decoder
    /// has one already.
    pub fn with_adapter(&self, adapter: &Adapter) -> Result<Self, ModelError> {
        if self.is_adapted() {
            return Err(ModelError::Parameter {
                name: "the adapter".to_owned(),
                found: "a second one".to_owned(),
                expected: "one at most".to_owned(),
            });
        }
        let mut adapted = self.clone();
        for (&place, added) in &adapter.added {
            let (layer, projection) = place;
            let [inputs, outputs] = projection.features(self.config());
            let found = [added.down.dims()[0], added.up.dims()[1]];
            let block = adapted.blocks.get_mut(layer).filter(|_| found == [inputs, outputs]);
            let Some(block) = block else {
                return Err(ModelError::Parameter {
                    name: half_names(place)[1].clone(),
                    found: format!("from {} to {} features", found[0], found[1]),
                    expected: format!(
                        "from {inputs} to {outputs} features, in one of {} layers",
                        self.config().layers
                    ),
                });
            };
            block.linear_mut(projection).low_rank = Some(added.clone());
        }
        Ok(adapted)
    }

    /// Whether an adapter stands beside this decoder's weights.
    pub fn is_adapted(&self) -> bool {
        self.blocks
            .iter()
            .any(|block| Projection::ALL.iter().any(|kind| block.linear(*kind).low_rank.is_some()))
    }
}

fn last_part(projection: Projection) -> &'static str {
    projection.name().rsplit('.').next().unwrap_or_default()
}

fn half_names((layer, projection): Place) -> [String; 2] {
    let module = block_name(layer, projection.name());
    HALVES.map(|half| format!("{PREFIX}{module}.{half}"))
}

/// Puts the gradients of an addition's halves into `parameters`, as PEFT stores them: `[rank, in]`
/// and `[out, rank]`.
pub(super) fn give_stored(halves: [Tensor<2>; 2], place: Place, parameters: &mut Parameters) {
    for (name, half) in half_names(place).into_iter().zip(halves) {
        let half = half.cast(FloatDType::F32);
        parameters.insert(name, Parameter::from_rows(half));
    }
}

/// Puts an addition into `parameters`.
fn give(added: LowRank, place: Place, parameters: &mut Parameters) {
    for (name, half) in half_names(place).into_iter().zip([added.down, added.up]) {
        parameters.insert(name, Parameter::from_input_major(half));
    }
}

/// The place of a half, by its PEFT name.
fn place(name: &str, config: &ModelConfig) -> Option<Place> {
    let module = HALVES.iter().find_map(|half| name.strip_suffix(half))?.strip_suffix('.')?;
    let module = module.strip_prefix(PREFIX)?;
    places(config).find(|(layer, projection)| module == block_name(*layer, projection.name()))
}

/// Every place of a model.
fn places(config: &ModelConfig) -> impl Iterator<Item = Place> {
    (0..config.layers).flat_map(|layer| Projection::ALL.map(|projection| (layer, projection)))
}

fn specs(places: &BTreeSet<Place>, rank: usize, config: &ModelConfig) -> Vec<ParameterSpec> {
    let halves = |&place: &Place| {
        let [inputs, outputs] = place.1.features(config);
        let shapes = [vec![rank, inputs], vec![outputs, rank]];
        let named = half_names(place).into_iter().zip(shapes);
        named.map(|(name, shape)| ParameterSpec { name, shape })
    };
    places.iter().flat_map(halves).collect()
}

fn settings(keys: &Keys<'_>) -> Result<LoraSettings, ModelError> {
    if keys.find("peft_type").and_then(|kind| kind.as_str()) != Some("LORA") {
        return Err(keys.wrong("peft_type", "\"LORA\""));
    }
    Ok(LoraSettings {
        rank: keys.count("r")?,
        alpha: keys.positive("lora_alpha")?,
        rank_stabilized: keys.flag("use_rslora")?,
    })
}

/// The places that `target_modules` names; nothing for a regular expression.
fn targets(keys: &Keys<'_>, config: &ModelConfig) -> Result<Option<BTreeSet<Place>>, ModelError> {
    const KEY: &str = "target_modules";
    let layers = layers(keys)?;
    let chosen = |place: &Place| layers.as_ref().is_none_or(|layers| layers.contains(&place.0));
    let all = || places(config).filter(chosen);
    match keys.find(KEY) {
        Some(serde_json::Value::String(text)) if text == "all-linear" => Ok(Some(all().collect())),
        Some(serde_json::Value::String(_)) => Ok(None),
        Some(serde_json::Value::Array(names)) if !names.is_empty() => {
            let mut found = BTreeSet::new();
            for name in names {
                let name = name.as_str().unwrap_or_default();
                let named = |(layer, projection): &Place| {
                    let module = block_name(*layer, projection.name());
                    module == name || module.ends_with(&format!(".{name}"))
                };
                let before = found.len();
                found.extend(all().filter(named));
                if found.len() == before && !all().any(|place| named(&place)) {
                    let last = Projection::ALL.map(last_part).join(", ");
                    return Err(keys.wrong(KEY, &format!("names of projections: {last}")));
                }
            }
            Ok(Some(found))
        }
        _ => Err(keys.wrong(KEY, "a list of names, \"all-linear\", or a regular expression")),
    }
}

/// The layers that `layers_to_transform` restricts the adapter to.
fn layers(keys: &Keys<'_>) -> Result<Option<BTreeSet<usize>>, ModelError> {
    const KEY: &str = "layers_to_transform";
    let number = |value: &serde_json::Value| value.as_u64().map(|number| number as usize);
    let Some(value) = keys.find(KEY) else { return Ok(None) };
    let layers = match value {
        serde_json::Value::Array(values) => values.iter().map(number).collect(),
        value => number(value).map(|layer| BTreeSet::from([layer])),
    };
    layers.map(Some).ok_or_else(|| keys.wrong(KEY, "a layer's number or a list of them"))
}

/// Keys that do not change what an adapter computes, or that are read elsewhere.
const HARMLESS: &[&str] = &[
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "target_modules",
    "layers_to_transform",
    "layers_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
    "init_lora_weights",
    "bias",
    "eva_config",
];

/// Anything beyond plain LoRA would compute something else than its author meant.
fn refuse_unsupported(keys: &Keys<'_>) -> Result<(), ModelError> {
    let text = |key: &str| keys.find(key).and_then(|value| value.as_str());
    if keys.find("bias").is_some() && text("bias") != Some("none") {
        return Err(keys.wrong("bias", "\"none\""));
    }
    if keys.find("task_type").is_some() && text("task_type") != Some("CAUSAL_LM") {
        return Err(keys.wrong("task_type", "\"CAUSAL_LM\""));
    }
    // The other ways change the base's weights before training.
    let kept_base = ["gaussian", "eva", "orthogonal"];
    if text("init_lora_weights").is_some_and(|way| !kept_base.contains(&way)) {
        return Err(keys.wrong("init_lora_weights", "one that leaves the base as it is"));
    }
    for (key, value) in keys.entries() {
        let empty = match value {
            serde_json::Value::Null | serde_json::Value::Bool(false) => true,
            serde_json::Value::Array(items) => items.is_empty(),
            serde_json::Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if !empty && !HARMLESS.contains(&key.as_str()) {
            return Err(keys.wrong(key, "absent, null or empty"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "adapter_tests.rs"]
mod tests;
