//! How long a training step takes, and how much memory: the gradient of a batch, and AdamW.

use std::time::Instant;

use burn::tensor::Tensor;
use serde::Serialize;

use super::place::{cpu_seconds, peak_rss_mib};
use super::{BenchError, broken, ids, shape_config};
use crate::config::{DtypeChoice, TrainBenchConfig, TrainedPart};
use crate::model::{
    Adapter, Decoder, Differentiation, Gradients, LoraSettings, Pack, Parameters, Placement,
    Precision, RandomWeights, Sequence, backward, forward, plan,
};
use crate::stage::train::adamw::{AdamW, AdamWOptions, clip_factor, sum_of_squares};

const OPTIONS: AdamWOptions = AdamWOptions {
    learning_rate: 1e-5,
    beta1: 0.9,
    beta2: 0.98,
    epsilon: 1e-8,
    weight_decay: 0.1,
    decay_vectors: false,
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
    /// The part of that step which formed the gradient.
    pub gradient_seconds: f64,
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

/// What a step changes.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Learned {
    All { masters: Parameters, compute: Decoder },
    Lora { base: Decoder, adapter: Adapter, compute: Decoder },
}

struct Trainer {
    learned: Learned,
    optimizer: AdamW,
    precision: Precision,
    packs: Vec<Pack>,
}

/// Measures.
///
/// # Errors
/// A model or device that cannot be worked with, or a step that could not be computed.
pub fn train(config: &TrainBenchConfig) -> Result<TrainSpeed, BenchError> {
    let at = Placement::find(config.device, config.dtype)?;
    let mut trainer = Trainer::new(config, &at)?;
    let model = trainer.learned.compute().config().clone();
    let rows: usize = trainer.packs.iter().map(Pack::rows).sum();
    let mut losses = vec![trainer.step()?.loss];
    let cpu = cpu_seconds(std::process::id());
    let mut best = Took { loss: 0.0, seconds: f64::INFINITY, gradient_seconds: 0.0 };
    for _ in 0..config.steps {
        let took = trainer.step()?;
        losses.push(took.loss);
        if took.seconds < best.seconds {
            best = took;
        }
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
        rows,
        steps: config.steps,
        seconds: best.seconds,
        gradient_seconds: best.gradient_seconds,
        cpu_seconds: cpu.map(|(after, before)| (after - before) / config.steps as f64),
        tokens_s: tokens as f64 / best.seconds,
        tflop_s: per_weight * weights as f64 * rows as f64 / best.seconds / 1e12,
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

struct Took {
    loss: f64,
    seconds: f64,
    gradient_seconds: f64,
}

impl Trainer {
    fn new(config: &TrainBenchConfig, at: &Placement) -> Result<Self, BenchError> {
        let model = shape_config(config.shape)?;
        let weights =
            if at.name == "cpu" { RandomWeights::Seeded(1) } else { RandomWeights::OnDevice };
        let base = Decoder::random(model, weights, &at.device)?;
        let packs = packs(config, &base)?;
        let learned = match config.mode {
            TrainedPart::All => {
                let masters = base.parameters();
                Learned::All { masters, compute: base.compute_copy(at.precision) }
            }
            TrainedPart::Lora => {
                let settings = LoraSettings {
                    rank: config.rank,
                    alpha: config.rank as f64,
                    rank_stabilized: false,
                };
                let adapter = Adapter::fresh(settings, base.config(), 1, &at.device);
                let base = base.compute_copy(at.precision);
                Learned::Lora { compute: base.with_adapter(&adapter)?, base, adapter }
            }
        };
        let optimizer = AdamW::new(OPTIONS);
        Ok(Self { learned, optimizer, precision: at.precision, packs })
    }

    /// One step on the mean log-probability of all response tokens.
    fn step(&mut self) -> Result<Took, BenchError> {
        let start = Instant::now();
        let decoder = self.learned.compute();
        let tokens: usize = self.packs.iter().map(Pack::response_tokens).sum();
        let mut gradients = Gradients::new();
        let mut loss = 0.0;
        for pack in &self.packs {
            let (answers, tape) = forward(decoder, pack, None, Differentiation::default());
            let slope =
                Tensor::full(answers.logprobs.dims(), -1.0 / tokens as f32, decoder.device());
            let mean: Vec<f32> = answers.logprobs.sum().try_into_vec_as().map_err(broken)?;
            loss -= mean.iter().map(|sum| f64::from(*sum)).sum::<f64>() / tokens as f64;
            gradients.accumulate(backward(decoder, tape, slope));
        }
        let gradients = gradients.into_parameters();
        let norm = gradients.iter().map(|(_, g)| sum_of_squares(&g.values)).sum::<f64>().sqrt();
        let gradient_seconds = start.elapsed().as_secs_f64();
        self.update(gradients, clip_factor(norm, 1.0))?;
        Ok(Took { loss, seconds: start.elapsed().as_secs_f64(), gradient_seconds })
    }

    fn update(&mut self, gradients: Parameters, factor: f64) -> Result<(), BenchError> {
        self.optimizer.begin_step();
        match &mut self.learned {
            Learned::All { masters, compute } => {
                updated(&mut self.optimizer, masters, gradients, factor)?;
                let next = compute.with_parameters(masters.clone())?;
                *compute = next.compute_copy(self.precision);
            }
            Learned::Lora { base, adapter, compute } => {
                let mut halves = adapter.parameters();
                updated(&mut self.optimizer, &mut halves, gradients, factor)?;
                *adapter = Adapter::from_parameters(adapter.settings(), &halves, base.config())?;
                *compute = base.with_adapter(adapter)?;
            }
        }
        compute_sync(self.learned.compute())
    }
}

fn compute_sync(decoder: &Decoder) -> Result<(), BenchError> {
    decoder.device().sync().map_err(broken)
}

impl Learned {
    fn compute(&self) -> &Decoder {
        match self {
            Self::All { compute, .. } | Self::Lora { compute, .. } => compute,
        }
    }
}

fn updated(
    optimizer: &mut AdamW,
    parameters: &mut Parameters,
    gradients: Parameters,
    factor: f64,
) -> Result<(), BenchError> {
    for (name, mut gradient) in gradients {
        let Some(parameter) = parameters.remove(&name) else { continue };
        gradient.values = gradient.values.mul_scalar(factor);
        let after = optimizer.update(&name, parameter, gradient).map_err(broken)?;
        parameters.insert(name, after);
    }
    Ok(())
}
