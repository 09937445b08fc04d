//! Making turns and feedback durable before they are answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::events::emit;
use crate::events::serve::{FeedbackRecorded, TurnNotRecorded, TurnRecorded};
use crate::fault::chain;
use crate::rollout::{Feedback, Rating, Turn, TurnStatus};
use crate::store::{Record, Store, StoreError, Writer};

/// Rows that may wait to be written; one more waits for a place.
const QUEUE_MAX: usize = 1024;
/// Most rows of one segment.
const GROUP_MAX: usize = 256;
/// A disk that takes longer than this counts as one that does not write.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// The name under which this stage writes.
const WRITER: &str = "serve";

/// What was and was not written by this process.
#[derive(Debug, Default)]
pub(super) struct Figures {
    turns: [AtomicU64; TurnStatus::ALL.len()],
    feedback: [AtomicU64; Rating::ALL.len()],
    not_recorded: AtomicU64,
}

impl Figures {
    /// Turns written by this process.
    pub(super) fn recorded(&self) -> u64 {
        self.turns.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Turns that were answered and could not be written.
    pub(super) fn not_recorded(&self) -> u64 {
        self.not_recorded.load(Ordering::Relaxed)
    }

    /// Turns written, by the label of their status.
    pub(super) fn turns(&self) -> Vec<(&'static str, u64)> {
        let counts = TurnStatus::ALL.iter().zip(&self.turns);
        counts.map(|(status, count)| (status.label(), count.load(Ordering::Relaxed))).collect()
    }

    /// Feedback written, by the label of the rating.
    pub(super) fn feedback(&self) -> Vec<(&'static str, u64)> {
        let counts = Rating::ALL.iter().zip(&self.feedback);
        counts.map(|(rating, count)| (rating.label(), count.load(Ordering::Relaxed))).collect()
    }
}

/// Writes turns and feedback.
#[derive(Debug)]
pub(super) struct Recorder {
    turns: Queue<Turn>,
    feedback: Queue<Feedback>,
    figures: Arc<Figures>,
}

impl Recorder {
    /// A recorder that writes to `store`, or one that keeps nothing.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub(super) fn start(store: Option<Store>) -> Result<Self, StoreError> {
        let figures = Arc::default();
        let Some(store) = store else {
            return Ok(Self { turns: Queue::closed(), feedback: Queue::closed(), figures });
        };
        let turns = store.writer::<Turn>(WRITER)?;
        // Most servers never get any feedback: its writer is made for the first.
        let feedback = Queue::start(store.clone(), None);
        Ok(Self { turns: Queue::start(store, Some(turns)), feedback, figures })
    }

    /// Makes a turn durable. Returns when it is, or when it is clear that it cannot be, which is
    /// counted: the reply goes to its user all the same. Whether it is.
    pub(super) async fn record(&self, turn: Turn) -> bool {
        let turn_id = turn.turn_id.to_string();
        let (prompt_tokens, response_tokens) = (turn.prompt_ids.len(), turn.response_ids.len());
        let status = turn.status;
        match self.turns.write(turn).await {
            Ok(()) => {
                self.figures.turns[status as usize].fetch_add(1, Ordering::Relaxed);
                emit(TurnRecorded { turn: turn_id, prompt_tokens, response_tokens });
                true
            }
            Err(reason) => {
                self.figures.not_recorded.fetch_add(1, Ordering::Relaxed);
                emit(TurnNotRecorded { turn: turn_id, reason });
                false
            }
        }
    }

    /// Makes feedback durable.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) async fn rate(&self, feedback: Feedback) -> Result<(), String> {
        let (turn, rating) = (feedback.turn_id.to_string(), feedback.rated.rating);
        self.feedback.write(feedback).await?;
        self.figures.feedback[rating as usize].fetch_add(1, Ordering::Relaxed);
        emit(FeedbackRecorded { turn, rating: rating.label() });
        Ok(())
    }

    /// How much it wrote, and how much it could not write.
    pub(super) fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Writes what waits, and ends.
    pub(super) async fn close(&self) {
        tokio::join!(self.turns.close(), self.feedback.close());
    }
}

struct Entry<R> {
    row: R,
    /// `Err` says why it was not written.
    written: oneshot::Sender<Result<(), String>>,
}

/// Writes rows of one table, in groups: whatever waits when a segment is done goes into the next.
#[derive(Debug)]
struct Queue<R> {
    /// `None` where nothing is recorded, or no longer.
    entries: Mutex<Option<mpsc::Sender<Entry<R>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<R: Record + Send + 'static> Queue<R> {
    /// One that takes nothing.
    fn closed() -> Self {
        Self { entries: Mutex::new(None), thread: Mutex::new(None) }
    }

    fn start(store: Store, writer: Option<Writer<R>>) -> Self {
        let (entries, inbox) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::spawn(move || write(inbox, &store, writer));
        Self { entries: Mutex::new(Some(entries)), thread: Mutex::new(Some(thread)) }
    }

    /// Writes a row. Returns when it is durable, or says why it cannot be.
    async fn write(&self, row: R) -> Result<(), String> {
        let written = tokio::time::timeout(WRITE_MAX, self.enter(row)).await;
        written.unwrap_or_else(|_| Err("the disk takes too long".to_owned()))
    }

    async fn enter(&self, row: R) -> Result<(), String> {
        let gone = || "the recorder has ended".to_owned();
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let entries = entries.ok_or_else(gone)?;
        let (written, answer) = oneshot::channel();
        entries.send(Entry { row, written }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn close(&self) {
        drop(self.entries.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || drop(thread.join()));
            // A disk that hangs must not keep the server from ending.
            drop(tokio::time::timeout(WRITE_MAX, joined).await);
        }
    }
}

/// The thread of a table.
fn write<R: Record>(
    mut inbox: mpsc::Receiver<Entry<R>>,
    store: &Store,
    mut writer: Option<Writer<R>>,
) {
    while let Some(first) = inbox.blocking_recv() {
        let (mut rows, mut answers) = (vec![first.row], vec![first.written]);
        while rows.len() < GROUP_MAX
            && let Ok(entry) = inbox.try_recv()
        {
            rows.push(entry.row);
            answers.push(entry.written);
        }
        let outcome = append(store, &mut writer, &rows).map_err(|error| chain(&error));
        for answer in answers {
            // Who asked may have given up waiting.
            drop(answer.send(outcome.clone()));
        }
    }
}

/// Appends to the writer; one that was fenced off is replaced at the next append.
fn append<R: Record>(
    store: &Store,
    slot: &mut Option<Writer<R>>,
    rows: &[R],
) -> Result<(), StoreError> {
    let writer = match slot {
        Some(writer) => writer,
        None => slot.insert(store.writer(WRITER)?),
    };
    let outcome = writer.append(rows);
    if matches!(outcome, Err(StoreError::Fenced { .. })) {
        *slot = None;
    }
    outcome.map(drop)
}
