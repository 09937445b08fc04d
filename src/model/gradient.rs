//! The derivative of response log-probabilities by every parameter, block by block.
//!
//! Reverse mode over the layers, written out: each block is two small autodiff graphs (before and
//! after attention) around attention's own derivative (`flash.rs`), and the head's derivative is
//! formed in chunks of positions (`head.rs`). What is kept from the forward pass grows linearly
//! with the sequence; neither tokens × tokens nor tokens × vocabulary is ever in memory.

use burn::tensor::{Gradients as Derivatives, IndexingUpdateOp, Tensor};

use super::block::{After, Before, Block, Each, rms_norm};
use super::decoder::{Decoder, indices};
use super::flash::Attention;
use super::head::{Head, Scored, rows_for};
use super::parameters::{EMBEDDING, FINAL_NORM, HEAD, read_back};
use super::rope::Rotation;
use super::{Attend, Causal, ModelConfig, ModelError, Parameter, Parameters};

/// One sample: a prompt and the reply whose log-probabilities are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    tokens: Vec<u32>,
    response_start: usize,
}

impl Sequence {
    /// Checks tokens against the model that will see them.
    ///
    /// # Errors
    /// [`ModelError::Sequence`] if there is no response, nothing before it, a token id that the
    /// model does not have, or more tokens than it has positions.
    pub fn new(
        config: &ModelConfig,
        tokens: Vec<u32>,
        response_start: usize,
    ) -> Result<Self, ModelError> {
        let refuse = |what, found: String, expected: String| {
            Err(ModelError::Sequence { what, found, expected })
        };
        let (len, max) = (tokens.len(), config.positions_max);
        if len > max {
            let expected = format!("at most {max} tokens (max_position_embeddings)");
            return refuse("the sequence's length", len.to_string(), expected);
        }
        if response_start == 0 || response_start >= len {
            let expected = format!("at least 1 and below the sequence's length {len}");
            return refuse("the response's start", response_start.to_string(), expected);
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= config.vocab_size) {
            let expected = format!("below the vocabulary's size {}", config.vocab_size);
            return refuse("a token id", token.to_string(), expected);
        }
        Ok(Self { tokens, response_start })
    }

    /// Prompt and response.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Index of the first response token; at least 1.
    pub fn response_start(&self) -> usize {
        self.response_start
    }

    /// The response's tokens.
    pub fn response(&self) -> &[u32] {
        &self.tokens[self.response_start..]
    }

    fn positions(&self) -> Vec<u32> {
        (0..self.tokens.len() as u32).collect()
    }

    /// Of one row per token, the rows that predict the response.
    fn predicting<const D: usize>(&self, rows: Tensor<D>) -> Tensor<D> {
        rows.narrow(0, self.response_start - 1, self.response().len())
    }
}

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
            Self::Auto => {
                let attended = (config.heads + config.kv_heads) * config.head_dim;
                let values = 8 * config.hidden_size + 6 * attended + 6 * config.intermediate_size;
                values * 4 * config.layers * tokens <= KEPT_BYTES_MAX
            }
        }
    }
}

/// What the backward pass needs of the forward pass.
///
/// A tape of small sequences holds autodiff graphs: use it up by [`backward`] rather than
/// collecting tapes.
pub struct Tape {
    sequence: Sequence,
    temperature: f32,
    how: Differentiation,
    rotation: Rotation,
    layers: Vec<Layer>,
    /// The last block's output where the response is predicted, `[R, hidden]`.
    last: Tensor<2>,
    scored: Scored,
}

/// One block's part of the tape.
struct Layer {
    /// `[n, hidden]`.
    input: Tensor<2>,
    /// `[n, heads, d]`.
    attended: Tensor<3>,
    kept: Option<(BeforeGraph, AfterGraph)>,
}

impl Tape {
    /// Entropy of the distribution at each response position, in nats, `[R]`; no gradient.
    pub fn entropy(&self) -> Tensor<1> {
        self.scored.entropy.clone()
    }

    /// The sequence that was scored.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }
}

/// T = 0 is greedy decoding, whose log-probabilities are those of the plain scores.
fn divisor(temperature: f32) -> f32 {
    assert!(temperature.is_finite() && temperature >= 0.0, "temperature {temperature}");
    if temperature == 0.0 { 1.0 } else { temperature }
}

impl Decoder {
    fn head_of<'a>(
        &'a self,
        targets: &'a [u32],
        temperature: f32,
        rows: Option<usize>,
    ) -> Head<'a> {
        let rows = rows.unwrap_or_else(|| rows_for(self.config().vocab_size));
        let (temperature, frozen) = (divisor(temperature), self.is_adapted());
        Head { weight: self.head.tensor(), targets, temperature, rows, frozen }
    }
}

/// Log-probabilities of `tokens[start..]` at a temperature, without gradient.
///
/// Entry i is log p(tokens[start + i] | all tokens before it), of log-softmax(logits / T); of
/// the plain logits at T = 0.
///
/// # Errors
/// As [`Sequence::new`], or a device that does not give the result back.
///
/// # Panics
/// If the temperature is negative or not finite.
pub fn score(
    decoder: &Decoder,
    tokens: &[u32],
    start: usize,
    temperature: f32,
) -> Result<Vec<f32>, ModelError> {
    let sequence = Sequence::new(decoder.config(), tokens.to_vec(), start)?;
    let hidden = decoder.hidden(tokens, &sequence.positions(), &mut Causal::default());
    let head = decoder.head_of(sequence.response(), temperature, None);
    read_back(head.forward(&sequence.predicting(hidden)).logprobs)
}

/// Log-probabilities of the response at a temperature, `[R]`, and what [`backward`] needs.
///
/// # Panics
/// If the temperature is negative or not finite, or the sequence was made for a larger model.
pub fn response_logprobs(
    decoder: &Decoder,
    sequence: &Sequence,
    temperature: f32,
) -> (Tensor<1>, Tape) {
    response_logprobs_with(decoder, sequence, temperature, Differentiation::default())
}

/// [`response_logprobs`], told how to go about it.
///
/// # Panics
/// As [`response_logprobs`].
pub fn response_logprobs_with(
    decoder: &Decoder,
    sequence: &Sequence,
    temperature: f32,
    how: Differentiation,
) -> (Tensor<1>, Tape) {
    let config = decoder.config();
    let rotation = decoder.rotation(&sequence.positions());
    let keep = how.recompute.keeps_all(config, sequence.tokens().len());
    let mut attend = how.attention;
    let mut layers = Vec::with_capacity(config.layers);
    let mut x = decoder.embed(sequence.tokens());
    for (index, block) in decoder.blocks.iter().enumerate() {
        let input = x.clone();
        let (attended, kept);
        if keep {
            let before = BeforeGraph::new(decoder, index, input.clone(), &rotation);
            let [q, k, v] = before.outputs();
            attended = attend.attend(index, q, k, v);
            let after = AfterGraph::new(decoder, index, input.clone(), attended.clone());
            x = after.output();
            kept = Some((before, after));
        } else {
            let [q, k, v] = block.before.forward(x, config, &rotation);
            attended = attend.attend(index, q, k, v);
            x = block.after.forward(input.clone(), attended.clone(), config.rms_norm_eps);
            kept = None;
        }
        layers.push(Layer { input, attended, kept });
    }
    let last = sequence.predicting(x);
    let hidden = rms_norm(last.clone(), &decoder.norm, config.rms_norm_eps);
    let scored = decoder.head_of(sequence.response(), temperature, how.head_rows).forward(&hidden);
    let logprobs = scored.logprobs.clone();
    let sequence = sequence.clone();
    (logprobs, Tape { sequence, temperature, how, rotation, layers, last, scored })
}

/// The gradient of a loss by every parameter, given its gradient by the response's
/// log-probabilities. The decoder must be the one that made the tape. With an adapter beside it,
/// it is the adapter's parameters that the gradient is asked by, and no others.
///
/// # Shapes
/// `grad`: `[R]`; the result: as [`Decoder::parameters`], the embedding's gradient holding the
/// head's where they are tied; or as [`Adapter::parameters`](super::Adapter::parameters).
///
/// # Panics
/// If `grad` does not have the response's length.
pub fn backward(decoder: &Decoder, tape: Tape, grad: Tensor<1>) -> Parameters {
    let Tape { sequence, temperature, how, rotation, layers, last, scored } = tape;
    let config = decoder.config();
    assert_eq!(grad.dims(), [sequence.response().len()], "one derivative for each position");
    let grad = grad.inner();
    let mut gradients = Parameters::new();

    let norm = NormGraph::new(&decoder.norm, last, config.rms_norm_eps);
    let head = decoder.head_of(sequence.response(), temperature, how.head_rows);
    let trained = Trained::of(decoder);
    let (by_hidden, by_head) = head.backward(&norm.output(), &scored.lse, grad);
    let (by_last, by_norm) = norm.backward(by_hidden);

    // Rows that predict nothing of the response have no gradient from the head.
    let rows = sequence.tokens().len();
    let first = sequence.response_start() - 1;
    let within = [first..first + sequence.response().len(), 0..config.hidden_size];
    let mut by_x =
        Tensor::zeros([rows, config.hidden_size], decoder.device()).slice_assign(within, by_last);
    for (index, layer) in layers.into_iter().enumerate().rev() {
        let (by_input, by_block) = layer.backward(decoder, index, by_x, how.attention, &rotation);
        match trained {
            Trained::Model => by_block.give(index, &mut gradients),
            Trained::Adapter => by_block.give_added(index, &mut gradients),
        }
        by_x = by_input;
    }

    let Some(by_head) = by_head else { return gradients };
    gradients.insert(FINAL_NORM, Parameter::from_vector(by_norm));
    let tokens = indices(sequence.tokens().iter().copied(), decoder.device());
    let looked_up = if config.tied {
        by_head
    } else {
        gradients.insert(HEAD, Parameter::from_rows(by_head));
        decoder.embedding.zeros_like()
    };
    let by_embedding = looked_up.select_assign(0, tokens, by_x, IndexingUpdateOp::Add);
    gradients.insert(EMBEDDING, Parameter::from_rows(by_embedding));
    gradients
}

impl Layer {
    /// The gradients of the block's input and of its parameters.
    fn backward(
        self,
        decoder: &Decoder,
        index: usize,
        by_output: Tensor<2>,
        causal: Causal,
        rotation: &Rotation,
    ) -> (Tensor<2>, Block) {
        let Self { input, attended, kept } = self;
        let (before, after) = match kept {
            None => (None, None),
            Some((before, after)) => (Some(before), Some(after)),
        };
        let after = after
            .unwrap_or_else(|| AfterGraph::new(decoder, index, input.clone(), attended.clone()));
        let (by_residual, by_attended, after) = after.backward(by_output);
        let before = before.unwrap_or_else(|| BeforeGraph::new(decoder, index, input, rotation));
        let [q, k, v] = before.outputs();
        let grads = Attention { q, k, v, out: attended }.backward(by_attended, causal);
        let (by_input, before) = before.backward(grads);
        (by_residual + by_input, Block { before, after })
    }
}

/// A leaf: what the derivative is asked by.
fn leaf<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().autodiff().require_grad()
}

/// A leaf's derivative. One that no output depends on has none, which is a derivative of 0.
fn taken<const D: usize>(leaf: &Tensor<D>, derivatives: &mut Derivatives) -> Tensor<D> {
    leaf.grad_remove(derivatives).unwrap_or_else(|| leaf.clone().inner().zeros_like())
}

/// What the derivative is asked by: the model's own tensors, or an adapter's beside them.
#[derive(Clone, Copy, PartialEq)]
enum Trained {
    Model,
    Adapter,
}

impl Trained {
    fn of(decoder: &Decoder) -> Self {
        if decoder.is_adapted() { Self::Adapter } else { Self::Model }
    }
}

/// Makes every trained tensor of a part a leaf.
struct Leaves(Trained);

impl Each for Leaves {
    fn tensor<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        if self.0 == Trained::Model { leaf(tensor) } else { tensor.clone() }
    }

    fn added(&mut self, tensor: &Tensor<2>) -> Tensor<2> {
        if self.0 == Trained::Adapter { leaf(tensor) } else { tensor.clone() }
    }
}

/// Puts its derivative in place of every leaf of a part.
struct Taken<'a>(Trained, &'a mut Derivatives);

impl Each for Taken<'_> {
    fn tensor<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        if self.0 == Trained::Model { taken(tensor, self.1) } else { tensor.clone() }
    }

    fn added(&mut self, tensor: &Tensor<2>) -> Tensor<2> {
        if self.0 == Trained::Adapter { taken(tensor, self.1) } else { tensor.clone() }
    }
}

/// The scalar whose derivative is the vector-Jacobian product with `grad`.
fn dot<const D: usize>(output: &Tensor<D>, grad: Tensor<D>) -> Tensor<1> {
    (output.clone() * grad.autodiff()).sum()
}

/// The final norm as a graph.
struct NormGraph {
    x: Tensor<2>,
    weight: Tensor<1>,
    y: Tensor<2>,
}

impl NormGraph {
    fn new(weight: &Tensor<1>, x: Tensor<2>, eps: f64) -> Self {
        let (x, weight) = (leaf(&x), leaf(weight));
        let y = rms_norm(x.clone(), &weight, eps);
        Self { x, weight, y }
    }

    fn output(&self) -> Tensor<2> {
        self.y.clone().inner()
    }

    fn backward(self, grad: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let mut derivatives = dot(&self.y, grad).backward();
        (taken(&self.x, &mut derivatives), taken(&self.weight, &mut derivatives))
    }
}

/// What comes before attention, as a graph.
struct BeforeGraph {
    x: Tensor<2>,
    trained: Trained,
    weights: Before,
    qkv: [Tensor<3>; 3],
}

impl BeforeGraph {
    fn new(decoder: &Decoder, layer: usize, x: Tensor<2>, rotation: &Rotation) -> Self {
        let (x, trained) = (leaf(&x), Trained::of(decoder));
        let weights = decoder.blocks[layer].before.map(&mut Leaves(trained));
        let qkv = weights.forward(x.clone(), decoder.config(), rotation);
        Self { x, trained, weights, qkv }
    }

    fn outputs(&self) -> [Tensor<3>; 3] {
        self.qkv.clone().map(Tensor::inner)
    }

    fn backward(self, [by_q, by_k, by_v]: [Tensor<3>; 3]) -> (Tensor<2>, Before) {
        let [q, k, v] = &self.qkv;
        let mut derivatives = (dot(q, by_q) + dot(k, by_k) + dot(v, by_v)).backward();
        let derivatives = &mut derivatives;
        let weights = self.weights.map(&mut Taken(self.trained, derivatives));
        (taken(&self.x, derivatives), weights)
    }
}

/// What comes after attention, as a graph.
struct AfterGraph {
    x: Tensor<2>,
    attended: Tensor<3>,
    trained: Trained,
    weights: After,
    y: Tensor<2>,
}

impl AfterGraph {
    fn new(decoder: &Decoder, layer: usize, x: Tensor<2>, attended: Tensor<3>) -> Self {
        let (x, attended, trained) = (leaf(&x), leaf(&attended), Trained::of(decoder));
        let weights = decoder.blocks[layer].after.map(&mut Leaves(trained));
        let y = weights.forward(x.clone(), attended.clone(), decoder.config().rms_norm_eps);
        Self { x, attended, trained, weights, y }
    }

    fn output(&self) -> Tensor<2> {
        self.y.clone().inner()
    }

    fn backward(self, grad: Tensor<2>) -> (Tensor<2>, Tensor<3>, After) {
        let mut derivatives = dot(&self.y, grad).backward();
        let derivatives = &mut derivatives;
        let weights = self.weights.map(&mut Taken(self.trained, derivatives));
        (taken(&self.x, derivatives), taken(&self.attended, derivatives), weights)
    }
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
