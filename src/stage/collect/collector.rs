//! Reading turns and verdicts, feeding the core, and writing what it says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::config::{CollectConfig, Home};
use crate::events::collect::{
    CollectSegmentUnread, FeedbackUnknown, SessionsShutDown, TurnsCollected,
};
use crate::events::heartbeat::Pulse;
use crate::events::{emit, now_us};
use crate::rollout::{ClosedBy, Feedback, TurnId, TurnStatus};
use crate::store::{
    Located, Polled, RolloutPart, Segment, Store, StoreError, Table, Tail, TurnText, Turns,
    TurnsItem, rows,
};

use super::change::Change;
use super::rows::Rows;
use super::sessions::Sessions;
use super::summary::{CollectSummary, Lags};
use super::{BEAT, GRACE_US, limits};

/// Turns that are handed from the reading thread at once.
const BATCH_TURNS: usize = 64;
/// Such batches that wait.
const BATCHES_AHEAD: usize = 4;
/// Bytes of a batch, about.
const BATCH_BYTES: usize = 4 << 20;
/// Verdicts that wait for a turn which is not there: its segment may be mended.
const UNKNOWN_MAX: usize = 10_000;

/// The stage at work on one home.
pub(super) struct Collector {
    sessions: Sessions,
    turns: Tail<TurnText>,
    feedback: Tail<Feedback>,
    /// What was there at the start.
    rollouts: Tail<RolloutPart>,
    pub(super) rows: Rows,
    /// Turns that the core has seen.
    fed: HashSet<TurnId>,
    /// Turns that were read since the stage keeps up, by when they were finished, until they have
    /// their row.
    unplaced: HashMap<TurnId, i64>,
    /// Verdicts about turns that are not there.
    unknown: VecDeque<Feedback>,
    pub(super) summary: CollectSummary,
    lags: Lags,
    pulse: Pulse,
    beat_at: Option<Instant>,
    /// What is there already has been read: from now on each turn gets its row at once.
    keeps_up: bool,
}

/// How reading each file ended.
type Outcomes<L> = Vec<(L, Option<StoreError>)>;

/// How much a look brought.
#[derive(Clone, Copy, Default)]
struct Fed {
    turns: usize,
    verdicts: usize,
}

impl Collector {
    pub(super) fn open(
        config: &CollectConfig,
        home: &Home,
        store: &Store,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            sessions: Sessions::new(limits(config)),
            turns: store.tail(),
            feedback: store.tail(),
            rollouts: store.tail(),
            rows: Rows::open(store)?,
            fed: HashSet::new(),
            unplaced: HashMap::new(),
            unknown: VecDeque::new(),
            summary: CollectSummary::default(),
            lags: Lags::default(),
            pulse: Pulse::new(home.state("collect"), "collect"),
            beat_at: None,
            keeps_up: false,
        })
    }

    /// Reads what the table says of each turn.
    ///
    /// # Errors
    /// The table cannot be listed: every turn might have rows in it.
    pub(super) fn recall(&mut self) -> Result<(), StoreError> {
        let found = self.rollouts.find();
        if let Some(error) = found.broken.into_iter().next() {
            return Err(error);
        }
        self.recall_segments(found.segments);
        Ok(())
    }

    /// Turns of which rows may lie in a segment that cannot be read get no further row until it
    /// can, or was moved away: it would be an older one's double, or say less.
    fn recall_segments(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            match self.recall_segment(&segment.path()) {
                Ok(()) => self.rollouts.read(&segment),
                Err(error) => {
                    let news = self.rollouts.unread(&segment, error);
                    self.report(news);
                }
            }
        }
        let unreadable = self.rollouts.unreadable();
        self.rows.doubt(unreadable.iter().map(|s| s.turns(Table::Rollouts)).collect());
    }

    fn recall_segment(&mut self, path: &Path) -> Result<(), StoreError> {
        for batch in rows::<RolloutPart>(path)? {
            batch?.iter().for_each(|row| self.rows.recall(row));
        }
        Ok(())
    }

    /// Reads what is new, places it and closes what is idle. Gives whether there was anything.
    pub(super) fn look(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        // Verdicts first: the turn of one that is there is then there too.
        let polled = self.feedback.poll();
        let verdicts = self.readable(polled);
        let found = self.turns.find();
        self.report(found.broken);
        let before = self.summary.rollouts;
        let mut fed = Fed { turns: 0, verdicts: verdicts.len() };
        if !found.segments.is_empty() {
            let (turns, unread) = self.feed(found.segments, stop)?;
            fed.turns = turns;
            for (segment, outcome) in unread {
                match outcome {
                    None => self.turns.read(&segment),
                    Some(error) => {
                        let news = self.turns.unread(&segment, error);
                        self.report(news);
                    }
                }
            }
        }
        if !stop.is_cancelled() {
            self.judge(verdicts);
        }
        if self.keeps_up {
            let idle = self.sessions.close_idle(now_us() - GRACE_US);
            self.take(idle);
            self.flush()?;
        }
        let written = self.summary.rollouts - before;
        if fed.turns + fed.verdicts > 0 {
            emit(TurnsCollected {
                turns: fed.turns,
                rollouts: written,
                open: self.sessions.open_turns(),
                feedback: fed.verdicts,
            });
        }
        Ok(fed.turns + fed.verdicts + written > 0)
    }

    /// Feeds the turns of some files, in order. Gives their number, and how reading each file
    /// ended.
    pub(super) fn feed<L: Located + Send>(
        &mut self,
        files: Vec<L>,
        stop: &CancellationToken,
    ) -> Result<(usize, Outcomes<L>), StoreError> {
        let (mut turns, mut outcomes) = (0, Vec::new());
        std::thread::scope(|scope| {
            let (sender, batches) = sync_channel(BATCHES_AHEAD);
            scope.spawn(move || read_ahead(Turns::new(files), &sender));
            // When this ends early the channel closes, and the reading thread ends at its next
            // batch.
            for batch in batches {
                for item in batch {
                    match item {
                        TurnsItem::Turn(turn) => turns += usize::from(self.place(&turn)),
                        TurnsItem::Read(file) => outcomes.push((file, None)),
                        TurnsItem::Unread(file, error) => outcomes.push((file, Some(error))),
                    }
                }
                let placed = self.rows.flush_some(&mut self.summary)?;
                self.note_lags(placed);
                self.beat_if_due(if self.keeps_up { "working" } else { "catching up" });
                if stop.is_cancelled() {
                    break;
                }
            }
            Ok::<(), StoreError>(())
        })?;
        Ok((turns, outcomes))
    }

    /// Places one turn; `false` if it was fed before.
    fn place(&mut self, turn: &TurnText) -> bool {
        if !self.fed.insert(turn.turn_id) {
            return false;
        }
        self.summary.turns += 1;
        match turn.status {
            TurnStatus::Answered => {}
            TurnStatus::DoNotTrain => self.summary.do_not_train += 1,
            TurnStatus::Command => self.summary.commands += 1,
        }
        let expected = turn.status != TurnStatus::DoNotTrain && !self.rows.has(turn.turn_id);
        if self.keeps_up && expected {
            self.unplaced.insert(turn.turn_id, turn.finished_at_us);
        }
        let changes = self.sessions.take(turn);
        self.take(changes);
        true
    }

    /// Takes verdicts, and those that waited for their turn.
    pub(super) fn judge(&mut self, verdicts: Vec<Feedback>) {
        self.summary.feedback += verdicts.len();
        let mut waiting = std::mem::take(&mut self.unknown);
        waiting.extend(verdicts);
        for verdict in waiting {
            if self.fed.contains(&verdict.turn_id) || self.rows.has(verdict.turn_id) {
                let changes = self.sessions.feedback(&verdict);
                self.take(changes);
                continue;
            }
            if self.unknown.len() == UNKNOWN_MAX {
                self.unknown.pop_front();
            }
            self.unknown.push_back(verdict);
        }
        if self.unknown.len() > self.summary.feedback_unknown {
            emit(FeedbackUnknown { verdicts: self.unknown.len() });
        }
        self.summary.feedback_unknown = self.unknown.len();
    }

    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            let broken = self.rows.take(change, &mut self.summary);
            self.report(broken);
        }
    }

    /// Makes every row that waits durable.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        if self.rollouts.faulty() > 0 {
            let mended = self.rollouts.mended();
            self.recall_segments(mended);
        }
        self.rows.try_again(&mut self.summary);
        let placed = self.rows.flush(&mut self.summary)?;
        self.note_lags(placed);
        Ok(())
    }

    /// Notes how long turns took that have just got their first row.
    fn note_lags(&mut self, placed: Vec<TurnId>) {
        let now = now_us();
        for turn in placed {
            if let Some(finished_at_us) = self.unplaced.remove(&turn) {
                self.lags.note(now - finished_at_us);
            }
        }
    }

    /// From now on every look writes the rows of all it read.
    pub(super) fn keep_up(&mut self) -> Result<(), StoreError> {
        self.keeps_up = true;
        let idle = self.sessions.close_idle(now_us() - GRACE_US);
        self.take(idle);
        self.flush()
    }

    /// Closes every open session.
    pub(super) fn close_all(&mut self, by: ClosedBy) -> Result<(), StoreError> {
        let open = self.sessions.open_turns();
        let changes = self.sessions.close_all(now_us(), by);
        self.take(changes);
        self.flush()?;
        if by == ClosedBy::Shutdown && open > 0 {
            emit(SessionsShutDown { turns: open });
        }
        Ok(())
    }

    /// The last heartbeat, and what was done.
    pub(super) fn end(mut self) -> CollectSummary {
        self.summary.open = self.sessions.open_turns();
        self.summary.unwritten = self.rows.kept();
        if let Some((p50, p95)) = self.lags.percentiles() {
            self.summary.lag_ms_p50 = Some(p50);
            self.summary.lag_ms_p95 = Some(p95);
        }
        self.beat("done");
        self.summary
    }

    pub(super) fn beat(&mut self, doing: &str) {
        self.beat_at = Some(Instant::now());
        let figures = self.figures();
        self.pulse.beat(doing, &figures);
    }

    pub(super) fn beat_if_due(&mut self, doing: &str) {
        if self.beat_at.is_none_or(|at| at.elapsed() >= BEAT) {
            self.beat(doing);
        }
    }

    fn readable<R>(&mut self, polled: Polled<R>) -> Vec<R> {
        self.report(polled.broken);
        polled.rows
    }

    fn report(&mut self, broken: impl IntoIterator<Item = StoreError>) {
        for error in broken {
            self.summary.unread_segments += 1;
            emit(CollectSegmentUnread { error: error.to_string() });
        }
    }

    /// Totals of this home, and how far this process is behind.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let mut figures = vec![
            ("turns", self.summary.turns as f64),
            ("rollouts", self.rows.len() as f64),
            ("placed", self.summary.placed as f64),
            ("open", self.sessions.open_turns() as f64),
            ("sessions", self.sessions.len() as f64),
            ("text_bytes", self.sessions.text_bytes() as f64),
            ("side", self.summary.side as f64),
            ("late", self.summary.late as f64),
            ("feedback", self.summary.feedback as f64),
            ("feedback_unknown", self.summary.feedback_unknown as f64),
            ("do_not_train", self.summary.do_not_train as f64),
            ("commands", self.summary.commands as f64),
            ("unread_segments", self.summary.unread_segments as f64),
            ("unwritten", self.rows.kept() as f64),
        ];
        if let Some((p50, p95)) = self.lags.percentiles() {
            figures.extend([("lag_ms_p50", p50 as f64), ("lag_ms_p95", p95 as f64)]);
        }
        figures
    }
}

/// Reads and decodes ahead of placing.
fn read_ahead<L: Located + Send>(turns: Turns<L>, batches: &SyncSender<Vec<TurnsItem<L>>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for item in turns {
        if let TurnsItem::Turn(turn) = &item {
            bytes += turn.messages.len() + turn.tools.len();
        }
        batch.push(item);
        if batch.len() >= BATCH_TURNS || bytes >= BATCH_BYTES {
            bytes = 0;
            if batches.send(std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
    }
    // Nobody listens only where the rest is not wanted.
    let _ = batches.send(batch);
}
