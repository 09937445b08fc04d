//! Rows by a seed: every variant, empty and long lists, extreme values.

use openclaw_rl::rollout::{
    ClosedBy, ConstraintKind, Deployment, DeploymentEvent, Feedback, FinishReason, Hint,
    HintCandidate, HintStatus, HintVote, Likeliest, Rated, Rating, RejectedTurn, Rejection,
    Rollout, Sampling, Score, ScoreStatus, Spent, Splice, Step, TrainedTurn, TrainingSignal, Turn,
    TurnId, TurnKind, TurnStatus, Version, VersionSpan, Vote,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A row that can be drawn.
pub trait Sample: Sized + Clone {
    /// An arbitrary row.
    fn sample(rng: &mut ChaCha8Rng) -> Self;
    /// Rows at the ends of what the types can hold.
    fn extremes() -> Vec<Self>;
}

/// The random stream of a seed.
pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn id(rng: &mut ChaCha8Rng) -> TurnId {
    TurnId((u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64()))
}

fn text(rng: &mut ChaCha8Rng) -> String {
    const WORDS: &[&str] = &["", "a", "naïve", "👍🏽", "\0", "\"quoted\"", "中文", "\n", "[{}]"];
    (0..rng.random_range(0..6)).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect()
}

fn list<T>(rng: &mut ChaCha8Rng, mut item: impl FnMut(&mut ChaCha8Rng) -> T) -> Vec<T> {
    let length = if rng.random_bool(0.3) { 0 } else { rng.random_range(1..9) };
    (0..length).map(|_| item(rng)).collect()
}

fn maybe<T>(rng: &mut ChaCha8Rng, item: impl FnOnce(&mut ChaCha8Rng) -> T) -> Option<T> {
    if rng.random_bool(0.5) { Some(item(rng)) } else { None }
}

fn one_of<T: Copy>(rng: &mut ChaCha8Rng, all: &[T]) -> T {
    all[rng.random_range(0..all.len())]
}

fn time(rng: &mut ChaCha8Rng) -> i64 {
    rng.random_range(0..4_000_000_000_000_000)
}

fn logprob(rng: &mut ChaCha8Rng) -> f32 {
    -rng.random_range(0.0f32..30.0)
}

fn likeliest(rng: &mut ChaCha8Rng) -> Likeliest {
    Likeliest { ids: list(rng, |rng| rng.next_u32()), logprobs: list(rng, logprob) }
}

impl Sample for Turn {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self {
            turn_id: id(rng),
            received_at_us: time(rng),
            finished_at_us: time(rng),
            user: text(rng),
            policy: text(rng),
            model: text(rng),
            session_keys: text(rng),
            messages: text(rng),
            tools: text(rng),
            reply: text(rng),
            prompt_ids: list(rng, |rng| rng.next_u32()),
            response_ids: list(rng, |rng| rng.next_u32()),
            response_logprobs: list(rng, logprob),
            drawn_logprobs: list(rng, logprob),
            forced: list(rng, |rng| rng.next_u32()),
            constraint: maybe(rng, |rng| one_of(rng, ConstraintKind::ALL)),
            version_spans: list(rng, |rng| VersionSpan {
                start: rng.next_u32(),
                version: Version(rng.next_u64()),
            }),
            sampling: Sampling {
                temperature: rng.random(),
                top_p: rng.random(),
                top_k: rng.next_u32(),
                min_p: rng.random(),
                repetition_penalty: rng.random(),
                presence_penalty: rng.random(),
                frequency_penalty: rng.random(),
                logit_bias: list(rng, |rng| (rng.next_u32(), rng.random())),
                seed: rng.next_u64(),
                max_tokens: rng.next_u32(),
                min_tokens: rng.next_u32(),
            },
            finish_reason: one_of(rng, FinishReason::ALL),
            status: one_of(rng, TurnStatus::ALL),
        }
    }

    fn extremes() -> Vec<Self> {
        let empty = Self {
            turn_id: TurnId(0),
            received_at_us: i64::MIN,
            finished_at_us: i64::MAX,
            user: String::new(),
            policy: String::new(),
            model: String::new(),
            session_keys: String::new(),
            messages: String::new(),
            tools: String::new(),
            reply: String::new(),
            prompt_ids: Vec::new(),
            response_ids: Vec::new(),
            response_logprobs: Vec::new(),
            drawn_logprobs: Vec::new(),
            forced: Vec::new(),
            constraint: None,
            version_spans: Vec::new(),
            sampling: Sampling {
                temperature: 0.0,
                top_p: 1.0,
                top_k: 0,
                seed: u64::MAX,
                max_tokens: u32::MAX,
                ..Sampling::default()
            },
            finish_reason: FinishReason::Cancelled,
            status: TurnStatus::Answered,
        };
        let full = Self {
            turn_id: TurnId(u128::MAX),
            messages: "é".repeat(200_000),
            prompt_ids: (0..40_000).map(|n| u32::MAX - n).collect(),
            response_logprobs: vec![f32::MIN, f32::NEG_INFINITY, f32::MIN_POSITIVE, 0.0],
            drawn_logprobs: vec![f32::NEG_INFINITY, -0.0],
            forced: (0..40_000).collect(),
            constraint: Some(ConstraintKind::ToolCalls),
            version_spans: vec![VersionSpan { start: u32::MAX, version: Version(u64::MAX) }],
            ..empty.clone()
        };
        vec![empty.clone(), full, empty]
    }
}

impl Sample for Rollout {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self {
            turn_id: id(rng),
            revision: rng.next_u32(),
            session_id: text(rng),
            generation: text(rng),
            turn_index: rng.next_u32(),
            kind: one_of(rng, TurnKind::ALL),
            placed_by: text(rng),
            messages: text(rng),
            reply: text(rng),
            next_state: maybe(rng, text),
            closed_by: maybe(rng, |rng| one_of(rng, ClosedBy::ALL)),
            closed_at_us: maybe(rng, time),
            retry_of: maybe(rng, id),
            regenerated: rng.next_u32(),
            abandoned: one_of(rng, &[true, false]),
            rated: maybe(rng, rated),
        }
    }

    fn extremes() -> Vec<Self> {
        let mut rng = rng(0);
        let row = Self::sample(&mut rng);
        vec![
            Self { next_state: None, retry_of: None, ..row.clone() },
            Self { next_state: Some(String::new()), retry_of: Some(TurnId(0)), ..row },
        ]
    }
}

fn rated(rng: &mut ChaCha8Rng) -> Rated {
    let rating = one_of(rng, Rating::ALL);
    Rated { rating, text: maybe(rng, text), given_at_us: time(rng) }
}

impl Sample for Feedback {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self { turn_id: id(rng), user: text(rng), rated: rated(rng) }
    }

    fn extremes() -> Vec<Self> {
        let row = Self::sample(&mut rng(0));
        let silent = Rated { text: None, ..row.rated.clone() };
        vec![Self { rated: silent, user: String::new(), ..row }]
    }
}

fn spent(rng: &mut ChaCha8Rng) -> Spent {
    Spent {
        latency_ms: maybe(rng, |rng| rng.next_u32()),
        prompt_tokens: maybe(rng, |rng| rng.next_u32()),
        completion_tokens: maybe(rng, |rng| rng.next_u32()),
    }
}

impl Sample for Score {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self {
            turn_id: id(rng),
            revision: 0,
            judge: text(rng),
            status: one_of(rng, ScoreStatus::ALL),
            votes: list(rng, |rng| Vote {
                value: maybe(rng, |rng| rng.random_range(-1..=1)),
                text: text(rng),
                spent: spent(rng),
            }),
            score: rng.random_range(-1..=1),
            reasoning: text(rng),
            judged_at_us: time(rng),
        }
    }

    fn extremes() -> Vec<Self> {
        let row = Self::sample(&mut rng(0));
        let silent = vec![Vote { value: None, text: String::new(), spent: Spent::default() }; 3];
        vec![
            Self { votes: Vec::new(), score: i8::MIN, ..row.clone() },
            Self { votes: silent, score: i8::MAX, ..row },
        ]
    }
}

impl Sample for Hint {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self {
            turn_id: id(rng),
            revision: 0,
            judge: text(rng),
            status: one_of(rng, HintStatus::ALL),
            votes: list(rng, |rng| HintVote {
                value: maybe(rng, |rng| one_of(rng, &[-1, 1])),
                hint: maybe(rng, text),
                text: text(rng),
                leak: rng.random(),
                spent: spent(rng),
            }),
            hint: text(rng),
            scored_by: maybe(rng, |rng| Version(rng.next_u64())),
            teacher_logprobs: list(rng, logprob),
            student_logprobs: list(rng, logprob),
            top_k: rng.next_u32(),
            teacher_top: likeliest(rng),
            student_top: likeliest(rng),
            candidates: list(rng, |rng| HintCandidate {
                hint: text(rng),
                prompt: Splice {
                    head: rng.next_u32(),
                    tail: rng.next_u32(),
                    ids: list(rng, |rng| rng.next_u32()),
                },
            }),
            detail: text(rng),
            hinted_at_us: time(rng),
        }
    }

    fn extremes() -> Vec<Self> {
        let row = Self::sample(&mut rng(0));
        let bare = Self {
            votes: Vec::new(),
            scored_by: None,
            teacher_logprobs: Vec::new(),
            student_logprobs: Vec::new(),
            ..row.clone()
        };
        vec![bare, Self { scored_by: Some(Version(u64::MAX)), ..row }]
    }
}

impl Sample for Step {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self {
            version: maybe(rng, |rng| Version(rng.next_u64())),
            parent: Version(rng.next_u64()),
            method: text(rng),
            trained: list(rng, |rng| TrainedTurn {
                turn_id: id(rng),
                signal: one_of(rng, TrainingSignal::ALL),
                reward: one_of(rng, &[-1.0, 0.0, 1.0]),
                tokens: rng.next_u32(),
            }),
            rejected: list(rng, |rng| RejectedTurn {
                turn_id: id(rng),
                reason: one_of(rng, Rejection::ALL),
                revision: rng.next_u32(),
            }),
            metrics: list(rng, |rng| (text(rng), rng.random::<f64>())),
            detail: text(rng),
            finished_at_us: time(rng),
        }
    }

    fn extremes() -> Vec<Self> {
        let row = Self::sample(&mut rng(0));
        let metrics = vec![("huge".to_owned(), f64::MAX), ("none".to_owned(), f64::INFINITY)];
        let bare = Self {
            version: None,
            trained: Vec::new(),
            rejected: Vec::new(),
            metrics: Vec::new(),
            ..row.clone()
        };
        vec![bare, Self { version: Some(Version::BASE), metrics, ..row }]
    }
}

impl Sample for Deployment {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self {
            event: one_of(rng, DeploymentEvent::ALL),
            version: Version(rng.next_u64()),
            previous: maybe(rng, |rng| Version(rng.next_u64())),
            retired: list(rng, |rng| Version(rng.next_u64())),
            servers: list(rng, text),
            gate: text(rng),
            deployed_at_us: time(rng),
        }
    }

    fn extremes() -> Vec<Self> {
        let row = Self::sample(&mut rng(0));
        vec![Self { previous: None, retired: Vec::new(), servers: Vec::new(), ..row }]
    }
}
