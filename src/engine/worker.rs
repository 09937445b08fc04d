//! The engine's thread: carries out what the scheduler decides, one step after the other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use tokio::sync::oneshot;

use super::forward::{ForwardError, Model, Rows};
use super::handle::{Command, Phase, Shared};
use super::request::{EngineError, EngineStats};
use super::scheduler::{Demand, Limits, Line, Part, Scheduler, Ticket};
use super::task::{End, Given, Task};
use crate::rollout::Version;

/// A version that waits to go live.
struct Waiting {
    model: Model,
    answer: oneshot::Sender<Result<(), EngineError>>,
}

/// The state of the engine's thread.
pub(super) struct Worker {
    shared: Arc<Shared>,
    inbox: Receiver<Command>,
    scheduler: Scheduler,
    /// The versions that the scheduler holds.
    models: BTreeMap<Version, Model>,
    /// The model of the scheduler's pending version.
    waiting: Option<Waiting>,
    tasks: BTreeMap<Ticket, Task>,
    stats: EngineStats,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Receiver<Command>,
        model: Model,
        version: Version,
    ) -> Self {
        let options = &shared.options;
        let limits = Limits {
            running_max: options.running_max,
            scoring_max: options.scoring_max,
            prefill_chunk: options.prefill_chunk,
            cache_tokens_max: options.cache_tokens_max,
        };
        let mut worker = Self {
            scheduler: Scheduler::new(limits, version),
            models: BTreeMap::from([(version, model)]),
            waiting: None,
            tasks: BTreeMap::new(),
            stats: EngineStats::default(),
            shared,
            inbox,
        };
        worker.publish();
        worker
    }

    /// Runs until the engine is drained or stopped, or nobody can ask for anything any more.
    pub(super) fn run(mut self) {
        while self.receive() {
            self.drop_abandoned();
            self.go_live();
            self.admit();
            self.step();
            self.drop_unused_versions();
            self.publish();
        }
    }

    /// Takes every command that is there, waiting for one if there is nothing else to do.
    /// False where the thread has to end.
    fn receive(&mut self) -> bool {
        loop {
            let idle = self.scheduler.is_idle() && self.waiting.is_none();
            match self.shared.phase() {
                Phase::Stopping => return false,
                Phase::Draining if idle => return self.take_rest(),
                _ => {}
            }
            let command = if idle {
                self.inbox.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.inbox.try_recv()
            };
            match command {
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !idle,
            }
        }
    }

    /// Takes what was sent before the phase changed. False if that was nothing.
    fn take_rest(&mut self) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            self.take(command);
        }
        !self.scheduler.is_idle() || self.waiting.is_some()
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Generate { request, channel, seat } => {
                let given = request.prompt.len();
                let memory = given + request.sampling.max_tokens as usize;
                let demand = Demand { line: Line::Reply, given, memory };
                self.enqueue(demand, Task::reply(request, channel, seat));
            }
            Command::Score { request, answer, seat } => {
                // The last id is scored, and nothing after it is: it need not be computed.
                let given = request.ids.len() - 1;
                let demand = Demand { line: Line::Score, given, memory: given };
                self.enqueue(demand, Task::scoring(request, answer, seat));
            }
            Command::Swap { model, version, answer } => self.swap(model, version, answer),
            Command::Wake => {}
        }
    }

    fn enqueue(&mut self, demand: Demand, task: Task) {
        let ticket = self.scheduler.enqueue(demand);
        self.tasks.insert(ticket, task);
    }

    fn swap(
        &mut self,
        model: Model,
        version: Version,
        answer: oneshot::Sender<Result<(), EngineError>>,
    ) {
        let displaced = self.scheduler.swap(version);
        if let Some((displaced, waiting)) = displaced.zip(self.waiting.take()) {
            let error = EngineError::Superseded { version: displaced, by: version };
            // Whoever asked may have gone; the swap does not depend on it.
            drop(waiting.answer.send(Err(error)));
        }
        self.waiting = Some(Waiting { model, answer });
    }

    fn go_live(&mut self) {
        let Some(version) = self.scheduler.go_live() else { return };
        if let Some(waiting) = self.waiting.take() {
            self.models.entry(version).or_insert(waiting.model);
            self.stats.swaps += 1;
            self.drop_unused_versions();
            self.publish();
            drop(waiting.answer.send(Ok(())));
        }
    }

    fn admit(&mut self) {
        let admitted = self.scheduler.admit();
        for &ticket in &admitted {
            let model = self.models.get(&self.scheduler.live());
            let memory = self.scheduler.memory(ticket);
            if let Some((model, task)) = model.zip(self.tasks.get_mut(&ticket)) {
                task.cache = Some(model.new_cache(memory));
            }
        }
        if !admitted.is_empty() {
            self.publish();
        }
    }

    fn drop_abandoned(&mut self) {
        let abandoned = self.tasks.iter().filter(|(_, task)| task.is_abandoned());
        let abandoned: Vec<Ticket> = abandoned.map(|(ticket, _)| *ticket).collect();
        for ticket in abandoned {
            if let Some(task) = self.tasks.remove(&ticket) {
                self.end(ticket, task, End::Abandoned);
            }
        }
    }

    fn drop_unused_versions(&mut self) {
        let resident = self.scheduler.resident();
        self.models.retain(|version, _| resident.contains(version));
    }

    fn step(&mut self) {
        let plan = self.scheduler.plan();
        self.stats.steps += u64::from(!plan.is_empty());
        for (version, parts) in plan {
            self.compute(version, parts);
        }
    }

    /// Computes one version's batch and hands out what came of it.
    fn compute(&mut self, version: Version, parts: Vec<Part>) {
        let mut batch: Vec<(Ticket, Part, Task)> = Vec::with_capacity(parts.len());
        for part in parts {
            let (Part::Decode(ticket) | Part::Given { ticket, .. }) = part;
            if let Some(task) = self.tasks.remove(&ticket) {
                batch.push((ticket, part, task));
            }
        }
        let outs = match self.models.get(&version) {
            Some(model) => forward(model, &mut batch),
            None => Err(ForwardError { reason: "it is not held any more".to_owned() }),
        };
        match outs {
            Ok(outs) => {
                for ((ticket, part, mut task), given) in batch.into_iter().zip(outs) {
                    self.count(&part, &task);
                    match task.take(&part, given, version) {
                        Some(end) => self.end(ticket, task, end),
                        None => drop(self.tasks.insert(ticket, task)),
                    }
                }
            }
            Err(source) => {
                for (ticket, _, task) in batch {
                    let error = EngineError::Forward { version, source: source.clone() };
                    self.end(ticket, task, End::Failed(error));
                }
            }
        }
    }

    fn count(&mut self, part: &Part, task: &Task) {
        if let Part::Given { tokens, last, .. } = part {
            let computed = tokens.len() as u64;
            if task.is_scoring() {
                self.stats.scored_tokens += computed;
            } else {
                self.stats.prompt_tokens += computed;
                self.stats.generated_tokens += u64::from(*last);
            }
        } else {
            self.stats.generated_tokens += 1;
        }
    }

    fn end(&mut self, ticket: Ticket, task: Task, end: End) {
        self.scheduler.finish(ticket);
        match end {
            End::Complete(_) => self.stats.completed += 1,
            End::Abandoned => self.stats.cancelled += 1,
            End::Failed(_) => self.stats.failed += 1,
        }
        // Figures first, so that whoever sees the end sees them too.
        self.publish();
        task.end(end);
    }

    fn publish(&mut self) {
        self.stats.running = self.scheduler.placed(Line::Reply);
        self.stats.scoring = self.scheduler.placed(Line::Score);
        self.stats.live = Some(self.scheduler.live());
        self.stats.pending = self.scheduler.pending();
        self.stats.resident = self.models.keys().copied().collect();
        self.stats.cache_tokens = self.scheduler.reserved();
        self.shared.publish(&self.stats);
    }
}

/// One batch through the model; a panic in there fails the batch and no more.
fn forward(model: &Model, batch: &mut [(Ticket, Part, Task)]) -> Result<Vec<Given>, ForwardError> {
    let mut work = Vec::with_capacity(batch.len());
    for (_, part, task) in batch {
        work.push(task.work(part)?);
    }
    let computed = catch_unwind(AssertUnwindSafe(|| model.forward(&mut work)));
    computed.map_err(|panic| ForwardError { reason: panic_text(&*panic) })??;
    work.into_iter()
        .map(|work| {
            let (expected, tops) = match work.rows {
                Rows::None => (0, 0),
                Rows::Last => (model.vocab(), 0),
                Rows::Scored { targets, top: 0, .. } => (targets.len(), 0),
                Rows::Scored { targets, .. } => (targets.len(), targets.len()),
            };
            if (work.out.len(), work.top.len()) == (expected, tops) {
                return Ok(Given { out: work.out, top: work.top });
            }
            let reason = format!(
                "it gave {} values and {} lists of ids, expected {expected} and {tops}",
                work.out.len(),
                work.top.len()
            );
            Err(ForwardError { reason })
        })
        .collect()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("no message"))
}
