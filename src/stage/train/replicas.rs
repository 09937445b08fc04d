//! The copies of the model among which a batch is divided: one, several on the CPU, or one on each
//! of several devices. All hold the same weights, bit for bit.

use tokio_util::sync::CancellationToken;

use super::checkpoint::{self, State};
use super::error::TrainError;
use super::learner::{Controls, Learner, Outcome};
use super::reduce::{AllReduce, Alone, Collective, Shared};
use super::samples::Sample;
use crate::config::TrainConfig;
use crate::events::emit;
use crate::events::train::DeviceFound;
use crate::model::Placement;
use crate::rollout::{Rejection, Version};
use crate::weights::Registry;

/// At least one learner.
#[derive(Clone, Debug)]
pub struct Replicas {
    learners: Vec<Learner>,
    /// They are on one device, where they share their tensors between two steps.
    share: bool,
}

/// How a step ended.
pub enum Stepped {
    /// What comes after the step, and the step's metrics by name.
    Learned(Replicas, Vec<(String, f64)>),
    /// Nothing may change; why, in words.
    SetAside(Rejection, String),
    /// The process is to end: the half-done step is dropped.
    Stopped,
}

/// What a step asks of the trainer.
pub struct Step<'a> {
    /// The batch.
    pub batch: &'a [Sample],
    /// What is optimised.
    pub config: &'a TrainConfig,
    /// Whether an update may be made, by the loss and the L2 norm of its gradient.
    pub allows: &'a (dyn Fn(f64, f64) -> Result<(), String> + Sync),
    /// Whether the process is to end.
    pub shutdown: &'a CancellationToken,
}

impl Replicas {
    /// A version on every configured device, and where the trainer stood.
    pub fn load(
        registry: &Registry,
        version: Version,
        config: &TrainConfig,
    ) -> Result<(Self, State), TrainError> {
        let mut devices = config.devices.clone();
        if devices.is_empty() {
            devices.push(config.device);
        }
        let mut learners = Vec::new();
        let mut state = State::default();
        for device in devices {
            let placement = Placement::find(device, config.dtype)?;
            emit(DeviceFound { device: placement.name, reason: placement.reason });
            let place = (&placement.device, placement.precision);
            let (learner, stood) = checkpoint::load(registry, version, config, place)?;
            learners.push(learner);
            state = stood;
        }
        let share = learners.len() == 1;
        if let [only] = learners.as_slice() {
            learners = vec![only.clone(); config.workers];
        }
        Ok((Self { learners, share }, state))
    }

    /// The first of them, which stands for all.
    ///
    /// # Panics
    /// Never: there is one at least.
    pub fn first(&self) -> &Learner {
        &self.learners[0]
    }

    /// Takes a step on copies, `beat` again and again meanwhile.
    pub fn step(&self, step: &Step<'_>, beat: &mut dyn FnMut()) -> Result<Stepped, TrainError> {
        let mut stopped = || {
            beat();
            step.shutdown.is_cancelled()
        };
        if let [only] = self.learners.as_slice() {
            let outcome = one(only, step, &mut stopped, &mut Alone)?;
            return Ok(self.together(vec![outcome]));
        }
        let mut parts = self.parts().into_iter().zip(&self.learners);
        let Some((mut part, first)) = parts.next() else { return Ok(Stepped::Stopped) };
        std::thread::scope(|scope| {
            let others: Vec<_> = parts
                .map(|(mut part, learner)| {
                    let mut stopped = || step.shutdown.is_cancelled();
                    scope.spawn(move || one(learner, step, &mut stopped, part.as_mut()))
                })
                .collect();
            let mut outcomes = vec![one(first, step, &mut stopped, part.as_mut())];
            // the others must not wait for it
            drop(part);
            outcomes.extend(others.into_iter().map(|other| {
                let broke_off = |_| TrainError::Panicked { reason: "a replica".to_owned() };
                other.join().map_err(broke_off).flatten()
            }));
            let is_stopped = |outcome: &Result<Outcome, _>| matches!(outcome, Ok(Outcome::Stopped));
            if outcomes.iter().any(is_stopped) {
                return Ok(Stepped::Stopped);
            }
            // what one failed of says more than that others waited for it
            outcomes.sort_by_key(|outcome| matches!(outcome, Err(TrainError::ReplicaGone { .. })));
            Ok(self.together(outcomes.into_iter().collect::<Result<_, _>>()?))
        })
    }

    /// A part in the sum for each replica.
    fn parts(&self) -> Vec<Box<dyn AllReduce>> {
        let devices: Vec<_> =
            self.learners.iter().map(|learner| learner.decoder().device().clone()).collect();
        match Collective::among(&devices).filter(|_| !self.share) {
            Some(parts) => parts.into_iter().map(|part| Box::new(part) as _).collect(),
            None => {
                let parts = Shared::among(devices.len()).into_iter();
                parts.map(|part| Box::new(part) as _).collect()
            }
        }
    }

    /// All replicas come to the same, since all see the same sums.
    fn together(&self, outcomes: Vec<Outcome>) -> Stepped {
        let mut learners = Vec::with_capacity(outcomes.len());
        let mut figures = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Learned(next, metrics) if learners.is_empty() => {
                    figures = metrics;
                    learners.push(*next);
                }
                Outcome::Learned(..) if self.share => learners.push(learners[0].clone()),
                Outcome::Learned(next, _) => learners.push(*next),
                Outcome::SetAside(reason, detail) => return Stepped::SetAside(reason, detail),
                Outcome::Stopped => return Stepped::Stopped,
            }
        }
        Stepped::Learned(Self { learners, share: self.share }, figures)
    }
}

fn one(
    learner: &Learner,
    step: &Step<'_>,
    stopped: &mut dyn FnMut() -> bool,
    reduce: &mut dyn AllReduce,
) -> Result<Outcome, TrainError> {
    let mut controls = Controls { stopped, allows: step.allows, reduce };
    learner.step(step.batch, step.config, &mut controls)
}
