//! Projections: a matrix, a bias where the model has one, a low-rank addition where an adapter has
//! one.

use burn::tensor::Tensor;

use super::block::Each;
use super::matrix::Matrix;
use super::{ModelConfig, Parameter, Parameters};

/// A projection of a block, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Projection {
    /// Queries of attention.
    Query,
    /// Keys of attention.
    Key,
    /// Values of attention.
    Value,
    /// From attention's heads back to the residual stream.
    Output,
    /// The feed-forward part's gate.
    Gate,
    /// Into the feed-forward part.
    Up,
    /// Out of the feed-forward part.
    Down,
}

impl Projection {
    /// All of a block.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// Its Hugging Face name within the block.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Features in and out.
    pub const fn features(self, config: &ModelConfig) -> [usize; 2] {
        let [hidden, inner] = [config.hidden_size, config.intermediate_size];
        match self {
            Self::Query => [hidden, config.heads * config.head_dim],
            Self::Key | Self::Value => [hidden, config.kv_heads * config.head_dim],
            Self::Output => [config.heads * config.head_dim, hidden],
            Self::Gate | Self::Up => [hidden, inner],
            Self::Down => [inner, hidden],
        }
    }

    /// Whether this model's has a bias.
    pub(super) const fn has_bias(self, config: &ModelConfig) -> bool {
        match self {
            Self::Query | Self::Key | Self::Value => config.qkv_bias,
            Self::Output => config.output_bias,
            Self::Gate | Self::Up | Self::Down => config.mlp_bias,
        }
    }
}

/// `x W + bias + scale (x A) B`, the last two where they are.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    /// `[in, out]`.
    pub(super) weight: Matrix,
    /// `[out]`.
    pub(super) bias: Option<Tensor<1>>,
    /// What an adapter adds.
    pub(super) low_rank: Option<LowRank>,
}

/// An adapter's part of one projection. It is never formed as a matrix of the projection's size.
#[derive(Clone, Debug)]
pub(super) struct LowRank {
    /// `[in, rank]`, contiguous.
    pub(super) down: Tensor<2>,
    /// `[rank, out]`, contiguous.
    pub(super) up: Tensor<2>,
    /// What the product is multiplied by.
    pub(super) scale: f64,
}

impl Linear {
    /// # Shapes
    /// `[n, in]` to `[n, out]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [y] = Self::forward_each([self], x);
        y
    }

    /// Several projections of the same rows.
    ///
    /// # Shapes
    /// `[n, in]` to `[n, out]` each.
    pub(super) fn forward_each<const N: usize>(
        linears: [&Self; N],
        x: Tensor<2>,
    ) -> [Tensor<2>; N] {
        let adapted = linears.iter().any(|linear| linear.low_rank.is_some());
        let rows = adapted.then(|| x.clone());
        let products = Matrix::apply_each(linears.map(|linear| &linear.weight), x);
        let mut linears = linears.into_iter();
        // Taken one by one: what nobody else holds is added to in place.
        products.map(|mut y| {
            let Some(linear) = linears.next() else { return y };
            if let Some((added, rows)) = linear.low_rank.as_ref().zip(rows.as_ref()) {
                y = y + added.forward(rows.clone());
            }
            if let Some(bias) = &linear.bias {
                y = y + bias.clone().unsqueeze();
            }
            y
        })
    }

    /// The same with every tensor replaced.
    pub(super) fn map(&self, each: &mut impl Each) -> Self {
        Self {
            weight: each.matrix(&self.weight),
            bias: self.bias.as_ref().map(|bias| each.tensor(bias)),
            low_rank: self.low_rank.as_ref().map(|added| LowRank {
                down: each.added(&added.down),
                up: each.added(&added.up),
                scale: added.scale,
            }),
        }
    }

    /// Puts weight and bias into `parameters`, under the projection's full name.
    pub(super) fn give(self, name: &str, parameters: &mut Parameters) {
        let weight = Parameter::from_input_major(self.weight.tensor());
        parameters.insert(format!("{name}.weight"), weight);
        if let Some(bias) = self.bias {
            parameters.insert(format!("{name}.bias"), Parameter::from_vector(bias));
        }
    }
}

impl LowRank {
    /// # Shapes
    /// `[n, in]` to `[n, out]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        // An adapter may be kept in another precision than its base.
        let (own, dtype) = (self.down.dtype(), x.dtype());
        let inner = x.cast(own).matmul(self.down.clone()).mul_scalar(self.scale);
        inner.matmul(self.up.clone()).cast(dtype)
    }
}
