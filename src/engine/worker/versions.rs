//! Versions and adapters that come and go.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Worker;
use crate::engine::forward::{Model, ModelSet};
use crate::engine::handle::Phase;
use crate::engine::prefix::ModelKey;
use crate::engine::request::EngineError;
use crate::engine::task::Task;
use crate::rollout::Version;

type Done = oneshot::Sender<Result<(), EngineError>>;

/// Who waits for a version to go live.
pub(super) struct Waiting {
    answer: Done,
    asked: Instant,
    /// When the first chain began to be computed on it.
    warming: Option<Instant>,
}

/// An adapter that goes once nobody wants it.
pub(super) struct Unloading {
    pub(super) name: Arc<str>,
    answer: Done,
}

impl Worker {
    /// Holds these models, except where they are held already: a version is immutable.
    pub(super) fn add_models(&mut self, set: ModelSet, version: Version) {
        let base = std::iter::once((None, set.base));
        let adapters = set.adapters.into_iter().map(|(name, model)| (Some(name), model));
        for (adapter, model) in base.chain(adapters) {
            self.models.entry(ModelKey { version, adapter }).or_insert(model);
        }
    }

    pub(super) fn swap(&mut self, set: ModelSet, version: Version, answer: Done) {
        let adapters = set.adapters.keys().cloned().collect();
        let displaced = self.scheduler.swap(version, adapters);
        if let Some((displaced, waiting)) = displaced.zip(self.waiting.take()) {
            let error = EngineError::Superseded { version: displaced, by: version };
            // Whoever asked may have gone; the swap does not depend on it.
            drop(waiting.answer.send(Err(error)));
        }
        self.drop_unused_models();
        self.add_models(set, version);
        self.waiting = Some(Waiting { answer, asked: Instant::now(), warming: None });
    }

    /// Prepares the version that waits, and makes it live when it can be.
    pub(super) fn change_version(&mut self) {
        if let Some(waiting) = &self.waiting {
            let late = waiting.warming.map(|since| since.elapsed());
            let late = late.is_some_and(|time| time >= self.shared.options.warm_time_max);
            if late || self.rests() || self.shared.phase() != Phase::Open {
                self.scheduler.skip_warming();
            }
            self.warm();
            self.go_live();
        }
        // Also of a chain that was given up.
        let scheduler = &self.scheduler;
        self.tasks.retain(|ticket, task| !task.is_warming() || scheduler.is_warming(*ticket));
        self.drop_unused_models();
    }

    fn warm(&mut self) {
        let Some((tokens, admitted)) = self.scheduler.warm() else { return };
        if let Some(waiting) = &mut self.waiting {
            waiting.warming.get_or_insert_with(Instant::now);
        }
        self.tasks.insert(admitted.ticket, Task::warming(tokens));
        self.begin(admitted);
    }

    fn go_live(&mut self) {
        if self.scheduler.go_live().is_none() {
            return;
        }
        if let Some(waiting) = self.waiting.take() {
            self.stats.swaps += 1;
            self.stats.swap_time = Some(waiting.asked.elapsed());
            self.drop_unused_models();
            self.publish();
            drop(waiting.answer.send(Ok(())));
        }
    }

    /// Drops the version that waits: it could not even compute what is known already.
    pub(super) fn refuse_swap(&mut self, error: EngineError) {
        self.scheduler.cancel_swap();
        if let Some(waiting) = self.waiting.take() {
            drop(waiting.answer.send(Err(error)));
        }
    }

    pub(super) fn load_adapter(
        &mut self,
        name: Arc<str>,
        model: Model,
        version: Version,
    ) -> Result<(), EngineError> {
        let refused = |reason: String| {
            let name = name.as_ref().to_owned();
            Err(EngineError::Adapter { name, reason })
        };
        if self.unloading.iter().any(|unloading| unloading.name == name) {
            return refused("it is still being unloaded".to_owned());
        }
        if self.scheduler.adapters().contains(&name) {
            return refused("it is loaded already; unload it first".to_owned());
        }
        if let Some(pending) = self.scheduler.pending() {
            return refused(format!("version {pending} is about to go live; load it after that"));
        }
        let live = self.scheduler.live();
        if version != live {
            let reason = format!("attached to version {version}, but version {live} is live");
            return refused(reason);
        }
        self.models.insert(ModelKey { version, adapter: Some(name.clone()) }, model);
        self.scheduler.load_adapter(name);
        self.publish();
        Ok(())
    }

    pub(super) fn unload_adapter(&mut self, name: Arc<str>, answer: Done) {
        let unloading = self.unloading.iter().any(|unloading| unloading.name == name);
        if unloading || !self.scheduler.adapters().contains(&name) {
            let error = EngineError::UnknownAdapter { name: name.as_ref().to_owned() };
            return drop(answer.send(Err(error)));
        }
        self.unloading.push(Unloading { name, answer });
        self.publish();
    }

    /// Ends the unloading of adapters that nobody wants any more.
    pub(super) fn unload_unwanted(&mut self) {
        let wanted = |unloading: &Unloading| self.scheduler.wants_adapter(&unloading.name);
        let (left, done): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unloading).into_iter().partition(wanted);
        self.unloading = left;
        for Unloading { name, answer } in done {
            self.scheduler.unload_adapter(&name);
            self.drop_unused_models();
            self.publish();
            drop(answer.send(Ok(())));
        }
    }

    pub(super) fn drop_unused_models(&mut self) {
        let needed = self.scheduler.models();
        self.models.retain(|key, _| needed.contains(key));
    }
}
