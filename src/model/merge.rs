//! An adapter's part added to the weights beside which it stands.

use super::{Decoder, Projection};

impl Decoder {
    /// The same model without an adapter: each adapted projection's weights become
    /// `W + scale A B`. In f32, and not made for inference.
    #[must_use]
    pub fn merged(&self) -> Self {
        let mut merged = self.clone();
        for block in &mut merged.blocks {
            for projection in Projection::ALL {
                let linear = block.linear_mut(projection);
                if let Some(added) = linear.low_rank.take() {
                    let part = added.down.matmul(added.up).mul_scalar(added.scale);
                    linear.weight = (linear.weight.tensor() + part).into();
                }
            }
        }
        merged
    }
}
