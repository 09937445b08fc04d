//! Muon: the momentum of a matrix, with all its singular values brought near one, as its step.
//!
//! Source: Jordan et al. 2024 (the iteration and its coefficients), and Liu et al. 2025
//! (arXiv:2502.16982) for the size of a step, which makes AdamW's rate and decay fit both.

use burn::tensor::{DType, Tensor};

/// Decay of the momentum.
pub const MOMENTUM: f64 = 0.95;
/// Root mean square of a step at rate 1, which is about AdamW's.
const STEP_RMS: f64 = 0.2;
/// Iterations; the singular values then lie between about 0.68 and 1.2.
const ITERATIONS: usize = 5;
/// The polynomial a·x + b·x³ + c·x⁵.
const COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.775, 2.0315);
/// Guards the division of a gradient that is zero.
const NORM_MIN: f64 = 1e-7;

/// The direction of a step: U·Vᵀ of `momentum` = U·S·Vᵀ, nearly, by a quintic Newton–Schulz
/// iteration, times 0.2·√max(out, in).
///
/// # Shapes
/// `momentum` and the result `[out · in]`, f32, of a matrix `[out, in]`.
pub fn direction(momentum: Tensor<1>, [rows, columns]: [usize; 2]) -> Tensor<1> {
    let matrix: Tensor<2> = momentum.reshape([rows, columns]);
    // the products are of the shorter side
    let wide = if rows > columns { matrix.transpose() } else { matrix };
    let norm = wide.clone().square().sum().sqrt().add_scalar(NORM_MIN);
    let mut x = wide.div(norm.reshape([1, 1]));
    let (a, b, c) = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let gram = x.clone().matmul(x.clone().transpose());
        let square = gram.clone().matmul(gram.clone());
        let factor = gram.mul_scalar(b).add(square.mul_scalar(c));
        x = x.clone().mul_scalar(a).add(factor.matmul(x));
    }
    let x = if rows > columns { x.transpose() } else { x };
    let scale = STEP_RMS * (rows.max(columns) as f64).sqrt();
    debug_assert_eq!(x.dtype(), DType::F32, "masters are f32");
    x.mul_scalar(scale).reshape([rows * columns])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn drawn(rows: usize, columns: usize) -> Tensor<1> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let values: Vec<f32> =
            (0..rows * columns).map(|_| random.random_range(-1.0..1.0)).collect();
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
    }

    /// The Gram matrix of a direction, over the square of its scale.
    fn gram(rows: usize, columns: usize) -> Vec<f32> {
        let scale = STEP_RMS * (rows.max(columns) as f64).sqrt();
        let made = direction(drawn(rows, columns), [rows, columns]).div_scalar(scale);
        let made: Tensor<2> = made.reshape([rows, columns]);
        let gram = if rows > columns {
            made.clone().transpose().matmul(made)
        } else {
            made.clone().matmul(made.transpose())
        };
        gram.try_into_vec_as().unwrap()
    }

    #[test]
    fn all_singular_values_come_near_one_whatever_the_shape() {
        for (rows, columns) in [(8, 24), (24, 8), (16, 16)] {
            let side = rows.min(columns);
            let gram = gram(rows, columns);
            let trace: f32 = (0..side).map(|at| gram[at * side + at]).sum();
            // the squares of the singular values lie between 0.7² and 1.2²
            let mean = trace / side as f32;
            assert!((0.45..1.5).contains(&mean), "{rows}×{columns}: {mean}");
            for row in 0..side {
                for column in (0..side).filter(|column| *column != row) {
                    let off = gram[row * side + column].abs();
                    assert!(off < 0.4, "{rows}×{columns} at {row}, {column}: {off}");
                }
            }
        }
    }

    #[test]
    fn the_size_of_a_gradient_does_not_matter_and_none_is_no_step() {
        let one: Vec<f32> = direction(drawn(6, 10), [6, 10]).try_into_vec_as().unwrap();
        let large = direction(drawn(6, 10).mul_scalar(1000.0), [6, 10]);
        let large: Vec<f32> = large.try_into_vec_as().unwrap();
        assert!(one.iter().zip(&large).all(|(a, b)| (a - b).abs() < 1e-3));
        let none = direction(drawn(6, 10).zeros_like(), [6, 10]);
        let none: Vec<f32> = none.try_into_vec_as().unwrap();
        assert!(none.iter().all(|value| *value == 0.0));
    }
}
