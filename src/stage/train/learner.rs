//! One step: the gradient of a batch, pack by pack, and the optimizer's updates. No I/O but where a
//! learner is saved.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use rayon::prelude::*;

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
    /// What is trained, as the optimizer and the files have it.
    trained: Parameters,
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

/// All of a replica's, and how many are computed at once.
struct Packs {
    packed: Vec<Packed>,
    /// Which packs are computed after each other, for each lane; the lanes are computed at once.
    lanes: Vec<Vec<usize>>,
}

impl Packs {
    /// These packs, dealt out to so many lanes at most: the largest first, each to the lane that
    /// has least.
    fn new(packed: Vec<Packed>, lanes: usize) -> Self {
        let count = lanes.min(packed.len()).max(1);
        let mut order: Vec<usize> = (0..packed.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(packed[at].pack.rows()));
        let mut dealt = vec![(0, Vec::new()); count];
        for at in order {
            if let Some((rows, lane)) = dealt.iter_mut().min_by_key(|(rows, _)| *rows) {
                *rows += packed[at].pack.rows();
                lane.push(at);
            }
        }
        Self { packed, lanes: dealt.into_iter().map(|(_, lane)| lane).collect() }
    }

    /// Rows of all packs.
    fn rows(&self) -> usize {
        self.packed.iter().map(|packed| packed.pack.rows()).sum()
    }

    /// Rows of the lane that has most.
    fn longest(&self) -> usize {
        let rows = |lane: &Vec<usize>| lane.iter().map(|&at| self.packed[at].pack.rows()).sum();
        self.lanes.iter().map(rows).max().unwrap_or(0)
    }
}

/// The gradient of a lane, and what was measured on the way.
type Part = (Parameters, Figures);

/// Into how many packs the work of a lane may be divided: more can be dealt out more evenly, and
/// tear apart more of what samples share.
const PACKS_PER_LANE: [usize; 3] = [1, 2, 4];
/// Time between two looks whether the process is to end.
const LOOK: Duration = Duration::from_millis(2);

/// Runs `work` where whatever it does in parallel has one thread.
fn on_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

/// A batch, with what is constant in its loss.
#[derive(Clone, Copy)]
struct Batch<'a> {
    samples: &'a [Sample],
    constants: &'a [Constants],
    config: &'a TrainConfig,
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
        let trained = match &adapter {
            Some(adapter) => adapter.parameters(),
            None => masters.parameters(),
        };
        Ok(Self {
            masters,
            adapter,
            trained,
            rounded,
            precision,
            decoder,
            teacher: None,
            reference: None,
            optimizer,
        })
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
        self.trained.clone()
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
        let found = self.constants(batch, &packs.packed, config, controls.stopped)?;
        let Some(constants) = found else { return Ok(Outcome::Stopped) };
        let taken = Batch { samples: batch, constants: &constants, config };
        let mut next = self.clone();
        let mut first: Option<(Figures, f64)> = None;
        let (mut norm_max, mut rate) = (0.0f64, 0.0);
        for _ in 0..config.epochs {
            let Some(pass) = next.pass(&taken, &packs, controls.stopped)? else {
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
    /// configured size there would be, packs are smaller. A replica on its own on the CPU takes
    /// as many at once as it has threads, each on one of them, which leaves none idle: smaller
    /// packs then, of about the same work for each thread, unless that tears apart too much of
    /// what samples share.
    fn packs(
        &self,
        batch: &[Sample],
        config: &TrainConfig,
        reduce: &dyn AllReduce,
    ) -> Result<Packs, TrainError> {
        let sequence = |sample: &Sample| {
            Sequence::new(self.decoder.config(), sample.tokens.clone(), sample.response_start)
        };
        let sequences: Vec<Sequence> = batch.iter().map(sequence).collect::<Result<_, _>>()?;
        let temperatures: Vec<f32> = batch.iter().map(|sample| sample.temperature).collect();
        let planned = |rows_max: usize| -> Result<Vec<Packed>, TrainError> {
            let shares = plan(&sequences, rows_max).into_iter().enumerate();
            let own = shares.filter(|(place, _)| place % reduce.ranks() == reduce.rank());
            let packed = own.map(|(_, places)| {
                let part: Vec<Sequence> = places.iter().map(|&at| sequences[at].clone()).collect();
                let temperatures: Vec<f32> = places.iter().map(|&at| temperatures[at]).collect();
                let pack = Pack::new(self.decoder.config(), &part, &temperatures)?;
                Ok(Packed { places, pack })
            });
            packed.collect()
        };
        let tokens: usize = batch.iter().map(|sample| sample.tokens.len()).sum();
        let ranks = reduce.ranks();
        if ranks > 1 {
            return Ok(Packs::new(planned(config.pack_tokens.min(tokens.div_ceil(ranks)))?, 1));
        }
        let whole = Packs::new(planned(config.pack_tokens)?, 1);
        let threads = rayon::current_num_threads();
        if self.decoder.device() != &Device::flex() || threads == 1 {
            return Ok(whole);
        }
        let (at_once, alone) = (config.pack_tokens.min(whole.rows()), whole.rows());
        let mut best = whole;
        for parts in PACKS_PER_LANE {
            let packs = Packs::new(planned(at_once.div_ceil(threads * parts))?, threads);
            // one pack on all threads is worth no more than half of them
            let worst = if best.lanes.len() > 1 { best.longest() } else { alone * 2 / threads };
            if packs.longest() < worst {
                best = packs;
            }
        }
        Ok(best)
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

    /// The gradient at the present weights; `None` if the process is to end. Lanes are added up in
    /// their order, so that the same batch gives the same bits.
    fn pass(
        &self,
        batch: &Batch<'_>,
        packs: &Packs,
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Pass>, TrainError> {
        let parts = match packs.lanes.as_slice() {
            [lane] => vec![self.lane(batch, packs, lane, stopped)],
            lanes => self.lanes(batch, packs, lanes, stopped),
        };
        let (mut gradients, mut figures) = (Gradients::new(), Figures::default());
        for part in parts {
            let Some((gradient, own)) = part? else { return Ok(None) };
            gradients.accumulate(gradient);
            figures.merge(&own);
        }
        let mut gradient = gradients.into_parameters();
        if packs.packed.is_empty() {
            gradient = zeros(self.parameters());
        }
        Ok(Some(Pass { gradient, figures }))
    }

    /// The gradients of all lanes, each computed on one thread of its own.
    fn lanes(
        &self,
        batch: &Batch<'_>,
        packs: &Packs,
        lanes: &[Vec<usize>],
        stopped: &mut dyn FnMut() -> bool,
    ) -> Vec<Result<Option<Part>, TrainError>> {
        let ended = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let compute = |lane| {
                move || {
                    on_one_thread(|| {
                        self.lane(batch, packs, lane, &mut || ended.load(Ordering::Relaxed))
                    })
                }
            };
            let lanes: Vec<_> = lanes.iter().map(|lane| scope.spawn(compute(lane))).collect();
            while lanes.iter().any(|lane| !lane.is_finished()) {
                if stopped() {
                    ended.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
            let broke_off = |_| TrainError::Panicked { reason: "a lane".to_owned() };
            lanes.into_iter().map(|lane| lane.join().map_err(broke_off).flatten()).collect()
        })
    }

    /// The gradient of some of the packs.
    fn lane(
        &self,
        batch: &Batch<'_>,
        packs: &Packs,
        lane: &[usize],
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Part>, TrainError> {
        let Batch { samples, constants, config } = *batch;
        let (mut gradients, mut figures) = (Gradients::new(), Figures::default());
        for Packed { places, pack } in lane.iter().map(|&at| &packs.packed[at]) {
            if stopped() {
                return Ok(None);
            }
            let group = Group::new(samples, constants, places, config, self.decoder.device());
            let support = group.support_ids().map(|ids| {
                let k = ids.len() / pack.response_tokens();
                Support::new(k, ids)
            });
            let how = Differentiation::default();
            let (answers, tape) = forward(&self.decoder, pack, support.as_ref(), how);
            let Answers { logprobs, support, entropy } = answers;
            figures.compare(&logprobs, places.iter().map(|&place| &samples[place]))?;
            figures.rows += pack.rows();
            let slope =
                slope(Outputs { logprobs, support, entropy }, |outputs| group.loss(outputs));
            figures.add(slope.loss, slope.other)?;
            let crate::loss::Slopes { logprobs, support, entropy } = slope.by;
            let slopes = Slopes { logprobs, support, entropy };
            gradients.accumulate(backward(&self.decoder, tape, slopes));
        }
        Ok(Some((gradients.into_parameters(), figures)))
    }

    /// One AdamW update with the gradient times `factor`.
    fn update(&mut self, gradient: Parameters, factor: f64) -> Result<(), TrainError> {
        self.optimizer.begin_step();
        let parameters = std::mem::take(&mut self.trained);
        let updated = self.optimizer.update_all(parameters, gradient, factor)?;
        self.trained = updated.clone();
        if let Some(adapter) = &mut self.adapter {
            let settings = adapter.settings();
            *adapter = Adapter::from_parameters(settings, &updated, self.masters.config())?;
            self.decoder = attached(&self.rounded, Some(adapter))?;
            return Ok(());
        }
        self.masters = self.masters.with_parameters(updated)?;
        self.round()
    }

    /// The share of trained weights that differ; `None` if one of the new ones is not finite.
    fn share_changed(&self, next: &Self) -> Option<f64> {
        let pairs: Vec<_> = self.trained.iter().zip(next.trained.iter()).collect();
        let changed = |((_, old), (_, new)): &((&str, &Parameter), (&str, &Parameter))| {
            let differs = old.values.clone().not_equal(new.values.clone()).float();
            let finite = sum_of_squares(&new.values).is_finite();
            finite.then(|| sum_of_squares(&differs))
        };
        let sums: Vec<Option<f64>> = match self.decoder.device() == &Device::flex() {
            true => pairs.par_iter().map(changed).collect(),
            false => pairs.iter().map(changed).collect(),
        };
        let total: usize = pairs.iter().map(|((_, of), _)| of.values.dims()[0]).sum();
        let changed: f64 = sums.into_iter().sum::<Option<f64>>()?;
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
