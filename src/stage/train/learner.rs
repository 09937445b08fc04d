//! One step: the gradient of a batch, pack by pack, and the optimizer's updates. No I/O but where a
//! learner is saved.

use std::path::Path;

use burn::tensor::FloatDType;

use super::adamw::{AdamW, clip_factor, sum_of_squares};
use super::error::TrainError;
use super::figures::Figures;
use super::objective::Group;
use super::prepare::{Constants, Frozen, Preparation};
use super::reduce::AllReduce;
use super::samples::Sample;
use crate::config::TrainConfig;
use crate::loss::{Outputs, slope};
use crate::model::{
    Adapter, Answers, Decoder, Differentiation, Gradients, Pack, Parameter, Parameters, Precision,
    SaveDtype, Sequence, Slopes, Support, backward, forward, plan,
};
use crate::rollout::Rejection;

/// A model and the optimizer that goes with it.
#[derive(Clone, Debug)]
pub struct Learner {
    /// f32 masters: those of the model, or of the base that an adapter stands beside.
    masters: Decoder,
    /// What is trained in place of the masters.
    adapter: Option<Adapter>,
    /// The masters in the precision that is computed in.
    rounded: Decoder,
    precision: Precision,
    /// What computes: `rounded`, with the adapter.
    decoder: Decoder,
    teacher: Option<Decoder>,
    reference: Option<Decoder>,
    /// The optimizer's state.
    pub optimizer: AdamW,
}

/// What a step asks of the outside.
pub struct Controls<'a> {
    /// Whether the process is to end.
    pub stopped: &'a mut dyn FnMut() -> bool,
    /// Whether an update may be made, by the loss and the L2 norm of its gradient; why not, if not.
    pub allows: &'a dyn Fn(f64, f64) -> Result<(), String>,
    /// The other replicas.
    pub reduce: &'a mut dyn AllReduce,
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    /// The learner after the step, and the step's metrics by name.
    Learned(Box<Learner>, Vec<(String, f64)>),
    /// Nothing may change; why, in words.
    SetAside(Rejection, String),
    /// The process is to end: the half-done step is dropped.
    Stopped,
}

/// The gradient of the batch's loss, and its figures.
struct Pass {
    gradient: Parameters,
    figures: Figures,
}

/// Samples of one pass that are computed together.
struct Packed {
    places: Vec<usize>,
    pack: Pack,
}

impl Learner {
    /// A learner of a model, or of an adapter beside it, that computes in f32.
    ///
    /// # Errors
    /// The adapter does not fit the model.
    pub fn new(
        masters: Decoder,
        adapter: Option<Adapter>,
        optimizer: AdamW,
    ) -> Result<Self, TrainError> {
        let decoder = attached(&masters, adapter.as_ref())?;
        let (rounded, precision) = (masters.clone(), Precision::F32);
        let (teacher, reference) = (None, None);
        Ok(Self { masters, adapter, rounded, precision, decoder, teacher, reference, optimizer })
    }

    /// The same learner, computing in another precision. The masters stay f32: one step is far
    /// below what bf16 can tell apart.
    ///
    /// # Errors
    /// The adapter does not fit the model.
    pub fn computing_in(mut self, precision: Precision) -> Result<Self, TrainError> {
        self.precision = precision;
        self.round()?;
        Ok(self)
    }

    fn round(&mut self) -> Result<(), TrainError> {
        self.rounded = match self.precision {
            Precision::F32 => self.masters.clone(),
            Precision::Bf16 => self.masters.compute_copy(Precision::Bf16),
        };
        self.decoder = attached(&self.rounded, self.adapter.as_ref())?;
        Ok(())
    }

    /// With versions whose weights do not change: the teacher of `topk` and `hybrid` (the weights
    /// before each step if absent), and the reference, where the distance to it counts.
    #[must_use]
    pub fn beside(self, teacher: Option<Decoder>, reference: Option<Decoder>) -> Self {
        Self { teacher, reference, ..self }
    }

    /// What computes.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The f32 masters that are trained.
    pub fn parameters(&self) -> Parameters {
        match &self.adapter {
            Some(adapter) => adapter.parameters(),
            None => self.masters.parameters(),
        }
    }

    /// The adapter that is trained, if it is one.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// Writes the weights that were trained into `dir`: a model's, or an adapter's beside the base
    /// in `base`. Not atomic.
    ///
    /// # Errors
    /// A file that cannot be written, a device that gives nothing back.
    pub fn save(&self, dir: &Path, base: &str) -> Result<(), TrainError> {
        match &self.adapter {
            Some(adapter) => adapter.save(dir, Some(base))?,
            None => self.masters.save(dir, SaveDtype::F32)?,
        }
        Ok(())
    }

    /// Takes `config.epochs` optimizer updates over `batch`, on a copy: what is not finite, not
    /// allowed, or cut off, changes nothing. Memory is that of one pack's gradient. Of several
    /// replicas, each computes its share of the packs.
    ///
    /// # Errors
    /// The model or the optimizer's state cannot be worked with.
    pub fn step(
        &self,
        batch: &[Sample],
        config: &TrainConfig,
        controls: &mut Controls<'_>,
    ) -> Result<Outcome, TrainError> {
        let packs = self.packs(batch, config, controls.reduce)?;
        let Some(constants) = self.constants(batch, &packs, config, controls.stopped)? else {
            return Ok(Outcome::Stopped);
        };
        let mut next = self.clone();
        let mut first: Option<(Figures, f64)> = None;
        let (mut norm_max, mut rate) = (0.0f64, 0.0);
        for _ in 0..config.epochs {
            let Some(pass) = next.pass(batch, &constants, &packs, config, controls.stopped)? else {
                return Ok(Outcome::Stopped);
            };
            let (gradient, figures) = controls.reduce.sum(pass.gradient, pass.figures)?;
            let loss = figures.loss();
            if !loss.is_finite() {
                return Ok(not_finite("loss"));
            }
            let norm = gradient.iter().map(|(_, g)| sum_of_squares(&g.values)).sum::<f64>().sqrt();
            if !norm.is_finite() {
                return Ok(not_finite("gradient"));
            }
            if let Err(why) = (controls.allows)(loss, norm) {
                return Ok(Outcome::SetAside(Rejection::Exploding, why));
            }
            next.update(gradient, clip_factor(norm, config.grad_norm_max))?;
            rate = next.optimizer.rate();
            norm_max = norm_max.max(norm);
            first.get_or_insert((figures, norm));
        }
        let (figures, norm) = first.unwrap_or_default();
        let Some(changed) = self.share_changed(&next) else {
            return Ok(not_finite("weights"));
        };
        let mut metrics = figures.metrics(batch);
        let ours = [
            ("grad_norm", norm),
            ("grad_norm_max", norm_max),
            ("learning_rate", rate),
            ("weights_changed", changed),
        ];
        metrics.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        Ok(Outcome::Learned(Box::new(next), metrics))
    }

    /// This replica's share of the batch, as packs. With more replicas than packs of the
    /// configured size there would be, packs are smaller.
    fn packs(
        &self,
        batch: &[Sample],
        config: &TrainConfig,
        reduce: &dyn AllReduce,
    ) -> Result<Vec<Packed>, TrainError> {
        let sequence = |sample: &Sample| {
            Sequence::new(self.decoder.config(), sample.tokens.clone(), sample.response_start)
        };
        let sequences: Vec<Sequence> = batch.iter().map(sequence).collect::<Result<_, _>>()?;
        let tokens: usize = batch.iter().map(|sample| sample.tokens.len()).sum();
        let rows_max = match reduce.ranks() {
            1 => config.pack_tokens,
            ranks => config.pack_tokens.min(tokens.div_ceil(ranks)),
        };
        let shares = plan(&sequences, rows_max).into_iter().enumerate();
        let own = shares.filter(|(place, _)| place % reduce.ranks() == reduce.rank());
        let packed = own.map(|(_, places)| {
            let part: Vec<Sequence> = places.iter().map(|&at| sequences[at].clone()).collect();
            let temperatures: Vec<f32> = places.iter().map(|&at| batch[at].temperature).collect();
            let pack = Pack::new(self.decoder.config(), &part, &temperatures)?;
            Ok(Packed { places, pack })
        });
        packed.collect()
    }

    /// The constants of the samples that are in the packs; those of others are empty. `None` if
    /// the process is to end.
    fn constants(
        &self,
        batch: &[Sample],
        packs: &[Packed],
        config: &TrainConfig,
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Constants>>, TrainError> {
        let places: Vec<usize> = packs.iter().flat_map(|packed| &packed.places).copied().collect();
        let samples: Vec<Sample> = places.iter().map(|&place| batch[place].clone()).collect();
        let mut all = vec![Constants::default(); batch.len()];
        let frozen = Frozen {
            policy: &self.decoder,
            teacher: self.teacher.as_ref().unwrap_or(&self.decoder),
            reference: self.reference.as_ref(),
        };
        let found = Preparation { frozen, config, stopped }.constants(&samples)?;
        let Some(found) = found else { return Ok(None) };
        places.into_iter().zip(found).for_each(|(place, constants)| all[place] = constants);
        Ok(Some(all))
    }

    /// The gradient at the present weights; `None` if the process is to end.
    fn pass(
        &self,
        batch: &[Sample],
        constants: &[Constants],
        packs: &[Packed],
        config: &TrainConfig,
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Pass>, TrainError> {
        let mut gradients = Gradients::new();
        let mut figures = Figures::default();
        for Packed { places, pack } in packs {
            if stopped() {
                return Ok(None);
            }
            let group = Group::new(batch, constants, places, config, self.decoder.device());
            let support = group.support_ids().map(|ids| {
                let k = ids.len() / pack.response_tokens();
                Support::new(k, ids)
            });
            let how = Differentiation::default();
            let (answers, tape) = forward(&self.decoder, pack, support.as_ref(), how);
            let Answers { logprobs, support, entropy } = answers;
            figures.compare(&logprobs, places.iter().map(|&place| &batch[place]))?;
            figures.rows += pack.rows();
            let slope =
                slope(Outputs { logprobs, support, entropy }, |outputs| group.loss(outputs));
            figures.add(slope.loss, slope.other)?;
            let crate::loss::Slopes { logprobs, support, entropy } = slope.by;
            let slopes = Slopes { logprobs, support, entropy };
            gradients.accumulate(backward(&self.decoder, tape, slopes));
        }
        let mut gradient = gradients.into_parameters();
        if packs.is_empty() {
            gradient = zeros(self.parameters());
        }
        Ok(Some(Pass { gradient, figures }))
    }

    /// One AdamW update with the gradient times `factor`.
    fn update(&mut self, gradient: Parameters, factor: f64) -> Result<(), TrainError> {
        let mut parameters = self.parameters();
        self.optimizer.begin_step();
        for (name, grad) in gradient {
            let Some(parameter) = parameters.remove(&name) else { continue };
            let grad =
                Parameter::new(grad.shape, grad.values.cast(FloatDType::F32).mul_scalar(factor));
            let updated = self.optimizer.update(&name, parameter, grad)?;
            parameters.insert(name, updated);
        }
        if let Some(adapter) = &mut self.adapter {
            let settings = adapter.settings();
            *adapter = Adapter::from_parameters(settings, &parameters, self.masters.config())?;
            self.decoder = attached(&self.rounded, Some(adapter))?;
            return Ok(());
        }
        self.masters = self.masters.with_parameters(parameters)?;
        self.round()
    }

    /// The share of trained weights that differ; `None` if one of the new ones is not finite.
    fn share_changed(&self, next: &Self) -> Option<f64> {
        let (before, after) = (self.parameters(), next.parameters());
        let (mut changed, mut total) = (0.0, 0usize);
        for ((_, old), (_, new)) in before.iter().zip(after.iter()) {
            if !sum_of_squares(&new.values).is_finite() {
                return None;
            }
            let differs = old.values.clone().not_equal(new.values.clone()).float();
            changed += sum_of_squares(&differs);
            total += new.shape.iter().product::<usize>();
        }
        Some(changed / total.max(1) as f64)
    }
}

fn not_finite(what: &str) -> Outcome {
    Outcome::SetAside(Rejection::NotFinite, format!("the {what} is not finite"))
}

fn zeros(parameters: Parameters) -> Parameters {
    let zero = |(name, parameter): (String, Parameter)| {
        (name, Parameter::new(parameter.shape, parameter.values.zeros_like()))
    };
    parameters.into_iter().map(zero).collect()
}

/// A decoder with the adapter, if there is one.
fn attached(decoder: &Decoder, adapter: Option<&Adapter>) -> Result<Decoder, TrainError> {
    Ok(match adapter {
        Some(adapter) => decoder.with_adapter(adapter)?,
        None => decoder.clone(),
    })
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
