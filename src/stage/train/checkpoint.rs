//! What a version holds beside its weights so that training goes on from it as if it had never
//! ended: the optimizer's moments, and `trainer.json`.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::adamw::{AdamW, AdamWOptions};
use super::bound::Bound;
use super::error::TrainError;
use super::learner::Learner;
use crate::config::{OptimizerKind, TrainConfig, TrainedWeights};
use crate::events::emit;
use crate::events::train::{HeadTaken, MomentsGone};
use crate::model::{Adapter, Decoder, LoraSettings, Precision};
use crate::rollout::Version;
use crate::weights::{Draft, OPTIMIZER_FILE, Registry};

/// The trainer's own state within a version's directory.
const STATE_FILE: &str = "trainer.json";
/// The version of that file's form.
const STATE_SCHEMA: u32 = 1;

/// Where the trainer stands, beside the weights and the moments.
///
/// No generator of random numbers is among it: whatever is drawn is drawn from the seed and from
/// where the trainer stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    schema_version: u32,
    /// Optimizer updates since the base: the position in the schedule.
    pub updates: u64,
    /// Loss and gradient norm of the last steps.
    pub bound: Bound,
    /// Where in the examples it stands, where it trains on examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// A place in a file of examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Seed of the order.
    pub seed: u64,
    /// The order is the file's own; nothing is drawn.
    #[serde(default)]
    pub in_order: bool,
    /// Times that it was gone through.
    pub epoch: u64,
    /// Examples of this time that were taken.
    pub taken: u64,
}

impl State {
    /// That of a version; the beginning where it has none.
    fn load(dir: &Path) -> Result<Self, TrainError> {
        let path = dir.join(STATE_FILE);
        let fail = |source| TrainError::Io { path: path.clone(), source };
        if !path.exists() {
            return Ok(Self { schema_version: STATE_SCHEMA, ..Self::default() });
        }
        let bytes = std::fs::read(&path).map_err(fail)?;
        let unusable = |reason: String| TrainError::State { path: path.clone(), reason };
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if state.schema_version > STATE_SCHEMA {
            let got = state.schema_version;
            return Err(unusable(format!(
                "it has schema version {got}, this program knows versions up to {STATE_SCHEMA}"
            )));
        }
        Ok(state)
    }

    fn save(&self, dir: &Path) -> Result<(), TrainError> {
        let path = dir.join(STATE_FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| TrainError::State { path: path.clone(), reason: error.to_string() })?;
        std::fs::write(&path, format!("{text}\n")).map_err(|source| TrainError::Io { path, source })
    }
}

/// The learner of a version whose files are whole, and where the trainer stood.
pub fn load(
    registry: &Registry,
    version: Version,
    config: &TrainConfig,
    (device, precision): (&Device, Precision),
) -> Result<(Learner, State), TrainError> {
    let _held = registry.hold(version)?;
    let dir = registry.dir(version);
    let base = registry.base_of(version)?;
    verified(registry, version)?;
    let state = State::load(&dir)?;
    let (masters, adapter) = match (config.weights, base) {
        (TrainedWeights::All, Some(_)) => return Err(not_whole(version)),
        (TrainedWeights::All, None) => (Decoder::load(&dir, device)?, None),
        (TrainedWeights::Lora, None) => {
            let masters = Decoder::load(&dir, device)?;
            let fresh = Adapter::fresh(lora(config), masters.config(), config.seed, device);
            (masters, Some(fresh))
        }
        (TrainedWeights::Lora, Some(base)) => {
            let masters = Decoder::load(&registry.dir(base), device)?;
            let adapter = Adapter::load(&dir, masters.config(), device)?;
            fits(&adapter, config, version)?;
            (masters, Some(adapter))
        }
    };
    // those of all weights are none of an adapter
    let continues = adapter.is_none() || base.is_some();
    let optimizer = optimizer(&dir, continues, config, state.updates, device)?;
    if continues && optimizer.steps() < state.updates {
        emit(MomentsGone { version: version.0 });
    }
    emit(HeadTaken { version: version.0, updates: optimizer.updates() });
    let frozen = |version| frozen(registry, version, (device, precision));
    let teacher = config.teacher_version.filter(|_| config.method.has_own_teacher());
    let reference = config.has_reference().then_some(config.reference_version);
    let learner = Learner::new(masters, adapter, optimizer)?
        .computing_in(precision)?
        .beside(teacher.map(frozen).transpose()?, reference.map(frozen).transpose()?);
    Ok((learner, state))
}

/// Checks the files of a version, and of the base that it stands beside.
fn verified(registry: &Registry, version: Version) -> Result<(), TrainError> {
    registry.verify(version)?;
    if let Some(base) = registry.base_of(version)? {
        registry.verify(base)?;
    }
    Ok(())
}

/// A version whose weights do not change.
fn frozen(
    registry: &Registry,
    version: u64,
    (device, precision): (&Device, Precision),
) -> Result<Decoder, TrainError> {
    let version = Version(version);
    let _held = registry.hold(version)?;
    verified(registry, version)?;
    let decoder = Decoder::load(&registry.dir(version), device)?;
    Ok(match precision {
        Precision::F32 => decoder,
        Precision::Bf16 => decoder.compute_copy(precision),
    })
}

fn optimizer(
    dir: &Path,
    continues: bool,
    config: &TrainConfig,
    updates: u64,
    device: &Device,
) -> Result<AdamW, TrainError> {
    let options = AdamWOptions {
        learning_rate: config.learning_rate,
        beta1: config.beta1,
        beta2: config.beta2,
        epsilon: config.epsilon,
        weight_decay: config.weight_decay,
        decay_vectors: false,
        muon: config.optimizer == OptimizerKind::Muon,
    };
    let moments = dir.join(OPTIMIZER_FILE);
    let optimizer = match continues && moments.exists() {
        true => AdamW::load(&moments, options, device)?,
        false => AdamW::new(options),
    };
    Ok(optimizer.scheduled(config.rates(), updates))
}

fn lora(config: &TrainConfig) -> LoraSettings {
    LoraSettings { rank: config.lora_rank, alpha: config.lora_alpha, rank_stabilized: false }
}

fn not_whole(version: Version) -> TrainError {
    TrainError::Unfit {
        what: format!("version {version} is an adapter, and all weights are to be trained"),
        hint: "go on with `--weights lora`, or begin a home from the merged weights (`openclaw-rl \
               deploy --export DIR`)"
            .to_owned(),
    }
}

fn fits(adapter: &Adapter, config: &TrainConfig, version: Version) -> Result<(), TrainError> {
    let (there, asked) = (adapter.settings(), lora(config));
    if there == asked {
        return Ok(());
    }
    let what = format!(
        "the adapter of version {version} has rank {} and alpha {}, not {} and {}",
        there.rank, there.alpha, asked.rank, asked.alpha
    );
    let hint = format!(
        "use `--lora-rank {} --lora-alpha {}`, or a home of its own",
        there.rank, there.alpha
    );
    Err(TrainError::Unfit { what, hint })
}

/// Writes what [`load`] reads into a draft, to be the version after `head`.
pub fn save(
    draft: &Draft,
    registry: &Registry,
    head: Version,
    learner: &Learner,
    state: &State,
) -> Result<(), TrainError> {
    draft.copy_sidecars(&registry.dir(head))?;
    let base = registry.base_of(head)?.unwrap_or(head);
    let base = registry.dir(base);
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    learner.save(draft.dir(), &format!("../{name}"))?;
    learner.optimizer.save(&draft.dir().join(OPTIMIZER_FILE))?;
    let updates = learner.optimizer.updates();
    State { schema_version: STATE_SCHEMA, updates, ..state.clone() }.save(draft.dir())
}
