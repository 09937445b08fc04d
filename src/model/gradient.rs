//! The derivative of response log-probabilities by every parameter, block by block.
//!
//! Reverse mode over the layers, written out: a block's derivative is in `layer.rs`, attention's
//! in `flash.rs`, and the head's is formed in chunks of positions in `head.rs`. What is kept from
//! the forward pass grows linearly with the rows of a pack; neither tokens × tokens nor tokens ×
//! vocabulary is ever in memory.

use burn::tensor::{FloatDType, IndexingUpdateOp, Tensor};

use super::attention::Branches;
use super::decoder::{Decoder, indices};
use super::fused::{norm, norm_back};
use super::head::{Head, Scored, Wanted, rows_for};
use super::layer::{Context, Sink, Trace, kept_values};
use super::parameters::{EMBEDDING, FINAL_NORM, HEAD, read_back};
use super::rope::Rotation;
use super::{
    Causal, ModelConfig, ModelError, Pack, Parameter, Parameters, Sequence, Support, TopK,
};

/// What is kept between the forward and the backward pass. Both grow linearly with the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// Every intermediate value is kept.
    Never,
    /// Each block's input and attention are kept; the rest is computed again: a third more work,
    /// a small part of the memory.
    Blocks,
    /// `Never` while an estimate of what it keeps is below 1 GiB, else `Blocks`.
    Auto,
}

/// How the derivative is formed; none of it changes the result.
#[derive(Clone, Copy, Debug)]
pub struct Differentiation {
    /// What is kept.
    pub recompute: Recompute,
    /// Queries per chunk of attention.
    pub attention: Causal,
    /// Positions per chunk of the head; as many as fit 64 MiB of scores if absent.
    pub head_rows: Option<usize>,
}

impl Default for Differentiation {
    fn default() -> Self {
        Self { recompute: Recompute::Auto, attention: Causal::default(), head_rows: None }
    }
}

/// Bytes below which [`Recompute::Auto`] keeps everything.
const KEPT_BYTES_MAX: usize = 1 << 30;

impl Recompute {
    fn keeps_all(self, config: &ModelConfig, tokens: usize) -> bool {
        match self {
            Self::Never => true,
            Self::Blocks => false,
            Self::Auto => kept_values(config) * 4 * config.layers * tokens <= KEPT_BYTES_MAX,
        }
    }
}

/// Of every response token of a pack, samples one after the other.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Its log-probability, `[R]`.
    pub logprobs: Tensor<1>,
    /// Those of the support's ids at its position, `[R, K]`; where a support was given.
    pub support: Option<Tensor<2>>,
    /// Entropy of the whole distribution at its position in nats, `[R]`.
    pub entropy: Tensor<1>,
}

/// The derivative of a loss by each of the [`Answers`]; f32, outside autodiff.
#[derive(Clone, Debug)]
pub struct Slopes {
    /// By the log-probabilities, `[R]`.
    pub logprobs: Tensor<1>,
    /// By those of the support, `[R, K]`; 0 where absent.
    pub support: Option<Tensor<2>>,
    /// By the entropy, `[R]`; 0 where absent.
    pub entropy: Option<Tensor<1>>,
}

impl From<Tensor<1>> for Slopes {
    /// Of a loss that depends on the response tokens' log-probabilities alone.
    fn from(logprobs: Tensor<1>) -> Self {
        Self { logprobs, support: None, entropy: None }
    }
}

/// What the backward pass needs of the forward pass.
pub struct Tape {
    pack: Pack,
    support: Option<Support>,
    how: Differentiation,
    rotation: Rotation,
    layers: Vec<Trace>,
    /// The last block's output where the response is predicted, `[R, hidden]`.
    last: Tensor<2>,
    scored: Scored,
}

impl Scored {
    fn answers(&self) -> Answers {
        let [rows, width] = self.logprobs.dims();
        let support = (width > 1).then(|| self.logprobs.clone().narrow(1, 1, width - 1));
        let logprobs = self.logprobs.clone().narrow(1, 0, 1).reshape([rows]);
        Answers { logprobs, support, entropy: self.entropy.clone() }
    }
}

impl Slopes {
    /// `[R, width]`.
    fn by_logprobs(&self, width: usize) -> Tensor<2> {
        let own = self.logprobs.clone().inner().unsqueeze_dim(1);
        if width == 1 {
            return own;
        }
        let [rows, _] = own.dims();
        let support = match &self.support {
            Some(support) => support.clone().inner(),
            None => Tensor::zeros([rows, width - 1], &own.device()),
        };
        Tensor::cat(vec![own, support], 1)
    }
}

impl Decoder {
    fn head_over(&self, pack: &Pack, support: Option<&Support>, rows: Option<usize>) -> Head {
        let vocab = self.config().vocab_size;
        let stored = if self.config().tied {
            self.embedding.clone()
        } else {
            self.head.tensor().transpose()
        };
        Head {
            weight: self.head.tensor(),
            stored,
            wanted: Wanted::new(pack, support, vocab),
            rows: rows.unwrap_or_else(|| rows_for(vocab)),
            frozen: self.is_adapted(),
        }
    }

    /// The rows that predict the response, after the final norm, without gradient.
    fn predicting(&self, pack: &Pack) -> Tensor<2> {
        let mut attend = Branches { pack, causal: Causal::default() };
        let hidden = self.hidden(&pack.tokens, &pack.positions, &mut attend);
        hidden.select(0, indices(pack.predicting.iter().copied(), self.device()))
    }
}

/// Log-probabilities of `tokens[start..]` at a temperature, without gradient.
///
/// Entry i is log p(tokens[start + i] | all tokens before it), of log-softmax(logits / T); of
/// the plain logits at T = 0.
///
/// # Errors
/// As [`Sequence::new`] and [`Pack::new`], or a device that does not give the result back.
pub fn score(
    decoder: &Decoder,
    tokens: &[u32],
    start: usize,
    temperature: f32,
) -> Result<Vec<f32>, ModelError> {
    let sequence = Sequence::new(decoder.config(), tokens.to_vec(), start)?;
    let pack = Pack::new(decoder.config(), &[sequence], &[temperature])?;
    read_back(answers(decoder, &pack, None).logprobs)
}

/// The answers alone, without what a gradient would need.
///
/// # Panics
/// If the pack was made for a larger model, or the support for another pack.
pub fn answers(decoder: &Decoder, pack: &Pack, support: Option<&Support>) -> Answers {
    decoder.head_over(pack, support, None).forward(&decoder.predicting(pack), false).answers()
}

/// The `k` most probable tokens at each response position and their log-probabilities; all of
/// the vocabulary where it has fewer.
///
/// # Errors
/// A device that does not give its scores back.
///
/// # Panics
/// If the pack was made for a larger model.
pub fn top(decoder: &Decoder, pack: &Pack, k: usize) -> Result<TopK, ModelError> {
    decoder.head_over(pack, None, None).top(&decoder.predicting(pack), k)
}

/// [`top`] and [`answers`] at a support, of one pass through the model.
///
/// # Errors
/// As [`top`].
///
/// # Panics
/// As [`answers`].
pub fn top_and_answers(
    decoder: &Decoder,
    pack: &Pack,
    k: usize,
    support: &Support,
) -> Result<(TopK, Answers), ModelError> {
    let hidden = decoder.predicting(pack);
    let top = decoder.head_over(pack, None, None).top(&hidden, k)?;
    let scored = decoder.head_over(pack, Some(support), None).forward(&hidden, false);
    Ok((top, scored.answers()))
}

/// The answers, and what [`backward`] needs.
///
/// # Panics
/// If the pack was made for a larger model, or the support for another pack.
pub fn forward(
    decoder: &Decoder,
    pack: &Pack,
    support: Option<&Support>,
    how: Differentiation,
) -> (Answers, Tape) {
    let config = decoder.config();
    let rotation = decoder.rotation(&pack.positions);
    let keep = how.recompute.keeps_all(config, pack.rows());
    let attend = Branches { pack, causal: how.attention };
    let mut context = Context { config, rotation: &rotation, attend };
    let mut layers = Vec::with_capacity(config.layers);
    let mut x = decoder.embed(&pack.tokens);
    for (index, block) in decoder.blocks.iter().enumerate() {
        let (output, trace) = block.traced(x, index, &mut context, keep);
        layers.push(trace);
        x = output;
    }
    let last = x.select(0, indices(pack.predicting.iter().copied(), decoder.device()));
    let (last, hidden) = norm(last, &decoder.norm, config.rms_norm_eps);
    let head = decoder.head_over(pack, support, how.head_rows);
    let scored = head.forward(&hidden, head.fits());
    let answers = scored.answers();
    let (pack, support) = (pack.clone(), support.cloned());
    (answers, Tape { pack, support, how, rotation, layers, last, scored })
}

/// The gradient of a loss by every parameter, given its gradient by the answers. The decoder must
/// be the one that made the tape. With an adapter beside it, it is the adapter's parameters that
/// the gradient is asked by, and no others: no gradient of the base is formed.
///
/// # Shapes
/// The result: as [`Decoder::parameters`], the embedding's gradient holding the head's where they
/// are tied; or as [`Adapter::parameters`](super::Adapter::parameters).
///
/// # Panics
/// If a slope does not have the shape of its answer.
pub fn backward(decoder: &Decoder, tape: Tape, slopes: impl Into<Slopes>) -> Parameters {
    let Tape { pack, support, how, rotation, layers, last, scored } = tape;
    let (config, slopes) = (decoder.config(), slopes.into());
    let [_, width] = scored.logprobs.dims();
    let by_logprobs = slopes.by_logprobs(width);
    assert_eq!(by_logprobs.dims(), scored.logprobs.dims(), "one derivative for each answer");
    let mut gradients = Parameters::new();

    let (last, hidden) = norm(last, &decoder.norm, config.rms_norm_eps);
    let head = decoder.head_over(&pack, support.as_ref(), how.head_rows);
    let by_entropy = slopes.entropy.map(Tensor::inner);
    let (by_hidden, by_head) = head.backward(&hidden, scored, by_logprobs, by_entropy);
    let (by_last, by_norm) = norm_back(last, &decoder.norm, config.rms_norm_eps, by_hidden);

    // Rows that predict nothing of a response have no gradient from the head.
    let predicting = indices(pack.predicting.iter().copied(), decoder.device());
    let none = Tensor::<2>::zeros([pack.rows(), config.hidden_size], decoder.device());
    let none = none.cast(by_last.dtype());
    let mut by_x = none.select_assign(0, predicting, by_last, IndexingUpdateOp::Add);
    let attend = Branches { pack: &pack, causal: how.attention };
    let context = Context { config, rotation: &rotation, attend };
    let adapted = decoder.is_adapted();
    for (layer, trace) in layers.into_iter().enumerate().rev() {
        let mut sink = Sink { parameters: &mut gradients, layer, adapted };
        by_x = decoder.blocks[layer].backward(trace, by_x, &context, &mut sink);
    }

    let Some(by_head) = by_head else { return gradients };
    gradients.insert(FINAL_NORM, Parameter::from_vector(by_norm));
    let tokens = indices(pack.tokens.iter().copied(), decoder.device());
    let looked_up = if config.tied {
        by_head
    } else {
        let zeros = by_head.zeros_like();
        gradients.insert(HEAD, Parameter::from_rows(by_head));
        zeros
    };
    let by_x = by_x.cast(FloatDType::F32);
    let by_embedding = looked_up.select_assign(0, tokens, by_x, IndexingUpdateOp::Add);
    gradients.insert(EMBEDDING, Parameter::from_rows(by_embedding));
    gradients
}

/// A sum of gradients over the samples of a batch.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    sum: Parameters,
}

impl Gradients {
    /// No sample yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one sample's gradient.
    ///
    /// # Panics
    /// If a parameter has another shape than before.
    pub fn accumulate(&mut self, gradient: Parameters) {
        for (name, part) in gradient {
            let sum = match self.sum.remove(&name) {
                None => part,
                Some(sum) => Parameter::new(part.shape, sum.values + part.values),
            };
            self.sum.insert(name, sum);
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.sum.is_empty()
    }

    /// The sum.
    pub fn into_parameters(self) -> Parameters {
        self.sum
    }
}

#[cfg(test)]
#[path = "gradient_tests.rs"]
mod tests;
