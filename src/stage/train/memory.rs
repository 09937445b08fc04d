//! What a step needs in memory, by kind, and what there is.
//!
//! An estimate from the model's shape: good to a fifth or so (docs/operations.md says what was
//! measured), made before anything is loaded.

use std::path::Path;

use serde::Serialize;

use super::error::TrainError;
use crate::config::{DeviceChoice, TrainConfig, TrainedWeights};
use crate::model::{ModelConfig, Placement, Precision, Projection};
use crate::rollout::Version;
use crate::weights::{CONFIG, Registry};

/// Elements of the head's scores that are held at once, as the model bounds them.
const HEAD_ELEMENTS: u64 = 1 << 24;
/// Scores, their softmax and their gradient.
const HEAD_COPIES: u64 = 3;
/// Below this the model keeps every value of the forward pass instead of computing it again.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// What one device holds at the height of a step, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceBytes {
    /// Its name.
    pub device: String,
    /// What it has free; `None` if that cannot be told.
    pub free: Option<u64>,
    /// Bytes by kind.
    pub kinds: Vec<(&'static str, u64)>,
}

impl DeviceBytes {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.kinds.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Whether it cannot hold that.
    pub fn is_too_small(&self) -> bool {
        self.free.is_some_and(|free| self.total() > free)
    }
}

/// What each device needs for a step of a model.
///
/// # Errors
/// A device that is not there.
pub fn needed(model: &ModelConfig, config: &TrainConfig) -> Result<Vec<DeviceBytes>, TrainError> {
    let choices =
        if config.devices.is_empty() { vec![config.device] } else { config.devices.clone() };
    let one = |choice: DeviceChoice| {
        let placement = Placement::find(choice, config.dtype)?;
        let kinds = kinds(model, config, &placement);
        Ok(DeviceBytes { free: free(&placement.name), device: placement.name, kinds })
    };
    choices.into_iter().map(one).collect()
}

fn kinds(
    model: &ModelConfig,
    config: &TrainConfig,
    placement: &Placement,
) -> Vec<(&'static str, u64)> {
    let all = model.parameter_count() as u64;
    let added = match config.weights {
        TrainedWeights::All => 0,
        TrainedWeights::Lora => adapter_elements(model, config.lora_rank as u64),
    };
    let trained = if added > 0 { added } else { all };
    let workers = config.workers as u64;
    let longest = config.train_tokens_max.min(model.positions_max);
    let rows = config.pack_tokens.max(longest) as u64;
    let rounded = if placement.precision == Precision::Bf16 { 2 * all } else { 0 };
    let frozen = u64::from(config.has_reference())
        + u64::from(config.method.has_own_teacher() && config.teacher_version.is_some());
    let kinds = [
        ("weights", 4 * all),
        ("weights_rounded", rounded),
        ("adapter", 4 * added),
        ("frozen_versions", 4 * all * frozen),
        ("moments", 8 * trained),
        // the sum, and that of one pack
        ("gradients", 2 * 4 * trained * workers),
        // until it is published, the version before stays
        ("next_weights_and_moments", 12 * trained * workers),
        ("activations", activations(model, rows) * workers),
        ("head", 4 * HEAD_COPIES * HEAD_ELEMENTS.min(rows * model.vocab_size as u64) * workers),
    ];
    kinds.into_iter().filter(|(_, bytes)| *bytes > 0).collect()
}

fn adapter_elements(model: &ModelConfig, rank: u64) -> u64 {
    let block: usize =
        Projection::ALL.iter().map(|p| p.features(model).iter().sum::<usize>()).sum();
    rank * block as u64 * model.layers as u64
}

/// What the forward pass keeps for the backward one, and what that holds of one block.
fn activations(model: &ModelConfig, rows: u64) -> u64 {
    let attended = (model.heads + model.kv_heads) * model.head_dim;
    let values = 8 * model.hidden_size + 6 * attended + 6 * model.intermediate_size;
    let (block, layers) = (4 * values as u64 * rows, model.layers as u64);
    if block * layers <= KEPT_BYTES_MAX {
        return block * layers;
    }
    // the input of each block, and all of one block twice: values and their gradients
    4 * model.hidden_size as u64 * rows * layers + 2 * block
}

/// The shape of a version's model.
fn shape(dir: &Path) -> Result<ModelConfig, TrainError> {
    Ok(ModelConfig::load(&dir.join(CONFIG))?)
}

/// Refuses a step that a device cannot hold.
///
/// # Errors
/// [`TrainError::TooLarge`], naming the device and what it lacks.
pub fn require(
    registry: &Registry,
    version: Version,
    config: &TrainConfig,
) -> Result<(), TrainError> {
    fits(needed(&shape(&registry.dir(version))?, config)?)
}

/// Refuses what a device cannot hold.
///
/// # Errors
/// [`TrainError::TooLarge`].
pub fn fits(devices: Vec<DeviceBytes>) -> Result<(), TrainError> {
    match devices.into_iter().find(DeviceBytes::is_too_small) {
        Some(small) => Err(TrainError::TooLarge {
            needs: small.total(),
            free: small.free.unwrap_or(0),
            device: small.device,
        }),
        None => Ok(()),
    }
}

/// What each device needs for a step of the home's head; `None` where there is no version yet and
/// the model is not a directory.
///
/// # Errors
/// As [`needed`], or the model's shape cannot be read.
pub fn of_home(
    home: &crate::config::Home,
    config: &TrainConfig,
) -> Result<Option<Vec<DeviceBytes>>, TrainError> {
    let head = match home.weights().is_dir() {
        true => {
            let registry = Registry::open(home)?;
            registry.head().ok().map(|head| registry.dir(head))
        }
        false => None,
    };
    let named = config.model.clone().filter(|model| model.join(CONFIG).is_file());
    head.or(named).map(|dir| needed(&shape(&dir)?, config)).transpose()
}

/// Bytes that a device has free, if it can be told.
fn free(device: &str) -> Option<u64> {
    match device.strip_prefix("cuda:") {
        Some(index) => free_cuda(index),
        None => free_host(),
    }
}

/// By the driver's own tool, so that nothing is loaded.
fn free_cuda(index: &str) -> Option<u64> {
    let query = ["--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", index];
    let output = std::process::Command::new("nvidia-smi").args(query).output().ok()?;
    let mib: u64 = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    Some(mib << 20)
}

/// What the machine, and the control group if there is one, leave.
fn free_host() -> Option<u64> {
    let group = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let allowed = group("memory.max")
        .map(|max| max.saturating_sub(group("memory.current").unwrap_or(0)))
        .unwrap_or(u64::MAX);
    kib("/proc/meminfo", "MemAvailable:").map(|free| free.min(allowed))
}

/// Bytes of memory that this process has in use; 0 where that cannot be told.
pub fn resident() -> u64 {
    kib("/proc/self/status", "VmRSS:").unwrap_or(0)
}

/// A figure of one of the kernel's files, in bytes.
fn kib(path: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelConfig {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
        shape(&golden).unwrap()
    }

    fn bytes(config: &TrainConfig, kind: &str) -> u64 {
        let config = TrainConfig { device: DeviceChoice::Cpu, ..config.clone() };
        let all = needed(&model(), &config).unwrap();
        assert_eq!((all.len(), all[0].device.as_str()), (1, "cpu"));
        all[0].kinds.iter().find(|(name, _)| *name == kind).map_or(0, |(_, bytes)| *bytes)
    }

    #[test]
    fn bytes_are_those_of_the_shape() {
        let all = TrainConfig::default();
        let count = model().parameter_count() as u64;
        assert_eq!(bytes(&all, "weights"), 4 * count);
        assert_eq!(bytes(&all, "moments"), 8 * count);
        assert_eq!((bytes(&all, "adapter"), bytes(&all, "frozen_versions")), (0, 0));
        let lora = TrainConfig { weights: TrainedWeights::Lora, lora_rank: 4, ..all.clone() };
        // two layers of q k v o gate up down: 32→64 32→32 32→32 64→32 32→64 32→64 64→32
        let added = 2 * 4 * (96 + 64 + 64 + 96 + 96 + 96 + 96);
        assert_eq!(bytes(&lora, "adapter"), 4 * added);
        assert_eq!(bytes(&lora, "moments"), 8 * added);
        let referred = TrainConfig { kl_coefficient: 0.1, ..all.clone() };
        assert_eq!(bytes(&referred, "frozen_versions"), 4 * count);
        let two = TrainConfig { workers: 2, ..all.clone() };
        assert_eq!(bytes(&two, "gradients"), 2 * bytes(&all, "gradients"));
        assert_eq!(bytes(&two, "weights"), bytes(&all, "weights"), "shared");
        let short = TrainConfig { pack_tokens: 64, train_tokens_max: 64, ..all };
        assert!(bytes(&short, "activations") * 7 < bytes(&two, "activations"));
    }

    #[test]
    fn what_cannot_fit_is_told() {
        let small =
            DeviceBytes { device: "x".into(), free: Some(9), kinds: vec![("a", 6), ("b", 4)] };
        assert_eq!((small.total(), small.is_too_small()), (10, true));
        assert!(!DeviceBytes { free: Some(10), ..small.clone() }.is_too_small());
        assert!(!DeviceBytes { free: None, ..small }.is_too_small(), "what is not known");
    }

    #[test]
    fn this_machine_tells_what_it_has() {
        assert!(resident() > 1 << 20);
        assert!(free_host().unwrap() > 1 << 20);
    }
}
