//! What a version holds beside its weights so that training goes on from it as if it had never
//! ended: the optimizer's moments, and `trainer.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::adamw::{AdamW, AdamWOptions};
use super::bound::Bound;
use super::error::TrainError;
use super::learner::Learner;
use crate::config::{DtypeChoice, TrainConfig};
use crate::events::emit;
use crate::events::train::{DeviceFound, HeadTaken, MomentsGone};
use crate::model::{Decoder, Placement, SaveDtype};
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
) -> Result<(Learner, State), TrainError> {
    registry.verify(version)?;
    let Placement { device, name, reason, .. } = Placement::find(config.device, DtypeChoice::F32)?;
    emit(DeviceFound { device: name, reason });
    let dir = registry.dir(version);
    let state = State::load(&dir)?;
    let options = AdamWOptions {
        learning_rate: config.learning_rate,
        beta1: config.beta1,
        beta2: config.beta2,
        epsilon: config.epsilon,
        weight_decay: config.weight_decay,
        decay_vectors: false,
    };
    let moments = dir.join(OPTIMIZER_FILE);
    let optimizer = match moments.exists() {
        true => AdamW::load(&moments, options, &device)?,
        false => AdamW::new(options),
    };
    let optimizer = optimizer.scheduled(config.rates(), state.updates);
    if optimizer.steps() < state.updates {
        emit(MomentsGone { version: version.0 });
    }
    emit(HeadTaken { version: version.0, updates: optimizer.updates() });
    Ok((Learner { decoder: Decoder::load(&dir, &device)?, optimizer }, state))
}

/// Writes what [`load`] reads into a draft.
pub fn save(
    draft: &Draft,
    registry: &Registry,
    head: Version,
    learner: &Learner,
    state: &State,
) -> Result<(), TrainError> {
    draft.copy_sidecars(&registry.dir(head))?;
    learner.decoder.save(draft.dir(), SaveDtype::F32)?;
    learner.optimizer.save(&draft.dir().join(OPTIMIZER_FILE))?;
    let updates = learner.optimizer.updates();
    State { schema_version: STATE_SCHEMA, updates, ..state.clone() }.save(draft.dir())
}
