//! The trainer's heartbeat: its figures stand in `state/train.json`, where the server and the
//! supervisor find them.

use std::time::{Duration, Instant};

use crate::config::Home;
use crate::events::heartbeat::Pulse;

/// How often the heartbeat is written while nothing happens.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// The heartbeat, with the figures it had last.
pub struct Beats {
    pulse: Pulse,
    figures: Vec<(String, f64)>,
    at: Option<Instant>,
}

impl Beats {
    /// A heartbeat that was not written yet.
    pub fn new(home: &Home) -> Self {
        let pulse = Pulse::new(home.state("train"), "train");
        Self { pulse, figures: Vec::new(), at: None }
    }

    /// Whether it is time.
    pub fn due(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= BEAT_EVERY)
    }

    /// Writes what the trainer is doing, with these figures.
    pub fn now(&mut self, doing: &str, figures: Vec<(String, f64)>) {
        let named: Vec<(&str, f64)> =
            figures.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.pulse.beat(doing, &named);
        self.figures = figures;
        self.at = Some(Instant::now());
    }

    /// Beats with the same figures, if it is time.
    pub fn again(&mut self, doing: &str) {
        if self.due() {
            let figures = std::mem::take(&mut self.figures);
            self.now(doing, figures);
        }
    }
}
