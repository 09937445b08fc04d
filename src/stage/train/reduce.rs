//! Adding up what the replicas of a model came to.

use super::error::TrainError;
use super::figures::Figures;
use crate::model::Parameters;

/// One replica's part in a sum over all replicas. Each must call the same functions in the same
/// order; all get the same result, bit for bit.
pub trait AllReduce: Send {
    /// This replica's number, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// The sum of every replica's gradient and figures.
    ///
    /// # Errors
    /// Another replica failed or ended, or the devices cannot reach each other.
    fn sum(
        &mut self,
        gradient: Parameters,
        figures: Figures,
    ) -> Result<(Parameters, Figures), TrainError>;
}

/// The only replica there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl AllReduce for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn sum(
        &mut self,
        gradient: Parameters,
        figures: Figures,
    ) -> Result<(Parameters, Figures), TrainError> {
        Ok((gradient, figures))
    }
}
