//! Operations of a block that take a tensor library many passes over memory: in one pass where
//! values are f32s of the CPU, by the library's own operations elsewhere.
//!
//! Arguments are taken rather than borrowed, and given back where they are still needed: memory
//! that nobody else holds is read and written in place.

use burn::tensor::activation::{sigmoid, silu, softmax};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use super::attention::hide_future;
use super::kernels::{self, Seen, Turn};
use super::rope::Rotation;

/// Whether the kernels can work on it.
pub(super) fn on_host<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex()
}

/// A tensor's values, in place.
pub(super) struct Host(TensorData);

impl Host {
    /// Of a tensor that is [`on_host`].
    pub(super) fn of<const D: usize>(x: Tensor<D>) -> Self {
        Self(x.into_data())
    }

    pub(super) fn read(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_else(|error| panic!("f32s of the host: {error}"))
    }

    pub(super) fn write(&mut self) -> &mut [f32] {
        self.0.as_mut_slice().unwrap_or_else(|error| panic!("f32s of the host: {error}"))
    }

    pub(super) fn tensor<const D: usize>(self) -> Tensor<D> {
        Tensor::from_data(self.0, &Device::flex())
    }
}

/// Values of the host as a tensor.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn f32s<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().cast(FloatDType::F32)
}

/// `x / sqrt(mean(x²) + eps) * weight` over the last dimension, the mean in f32; and `x` again.
pub(super) fn norm<const D: usize>(
    x: Tensor<D>,
    weight: &Tensor<1>,
    eps: f64,
) -> (Tensor<D>, Tensor<D>) {
    if on_host(&x) && on_host(weight) {
        let shape = x.dims();
        let (x, weight) = (Host::of(x), Host::of(weight.clone()));
        let mut out = vec![0.0; x.read().len()];
        kernels::norm(x.read(), weight.read(), eps as f32, &mut out);
        return (x.tensor(), tensor(out, shape));
    }
    let wide = f32s(&x);
    let root = wide.clone().square().mean_dim(D - 1).add_scalar(eps).sqrt();
    let out = (wide / root).cast(x.dtype()) * weight.clone().unsqueeze();
    (x, out)
}

/// The gradients of [`norm`] by `x` and by the weight (f32), given that by its output.
pub(super) fn norm_back<const D: usize>(
    x: Tensor<D>,
    weight: &Tensor<1>,
    eps: f64,
    grad: Tensor<D>,
) -> (Tensor<D>, Tensor<1>) {
    let width = weight.dims()[0];
    if on_host(&x) && on_host(weight) && on_host(&grad) {
        let (x, weight, mut grad) = (Host::of(x), Host::of(weight.clone()), Host::of(grad));
        let by_weight = kernels::norm_back(x.read(), weight.read(), eps as f32, grad.write());
        return (grad.tensor(), tensor(by_weight, [width]));
    }
    let (dtype, rows) = (x.dtype(), x.shape().num_elements() / width);
    let (x, grad, weight) = (f32s(&x), f32s(&grad), f32s(weight));
    let root = x.clone().square().mean_dim(D - 1).add_scalar(eps).sqrt();
    let hat = x / root.clone();
    let by_weight = (grad.clone() * hat.clone()).reshape([rows, width]).sum_dim(0);
    let grad = grad * weight.unsqueeze();
    let mean = (grad.clone() * hat.clone()).mean_dim(D - 1);
    (((grad - hat * mean) / root).cast(dtype), by_weight.reshape([width]))
}

/// The norm of heads, where there is one, and the rotation by place; and `x` again.
///
/// # Shapes
/// `x` and the result: `[n, heads, d]`.
pub(super) fn turn(
    x: Tensor<3>,
    norm_by: Option<(&Tensor<1>, f64)>,
    rotation: &Rotation,
) -> (Tensor<3>, Tensor<3>) {
    if !on_host(&x) {
        let (x, normed) = match norm_by {
            Some((weight, eps)) => norm(x, weight, eps),
            None => (x.clone(), x),
        };
        return (x, rotation.apply(normed));
    }
    let [rows, heads, d] = x.dims();
    let (x, weight) = (Host::of(x), norm_by.map(|(weight, eps)| (Host::of(weight.clone()), eps)));
    let mut out = vec![0.0; rows * heads * d];
    kernels::turn(x.read(), rows, by(rotation, heads, &weight), &mut out);
    (x.tensor(), tensor(out, [rows, heads, d]))
}

fn by<'a>(rotation: &'a Rotation, heads: usize, weight: &'a Option<(Host, f64)>) -> Turn<'a> {
    let (cos, sin) = rotation.values();
    let norm = weight.as_ref().map(|(weight, eps)| (weight.read(), *eps as f32));
    Turn { cos, sin, heads, norm }
}

/// The gradients of [`turn`] by `x` and by the norm's weight (f32), given that by its output.
pub(super) fn turn_back(
    x: Tensor<3>,
    norm_by: Option<(&Tensor<1>, f64)>,
    rotation: &Rotation,
    grad: Tensor<3>,
) -> (Tensor<3>, Option<Tensor<1>>) {
    if !(on_host(&x) && on_host(&grad)) {
        let grad = rotation.undo(grad);
        return match norm_by {
            None => (grad, None),
            Some((weight, eps)) => {
                let (by_x, by_weight) = norm_back(x, weight, eps, grad);
                (by_x, Some(by_weight))
            }
        };
    }
    let [rows, heads, d] = x.dims();
    let (x, mut grad) = (Host::of(x), Host::of(grad));
    let weight = norm_by.map(|(weight, eps)| (Host::of(weight.clone()), eps));
    let by_weight = kernels::turn_back(x.read(), rows, by(rotation, heads, &weight), grad.write());
    (grad.tensor(), weight.map(|_| tensor(by_weight, [d])))
}

/// `silu(gate) * up`; and both again.
pub(super) fn gated(gate: Tensor<2>, up: Tensor<2>) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    if !(on_host(&gate) && on_host(&up)) {
        let out = silu(gate.clone()) * up.clone();
        return (gate, up, out);
    }
    let shape = gate.dims();
    let (gate, up) = (Host::of(gate), Host::of(up));
    let mut out = vec![0.0; gate.read().len()];
    kernels::gated(gate.read(), up.read(), &mut out);
    (gate.tensor(), up.tensor(), tensor(out, shape))
}

/// The gradients of [`gated`] by gate and up, given that by its output; and the output.
pub(super) fn gated_back(gate: Tensor<2>, up: Tensor<2>, grad: Tensor<2>) -> [Tensor<2>; 3] {
    if on_host(&gate) && on_host(&up) && on_host(&grad) {
        let (mut gate, mut up, mut grad) = (Host::of(gate), Host::of(up), Host::of(grad));
        kernels::gated_back(gate.write(), up.write(), grad.write());
        return [gate.tensor(), up.tensor(), grad.tensor()];
    }
    let dtype = gate.dtype();
    let (gate, up, grad) = (f32s(&gate), f32s(&up), f32s(&grad));
    let share = sigmoid(gate.clone());
    let passed = gate.clone() * share.clone();
    let slope = share * (gate - passed.clone()).add_scalar(1.0);
    let by_gate = grad.clone() * up.clone() * slope;
    [by_gate, grad * passed.clone(), passed * up].map(|x| x.cast(dtype))
}

/// Softmax of scores in f32, of what each query sees.
///
/// # Shapes
/// `[kv_heads, n * group, len]`; `offset` keys are before the first query.
pub(super) fn causal_softmax(scores: Tensor<3>, group: usize, offset: usize) -> Tensor<3> {
    let [_, rows, keys] = scores.dims();
    if !on_host(&scores) {
        let scores = hide_future(scores.cast(FloatDType::F32), rows / group, group, offset);
        return softmax(scores, 2);
    }
    let mut scores = Host::of(scores);
    kernels::causal_softmax(scores.write(), Seen { rows, group, offset, keys });
    scores.tensor()
}

/// The gradient by scores, given the probabilities and the gradient by them.
///
/// # Shapes
/// As [`causal_softmax`].
pub(super) fn softmax_back(
    p: Tensor<3>,
    grad: Tensor<3>,
    group: usize,
    offset: usize,
) -> (Tensor<3>, Tensor<3>) {
    let [_, rows, keys] = p.dims();
    if !(on_host(&p) && on_host(&grad)) {
        let mean = (p.clone() * grad.clone()).sum_dim(2);
        let by_scores = p.clone() * (grad - mean);
        return (p, by_scores);
    }
    let (p, mut grad) = (Host::of(p), Host::of(grad));
    kernels::softmax_back(p.read(), grad.write(), Seen { rows, group, offset, keys });
    (p.tensor(), grad.tensor())
}

/// Sum of all rows, f32.
pub(super) fn column_sums(x: &Tensor<2>) -> Tensor<1> {
    let [_, width] = x.dims();
    if !on_host(x) {
        return f32s(x).sum_dim(0).reshape([width]);
    }
    tensor(kernels::column_sums(Host::of(x.clone()).read(), width), [width])
}
