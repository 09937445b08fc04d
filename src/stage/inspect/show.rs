//! The whole life of a turn, as JSON.

use serde_json::{Map, Value, json};

use super::InspectError;
use crate::config::Home;
use crate::rollout::{
    ClosedBy, ConstraintKind, Deployment, Feedback, Hint, Ledger, Rated, Rollout, Sampling, Score,
    Step, Turn, TurnId, TurnState, Version,
};
use crate::store::{Part, Store};

/// Everything that the tables know of a turn: the turn itself, its rollouts, feedback, scores and
/// hints, the steps that used or rejected it, and what became of the versions they made.
///
/// # Errors
/// [`InspectError::UnknownTurn`], [`InspectError::NoHome`]; the store cannot be opened.
pub fn show(home: &Home, id: TurnId) -> Result<Value, InspectError> {
    let (store, registry) = super::open(home)?;
    let mut problems = Vec::new();
    let mut ledger = Ledger::new();
    let turns = rows(&store, &mut problems, |row: &Turn| row.turn_id == id);
    let rollouts = rows(&store, &mut problems, |row: &Rollout| row.turn_id == id);
    let feedback = rows(&store, &mut problems, |row: &Feedback| row.turn_id == id);
    let scores = rows(&store, &mut problems, |row: &Score| row.turn_id == id);
    let hints = rows(&store, &mut problems, |row: &Hint| row.turn_id == id);
    let mut steps = rows(&store, &mut problems, |_: &Step| true);
    let deployments = rows(&store, &mut problems, |_: &Deployment| true);
    for version in registry.versions()? {
        if !steps.iter().any(|step| step.version == Some(version)) {
            steps.extend(registry.manifest(version).ok().and_then(|manifest| manifest.step));
        }
    }
    turns.iter().for_each(|row| ledger.turn(row));
    rollouts.iter().for_each(|row| ledger.rollout(row));
    scores.iter().for_each(|row| ledger.score(row));
    hints.iter().for_each(|row| ledger.hint(row));
    steps.iter().for_each(|row| ledger.step(row));
    deployments.iter().for_each(|row| ledger.deployment(row));
    if let Ok(state) = registry.state() {
        ledger.retire(state.dead);
    }
    steps.retain(|step| uses(step, id));
    if turns.is_empty() && rollouts.is_empty() && scores.is_empty() && hints.is_empty() {
        return Err(InspectError::UnknownTurn { turn: id });
    }
    let concerned = |row: &&Deployment| {
        let version_of = |step: &Step| step.version;
        steps.iter().filter_map(version_of).any(|v| row.version == v || row.retired.contains(&v))
    };
    Ok(json!({
        "turn_id": id.to_string(),
        "state": state_value(ledger.state(id)),
        "turn": turns.iter().map(turn_value).collect::<Vec<_>>(),
        "rollouts": rollouts.iter().map(rollout_value).collect::<Vec<_>>(),
        "feedback": feedback.iter().map(|row| rated_value(&row.rated)).collect::<Vec<_>>(),
        "scores": scores.iter().map(score_value).collect::<Vec<_>>(),
        "hints": hints.iter().map(hint_value).collect::<Vec<_>>(),
        "steps": steps.iter().map(|step| step_value(step, id, &ledger)).collect::<Vec<_>>(),
        "deployments":
            deployments.iter().filter(concerned).map(deployment_value).collect::<Vec<_>>(),
        "problems": problems,
    }))
}

fn rows<R: Part>(store: &Store, problems: &mut Vec<String>, wanted: impl Fn(&R) -> bool) -> Vec<R> {
    let polled = store.tail::<R>().poll();
    problems.extend(polled.broken.iter().map(ToString::to_string));
    polled.rows.into_iter().filter(wanted).collect()
}

fn uses(step: &Step, id: TurnId) -> bool {
    step.trained.iter().any(|turn| turn.turn_id == id)
        || step.rejected.iter().any(|turn| turn.turn_id == id)
}

/// JSON that was kept as text; what is no JSON stays text.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn state_value(state: Option<TurnState>) -> Value {
    match state {
        None => json!({ "state": "unrecorded" }),
        Some(TurnState::Trained(version)) => json!({ "state": "trained", "version": version.0 }),
        Some(TurnState::Rejected(reason)) => {
            json!({ "state": "rejected", "reason": reason.label() })
        }
        Some(state) => json!({ "state": state.label() }),
    }
}

fn turn_value(turn: &Turn) -> Value {
    let spans = turn.version_spans.iter();
    json!({
        "received_at_us": turn.received_at_us,
        "finished_at_us": turn.finished_at_us,
        "user": turn.user,
        "policy": turn.policy,
        "model": turn.model,
        "session_keys": parsed(&turn.session_keys),
        "messages": parsed(&turn.messages),
        "tools": if turn.tools.is_empty() { Value::Null } else { parsed(&turn.tools) },
        "reply": parsed(&turn.reply),
        "prompt_ids": turn.prompt_ids,
        "response_ids": turn.response_ids,
        "response_logprobs": turn.response_logprobs,
        "version_spans": spans
            .map(|span| json!({ "start": span.start, "version": span.version.0 }))
            .collect::<Vec<_>>(),
        "drawn_logprobs": turn.drawn_logprobs,
        "forced": turn.forced,
        "constraint": turn.constraint.map(ConstraintKind::label),
        "sampling": sampling_value(&turn.sampling),
        "finish_reason": turn.finish_reason.label(),
        "status": turn.status.label(),
    })
}

fn sampling_value(sampling: &Sampling) -> Value {
    let bias = sampling.logit_bias.iter().map(|(id, bias)| json!({ "id": id, "bias": bias }));
    json!({
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": bias.collect::<Vec<_>>(),
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        "min_tokens": sampling.min_tokens,
    })
}

/// A rollout without the messages and the reply, which are the turn's.
fn rollout_value(row: &Rollout) -> Value {
    json!({
        "revision": row.revision,
        "session_id": row.session_id,
        "generation": row.generation,
        "turn_index": row.turn_index,
        "kind": row.kind.label(),
        "placed_by": row.placed_by,
        "next_state": row.next_state.as_deref().map(parsed),
        "closed_by": row.closed_by.map(ClosedBy::label),
        "closed_at_us": row.closed_at_us,
        "retry_of": row.retry_of.map(|id| id.to_string()),
        "regenerated": row.regenerated,
        "abandoned": row.abandoned,
        "rated": row.rated.as_ref().map(rated_value),
    })
}

fn rated_value(rated: &Rated) -> Value {
    json!({
        "rating": rated.rating.label(),
        "text": rated.text,
        "given_at_us": rated.given_at_us,
    })
}

fn score_value(row: &Score) -> Value {
    let votes = row.votes.iter();
    json!({
        "revision": row.revision,
        "judge": row.judge,
        "status": row.status.label(),
        "votes": votes
            .map(|vote| json!({ "value": vote.value, "text": vote.text }))
            .collect::<Vec<_>>(),
        "score": row.score,
        "reasoning": row.reasoning,
        "judged_at_us": row.judged_at_us,
    })
}

fn hint_value(row: &Hint) -> Value {
    let votes = row.votes.iter();
    json!({
        "revision": row.revision,
        "judge": row.judge,
        "status": row.status.label(),
        "votes": votes
            .map(|vote| json!({ "value": vote.value, "hint": vote.hint, "text": vote.text }))
            .collect::<Vec<_>>(),
        "hint": row.hint,
        "scored_by": row.scored_by.map(|version| version.0),
        "teacher_logprobs": row.teacher_logprobs,
        "student_logprobs": row.student_logprobs,
        "top_k": row.top_k,
        "detail": row.detail,
        "hinted_at_us": row.hinted_at_us,
    })
}

fn step_value(step: &Step, id: TurnId, ledger: &Ledger) -> Value {
    let trained = step.trained.iter().filter(|turn| turn.turn_id == id);
    let rejected = step.rejected.iter().filter(|turn| turn.turn_id == id);
    let metrics: Map<String, Value> =
        step.metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "version": step.version.map(|version| version.0),
        "parent": step.parent.0,
        "dead": step.version.map(|version| ledger.is_dead(version)),
        "method": step.method,
        "trained": trained
            .map(|turn| json!({
                "signal": turn.signal.label(), "reward": turn.reward, "tokens": turn.tokens,
            }))
            .collect::<Vec<_>>(),
        "rejected": rejected.map(|turn| turn.reason.label()).collect::<Vec<_>>(),
        "metrics": metrics,
        "finished_at_us": step.finished_at_us,
    })
}

fn deployment_value(row: &Deployment) -> Value {
    let number = |version: &Version| version.0;
    json!({
        "event": row.event.label(),
        "version": row.version.0,
        "previous": row.previous.as_ref().map(number),
        "retired": row.retired.iter().map(number).collect::<Vec<_>>(),
        "servers": row.servers,
        "gate": parsed(&row.gate),
        "deployed_at_us": row.deployed_at_us,
    })
}
