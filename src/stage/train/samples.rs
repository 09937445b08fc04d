//! From rows about a turn to a sample that can be trained on, or to the reason why it cannot.

use super::reply::Reply;
use crate::config::Method;
use crate::rollout::{
    Hint, HintCandidate, HintStatus, Likeliest, Rejection, Score, ScoreStatus, TrainingSignal,
    TurnId, Version,
};

/// What is kept of a score.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// The revision of the rollout that was judged.
    pub revision: u32,
    status: ScoreStatus,
    score: i8,
    judged_at_us: i64,
}

impl Verdict {
    /// By what the later of two is found: the revision, then the time.
    pub const fn order(&self) -> (u32, i64) {
        (self.revision, self.judged_at_us)
    }
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
    candidates: Vec<HintCandidate>,
    top_k: usize,
    top: Likeliest,
    hinted_at_us: i64,
}

impl Lesson {
    /// By what the later of two is found: the revision, then the time.
    pub const fn order(&self) -> (u32, i64) {
        (self.revision, self.hinted_at_us)
    }

    /// Lets go of the likeliest ids, the most of it, where nobody wants them.
    pub fn forget_top(&mut self) {
        self.top_k = 0;
        self.top = Likeliest::default();
    }
}

impl From<Hint> for Lesson {
    fn from(hint: Hint) -> Self {
        Self {
            revision: hint.revision,
            status: hint.status,
            teacher: hint.teacher_logprobs,
            student: hint.student_logprobs,
            candidates: hint.candidates,
            top_k: hint.top_k as usize,
            top: hint.teacher_top,
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
    /// Replies in a row that may make the same tool calls.
    pub same_call_max: usize,
    /// How many versions behind the head the oldest token may be.
    pub staleness_max: u64,
    /// How many of the teacher's likeliest ids are wanted, where those that were kept with the hint
    /// may be taken (`topk`); 0 where the trainer computes its own.
    pub kept_top: usize,
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
    /// log π_old of each response token, as recorded when it was sampled; empty for `sft`, which
    /// asks for no such thing.
    pub behaviour: Vec<f32>,
    /// Positions of the response tokens that a grammar forced, ascending: no token among them is
    /// trained on.
    pub forced: Vec<u32>,
    /// Hinted and plain log-probability of each response token by one version; `None` without a
    /// hint.
    pub scored: Option<(Vec<f32>, Vec<f32>)>,
    /// What the teacher thought likeliest when the hint was found, K for each response token, where
    /// that was kept and is wanted (`topk`).
    pub teacher_top: Option<Likeliest>,
    /// The hinted prompts, shortest hint first, where the trainer computes the teacher itself
    /// (`topk`, `hybrid`); empty without a hint.
    pub candidates: Vec<Vec<u32>>,
    /// The score; 0 without one.
    pub reward: f32,
    /// Which of the two it carries.
    pub signal: TrainingSignal,
    /// The session that the turn is of.
    pub session: String,
    /// The oldest version that sampled one of its tokens.
    pub oldest: Version,
    /// When its last piece of feedback arrived, in microseconds since the Unix epoch.
    pub ready_at_us: i64,
}

impl Sample {
    /// A sample that is nothing but a target, for `sft`.
    pub const fn target(tokens: Vec<u32>, response_start: usize, forced: Vec<u32>) -> Self {
        Self {
            turn_id: TurnId(0),
            tokens,
            response_start,
            temperature: 1.0,
            behaviour: Vec::new(),
            forced,
            scored: None,
            teacher_top: None,
            candidates: Vec::new(),
            reward: 1.0,
            signal: TrainingSignal::Score,
            session: String::new(),
            oldest: Version::BASE,
            ready_at_us: 0,
        }
    }

    /// Number of response tokens.
    pub fn response_tokens(&self) -> usize {
        self.tokens.len() - self.response_start
    }

    /// Number of response tokens that are trained on.
    pub fn trained_tokens(&self) -> usize {
        self.response_tokens() - self.forced.len()
    }

    /// 1 for each response token that is trained on, 0 for one that a grammar forced.
    pub fn mask(&self) -> Vec<f32> {
        let mut mask = vec![1.0; self.response_tokens()];
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

/// What is known of a closed main turn.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its tokens.
    pub reply: &'a Reply,
    /// The session it is of.
    pub session: &'a str,
    /// The judge's verdict, if it is there.
    pub verdict: Option<Verdict>,
    /// The hint, or that there is none, if that is known.
    pub lesson: Option<&'a Lesson>,
    /// Versions between the head and the one that sampled the reply's oldest token.
    pub behind: u64,
}

/// Judges a closed main turn by its tokens and the feedback that is there.
pub fn readiness(known: Known<'_>, limits: &Limits) -> Readiness {
    match sample(known, limits) {
        Ok(Some(sample)) => Readiness::Ready(Box::new(sample)),
        Ok(None) => Readiness::Waiting,
        Err(reason) => Readiness::Rejected(reason),
    }
}

fn sample(known: Known<'_>, limits: &Limits) -> Result<Option<Sample>, Rejection> {
    let Known { reply, verdict, lesson, .. } = known;
    reply.check(limits)?;
    let hint = lesson.map(|lesson| lesson.status);
    let Some(mut signal) = signal(limits.method, verdict, hint)? else { return Ok(None) };
    let hinted = lesson.filter(|_| signal != TrainingSignal::Score);
    let mut candidates = Vec::new();
    let teacher_top = hinted.map_or(Ok(None), |lesson| kept_top(lesson, reply, limits))?;
    // A teacher that has spoken need not read the hint again.
    let asked = teacher_top.is_none() && limits.method.has_own_teacher();
    if let Some(lesson) = hinted.filter(|_| asked) {
        match prompts(lesson, reply, limits) {
            Ok(prompts) => candidates = prompts,
            Err(_) if signal == TrainingSignal::Both => signal = TrainingSignal::Score,
            Err(reason) => return Err(reason),
        }
    }
    let scored = hinted.filter(|_| !limits.method.has_own_teacher());
    let scored = scored.map(|lesson| (lesson.teacher.clone(), lesson.student.clone()));
    if let Some((teacher, student)) = &scored
        && !(reply.fits(teacher) && reply.fits(student))
    {
        return Err(Rejection::Malformed);
    }
    let oldest = reply.oldest.ok_or(Rejection::Malformed)?;
    if known.behind > limits.staleness_max && limits.method != Method::Sft {
        return Err(Rejection::Stale);
    }
    let rewarded = verdict.filter(|_| signal != TrainingSignal::Hint);
    let judged_at = verdict.map_or(i64::MIN, |verdict| verdict.judged_at_us);
    let hinted_at = lesson.map_or(i64::MIN, |lesson| lesson.hinted_at_us);
    let is_target = limits.method == Method::Sft;
    Ok(Some(Sample {
        turn_id: reply.turn_id,
        tokens: [reply.prompt_ids.as_slice(), reply.response_ids.as_slice()].concat(),
        response_start: reply.prompt_ids.len(),
        temperature: if is_target { 1.0 } else { reply.temperature },
        behaviour: if is_target { Vec::new() } else { reply.logprobs.clone() },
        forced: reply.forced.clone(),
        scored,
        teacher_top,
        candidates,
        reward: rewarded.map_or(0.0, |verdict| f32::from(verdict.score)),
        signal,
        session: known.session.to_owned(),
        oldest,
        ready_at_us: judged_at.max(hinted_at),
    }))
}

/// What was kept of the teacher's likeliest ids: the first `kept_top` of each position. `None`
/// where nothing was kept: then the trainer computes the teacher. Where too few were, or what
/// cannot be, that would be another teacher than the one that was asked: there is none.
fn kept_top(
    lesson: &Lesson,
    reply: &Reply,
    limits: &Limits,
) -> Result<Option<Likeliest>, Rejection> {
    let (k, kept) = (limits.kept_top, lesson.top_k);
    if k == 0 || kept == 0 {
        return Ok(None);
    }
    if kept < k {
        return Err(Rejection::TeacherFailed);
    }
    let Likeliest { ids, logprobs } = &lesson.top;
    let whole = reply.response_ids.len() * kept;
    let known = ids.iter().all(|id| usize::try_from(*id).is_ok_and(|id| id < limits.vocab));
    if ids.len() != whole || logprobs.len() != whole || !known {
        return Err(Rejection::TeacherFailed);
    }
    // Their probabilities cannot add up to more than 1, whatever was rounded.
    let is_distribution = |row: &[f32]| {
        row.iter().all(|logprob| logprob.is_finite())
            && row.iter().map(|logprob| logprob.exp()).sum::<f32>() < 1.0 + 1e-2
    };
    if !logprobs.chunks(kept).all(is_distribution) {
        return Err(Rejection::TeacherFailed);
    }
    Ok(Some(Likeliest {
        ids: ids.chunks(kept).flat_map(|row| &row[..k]).copied().collect(),
        logprobs: logprobs.chunks(kept).flat_map(|row| &row[..k]).copied().collect(),
    }))
}

/// The hinted prompts, for a teacher that the trainer computes itself. What would be too long with
/// the reply is left out.
fn prompts(lesson: &Lesson, reply: &Reply, limits: &Limits) -> Result<Vec<Vec<u32>>, Rejection> {
    // rows of older programs have the hint's text only
    if lesson.candidates.is_empty() {
        return Err(Rejection::TeacherFailed);
    }
    let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < limits.vocab);
    let mut prompts = Vec::with_capacity(lesson.candidates.len());
    for candidate in &lesson.candidates {
        let prompt = candidate.prompt.apply(&reply.prompt_ids).ok_or(Rejection::Malformed)?;
        if prompt.is_empty() || !prompt.iter().all(known) {
            return Err(Rejection::Malformed);
        }
        if prompt.len() + reply.response_ids.len() <= limits.tokens_max {
            prompts.push(prompt);
        }
    }
    if prompts.is_empty() { Err(Rejection::TooLong) } else { Ok(prompts) }
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
