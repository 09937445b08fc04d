//! Making turns durable before their replies end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::errors::chain;
use crate::events::serve::{TurnNotRecorded, TurnRecorded};
use crate::rollout::{Turn, TurnId};
use crate::store::{Store, StoreError, Writer};

/// Turns that may wait to be written; one more waits for a place.
const QUEUE_MAX: usize = 1024;
/// Most turns of one segment.
const GROUP_MAX: usize = 256;
/// A disk that takes longer than this counts as one that does not write.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// The name under which this stage writes.
const WRITER: &str = "serve";

struct Entry {
    turn: Turn,
    /// `Err` says why it was not written.
    written: oneshot::Sender<Result<(), String>>,
}

/// How many turns were and were not written by this process.
#[derive(Debug, Default)]
pub(super) struct Figures {
    recorded: AtomicU64,
    not_recorded: AtomicU64,
}

impl Figures {
    /// Turns written by this process.
    pub(super) fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// Turns that were answered and could not be written.
    pub(super) fn not_recorded(&self) -> u64 {
        self.not_recorded.load(Ordering::Relaxed)
    }
}

/// Writes finished turns, in groups: whatever waits when a segment is done goes into the next.
#[derive(Debug)]
pub(super) struct Recorder {
    /// `None` where turns are not recorded, or no longer.
    queue: Mutex<Option<mpsc::Sender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    figures: Arc<Figures>,
}

impl Recorder {
    /// A recorder that writes to `store`, or one that keeps nothing.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub(super) fn start(store: Option<Store>) -> Result<Self, StoreError> {
        let Some(store) = store else {
            return Ok(Self {
                queue: Mutex::new(None),
                thread: Mutex::new(None),
                figures: Arc::default(),
            });
        };
        let writer = store.writer::<Turn>(WRITER)?;
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::spawn(move || write(inbox, &store, writer));
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            figures: Arc::default(),
        })
    }

    /// Makes a turn durable. Returns when it is, or when it is clear that it cannot be, which is
    /// counted: the reply goes to its user all the same.
    pub(super) async fn record(&self, turn: Turn) {
        let recorded = TurnRecorded {
            turn: turn.turn_id.to_string(),
            prompt_tokens: turn.prompt_ids.len(),
            response_tokens: turn.response_ids.len(),
        };
        let turn_id = turn.turn_id;
        let written = tokio::time::timeout(WRITE_MAX, self.write(turn)).await;
        match written.unwrap_or_else(|_| Err("the disk takes too long".to_owned())) {
            Ok(()) => {
                self.figures.recorded.fetch_add(1, Ordering::Relaxed);
                crate::events::emit(recorded);
            }
            Err(reason) => self.missed(turn_id, reason),
        }
    }

    fn missed(&self, turn: TurnId, reason: String) {
        self.figures.not_recorded.fetch_add(1, Ordering::Relaxed);
        crate::events::emit(TurnNotRecorded { turn: turn.to_string(), reason });
    }

    async fn write(&self, turn: Turn) -> Result<(), String> {
        let gone = || "the recorder has ended".to_owned();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or_else(gone)?;
        let (written, answer) = oneshot::channel();
        queue.send(Entry { turn, written }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// How many turns it wrote, and how many it could not write.
    pub(super) fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Writes what waits, and ends.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || drop(thread.join()));
            // A disk that hangs must not keep the server from ending.
            drop(tokio::time::timeout(WRITE_MAX, joined).await);
        }
    }
}

/// The recorder's thread.
fn write(mut inbox: mpsc::Receiver<Entry>, store: &Store, writer: Writer<Turn>) {
    let mut writer = Some(writer);
    while let Some(first) = inbox.blocking_recv() {
        let (mut turns, mut answers) = (vec![first.turn], vec![first.written]);
        while turns.len() < GROUP_MAX
            && let Ok(entry) = inbox.try_recv()
        {
            turns.push(entry.turn);
            answers.push(entry.written);
        }
        let outcome = append(store, &mut writer, &turns).map_err(|error| chain(&error));
        for answer in answers {
            // Who asked may have given up waiting.
            drop(answer.send(outcome.clone()));
        }
    }
}

/// Appends to the writer; one that was fenced off is replaced at the next append.
fn append(
    store: &Store,
    slot: &mut Option<Writer<Turn>>,
    turns: &[Turn],
) -> Result<(), StoreError> {
    let writer = match slot {
        Some(writer) => writer,
        None => slot.insert(store.writer(WRITER)?),
    };
    let outcome = writer.append(turns);
    if matches!(outcome, Err(StoreError::Fenced { .. })) {
        *slot = None;
    }
    outcome.map(drop)
}
