//! How long a training step takes, and how much memory: the gradient of a batch, and AdamW.

use std::time::Instant;

use serde::Serialize;

use super::child::{cpu_seconds, peak_rss_mib};
use super::{BenchError, broken, ids, shape_config};
use crate::config::{DtypeChoice, Method, TrainBenchConfig, TrainConfig, TrainedPart};
use crate::model::{
    Adapter, Decoder, LoraSettings, Pack, Placement, Precision, RandomWeights, Sequence, plan,
};
use crate::stage::train::adamw::{AdamW, AdamWOptions};
use crate::stage::train::learner::{Controls, Learner, Outcome};
use crate::stage::train::reduce::Alone;
use crate::stage::train::samples::Sample;

const OPTIONS: AdamWOptions = AdamWOptions {
    learning_rate: 1e-5,
    beta1: 0.9,
    beta2: 0.98,
    epsilon: 1e-8,
    weight_decay: 0.1,
    decay_vectors: false,
    muon: false,
};

/// What training steps took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainSpeed {
    /// `train`.
    pub bench: &'static str,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `f32` or `bf16`.
    pub dtype: &'static str,
    /// The random model's shape.
    pub shape: String,
    /// `all` or `lora`.
    pub mode: String,
    /// Sequences of a step.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// Of those, tokens that all of them begin with.
    pub shared: usize,
    /// Rows that are computed in a step.
    pub rows: usize,
    /// Steps that were timed, after one that was not.
    pub steps: usize,
    /// The fastest step.
    pub seconds: f64,
    /// Time that all threads worked in a step, the mean of all; `None` where the system does not
    /// say.
    pub cpu_seconds: Option<f64>,
    /// Tokens of the batch by the seconds of the fastest step.
    pub tokens_s: f64,
    /// Operations a second of the matrix products in it, in 10¹²: six for each weight and row
    /// where all weights are trained, four where they are frozen.
    pub tflop_s: f64,
    /// The most memory that the process had resident, in MiB; `None` where the system does not
    /// say. On a GPU this is the host's.
    pub peak_rss_mib: Option<f64>,
    /// The loss before the first step and after the last but one.
    pub losses: [f64; 2],
}

/// Measures.
///
/// # Errors
/// A model or device that cannot be worked with, or a step that could not be computed.
pub fn train(config: &TrainBenchConfig) -> Result<TrainSpeed, BenchError> {
    let at = Placement::find(config.device, config.dtype)?;
    let mut trainer = Trainer::new(config, &at)?;
    let model = trainer.learner.decoder().config().clone();
    let first = trainer.step()?;
    let mut losses = vec![first.loss];
    let cpu = cpu_seconds(std::process::id());
    let mut seconds = f64::INFINITY;
    for _ in 0..config.steps {
        let took = trainer.step()?;
        losses.push(took.loss);
        seconds = seconds.min(took.seconds);
    }
    let cpu = cpu_seconds(std::process::id()).zip(cpu);
    let tokens = config.batch * config.length;
    let per_weight = match config.mode {
        TrainedPart::All => 6.0,
        TrainedPart::Lora => 4.0,
    };
    let weights = super::speed::matrix_weights(&model) + model.vocab_size * model.hidden_size;
    Ok(TrainSpeed {
        bench: "train",
        device: at.name,
        dtype: if at.precision == Precision::Bf16 { "bf16" } else { "f32" },
        shape: config.shape.to_string(),
        mode: config.mode.to_string(),
        batch: config.batch,
        length: config.length,
        shared: config.shared,
        rows: first.rows,
        steps: config.steps,
        seconds,
        cpu_seconds: cpu.map(|(after, before)| (after - before) / config.steps as f64),
        tokens_s: tokens as f64 / seconds,
        tflop_s: per_weight * weights as f64 * first.rows as f64 / seconds / 1e12,
        peak_rss_mib: peak_rss_mib(std::process::id()),
        losses: [losses[0], losses[losses.len() - 1]],
    })
}

/// The weights that a device of this precision has: rounded, and f32 again.
pub(super) fn rounded(decoder: Decoder, config: &TrainBenchConfig) -> Decoder {
    match config.dtype {
        DtypeChoice::Bf16 => decoder.compute_copy(Precision::Bf16).compute_copy(Precision::F32),
        DtypeChoice::Auto | DtypeChoice::F32 => decoder,
    }
}

/// The sequences of a step: the response is what they do not share.
fn sequences(config: &TrainBenchConfig, decoder: &Decoder) -> Result<Vec<Sequence>, BenchError> {
    let model = decoder.config();
    let prefix = ids(config.shared, model.vocab_size, 0);
    let sequence = |index: usize| {
        let own = ids(config.length - config.shared, model.vocab_size, 1 + index);
        let tokens = prefix.iter().copied().chain(own).collect();
        Ok(Sequence::new(model, tokens, config.shared.max(1))?)
    };
    (0..config.batch).map(sequence).collect()
}

pub(super) fn packs(config: &TrainBenchConfig, decoder: &Decoder) -> Result<Vec<Pack>, BenchError> {
    let sequences = sequences(config, decoder)?;
    let model = decoder.config();
    let new = |chosen: &[Sequence]| match config.unshared {
        true => Pack::unshared(model, chosen, &vec![1.0; chosen.len()]),
        false => Pack::new(model, chosen, &vec![1.0; chosen.len()]),
    };
    if config.unshared {
        let per_pack = (config.rows / config.length).max(1);
        return Ok(sequences.chunks(per_pack).map(new).collect::<Result<_, _>>()?);
    }
    let chosen = |pack: &Vec<usize>| {
        let chosen: Vec<Sequence> = pack.iter().map(|index| sequences[*index].clone()).collect();
        new(&chosen)
    };
    Ok(plan(&sequences, config.rows).iter().map(chosen).collect::<Result<_, _>>()?)
}

/// The trainer's own learner, on targets.
struct Trainer {
    learner: Learner,
    config: TrainConfig,
    batch: Vec<Sample>,
}

/// What a step took.
struct Took {
    loss: f64,
    rows: usize,
    seconds: f64,
}

impl Trainer {
    fn new(config: &TrainBenchConfig, at: &Placement) -> Result<Self, BenchError> {
        let model = shape_config(config.shape)?;
        let weights =
            if at.name == "cpu" { RandomWeights::Seeded(1) } else { RandomWeights::OnDevice };
        let base = Decoder::random(model, weights, &at.device)?;
        let target =
            |of: Sequence| Sample::target(of.tokens().to_vec(), of.response_start(), Vec::new());
        let batch = sequences(config, &base)?.into_iter().map(target).collect();
        let settings =
            LoraSettings { rank: config.rank, alpha: config.rank as f64, rank_stabilized: false };
        let adapter = (config.mode == TrainedPart::Lora)
            .then(|| Adapter::fresh(settings, base.config(), 1, &at.device));
        let learner = Learner::new(base, adapter, AdamW::new(OPTIONS))
            .and_then(|learner| learner.computing_in(at.precision))
            .map_err(broken)?;
        let config = TrainConfig {
            method: Method::Sft,
            learning_rate: OPTIONS.learning_rate,
            // no two fit into one pack then
            pack_tokens: if config.unshared { config.length } else { config.rows },
            ..TrainConfig::default()
        };
        Ok(Self { learner, config, batch })
    }

    /// One step on the mean log-probability of all response tokens.
    fn step(&mut self) -> Result<Took, BenchError> {
        let start = Instant::now();
        let mut controls =
            Controls { stopped: &mut || false, allows: &|_, _| Ok(()), reduce: &mut Alone };
        let outcome =
            self.learner.step(&self.batch, &self.config, &mut controls).map_err(broken)?;
        let Outcome::Learned(next, metrics) = outcome else {
            return Err(broken("the step was given up"));
        };
        self.learner = *next;
        self.learner.decoder().device().sync().map_err(broken)?;
        let figure = |name: &str| metrics.iter().find(|(n, _)| n == name).map_or(0.0, |(_, v)| *v);
        let rows = figure("rows") as usize;
        Ok(Took { loss: figure("loss"), rows, seconds: start.elapsed().as_secs_f64() })
    }
}
