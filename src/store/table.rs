//! The tables.

use crate::rollout::labelled;

labelled! {
    /// A table of the store; its label is its directory's name.
    Table {
        /// One answered request a row.
        Turns = "turns",
        /// A turn placed in its session.
        Rollouts = "rollouts",
        /// What a user said of a reply by `POST /v1/feedback`.
        Feedback = "feedback",
        /// The judge's verdict.
        Scores = "scores",
        /// What should have been done, with both log-probability rows.
        Hints = "hints",
        /// One optimizer step.
        Steps = "steps",
        /// A version going live, refused or rolled back.
        Deployments = "deployments",
    }
}
