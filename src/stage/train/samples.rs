//! From rows about a turn to a sample that can be trained on, or to the reason why it cannot.

use crate::config::Method;
use crate::rollout::{
    FinishReason, Hint, HintStatus, Rejection, Score, ScoreStatus, TrainingSignal, Turn, TurnId,
};

/// Below this temperature sampling is greedy in all but name: logits / T overflow, and the
/// recorded log-probabilities say nothing of the behaviour.
const TEMPERATURE_MIN: f32 = 0.01;
/// The room that rounding needs above log 1 = 0.
const LOGPROB_MAX: f32 = 1e-3;
/// A token that was really drawn in f32 has a probability above e^-1000; what a grammar or a bias
/// pushed through may have less.
const SAMPLED_LOGPROB_MIN: f32 = -1000.0;

/// The policy that is trained; the others are adapters, which have weights of their own.
const POLICY: &str = "default";

/// What is kept of a recorded turn until it is trained on: its tokens, and nothing of its text.
#[derive(Clone, Debug)]
pub struct Reply {
    turn_id: TurnId,
    prompt_ids: Vec<u32>,
    response_ids: Vec<u32>,
    logprobs: Vec<f32>,
    forced: Vec<u32>,
    temperature: f32,
    /// Whether a grammar, penalties or a bias came between the policy and what was drawn.
    constrained: bool,
    shifted: bool,
    /// Whether another policy than the one that is trained answered.
    other_policy: bool,
    finish_reason: FinishReason,
}

impl From<Turn> for Reply {
    fn from(turn: Turn) -> Self {
        Self {
            turn_id: turn.turn_id,
            prompt_ids: turn.prompt_ids,
            response_ids: turn.response_ids,
            logprobs: turn.response_logprobs,
            forced: turn.forced,
            constrained: turn.constraint.is_some(),
            shifted: turn.sampling.shifts_logits(),
            other_policy: turn.policy != POLICY,
            temperature: turn.sampling.temperature,
            finish_reason: turn.finish_reason,
        }
    }
}

/// What is kept of a score.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// The revision of the rollout that was judged.
    pub revision: u32,
    status: ScoreStatus,
    score: i8,
    judged_at_us: i64,
}

impl From<Score> for Verdict {
    fn from(score: Score) -> Self {
        Self {
            revision: score.revision,
            status: score.status,
            score: score.score,
            judged_at_us: score.judged_at_us,
        }
    }
}

/// What is kept of a hint.
#[derive(Clone, Debug)]
pub struct Lesson {
    /// The revision of the rollout that was looked at.
    pub revision: u32,
    status: HintStatus,
    teacher: Vec<f32>,
    student: Vec<f32>,
    hinted_at_us: i64,
}

impl From<Hint> for Lesson {
    fn from(hint: Hint) -> Self {
        Self {
            revision: hint.revision,
            status: hint.status,
            teacher: hint.teacher_logprobs,
            student: hint.student_logprobs,
            hinted_at_us: hint.hinted_at_us,
        }
    }
}

/// What a sample may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The objective, which says what feedback is needed.
    pub method: Method,
    /// Longest prompt and reply, in tokens.
    pub tokens_max: usize,
    /// Ids are below this.
    pub vocab: usize,
    /// Whether turns that were drawn with penalties or a bias may be trained on.
    pub allow_penalties: bool,
}

/// A reply with its feedback, checked: all arrays over the response have the same length and hold
/// finite numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The turn.
    pub turn_id: TurnId,
    /// Prompt and response.
    pub tokens: Vec<u32>,
    /// Index of the first response token in `tokens`; at least 1.
    pub response_start: usize,
    /// Temperature at which the response was sampled; all log-probabilities are at this T.
    pub temperature: f32,
    /// log π_old of each response token, as recorded when it was sampled.
    pub behaviour: Vec<f32>,
    /// Positions of the response tokens that a grammar forced, ascending: no token among them is
    /// trained on.
    pub forced: Vec<u32>,
    /// Hinted and plain log-probability of each response token by one version; `None` without a
    /// hint.
    pub scored: Option<(Vec<f32>, Vec<f32>)>,
    /// The score; 0 without one.
    pub reward: f32,
    /// Which of the two it carries.
    pub signal: TrainingSignal,
    /// When its last piece of feedback arrived, in microseconds since the Unix epoch.
    pub ready_at_us: i64,
}

impl Sample {
    /// Number of response tokens.
    pub fn response_tokens(&self) -> usize {
        self.behaviour.len()
    }

    /// Number of response tokens that are trained on.
    pub fn trained_tokens(&self) -> usize {
        self.behaviour.len() - self.forced.len()
    }

    /// 1 for each response token that is trained on, 0 for one that a grammar forced.
    pub fn mask(&self) -> Vec<f32> {
        let mut mask = vec![1.0; self.behaviour.len()];
        for at in &self.forced {
            mask[*at as usize] = 0.0;
        }
        mask
    }
}

/// What the feedback of a turn comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Readiness {
    /// More feedback is to come.
    Waiting,
    /// It can be trained on.
    Ready(Box<Sample>),
    /// It never will be.
    Rejected(Rejection),
}

/// Whether the feedback that is there decides what becomes of a turn: then its tokens are wanted.
pub fn is_decided(method: Method, verdict: Option<Verdict>, lesson: Option<&Lesson>) -> bool {
    signal(method, verdict, lesson.map(|lesson| lesson.status)) != Ok(None)
}

/// Judges a closed main turn by its tokens and the feedback that is there.
pub fn readiness(
    reply: &Reply,
    verdict: Option<Verdict>,
    lesson: Option<&Lesson>,
    limits: &Limits,
) -> Readiness {
    if let Err(reason) = trainable(reply, limits) {
        return Readiness::Rejected(reason);
    }
    let signal = match signal(limits.method, verdict, lesson.map(|lesson| lesson.status)) {
        Ok(Some(signal)) => signal,
        Ok(None) => return Readiness::Waiting,
        Err(reason) => return Readiness::Rejected(reason),
    };
    let hinted = signal != TrainingSignal::Score;
    let scored = lesson.filter(|_| hinted).map(|l| (l.teacher.clone(), l.student.clone()));
    if let Some((teacher, student)) = &scored
        && !(fits(teacher, reply) && fits(student, reply))
    {
        return Readiness::Rejected(Rejection::Malformed);
    }
    let rewarded = verdict.filter(|_| signal != TrainingSignal::Hint);
    let judged_at = verdict.map_or(i64::MIN, |verdict| verdict.judged_at_us);
    let hinted_at = lesson.map_or(i64::MIN, |lesson| lesson.hinted_at_us);
    Readiness::Ready(Box::new(Sample {
        turn_id: reply.turn_id,
        tokens: [reply.prompt_ids.as_slice(), reply.response_ids.as_slice()].concat(),
        response_start: reply.prompt_ids.len(),
        temperature: reply.temperature,
        behaviour: reply.logprobs.clone(),
        forced: reply.forced.clone(),
        scored,
        reward: rewarded.map_or(0.0, |verdict| f32::from(verdict.score)),
        signal,
        ready_at_us: judged_at.max(hinted_at),
    }))
}

/// Whether the recorded tokens can be trained on at all.
fn trainable(reply: &Reply, limits: &Limits) -> Result<(), Rejection> {
    let Reply { prompt_ids, response_ids, logprobs, forced, temperature, finish_reason, .. } =
        reply;
    if reply.other_policy {
        return Err(Rejection::OtherPolicy);
    }
    let only_end = *finish_reason == FinishReason::Stop && response_ids.len() == 1;
    if response_ids.is_empty() || only_end || *finish_reason == FinishReason::Cancelled {
        return Err(Rejection::Degenerate);
    }
    let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < limits.vocab);
    let bounded = !(reply.constrained || reply.shifted);
    let sampled = |p: &f32| p.is_finite() && (!bounded || *p >= SAMPLED_LOGPROB_MIN);
    let whole = !prompt_ids.is_empty()
        && prompt_ids.iter().chain(response_ids).all(known)
        && fits(logprobs, reply)
        && logprobs.iter().all(sampled)
        && forced.is_sorted_by(|a, b| a < b)
        && forced.last().is_none_or(|at| (*at as usize) < response_ids.len())
        && temperature.is_finite()
        && *temperature >= 0.0;
    if !whole {
        return Err(Rejection::Malformed);
    }
    if *temperature < TEMPERATURE_MIN {
        return Err(Rejection::Greedy);
    }
    if reply.shifted && !limits.allow_penalties {
        return Err(Rejection::Penalties);
    }
    if forced.len() == response_ids.len() {
        return Err(Rejection::Forced);
    }
    let tokens = prompt_ids.len() + response_ids.len();
    if tokens > limits.tokens_max { Err(Rejection::TooLong) } else { Ok(()) }
}

/// Whether `logprobs` are log-probabilities of the reply's tokens.
fn fits(logprobs: &[f32], reply: &Reply) -> bool {
    logprobs.len() == reply.response_ids.len()
        && logprobs.iter().all(|p| p.is_finite() && *p <= LOGPROB_MAX)
}

/// The feedback that a method learns from: `None` while some is still to come.
fn signal(
    method: Method,
    verdict: Option<Verdict>,
    hint: Option<HintStatus>,
) -> Result<Option<TrainingSignal>, Rejection> {
    use TrainingSignal::{Both, Hint, Score};
    let scored = verdict.map(|verdict| match verdict.status {
        ScoreStatus::Judged if verdict.score == 0 => Err(Rejection::Neutral),
        ScoreStatus::Judged => Ok(Score),
        ScoreStatus::JudgeFailed => Err(Rejection::JudgeFailed),
    });
    let hinted = hint.map(|status| match status {
        HintStatus::Accepted => Ok(Hint),
        HintStatus::NoHint => Err(Rejection::Neutral),
        HintStatus::JudgeFailed => Err(Rejection::JudgeFailed),
        HintStatus::TeacherFailed => Err(Rejection::TeacherFailed),
        HintStatus::RenderMismatch => Err(Rejection::RenderMismatch),
        HintStatus::TooLong => Err(Rejection::TooLong),
    });
    match method {
        Method::Binary => scored.transpose(),
        // what was not found good is no target
        Method::Sft if verdict.is_some_and(|verdict| verdict.score < 0) => Err(Rejection::Neutral),
        Method::Sft => scored.transpose(),
        Method::Opd | Method::Topk => hinted.transpose(),
        Method::Combine | Method::Hybrid => match (scored, hinted) {
            (None, _) | (_, None) => Ok(None),
            (Some(Ok(_)), Some(Ok(_))) => Ok(Some(Both)),
            (Some(Ok(_)), Some(Err(Rejection::RenderMismatch))) => Err(Rejection::RenderMismatch),
            (Some(Ok(only)), Some(Err(_))) | (Some(Err(_)), Some(Ok(only))) => Ok(Some(only)),
            (Some(Err(Rejection::JudgeFailed)), Some(Err(_))) => Err(Rejection::JudgeFailed),
            (Some(Err(_)), Some(Err(reason))) => Err(reason),
        },
    }
}
