//! One block with what its derivative needs, and that derivative, by hand.
//!
//! With y = norm(x), q, k and v from y, a = attention(q, k, v), m = x + a·O, z = norm(m) and
//! x' = m + (silu(z·G) ∘ z·U)·D, the gradients run back through each product by the transposed
//! matrix, and through the rest by `fused` and `flash`. What is cheap to form again (norms, the
//! rotation, the gated product, an adapter's inner rows) is never kept.

use burn::tensor::{FloatDType, Tensor};

use super::attention::Branches;
use super::block::Block;
use super::flash::Attention;
use super::fused::{self, column_sums, gated, gated_back, norm, norm_back};
use super::linear::{Linear, Projection};
use super::parameters::{INPUT_NORM, KEY_NORM, POST_NORM, QUERY_NORM, block_name};
use super::rope::Rotation;
use super::{Attend, ModelConfig, Parameter, Parameters, adapter};

/// What a block is computed with.
pub(super) struct Context<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) rotation: &'a Rotation,
    pub(super) attend: Branches<'a>,
}

/// What the derivative needs of the forward pass.
pub(super) struct Trace {
    /// `[n, hidden]`.
    input: Tensor<2>,
    /// `[n, heads, d]`.
    attended: Tensor<3>,
    kept: Option<Kept>,
}

/// What takes a matrix product to form again.
struct Kept {
    /// Queries, keys and values as they are projected: `[n, heads or kv_heads, d]`.
    projected: [Tensor<3>; 3],
    /// The residual stream after attention, `[n, hidden]`.
    middle: Tensor<2>,
    /// `[n, inner]`.
    gate: Tensor<2>,
    /// `[n, inner]`.
    up: Tensor<2>,
}

/// Values of f32 that a token needs in each layer's [`Kept`], and the two that are always there.
pub(super) const fn kept_values(config: &ModelConfig) -> usize {
    let [q, kv] = [config.heads * config.head_dim, config.kv_heads * config.head_dim];
    2 * config.hidden_size + 2 * q + 2 * kv + 2 * config.intermediate_size
}

/// Where gradients go: those of the model's own weights, or an adapter's and no others.
pub(super) struct Sink<'a> {
    pub(super) parameters: &'a mut Parameters,
    pub(super) layer: usize,
    pub(super) adapted: bool,
}

impl Sink<'_> {
    fn vector(&mut self, name: &str, gradient: Tensor<1>) {
        if !self.adapted {
            let name = block_name(self.layer, name);
            self.parameters.insert(name, Parameter::from_vector(gradient));
        }
    }

    /// The gradients of a projection's own parameters.
    ///
    /// # Shapes
    /// `x`: `[n, in]`; `grad`: `[n, out]`; `inner`: `[n, rank]`, from [`Linear::by_input`].
    fn linear(&mut self, linear: &Linear, kind: Projection, x: &Tensor<2>, by: &ByOutput) {
        let ByOutput { grad, inner } = by;
        if let (Some(added), Some(by_inner)) = (&linear.low_rank, inner) {
            let own = added.down.dtype();
            let (x, grad) = (x.clone().cast(own), grad.clone().cast(own));
            let inner = x.clone().matmul(added.down.clone()).mul_scalar(added.scale);
            // Formed as PEFT stores them.
            let down = by_inner.clone().transpose().matmul(x);
            let up = grad.transpose().matmul(inner);
            adapter::give_stored([down, up], (self.layer, kind), self.parameters);
        }
        if self.adapted {
            return;
        }
        let name = block_name(self.layer, kind.name());
        // Formed as Hugging Face stores it.
        let weight = grad.clone().transpose().matmul(x.clone()).cast(FloatDType::F32);
        self.parameters.insert(format!("{name}.weight"), Parameter::from_rows(weight));
        if linear.bias.is_some() {
            let bias = Parameter::from_vector(column_sums(grad));
            self.parameters.insert(format!("{name}.bias"), bias);
        }
    }
}

/// The gradient by a projection's output.
struct ByOutput {
    /// `[n, out]`.
    grad: Tensor<2>,
    /// That by an adapter's inner rows, `[n, rank]`.
    inner: Option<Tensor<2>>,
}

impl Linear {
    /// The gradient by the input.
    ///
    /// # Shapes
    /// `grad`: `[n, out]`; the result: `[n, in]`.
    fn by_input(&self, grad: Tensor<2>) -> (Tensor<2>, ByOutput) {
        let dtype = grad.dtype();
        let mut by_input = grad.clone().matmul(self.weight.tensor().transpose());
        let mut inner = None;
        if let Some(added) = &self.low_rank {
            let own = grad.clone().cast(added.up.dtype());
            let by_inner = own.matmul(added.up.clone().transpose()).mul_scalar(added.scale);
            let part = by_inner.clone().matmul(added.down.clone().transpose());
            by_input = by_input + part.cast(dtype);
            inner = Some(by_inner);
        }
        (by_input, ByOutput { grad, inner })
    }
}

fn flat(x: Tensor<3>) -> Tensor<2> {
    let [n, heads, d] = x.dims();
    x.reshape([n, heads * d])
}

impl Block {
    /// The block's output, and what [`Self::backward`] needs: all of it, or what can be formed
    /// again left out.
    pub(super) fn traced(
        &self,
        x: Tensor<2>,
        layer: usize,
        context: &mut Context<'_>,
        keep: bool,
    ) -> (Tensor<2>, Trace) {
        let (input, projected) = self.before.project(x, context.config);
        let (projected, [q, k, v]) =
            self.before.turned(projected, context.config, context.rotation);
        let attended = context.attend.attend(layer, q, k, v);
        let middle = self.after.o.forward(flat(attended.clone())) + input.clone();
        let (middle, gate, up) = self.after.gates(middle, context.config);
        let (gate, up, passed) = gated(gate, up);
        let output = self.after.down.forward(passed) + middle.clone();
        let kept = keep.then_some(Kept { projected, middle, gate, up });
        (output, Trace { input, attended, kept })
    }

    /// The gradient of the block's input, given that of its output; those of its parameters go
    /// into the sink.
    pub(super) fn backward(
        &self,
        trace: Trace,
        by_output: Tensor<2>,
        context: &Context<'_>,
        sink: &mut Sink<'_>,
    ) -> Tensor<2> {
        let Trace { input, attended, kept } = trace;
        let (input, kept) = match kept {
            Some(kept) => (input, kept),
            None => self.kept_again(input, &attended, context.config),
        };
        let Kept { projected, middle, gate, up } = kept;
        let by_middle = self.after_backward([middle, gate, up], by_output, context, sink);

        let (by_attended, by) = self.after.o.by_input(by_middle.clone());
        let dims = attended.dims();
        sink.linear(&self.after.o, Projection::Output, &flat(attended), &by);
        let (projected, [q, k, v]) =
            self.before.turned(projected, context.config, context.rotation);
        let Branches { pack, causal } = context.attend;
        let by_turned =
            Attention { q, k, v }.backward_over(pack, by_attended.reshape(dims), causal);
        self.before_backward(input, projected, by_turned, context, sink) + by_middle
    }

    /// Forms again what was not kept.
    fn kept_again(
        &self,
        input: Tensor<2>,
        attended: &Tensor<3>,
        config: &ModelConfig,
    ) -> (Tensor<2>, Kept) {
        let (input, projected) = self.before.project(input, config);
        let middle = self.after.o.forward(flat(attended.clone())) + input.clone();
        let (middle, gate, up) = self.after.gates(middle, config);
        (input, Kept { projected, middle, gate, up })
    }

    /// From the block's output to the residual stream after attention.
    fn after_backward(
        &self,
        [middle, gate, up]: [Tensor<2>; 3],
        by_output: Tensor<2>,
        context: &Context<'_>,
        sink: &mut Sink<'_>,
    ) -> Tensor<2> {
        let (after, eps) = (&self.after, context.config.rms_norm_eps);
        let (by_passed, by) = after.down.by_input(by_output.clone());
        let [by_gate, by_up, passed] = gated_back(gate, up, by_passed);
        sink.linear(&after.down, Projection::Down, &passed, &by);
        drop(passed);
        let (middle, z) = norm(middle, &after.norm, eps);
        let (from_gate, by) = after.gate.by_input(by_gate);
        sink.linear(&after.gate, Projection::Gate, &z, &by);
        let (from_up, by) = after.up.by_input(by_up);
        sink.linear(&after.up, Projection::Up, &z, &by);
        let (by_middle, by_norm) = norm_back(middle, &after.norm, eps, from_gate + from_up);
        sink.vector(POST_NORM, by_norm);
        by_middle + by_output
    }

    /// From what attention was given to the norm's input.
    fn before_backward(
        &self,
        input: Tensor<2>,
        projected: [Tensor<3>; 3],
        [by_q, by_k, by_v]: [Tensor<3>; 3],
        context: &Context<'_>,
        sink: &mut Sink<'_>,
    ) -> Tensor<2> {
        let (before, eps) = (&self.before, context.config.rms_norm_eps);
        let [q, k, _] = projected;
        let norm_by = |weight: &Option<Tensor<1>>| weight.clone().map(|weight| (weight, eps));
        let back = |x, weight: &Option<Tensor<1>>, grad| {
            let weight = norm_by(weight);
            let weight = weight.as_ref().map(|(weight, eps)| (weight, *eps));
            fused::turn_back(x, weight, context.rotation, grad)
        };
        let (by_q, by_q_norm) = back(q, &before.q_norm, by_q);
        let (by_k, by_k_norm) = back(k, &before.k_norm, by_k);
        for (name, by_norm) in [(QUERY_NORM, by_q_norm), (KEY_NORM, by_k_norm)] {
            if let Some(by_norm) = by_norm {
                sink.vector(name, by_norm);
            }
        }
        let (input, y) = norm(input, &before.norm, eps);
        let parts = [
            (&before.q, Projection::Query, by_q),
            (&before.k, Projection::Key, by_k),
            (&before.v, Projection::Value, by_v),
        ];
        let mut by_y: Option<Tensor<2>> = None;
        for (linear, kind, grad) in parts {
            let (part, by) = linear.by_input(flat(grad));
            sink.linear(linear, kind, &y, &by);
            by_y = Some(match by_y {
                None => part,
                Some(sum) => sum + part,
            });
        }
        let by_y = by_y.unwrap_or_else(|| y.zeros_like());
        let (by_input, by_norm) = norm_back(input, &before.norm, eps, by_y);
        sink.vector(INPUT_NORM, by_norm);
        by_input
    }
}
