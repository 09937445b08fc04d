//! What a step optimises, and in what steps: the choices of `train` (docs/math.md).

use serde::{Deserialize, Serialize};

/// An enum whose variants are named in the configuration by their snake_case labels.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $label:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $label)] $variant),+ }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable label that stands in tables, files and flags.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

choices! {
    /// The objective.
    Method {
        /// Judge's score as advantage of every response token.
        Binary = "binary",
        /// Gap between hinted and plain log-probability as advantage.
        Opd = "opd",
        /// The weighted sum of both.
        Combine = "combine",
        /// Reverse KL to the hinted teacher over its most probable tokens and one tail bin.
        Topk = "topk",
        /// The score on the sampled token, and the gap to the hinted teacher over several tokens.
        Hybrid = "hybrid",
        /// Cross-entropy: on replies that were found good, or on examples.
        Sft = "sft",
    }
}

choices! {
    /// Which tokens `hybrid` compares at a position.
    HybridSupport {
        /// The most probable ones of the policy before the step.
        Student = "student",
        /// Those of the teacher.
        Teacher = "teacher",
        /// Those that are among both.
        Overlap = "overlap",
    }
}

choices! {
    /// Which of several hints `hybrid` learns from.
    HybridSelection {
        /// The shortest.
        Shortest = "shortest",
        /// At each token the one whose teacher agrees most with the policy.
        TokenOptimal = "token_optimal",
        /// The one whose teacher agrees most over the whole reply.
        SequenceOptimal = "sequence_optimal",
    }
}

choices! {
    /// How the values of a batch's tokens become one loss.
    LossAggregation {
        /// The mean over each sample's tokens, then over the samples: each reply counts the same.
        SampleMean = "sample-mean",
        /// The mean over all tokens of the batch: each token counts the same.
        TokenMean = "token-mean",
    }
}

choices! {
    /// How the distance to the reference is estimated from the sampled tokens.
    KlEstimator {
        /// Not at all.
        None = "none",
        /// log π − log π_ref.
        K1 = "k1",
        /// (log π − log π_ref)² / 2.
        K2 = "k2",
        /// π_ref/π − 1 − log(π_ref/π).
        K3 = "k3",
        /// k3, within bounds.
        LowVarKl = "low_var_kl",
    }
}

choices! {
    /// What the policy's ratio is taken to.
    Behaviour {
        /// The log-probabilities that were recorded when the reply was sampled.
        Rollout = "rollout",
        /// Those of the weights before the step, weighted by how far they are from the recorded.
        Decoupled = "decoupled",
    }
}

choices! {
    /// Which weights are trained.
    TrainedWeights {
        /// Every one.
        All = "all",
        /// Low-rank additions to the projections; the base is frozen.
        Lora = "lora",
    }
}

choices! {
    /// How a gradient becomes a step.
    OptimizerKind {
        /// AdamW, for every parameter.
        AdamW = "adamw",
        /// Muon for the matrices of the layers, AdamW for the rest.
        Muon = "muon",
    }
}

choices! {
    /// How the learning rate goes on after its warm-up.
    ScheduleKind {
        /// It stays.
        Constant = "constant",
        /// It falls in a straight line.
        Linear = "linear",
        /// It falls along half a cosine.
        Cosine = "cosine",
    }
}

impl Method {
    /// Whether it learns from a teacher that the trainer computes itself on the hinted prompts.
    pub const fn has_own_teacher(self) -> bool {
        matches!(self, Self::Topk | Self::Hybrid)
    }

    /// Whether it is optimised by a clipped ratio to the behaviour policy.
    pub const fn has_ratio(self) -> bool {
        matches!(self, Self::Binary | Self::Opd | Self::Combine | Self::Hybrid)
    }
}

/// The learning rate by number of optimizer updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// How it goes on after the warm-up.
    pub kind: ScheduleKind,
    /// Updates over which it rises from 0.
    pub warmup_steps: u64,
    /// Updates after which it has fallen to `min`; the warm-up counts.
    pub steps: u64,
    /// What it rises to.
    pub max: f64,
    /// What it falls to.
    pub min: f64,
}

impl Schedule {
    /// One that never changes.
    pub const fn constant(rate: f64) -> Self {
        Self { kind: ScheduleKind::Constant, warmup_steps: 0, steps: 0, max: rate, min: 0.0 }
    }

    /// The rate of the `update`-th update, from 1.
    pub fn rate(&self, update: u64) -> f64 {
        if update <= self.warmup_steps {
            return self.max * update as f64 / self.warmup_steps as f64;
        }
        let falling = self.steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let done = ((update - self.warmup_steps) as f64 / falling).min(1.0);
        let left = match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => 1.0 - done,
            ScheduleKind::Cosine => (1.0 + (std::f64::consts::PI * done).cos()) / 2.0,
        };
        match self.kind {
            ScheduleKind::Constant => self.max,
            _ => self.min + (self.max - self.min) * left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_rises_and_falls() {
        let schedule = |kind| Schedule { kind, warmup_steps: 4, steps: 12, max: 1.0, min: 0.2 };
        let linear = schedule(ScheduleKind::Linear);
        let rates: Vec<f64> = [1, 2, 4, 8, 12, 99].iter().map(|n| linear.rate(*n)).collect();
        let expected = [0.25, 0.5, 1.0, 0.6, 0.2, 0.2];
        assert!(rates.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{rates:?}");
        let cosine = schedule(ScheduleKind::Cosine);
        assert!((cosine.rate(8) - 0.6).abs() < 1e-12);
        assert!(cosine.rate(5) > linear.rate(5), "flat at first");
        assert!((cosine.rate(12) - 0.2).abs() < 1e-12);
        assert_eq!(schedule(ScheduleKind::Constant).rate(99), 1.0);
        assert_eq!(Schedule::constant(0.5).rate(1), 0.5);
    }

    #[test]
    fn labels_are_what_files_hold() {
        for method in Method::ALL {
            let text = format!("\"{}\"", method.label());
            assert_eq!(serde_json::from_str::<Method>(&text).unwrap(), *method);
            assert_eq!(serde_json::to_string(method).unwrap(), text);
        }
    }
}
