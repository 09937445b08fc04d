//! The derivative of response log-probabilities by every parameter, block by block.
//!
//! Reverse mode over the layers, written out: each block is two small autodiff graphs (before and
//! after attention) around attention's own derivative (`flash.rs`), and the head's derivative is
//! formed in chunks of positions (`head.rs`). What is kept from the forward pass grows linearly
//! with the sequence; neither tokens × tokens nor tokens × vocabulary is ever in memory.

use burn::tensor::{FloatDType, Gradients as Derivatives, IndexingUpdateOp, Tensor};

use super::attention::Branches;
use super::block::{After, Before, Block, Each, rms_norm};
use super::decoder::{Decoder, indices};
use super::flash::Attention;
use super::head::{Head, Scored, Wanted, rows_for};
use super::parameters::{EMBEDDING, FINAL_NORM, HEAD, read_back};
use super::rope::Rotation;
use super::{
    Attend, Causal, ModelConfig, ModelError, Pack, Parameter, Parameters, Sequence, Support, TopK,
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
            Self::Auto => {
                let attended = (config.heads + config.kv_heads) * config.head_dim;
                let values = 8 * config.hidden_size + 6 * attended + 6 * config.intermediate_size;
                values * 4 * config.layers * tokens <= KEPT_BYTES_MAX
            }
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
///
/// A tape of a small pack holds autodiff graphs: use it up by [`backward`] rather than collecting
/// tapes.
pub struct Tape {
    pack: Pack,
    support: Option<Support>,
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
        Head {
            weight: self.head.tensor(),
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
    decoder.head_over(pack, support, None).forward(&decoder.predicting(pack)).answers()
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
    let mut attend = Branches { pack, causal: how.attention };
    let mut layers = Vec::with_capacity(config.layers);
    let mut x = decoder.embed(&pack.tokens);
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
    let last = x.select(0, indices(pack.predicting.iter().copied(), decoder.device()));
    let hidden = rms_norm(last.clone(), &decoder.norm, config.rms_norm_eps);
    let scored = decoder.head_over(pack, support, how.head_rows).forward(&hidden);
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

    let norm = NormGraph::new(&decoder.norm, last, config.rms_norm_eps);
    let head = decoder.head_over(&pack, support.as_ref(), how.head_rows);
    let trained = Trained::of(decoder);
    let by_entropy = slopes.entropy.map(Tensor::inner);
    let (by_hidden, by_head) = head.backward(&norm.output(), &scored, by_logprobs, by_entropy);
    let (by_last, by_norm) = norm.backward(by_hidden);

    // Rows that predict nothing of a response have no gradient from the head.
    let predicting = indices(pack.predicting.iter().copied(), decoder.device());
    let none = Tensor::<2>::zeros([pack.rows(), config.hidden_size], decoder.device());
    let mut by_x =
        none.cast(by_last.dtype()).select_assign(0, predicting, by_last, IndexingUpdateOp::Add);
    for (index, layer) in layers.into_iter().enumerate().rev() {
        let over = (&pack, how.attention, &rotation);
        let (by_input, by_block) = layer.backward(decoder, index, by_x, over);
        match trained {
            Trained::Model => by_block.give(index, &mut gradients),
            Trained::Adapter => by_block.give_added(index, &mut gradients),
        }
        by_x = by_input;
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

impl Layer {
    /// The gradients of the block's input and of its parameters.
    fn backward(
        self,
        decoder: &Decoder,
        index: usize,
        by_output: Tensor<2>,
        (pack, causal, rotation): (&Pack, Causal, &Rotation),
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
        let grads = Attention { q, k, v, out: attended };
        let grads = grads.backward_over(pack, by_attended, causal);
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
