//! One layer of the decoder: what comes before attention, and what comes after.

use burn::tensor::Tensor;

use super::fused;
use super::linear::{Linear, Projection};
use super::matrix::Matrix;
use super::parameters::{INPUT_NORM, KEY_NORM, POST_NORM, QUERY_NORM, block_name};
use super::rope::Rotation;
use super::{ModelConfig, ModelError, Parameter, Parameters};

/// One layer.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) before: Before,
    pub(super) after: After,
}

/// Norm, the three projections, and the norms of query and key heads where the model has them.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) norm: Tensor<1>,
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) q_norm: Option<Tensor<1>>,
    pub(super) k_norm: Option<Tensor<1>>,
}

/// Output projection, and the gated feed-forward part with its norm.
#[derive(Clone, Debug)]
pub(super) struct After {
    pub(super) o: Linear,
    pub(super) norm: Tensor<1>,
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
}

/// What is done to every tensor of a part, each giving one of the same shape.
pub(super) trait Each {
    /// To one of the model's own.
    fn tensor<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D>;

    /// To one of the model's matrices.
    fn matrix(&mut self, matrix: &Matrix) -> Matrix {
        self.tensor(&matrix.tensor()).into()
    }

    /// To one of an adapter's.
    fn added(&mut self, tensor: &Tensor<2>) -> Tensor<2>;
}

impl Before {
    /// # Shapes
    /// `x`: `[n, hidden]`; out: `[n, heads, d]`, and `[n, kv_heads, d]` twice.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        config: &ModelConfig,
        rotation: &Rotation,
    ) -> [Tensor<3>; 3] {
        let (_, projected) = self.project(x, config);
        self.turned(projected, config, rotation).1
    }

    /// Queries, keys and values before their norms and the rotation; and `x` again.
    ///
    /// # Shapes
    /// As [`Self::forward`].
    pub(super) fn project(
        &self,
        x: Tensor<2>,
        config: &ModelConfig,
    ) -> (Tensor<2>, [Tensor<3>; 3]) {
        let [n, _] = x.dims();
        let (x, y) = fused::norm(x, &self.norm, config.rms_norm_eps);
        let heads = |x: Tensor<2>, heads: usize| x.reshape([n, heads, config.head_dim]);
        let [q, k, v] = Linear::forward_each([&self.q, &self.k, &self.v], y);
        (x, [heads(q, config.heads), heads(k, config.kv_heads), heads(v, config.kv_heads)])
    }

    /// Queries, keys and values as attention takes them; and as they were projected again.
    pub(super) fn turned(
        &self,
        [q, k, v]: [Tensor<3>; 3],
        config: &ModelConfig,
        rotation: &Rotation,
    ) -> ([Tensor<3>; 3], [Tensor<3>; 3]) {
        let turn = |x, norm: &Option<Tensor<1>>| {
            let norm = norm.as_ref().map(|norm| (norm, config.rms_norm_eps));
            fused::turn(x, norm, rotation)
        };
        let ((q, q_turned), (k, k_turned)) = (turn(q, &self.q_norm), turn(k, &self.k_norm));
        ([q, k, v.clone()], [q_turned, k_turned, v])
    }

    /// The same with every tensor replaced.
    pub(super) fn map(&self, each: &mut impl Each) -> Self {
        Self {
            norm: each.tensor(&self.norm),
            q: self.q.map(each),
            k: self.k.map(each),
            v: self.v.map(each),
            q_norm: self.q_norm.as_ref().map(|norm| each.tensor(norm)),
            k_norm: self.k_norm.as_ref().map(|norm| each.tensor(norm)),
        }
    }
}

impl After {
    /// # Shapes
    /// `x` and the result: `[n, hidden]`; `attended`: `[n, heads, d]`.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        attended: Tensor<3>,
        config: &ModelConfig,
    ) -> Tensor<2> {
        let [n, heads, d] = attended.dims();
        let x = self.o.forward(attended.reshape([n, heads * d])) + x;
        let (x, gate, up) = self.gates(x, config);
        let (_, _, passed) = fused::gated(gate, up);
        self.down.forward(passed) + x
    }

    /// Gate and up, `[n, inner]`, of the residual stream after attention; and that again.
    pub(super) fn gates(
        &self,
        x: Tensor<2>,
        config: &ModelConfig,
    ) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let (x, z) = fused::norm(x, &self.norm, config.rms_norm_eps);
        let [gate, up] = Linear::forward_each([&self.gate, &self.up], z);
        (x, gate, up)
    }

    /// The same with every tensor replaced.
    pub(super) fn map(&self, each: &mut impl Each) -> Self {
        Self {
            o: self.o.map(each),
            norm: each.tensor(&self.norm),
            gate: self.gate.map(each),
            up: self.up.map(each),
            down: self.down.map(each),
        }
    }
}

type Take<'a> = dyn FnMut(&str) -> Result<Parameter, ModelError> + 'a;

impl Block {
    /// Takes this block's parameters, which are known to be there and of the right shapes.
    pub(super) fn take(
        config: &ModelConfig,
        layer: usize,
        take: &mut Take<'_>,
    ) -> Result<Self, ModelError> {
        let mut take = |name: &str| take(&block_name(layer, name));
        let mut norm = |name: &str| take(name).map(|norm| norm.values);
        let norms = [norm(INPUT_NORM)?, norm(POST_NORM)?];
        let head_norms = match config.architecture.has_head_norms() {
            true => [Some(norm(QUERY_NORM)?), Some(norm(KEY_NORM)?)],
            false => [None, None],
        };
        let mut linear = |projection: Projection| -> Result<Linear, ModelError> {
            let name = projection.name();
            let weight = take(&format!("{name}.weight"))?.input_major().into();
            let bias = match projection.has_bias(config) {
                true => Some(take(&format!("{name}.bias"))?.values),
                false => None,
            };
            Ok(Linear { weight, bias, low_rank: None })
        };
        let ([input_norm, post_norm], [q_norm, k_norm]) = (norms, head_norms);
        let before = Before {
            norm: input_norm,
            q: linear(Projection::Query)?,
            k: linear(Projection::Key)?,
            v: linear(Projection::Value)?,
            q_norm,
            k_norm,
        };
        let after = After {
            o: linear(Projection::Output)?,
            norm: post_norm,
            gate: linear(Projection::Gate)?,
            up: linear(Projection::Up)?,
            down: linear(Projection::Down)?,
        };
        Ok(Self { before, after })
    }

    /// Puts this block's tensors into `parameters`; not those of an adapter.
    pub(super) fn give(self, layer: usize, parameters: &mut Parameters) {
        let Self { before, after } = self;
        let norms = [
            (INPUT_NORM, Some(before.norm)),
            (QUERY_NORM, before.q_norm),
            (KEY_NORM, before.k_norm),
            (POST_NORM, Some(after.norm)),
        ];
        for (name, norm) in norms {
            if let Some(norm) = norm {
                parameters.insert(block_name(layer, name), Parameter::from_vector(norm));
            }
        }
        let linears = [before.q, before.k, before.v, after.o, after.gate, after.up, after.down];
        for (projection, linear) in Projection::ALL.into_iter().zip(linears) {
            linear.give(&block_name(layer, projection.name()), parameters);
        }
    }

    /// The projection of this kind.
    pub(super) fn linear(&self, projection: Projection) -> &Linear {
        match projection {
            Projection::Query => &self.before.q,
            Projection::Key => &self.before.k,
            Projection::Value => &self.before.v,
            Projection::Output => &self.after.o,
            Projection::Gate => &self.after.gate,
            Projection::Up => &self.after.up,
            Projection::Down => &self.after.down,
        }
    }

    /// The projection of this kind.
    pub(super) fn linear_mut(&mut self, projection: Projection) -> &mut Linear {
        match projection {
            Projection::Query => &mut self.before.q,
            Projection::Key => &mut self.before.k,
            Projection::Value => &mut self.before.v,
            Projection::Output => &mut self.after.o,
            Projection::Gate => &mut self.after.gate,
            Projection::Up => &mut self.after.up,
            Projection::Down => &mut self.after.down,
        }
    }
}
