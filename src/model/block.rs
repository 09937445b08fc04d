//! One layer of the decoder: what comes before attention, and what comes after.

use burn::tensor::activation::silu;
use burn::tensor::{FloatDType, Tensor};

use super::linear::{Linear, Projection};
use super::matrix::Matrix;
use super::parameters::{INPUT_NORM, KEY_NORM, POST_NORM, QUERY_NORM, block_name};
use super::rope::Rotation;
use super::{ModelConfig, ModelError, Parameter, Parameters, adapter};

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
        let [n, _] = x.dims();
        let eps = config.rms_norm_eps;
        let x = rms_norm(x, &self.norm, eps);
        let [q, k, v] = Linear::forward_each([&self.q, &self.k, &self.v], x);
        let heads_of = |x: Tensor<2>, heads: usize, norm: Option<&Tensor<1>>| {
            let heads = x.reshape([n, heads, config.head_dim]);
            match norm {
                None => heads,
                Some(norm) => rms_norm(heads, norm, eps),
            }
        };
        let q = heads_of(q, config.heads, self.q_norm.as_ref());
        let k = heads_of(k, config.kv_heads, self.k_norm.as_ref());
        let v = heads_of(v, config.kv_heads, None);
        [rotation.apply(q), rotation.apply(k), v]
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
    pub(super) fn forward(&self, x: Tensor<2>, attended: Tensor<3>, eps: f64) -> Tensor<2> {
        let [n, heads, d] = attended.dims();
        let x = x + self.o.forward(attended.reshape([n, heads * d]));
        let y = rms_norm(x.clone(), &self.norm, eps);
        let [gate, up] = Linear::forward_each([&self.gate, &self.up], y);
        x + self.down.forward(silu(gate) * up)
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

/// `x / sqrt(mean(x^2) + eps) * weight` over the last dimension; the mean in f32.
pub(super) fn rms_norm<const D: usize>(x: Tensor<D>, weight: &Tensor<1>, eps: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let x = x.cast(FloatDType::F32);
    let root = x.clone().square().mean_dim(D - 1).add_scalar(eps).sqrt();
    (x / root).cast(dtype) * weight.clone().unsqueeze()
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

    /// Puts an adapter's tensors in this block (or their gradients) into `parameters`.
    pub(super) fn give_added(self, layer: usize, parameters: &mut Parameters) {
        for projection in Projection::ALL {
            if let Some(added) = &self.linear(projection).low_rank {
                adapter::give(added.clone(), (layer, projection), parameters);
            }
        }
    }

    /// Puts this block's tensors (weights, or their gradients) into `parameters`; not those of an
    /// adapter.
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
