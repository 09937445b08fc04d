//! Training on a file of examples: step by step, with a version every so many steps.
//!
//! Where it stands is in the version (`trainer.json`): what was learned since the last version is
//! learned again after a crash, in the same order.

use std::time::Instant;

use super::checkpoint::Cursor;
use super::error::TrainError;
use super::examples::{Examples, Taken};
use super::replicas::{self, Stepped};
use super::trainer::{Made, Round, Trainer};
use crate::config::TrainConfig;
use crate::events::emit;
use crate::events::train::{StepDone, StepSkipped, TrainingStopped};

/// The examples, and how far it is with them.
pub(super) struct Course {
    pub(super) examples: Examples,
    pub(super) cursor: Cursor,
    /// Steps since the last version.
    pub(super) pending: u64,
    pub(super) too_long: usize,
    /// Figures of the last step.
    pub(super) metrics: Vec<(String, f64)>,
}

impl Course {
    /// The course from where a version left it.
    pub(super) fn new(examples: Examples, known: Option<&Cursor>, config: &TrainConfig) -> Self {
        let cursor = examples.cursor(known, config.seed, config.in_order);
        Self { examples, cursor, pending: 0, too_long: 0, metrics: Vec::new() }
    }
}

impl Trainer {
    /// One step on the next examples.
    pub(super) fn course_round(&mut self, course: &mut Course) -> Result<Round, TrainError> {
        let head = self.head;
        self.follow_head()?;
        if head != self.head {
            let (known, config) = (self.state.cursor.as_ref(), &self.config);
            course.cursor = course.examples.cursor(known, config.seed, config.in_order);
            course.pending = 0;
        }
        let mut cursor = course.cursor.clone();
        let epochs = self.config.epochs as u64;
        let Taken { samples, too_long } =
            course.examples.take(&mut cursor, self.config.batch_size, epochs)?;
        course.too_long += too_long;
        if samples.is_empty() {
            self.publish_course(course)?;
            return Ok(Round::Idle);
        }
        let begun = Instant::now();
        self.beat_now("working");
        // the file is gone through so many times, not each batch
        let config = TrainConfig { epochs: 1, ..self.config.clone() };
        let (bound, beats) = (&self.state.bound, &mut self.beats);
        let step = replicas::Step {
            batch: &samples,
            config: &config,
            allows: &|loss, norm| bound.check(loss, norm, &config),
            shutdown: &self.shutdown,
        };
        match self.replicas.step(&step, &mut || beats.again("working"))? {
            Stepped::Stopped => return Ok(Round::Stopped),
            Stepped::SetAside(_, why) => {
                course.cursor = cursor;
                return self.skip_examples(samples.len(), why);
            }
            Stepped::Learned(next, mut metrics) => {
                metrics.extend(self.circumstances(&samples, begun.elapsed().as_secs_f64()));
                let passed = [
                    ("epoch", cursor.epoch as f64),
                    ("too_long", course.too_long as f64),
                    ("updates", next.first().optimizer.updates() as f64),
                ];
                metrics.extend(passed.map(|(name, value)| (name.to_owned(), value)));
                self.noted(&metrics);
                (self.replicas, course.cursor, course.metrics) = (next, cursor, metrics);
            }
        }
        self.skipped = 0;
        self.steps += 1;
        self.trained += samples.len() as u64;
        course.pending += 1;
        if course.pending >= self.config.steps_per_version {
            self.publish_course(course)?;
        } else {
            let mut step = self.note(Vec::new(), course.metrics.clone());
            step.finished_at_us = crate::events::now_us();
            self.curves.step(&self.home, &step);
        }
        Ok(Round::Stepped)
    }

    fn skip_examples(&mut self, samples: usize, why: String) -> Result<Round, TrainError> {
        self.skipped += 1;
        emit(StepSkipped { samples, why: why.clone(), in_a_row: self.skipped });
        if self.skipped < self.config.skips_max {
            return Ok(Round::Stepped);
        }
        let (in_a_row, head) = (self.skipped, self.head);
        emit(TrainingStopped { in_a_row, version: head.0 });
        Err(TrainError::NotFinite { in_a_row, head, detail: why })
    }

    /// Makes a version of what was learned since the last one.
    pub(super) fn publish_course(&mut self, course: &mut Course) -> Result<(), TrainError> {
        if course.pending == 0 {
            return Ok(());
        }
        let mut state = self.state.clone();
        state.cursor = Some(course.cursor.clone());
        let made = Made {
            trained: Vec::new(),
            replicas: self.replicas.clone(),
            state,
            metrics: course.metrics.clone(),
        };
        self.publish(made)?;
        course.pending = 0;
        emit(StepDone {
            version: self.head.0,
            samples: self.config.batch_size,
            loss: self.metric("loss"),
            mean_reward: self.metric("mean_reward"),
            grad_norm: self.metric("grad_norm"),
            seconds: self.metric("seconds"),
        });
        Ok(())
    }
}
