//! A weight matrix, and its product with rows of activations.
//!
//! On a device's tensors that is the device's own product. On the CPU, where a tensor's product
//! with one row runs on one thread and with a few rows copies the matrix first, an inference-only
//! decoder keeps its matrices in panels of its own instead: columns in groups of 64, so that one
//! pass over contiguous memory serves up to four rows, whose sums stay in registers. A weight that
//! came from a bf16 checkpoint stays 16 bits wide in memory and is widened as it is read: reading
//! weights is what decoding spends its time on. Nothing is lost: a matrix of which any value is no
//! bf16 is kept as f32.
//!
//! Each sum runs over the inputs in one order, whatever the number of rows: a token's values do
//! not depend on what it is batched with.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::ModelError;
use super::parameters::read_back;

/// Columns of a panel.
const WIDTH: usize = 64;

/// Inputs after which sums are put down: that part of a panel stays in the second-level cache
/// while all rows pass it.
const DEPTH: usize = 512;

/// Rows whose sums are in registers.
const ROWS: usize = 4;

/// Products below which a second thread is not worth waking.
const PARALLEL_MIN: usize = 1 << 16;

/// Rows from which threads share the rows, instead of the panels.
const SHARED_ROWS_MIN: usize = 32;

/// A weight matrix, `[in, out]`.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "eight to a layer, and a tensor is none smaller")]
pub(super) enum Matrix {
    /// On a device; contiguous.
    Tensor(Tensor<2>),
    /// In memory of the CPU, for inference only.
    Panels(Arc<Panels>),
}

impl From<Tensor<2>> for Matrix {
    fn from(weight: Tensor<2>) -> Self {
        Self::Tensor(weight)
    }
}

impl Matrix {
    /// The same matrix in panels.
    pub(super) fn packed(&self) -> Result<Self, ModelError> {
        match self {
            Self::Panels(_) => Ok(self.clone()),
            Self::Tensor(weight) => Ok(Self::Panels(Arc::new(Panels::pack(weight.clone())?))),
        }
    }

    /// As a tensor, `[in, out]`, contiguous. Panels are copied.
    pub(super) fn tensor(&self) -> Tensor<2> {
        match self {
            Self::Tensor(weight) => weight.clone(),
            Self::Panels(panels) => panels.unpack(),
        }
    }

    /// # Shapes
    /// `[n, in]` to `[n, out]`.
    pub(super) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let [y] = Self::apply_each([self], x);
        y
    }

    /// The products of the same rows with several matrices.
    ///
    /// # Shapes
    /// `[n, in]` to `[n, out]` each.
    pub(super) fn apply_each<const N: usize>(matrices: [&Self; N], x: Tensor<2>) -> [Tensor<2>; N] {
        let panels: Vec<&Panels> = matrices.iter().filter_map(|matrix| matrix.panels()).collect();
        if let Ok(panels) = <[&Panels; N]>::try_from(panels) {
            let ([rows, _], device) = (x.dims(), x.device());
            // Reading back cannot fail on the device that panels belong to.
            if let Ok(values) = x.clone().try_into_vec_as::<f32>() {
                drop(x);
                let mut widths = panels.iter().map(|panels| panels.outputs);
                return products(&panels, &values, rows).map(|values| {
                    let width = widths.next().unwrap_or_default();
                    Tensor::from_data(TensorData::new(values, [rows, width]), &device)
                });
            }
        }
        matrices.map(|matrix| x.clone().matmul(matrix.tensor()))
    }

    fn panels(&self) -> Option<&Panels> {
        match self {
            Self::Tensor(_) => None,
            Self::Panels(panels) => Some(panels),
        }
    }
}

/// A matrix on the CPU, in groups of [`WIDTH`] columns.
#[derive(Debug)]
pub(super) struct Panels {
    inputs: usize,
    outputs: usize,
    weights: Weights,
}

/// `[panels, inputs, WIDTH]`, the last panel zero beyond the last column.
#[derive(Debug)]
enum Weights {
    F32(Vec<[f32; WIDTH]>),
    /// The upper halves of f32s whose lower halves are zero.
    Bf16(Vec<[u16; WIDTH]>),
}

/// A weight as it is in memory.
trait Weight: Copy + Send + Sync {
    fn widen(self) -> f32;
}

impl Weight for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Weight for u16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }
}

fn narrow(value: f32) -> u16 {
    (value.to_bits() >> 16) as u16
}

fn is_bf16(value: f32) -> bool {
    value.to_bits() & 0xffff == 0
}

impl Panels {
    /// # Shapes
    /// `[in, out]`.
    fn pack(weight: Tensor<2>) -> Result<Self, ModelError> {
        let [inputs, outputs] = weight.dims();
        let values = read_back(weight)?;
        let weights = if values.iter().copied().all(is_bf16) {
            Weights::Bf16(grouped(&values, outputs, narrow))
        } else {
            Weights::F32(grouped(&values, outputs, |value| value))
        };
        Ok(Self { inputs, outputs, weights })
    }

    fn unpack(&self) -> Tensor<2> {
        let values = match &self.weights {
            Weights::F32(weights) => spread(weights, self.inputs, self.outputs),
            Weights::Bf16(weights) => spread(weights, self.inputs, self.outputs),
        };
        let data = TensorData::new(values, [self.inputs, self.outputs]);
        Tensor::from_data(data, &Device::flex())
    }

    /// Number of panels.
    fn count(&self) -> usize {
        self.outputs.div_ceil(WIDTH)
    }

    /// Adds the products of rows with some of the panels to `out`, whose rows begin every `stride`
    /// values.
    ///
    /// # Shapes
    /// `x`: `[rows, inputs]`.
    fn multiply(&self, panels: Range<usize>, x: &[f32], out: &mut [f32], stride: usize) {
        let part = panels.start * self.inputs..panels.end * self.inputs;
        let inputs = self.inputs;
        match &self.weights {
            Weights::F32(weights) => {
                let weights = &weights[part];
                Arch::new().dispatch(Multiply { weights, inputs, x, out, stride });
            }
            Weights::Bf16(weights) => {
                let weights = &weights[part];
                Arch::new().dispatch(Multiply { weights, inputs, x, out, stride });
            }
        }
    }
}

fn grouped<T: Copy + Default>(
    values: &[f32],
    outputs: usize,
    narrow: impl Fn(f32) -> T,
) -> Vec<[T; WIDTH]> {
    let mut panels = Vec::with_capacity(outputs.div_ceil(WIDTH) * values.len() / outputs.max(1));
    for first in (0..outputs).step_by(WIDTH) {
        let last = outputs.min(first + WIDTH);
        for row in values.chunks_exact(outputs) {
            let mut line = [T::default(); WIDTH];
            for (weight, value) in line.iter_mut().zip(&row[first..last]) {
                *weight = narrow(*value);
            }
            panels.push(line);
        }
    }
    panels
}

/// The inverse of [`grouped`].
fn spread<T: Weight>(panels: &[[T; WIDTH]], inputs: usize, outputs: usize) -> Vec<f32> {
    let mut values = vec![0.0; inputs * outputs];
    for (panel, lines) in panels.chunks_exact(inputs).enumerate() {
        let first = panel * WIDTH;
        let last = outputs.min(first + WIDTH);
        for (row, line) in values.chunks_exact_mut(outputs).zip(lines) {
            for (value, weight) in row[first..last].iter_mut().zip(line) {
                *value = weight.widen();
            }
        }
    }
    values
}

/// The products of the same rows with several matrices, on all threads where that pays.
///
/// # Shapes
/// `x`: `[rows, inputs]`; the result: `[rows, outputs]` each.
fn products<const N: usize>(matrices: &[&Panels; N], x: &[f32], rows: usize) -> [Vec<f32>; N] {
    let mut outs = matrices.map(|matrix| vec![0.0; rows * matrix.outputs]);
    let weights: usize = matrices.iter().map(|matrix| matrix.inputs * matrix.outputs).sum();
    let threads = match weights * rows < PARALLEL_MIN {
        true => 1,
        false => rayon::current_num_threads(),
    };
    if threads == 1 || rows >= SHARED_ROWS_MIN {
        let share = rows.div_ceil(threads).next_multiple_of(ROWS).max(1);
        for (matrix, out) in matrices.iter().zip(&mut outs) {
            let (inputs, outputs) = (matrix.inputs, matrix.outputs);
            let multiply = |(x, out): (&[f32], &mut [f32])| {
                matrix.multiply(0..matrix.count(), x, out, outputs);
            };
            let parts = x.par_chunks(share * inputs).zip(out.par_chunks_mut(share * outputs));
            match threads {
                1 => multiply((x, out)),
                _ => parts.for_each(multiply),
            }
        }
        return outs;
    }
    let parts: Vec<(usize, Range<usize>)> = parts(matrices, threads);
    let done: Vec<Vec<f32>> = parts
        .par_iter()
        .map(|(index, panels)| {
            let width = panels.len() * WIDTH;
            let mut part = vec![0.0; rows * width];
            matrices[*index].multiply(panels.clone(), x, &mut part, width);
            part
        })
        .collect();
    for ((index, panels), part) in parts.into_iter().zip(done) {
        let (first, width) = (panels.start * WIDTH, panels.len() * WIDTH);
        let outputs = matrices[index].outputs;
        let last = outputs.min(first + width);
        for (out, part) in outs[index].chunks_exact_mut(outputs).zip(part.chunks_exact(width)) {
            out[first..last].copy_from_slice(&part[..last - first]);
        }
    }
    outs
}

/// Some panels of some matrix each: about two parts for each thread.
fn parts(matrices: &[&Panels], threads: usize) -> Vec<(usize, Range<usize>)> {
    let count: usize = matrices.iter().map(|matrix| matrix.count()).sum();
    let share = count.div_ceil(2 * threads).max(1);
    let mut parts = Vec::new();
    for (index, matrix) in matrices.iter().enumerate() {
        let starts = (0..matrix.count()).step_by(share);
        parts.extend(starts.map(|start| (index, start..matrix.count().min(start + share))));
    }
    parts
}

/// [`Panels::multiply`] with whatever vectors the machine has.
struct Multiply<'a, T> {
    weights: &'a [[T; WIDTH]],
    inputs: usize,
    x: &'a [f32],
    out: &'a mut [f32],
    stride: usize,
}

impl<T: Weight> WithSimd for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // A machine with few or narrow registers takes a panel in narrower strips.
        match S::F32_LANES {
            16 => self.run::<WIDTH, true>(),
            1 => self.run::<16, false>(),
            _ => self.run::<16, true>(),
        }
    }
}

impl<T: Weight> Multiply<'_, T> {
    /// `FUSED`: the machine multiplies and adds in one instruction.
    #[inline(always)]
    fn run<const STRIP: usize, const FUSED: bool>(mut self) {
        let rows = self.x.len() / self.inputs;
        for (index, panel) in self.weights.chunks_exact(self.inputs).enumerate() {
            for (depth, part) in panel.chunks(DEPTH).enumerate() {
                let from = depth * DEPTH;
                for strip in 0..WIDTH / STRIP {
                    let column = index * WIDTH + strip * STRIP;
                    let width = STRIP.min(self.stride.saturating_sub(column));
                    let mut row = 0;
                    while row < rows && width > 0 {
                        let at = Corner { from, row, column, width, strip };
                        row += match rows - row {
                            1 => self.block::<1, STRIP, FUSED>(part, at),
                            2 => self.block::<2, STRIP, FUSED>(part, at),
                            3 => self.block::<3, STRIP, FUSED>(part, at),
                            _ => self.block::<ROWS, STRIP, FUSED>(part, at),
                        };
                    }
                }
            }
        }
    }

    /// Adds a part's products to `R` rows of the output; R.
    #[inline(always)]
    fn block<const R: usize, const STRIP: usize, const FUSED: bool>(
        &mut self,
        part: &[[T; WIDTH]],
        at: Corner,
    ) -> usize {
        let inputs: [&[f32]; R] = std::array::from_fn(|r| {
            let first = (at.row + r) * self.inputs + at.from;
            &self.x[first..first + part.len()]
        });
        let sums = sums::<T, R, STRIP, FUSED>(inputs, part, at.strip);
        for (r, sums) in sums.iter().enumerate() {
            let first = (at.row + r) * self.stride + at.column;
            for (out, sum) in self.out[first..first + at.width].iter_mut().zip(sums) {
                *out += sum;
            }
        }
        R
    }
}

/// The sums of `R` rows over a part of a panel, in one strip of it.
///
/// Loops over indices and nothing else: with iterators or closures here, the compiler keeps the
/// sums in memory instead of in registers, and the product takes eight times as long.
#[inline(always)]
fn sums<T: Weight, const R: usize, const STRIP: usize, const FUSED: bool>(
    inputs: [&[f32]; R],
    part: &[[T; WIDTH]],
    strip: usize,
) -> [[f32; STRIP]; R] {
    let mut sums = [[0.0_f32; STRIP]; R];
    for (k, weights) in part.iter().enumerate() {
        let weights = &weights.as_chunks::<STRIP>().0[strip];
        let mut wide = [0.0_f32; STRIP];
        for c in 0..STRIP {
            wide[c] = weights[c].widen();
        }
        for r in 0..R {
            let input = inputs[r][k];
            for c in 0..STRIP {
                sums[r][c] = match FUSED {
                    true => input.mul_add(wide[c], sums[r][c]),
                    false => sums[r][c] + input * wide[c],
                };
            }
        }
    }
    sums
}

/// Where a block begins.
#[derive(Clone, Copy)]
struct Corner {
    /// Its first input.
    from: usize,
    /// Its first row.
    row: usize,
    /// Its first column of the output.
    column: usize,
    /// Columns of the output that it has.
    width: usize,
    /// Which strip of the panel it is.
    strip: usize,
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| rng.random_range(-1.0f32..1.0)).collect()
    }

    fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.try_into_vec_as().unwrap()
    }

    fn bf16(values: Vec<f32>) -> Vec<f32> {
        values.into_iter().map(|value| half::bf16::from_f32(value).to_f32()).collect()
    }

    /// The definition, in f64.
    fn slow(x: &[f32], weight: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
        let rows = x.chunks_exact(inputs);
        rows.flat_map(|x| {
            (0..outputs).map(move |column| {
                let weights = weight.iter().skip(column).step_by(outputs);
                x.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                    as f32
            })
        })
        .collect()
    }

    /// Widths that end within a panel, depths that end within a part, rows for each path.
    const SHAPES: [[usize; 3]; 7] = [
        [1, 3, 1],
        [3, 600, 130],
        [1, 1100, 192],
        [5, 64, 64],
        [9, 256, 520],
        [31, 17, 65],
        [70, 520, 100],
    ];

    #[test]
    fn products_are_those_of_the_definition() {
        for [rows, inputs, outputs] in SHAPES {
            let x = random(rows * inputs, 1);
            for weight in [random(inputs * outputs, 2), bf16(random(inputs * outputs, 3))] {
                let expected = slow(&x, &weight, inputs, outputs);
                let matrix = Matrix::from(tensor(weight, [inputs, outputs])).packed().unwrap();
                let found = values(matrix.apply(tensor(x.clone(), [rows, inputs])));
                for (found, expected) in found.iter().zip(&expected) {
                    let off = (found - expected).abs();
                    assert!(
                        off <= 1e-6 + 1e-7 * inputs as f32,
                        "{rows} × {inputs} × {outputs}: {found} {expected}"
                    );
                }
            }
        }
    }

    /// This machine's dispatch takes one of these ways; the others are taken elsewhere.
    #[test]
    fn narrow_vectors_and_none_give_the_same() {
        let [rows, inputs, outputs] = [6, 530, 100];
        let (x, weight) = (random(rows * inputs, 9), random(inputs * outputs, 10));
        let expected = slow(&x, &weight, inputs, outputs);
        let weights = grouped(&weight, outputs, |value| value);
        let check = |found: Vec<f32>| {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= 6e-5, "{found} {expected}");
            }
        };
        let mut out = vec![0.0; rows * outputs];
        let (weights, stride) = (&weights[..], outputs);
        pulp::Scalar::new().vectorize(Multiply { weights, inputs, x: &x, out: &mut out, stride });
        check(out);
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = pulp::x86::V3::try_new() {
            let mut out = vec![0.0; rows * outputs];
            let multiply = Multiply { weights, inputs, x: &x, out: &mut out, stride };
            Simd::vectorize(v3, multiply);
            check(out);
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        let [inputs, outputs] = [700, 192];
        let x = random(70 * inputs, 4);
        let weight = tensor(random(inputs * outputs, 5), [inputs, outputs]);
        let matrix = Matrix::from(weight).packed().unwrap();
        let apply =
            |x: &[f32]| values(matrix.apply(tensor(x.to_vec(), [x.len() / inputs, inputs])));
        let together = apply(&x);
        for rows in [1, 2, 3, 4, 7, 33] {
            let apart: Vec<f32> = x.chunks(rows * inputs).flat_map(apply).collect();
            assert_eq!(apart, together, "{rows} rows at a time");
        }
    }

    #[test]
    fn several_matrices_at_once_are_each_of_them_alone() {
        let matrices = [40, 200, 64].map(|outputs| {
            let weight = tensor(random(300 * outputs, outputs as u64), [300, outputs]);
            Matrix::from(weight).packed().unwrap()
        });
        for rows in [1, 6, 40] {
            let x = tensor(random(rows * 300, 6), [rows, 300]);
            let together = Matrix::apply_each(matrices.each_ref(), x.clone());
            for (matrix, together) in matrices.iter().zip(together) {
                assert_eq!(values(together), values(matrix.apply(x.clone())), "{rows} rows");
            }
        }
    }

    #[test]
    fn packing_loses_nothing_and_keeps_bf16_narrow() {
        for (weight, narrow) in [(random(70 * 90, 7), false), (bf16(random(70 * 90, 8)), true)] {
            let matrix = Matrix::from(tensor(weight.clone(), [70, 90])).packed().unwrap();
            let Matrix::Panels(panels) = &matrix else { panic!("it is packed") };
            assert_eq!(matches!(panels.weights, Weights::Bf16(_)), narrow);
            assert_eq!(values(matrix.tensor()), weight);
        }
    }
}
