//! The engine's thread: carries out what the scheduler decides, one step after the other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::forward::{AnyBlock, AnyCache, ForwardError, Model, ModelSet, Rows};
use super::handle::{Command, Phase, Shared};
use super::prefix::ModelKey;
use super::request::{EngineError, EngineStats, GenerateRequest, ScoreRequest};
use super::scheduler::{Admitted, Adoption, Demand, Limits, Line, Part, Scheduler, Ticket};
use super::task::{End, Given, Task};
use crate::rollout::Version;

mod versions;
use versions::{Unloading, Waiting};

/// How soon it is noticed that an asker has gone while no steps are taken.
const PAUSE_POLL: Duration = Duration::from_millis(50);

/// The state of the engine's thread.
pub(super) struct Worker {
    shared: Arc<Shared>,
    inbox: Receiver<Command>,
    scheduler: Scheduler<AnyBlock>,
    /// What the scheduler's versions compute with, the one that waits included.
    models: BTreeMap<ModelKey, Model>,
    /// Who asked for the scheduler's pending version.
    waiting: Option<Waiting>,
    /// Adapters that go once nobody wants them.
    unloading: Vec<Unloading>,
    paused: bool,
    tasks: BTreeMap<Ticket, Task>,
    stats: EngineStats,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Receiver<Command>,
        set: ModelSet,
        version: Version,
    ) -> Self {
        let options = &shared.options;
        let block = shared.block;
        let warm_tokens_max = options.warm_tokens_max.unwrap_or(options.cache_tokens_max / 2);
        let limits = Limits {
            running_max: options.running_max,
            scoring_max: options.scoring_max,
            prefill_chunk: options.prefill_chunk,
            block,
            blocks_max: options.cache_tokens_max / block,
            warm_blocks_max: warm_tokens_max / block,
            prefix_cache: options.prefix_cache,
        };
        let adapters = set.adapters.keys().cloned().collect();
        let mut worker = Self {
            scheduler: Scheduler::new(limits, version, adapters),
            models: BTreeMap::new(),
            waiting: None,
            unloading: Vec::new(),
            paused: false,
            tasks: BTreeMap::new(),
            stats: EngineStats::default(),
            shared,
            inbox,
        };
        worker.add_models(set, version);
        worker.publish();
        worker
    }

    /// Runs until the engine is drained or stopped, or nobody can ask for anything any more.
    pub(super) fn run(mut self) {
        while self.receive() {
            self.turn();
        }
    }

    /// One step, and everything that belongs between two of them.
    pub(super) fn turn(&mut self) {
        self.drop_abandoned();
        self.change_version();
        if !self.rests() {
            self.admit();
            self.step();
        }
        self.unload_unwanted();
        self.publish();
    }

    /// Takes every command that is there, waiting for one if there is nothing else to do.
    /// False where the thread has to end.
    pub(super) fn receive(&mut self) -> bool {
        let mut rests = self.rests();
        loop {
            let idle = self.is_idle();
            match self.shared.phase() {
                Phase::Stopping => return false,
                Phase::Draining if idle => return self.take_rest(),
                _ => {}
            }
            let command = if idle {
                self.inbox.recv().map_err(|_| TryRecvError::Disconnected)
            } else if rests {
                self.inbox.recv_timeout(PAUSE_POLL).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
            } else {
                self.inbox.try_recv()
            };
            rests = false;
            match command {
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    // Nobody is left who could let it go on.
                    self.paused = false;
                    return !idle;
                }
            }
        }
    }

    /// Takes every command that is there. False if there is nothing to do then.
    pub(super) fn take_rest(&mut self) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            self.take(command);
        }
        !self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.scheduler.is_idle() && self.waiting.is_none() && self.unloading.is_empty()
    }

    /// Whether no steps are to be taken. What has to be drained is not held back.
    fn rests(&self) -> bool {
        self.paused && self.shared.phase() == Phase::Open
    }

    fn take(&mut self, command: Command) {
        // An answer that nobody waits for changes nothing.
        match command {
            Command::Generate { request, channel, placed, seat } => {
                let demand = reply_demand(&request);
                let task = Task::reply(request, channel, seat);
                self.enqueue(demand, task.telling_when_placed(placed));
            }
            Command::Score { request, answer, seat } => {
                let demand = score_demand(&request);
                self.enqueue(demand, Task::scoring(request, answer, seat));
            }
            Command::Swap { models, version, answer } => self.swap(models, version, answer),
            Command::LoadAdapter { name, model, version, answer } => {
                drop(answer.send(self.load_adapter(name, model, version)));
            }
            Command::UnloadAdapter { name, answer } => self.unload_adapter(name, answer),
            Command::Pause { paused, answer } => {
                self.paused = paused;
                self.publish();
                drop(answer.send(Ok(())));
            }
            Command::Flush { answer } => {
                let freed = self.scheduler.flush() * self.shared.block;
                self.publish();
                drop(answer.send(Ok(freed)));
            }
            Command::Wake => {}
        }
    }

    fn enqueue(&mut self, demand: Demand, task: Task) {
        let ticket = self.scheduler.enqueue(demand);
        self.tasks.insert(ticket, task);
    }

    fn admit(&mut self) {
        let admitted = self.scheduler.admit();
        if admitted.is_empty() {
            return;
        }
        for admitted in admitted {
            self.begin(admitted);
        }
        self.publish();
    }

    /// Gives a task that got its place a cache, with what the tree had for it.
    fn begin(&mut self, admitted: Admitted<AnyBlock>) {
        let Admitted { ticket, key, memory, blocks } = admitted;
        let Some(mut task) = self.tasks.remove(&ticket) else { return };
        let Some(model) = self.models.get(&key).cloned() else {
            let name = key.adapter.as_deref().unwrap_or_default().to_owned();
            return self.end(ticket, task, End::Failed(EngineError::UnknownAdapter { name }));
        };
        task.tell_placed();
        match guarded(|| Ok(model.new_cache(memory))) {
            Ok(cache) => task.cache = Some(cache),
            Err(source) => return self.fail(ticket, task, &key, source),
        }
        self.adopt(task, Adoption { ticket, key, first: 0, blocks });
    }

    /// Lets a task's cache have these blocks.
    fn adopt(&mut self, mut task: Task, adoption: Adoption<AnyBlock>) {
        let Adoption { ticket, key, first, blocks } = adoption;
        let adopted = with_cache(&self.models, &key, &mut task, |model, cache| {
            blocks.iter().zip(first..).try_for_each(|(block, at)| model.adopt(cache, at, block))
        });
        if let Err(source) = adopted {
            return self.fail(ticket, task, &key, source);
        }
        let tokens = blocks.len() * self.shared.block;
        task.cached_tokens += tokens;
        if !task.is_warming() {
            self.stats.cached_tokens += tokens as u64;
        }
        self.tasks.insert(ticket, task);
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

    fn step(&mut self) {
        let plan = self.scheduler.plan();
        self.stats.steps += u64::from(!plan.batches.is_empty());
        for adoption in plan.adopted {
            if let Some(task) = self.tasks.remove(&adoption.ticket) {
                self.adopt(task, adoption);
            }
        }
        for (key, parts) in plan.batches {
            self.compute(&key, parts);
        }
    }

    /// Computes one model's batch and hands out what came of it.
    fn compute(&mut self, key: &ModelKey, parts: Vec<Part>) {
        let mut batch: Vec<(Ticket, Part, Task)> = Vec::with_capacity(parts.len());
        for part in parts {
            let (Part::Decode(ticket) | Part::Given { ticket, .. }) = part;
            if let Some(task) = self.tasks.remove(&ticket) {
                batch.push((ticket, part, task));
            }
        }
        if batch.is_empty() {
            return;
        }
        let outs = match self.models.get(key) {
            Some(model) => forward(model, &mut batch),
            None => Err(not_held()),
        };
        match outs {
            Ok(outs) => {
                for ((ticket, part, task), given) in batch.into_iter().zip(outs) {
                    self.take_computed(key, (ticket, part, task), given);
                }
            }
            Err(source) => {
                for (ticket, _, task) in batch {
                    self.fail(ticket, task, key, source.clone());
                }
            }
        }
    }

    /// Keeps what a task's part of a step has completed, and hands out what came of it.
    fn take_computed(&mut self, key: &ModelKey, part: (Ticket, Part, Task), given: Given) {
        let (ticket, part, mut task) = part;
        self.count(&part, &task);
        let scheduler = &mut self.scheduler;
        let settled = with_cache(&self.models, key, &mut task, |model, cache| {
            let known = scheduler.settle(ticket, |index| model.share(cache, index))?;
            known.iter().try_for_each(|(index, block)| model.adopt(cache, *index, block))
        });
        if let Err(source) = settled {
            return self.fail(ticket, task, key, source);
        }
        // A panic of a grammar, say, ends its request and no more.
        match guarded(|| Ok(task.take(&part, given, key.version))) {
            Err(source) => self.fail(ticket, task, key, source),
            Ok(Some(end)) => self.end(ticket, task, end),
            Ok(None) => {
                if let Some(id) = task.sampled(&part) {
                    self.scheduler.push(ticket, id);
                }
                self.tasks.insert(ticket, task);
            }
        }
    }

    fn count(&mut self, part: &Part, task: &Task) {
        match part {
            Part::Given { tokens, .. } if task.is_warming() => {
                self.stats.warmed_tokens += tokens.len() as u64;
            }
            Part::Given { tokens, .. } if task.is_scoring() => {
                self.stats.scored_tokens += tokens.len() as u64;
            }
            Part::Given { tokens, last, .. } => {
                self.stats.prompt_tokens += tokens.len() as u64;
                self.stats.generated_tokens += u64::from(*last);
            }
            Part::Decode(_) => self.stats.generated_tokens += 1,
        }
    }

    fn fail(&mut self, ticket: Ticket, task: Task, key: &ModelKey, source: ForwardError) {
        let error = EngineError::Forward { version: key.version, source };
        self.end(ticket, task, End::Failed(error));
    }

    fn end(&mut self, ticket: Ticket, task: Task, end: End) {
        self.scheduler.finish(ticket);
        if task.is_warming() {
            if let End::Failed(error) = end {
                self.refuse_swap(error);
            }
            return;
        }
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
        let (scheduler, block) = (&self.scheduler, self.shared.block);
        let stats = &mut self.stats;
        stats.running = scheduler.placed(Line::Reply);
        stats.scoring = scheduler.placed(Line::Score);
        stats.live = Some(scheduler.live());
        stats.pending = scheduler.pending();
        stats.resident = scheduler.resident().into_iter().collect();
        stats.paused = self.paused;
        stats.cache_tokens = scheduler.in_use() * block;
        stats.prefix_tokens = scheduler.unused() * block;
        stats.evicted_tokens = scheduler.evicted() * block as u64;
        stats.adapters.clear();
        let unloading = |name: &&Arc<str>| self.unloading.iter().any(|other| other.name == **name);
        stats.adapters.extend(scheduler.adapters().iter().filter(|name| !unloading(name)).cloned());
        self.shared.publish(&self.stats);
    }
}

fn reply_demand(request: &GenerateRequest) -> Demand {
    Demand {
        line: Line::Reply,
        tokens: request.prompt.clone(),
        // The logits after the last one are wanted.
        adoptable: request.prompt.len() - 1,
        memory: request.prompt.len() + request.sampling.max_tokens as usize,
        adapter: request.adapter.clone(),
    }
}

fn score_demand(request: &ScoreRequest) -> Demand {
    // The last id is scored, and nothing after it is: it need not be computed.
    let computed = request.ids.len() - 1;
    Demand {
        line: Line::Score,
        tokens: request.ids[..computed].to_vec(),
        // The logits after the id before the first scored one are wanted.
        adoptable: request.start - 1,
        memory: computed,
        adapter: request.adapter.clone(),
    }
}

/// Does something with a task's cache; a panic in there fails the task and no more.
fn with_cache(
    models: &BTreeMap<ModelKey, Model>,
    key: &ModelKey,
    task: &mut Task,
    act: impl FnOnce(&Model, &mut AnyCache) -> Result<(), ForwardError>,
) -> Result<(), ForwardError> {
    let model = models.get(key).ok_or_else(not_held)?;
    let cache = task.cache.as_mut().ok_or_else(not_held)?;
    guarded(|| act(model, cache))
}

fn not_held() -> ForwardError {
    ForwardError { reason: "it is not held any more".to_owned() }
}

fn guarded<T>(act: impl FnOnce() -> Result<T, ForwardError>) -> Result<T, ForwardError> {
    let done = catch_unwind(AssertUnwindSafe(act));
    done.map_err(|panic| ForwardError { reason: panic_text(&*panic) })?
}

/// One batch through the model; a panic in there fails the batch and no more.
fn forward(model: &Model, batch: &mut [(Ticket, Part, Task)]) -> Result<Vec<Given>, ForwardError> {
    let mut work = Vec::with_capacity(batch.len());
    for (_, part, task) in batch {
        work.push(task.work(part)?);
    }
    guarded(|| model.forward(&mut work))?;
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
