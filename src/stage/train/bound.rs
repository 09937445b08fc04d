//! The running bound: what a step's loss and gradient norm may be, by those of the steps before.
//!
//! - Neither may be NaN or infinite.
//! - The gradient norm may not exceed `grad_norm_jump` times the median of the last
//!   [`WINDOW`] steps. What is below `grad_norm_max` is never too much: the gradient is clipped to
//!   that anyway.
//! - The loss may not lie further from the median than `loss_jump` times the median distance to it,
//!   which counts as [`DISTANCE_MIN`] at least.
//!
//! The last two hold from [`STEPS_MIN`] steps on. A step that is skipped does not count. The steps
//! stand in the version's `trainer.json`, so that a restart changes nothing and a rollback takes
//! back what its versions did.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::config::TrainConfig;

/// Steps that the medians are of.
const WINDOW: usize = 32;
/// Below this many steps there is no usual yet.
const STEPS_MIN: usize = 4;
/// Losses of batches differ by so much without anything being wrong.
const DISTANCE_MIN: f64 = 0.1;

/// Loss and gradient norm of the last steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    losses: VecDeque<f64>,
    norms: VecDeque<f64>,
}

impl Bound {
    /// Whether a step of this loss and gradient norm may be taken.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self, loss: f64, norm: f64, config: &TrainConfig) -> Result<(), String> {
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(format!("the loss is {loss} and the gradient norm {norm}"));
        }
        if self.norms.len() < STEPS_MIN {
            return Ok(());
        }
        let usual = median(self.norms.iter().copied());
        if norm > config.grad_norm_max && norm > config.grad_norm_jump * usual {
            let times = config.grad_norm_jump;
            return Err(format!(
                "the gradient norm is {norm:.4}: above {times} times the {usual:.4} of the steps \
                 before"
            ));
        }
        let middle = median(self.losses.iter().copied());
        let distance = median(self.losses.iter().map(|loss| (loss - middle).abs()));
        let reach = config.loss_jump * distance.max(DISTANCE_MIN);
        if (loss - middle).abs() > reach {
            return Err(format!(
                "the loss is {loss:.4}: further than {reach:.4} from the {middle:.4} of the steps \
                 before"
            ));
        }
        Ok(())
    }

    /// Takes a step that was taken.
    pub fn note(&mut self, loss: f64, norm: f64) {
        for (values, value) in [(&mut self.losses, loss), (&mut self.norms, norm)] {
            values.push_back(value);
            if values.len() > WINDOW {
                values.pop_front();
            }
        }
    }
}

/// The middle value, the upper one of two; 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Bound {
        let mut bound = Bound::default();
        (0..40).for_each(|n| bound.note(f64::from(n % 3) * 0.1, 2.0 + f64::from(n % 5) * 0.1));
        bound
    }

    fn is_refused(bound: &Bound, loss: f64, norm: f64) -> bool {
        bound.check(loss, norm, &TrainConfig::default()).is_err()
    }

    #[test]
    fn what_is_not_finite_is_refused_from_the_first_step() {
        for bound in [Bound::default(), usual()] {
            assert!(is_refused(&bound, f64::NAN, 1.0));
            assert!(is_refused(&bound, 0.0, f64::INFINITY));
            assert!(!is_refused(&bound, 0.1, 2.2));
        }
    }

    #[test]
    fn a_jump_is_refused_once_there_is_a_usual() {
        let bound = usual();
        assert!(!is_refused(&bound, 0.1, 43.0));
        assert!(is_refused(&bound, 0.1, 45.0));
        assert!(!is_refused(&bound, 4.9, 2.0));
        assert!(is_refused(&bound, -5.2, 2.0));
        assert!(!is_refused(&Bound::default(), 99.0, 1e9), "nothing is known yet");
        let detail = bound.check(0.1, 45.0, &TrainConfig::default()).unwrap_err();
        assert!(detail.contains("45.0000") && detail.contains("2.2000"), "{detail}");
    }

    #[test]
    fn what_is_clipped_away_is_no_jump() {
        let mut bound = Bound::default();
        (0..9).for_each(|_| bound.note(0.0, 1e-6));
        assert!(!is_refused(&bound, 0.0, 0.9), "the norm may be up to grad_norm_max");
        assert!(is_refused(&bound, 0.0, 1.1));
    }

    #[test]
    fn a_window_is_kept_and_survives_its_file() {
        let bound = usual();
        assert_eq!((bound.losses.len(), bound.norms.len()), (WINDOW, WINDOW));
        let text = serde_json::to_string(&bound).unwrap();
        assert_eq!(serde_json::from_str::<Bound>(&text).unwrap(), bound);
    }
}
