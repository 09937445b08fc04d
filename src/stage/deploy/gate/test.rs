//! Exact tests of paired outcomes.

/// Chance of at least `losses` heads in `losses + gains` throws of a fair coin: how likely it is
/// that a version which is as good loses so many of the pairs that differ (McNemar's test, exact
/// and one-sided).
pub fn worse(losses: usize, gains: usize) -> f64 {
    let throws = losses + gains;
    let mut sum = 0.0;
    // The logarithm of the binomial coefficient, from one k to the next.
    let mut choose = 0.0_f64;
    for heads in 0..=throws {
        if heads >= losses {
            sum += (choose - throws as f64 * std::f64::consts::LN_2).exp();
        }
        choose += ((throws - heads) as f64).ln() - ((heads + 1) as f64).ln();
    }
    sum.min(1.0)
}

/// Chance below which a difference is not taken for luck.
pub const LEVEL: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_tail_of_the_fair_coin() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(worse(0, 0), 1.0);
        near(worse(0, 9), 1.0);
        near(worse(1, 0), 0.5);
        near(worse(2, 1), 0.5);
        near(worse(7, 0), 1.0 / 128.0);
        near(worse(9, 1), 11.0 / 1024.0);
        assert!(worse(7, 0) < LEVEL && worse(6, 0) > LEVEL);
        assert!(worse(400, 400) > 0.4 && worse(500, 300) < 1e-10);
    }
}
