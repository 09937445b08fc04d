//! The reply in the light of the hint: both log-probability rows, by one version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::RwLock;

use crate::complete::{CompleteError, Completer, Scored};
use crate::config::Home;
use crate::events::{emit, hint::HintWaitsForModel};
use crate::render::{RenderError, Renderer, with_hint};
use crate::rollout::{HintCandidate, HintStatus, Likeliest, Splice, Turn, Version};
use crate::weights::{Registry, WeightsError};

/// How often both rows are asked for when the version changed between them, or an answer was
/// incomplete.
const ROUNDS_MAX: usize = 4;

/// What the teacher needs of a turn.
#[derive(Clone, Debug)]
pub struct Told {
    messages: String,
    tools: String,
    prompt_ids: Vec<u32>,
    response_ids: Vec<u32>,
    temperature: f32,
}

impl From<Turn> for Told {
    fn from(turn: Turn) -> Self {
        Self {
            messages: turn.messages,
            tools: turn.tools,
            prompt_ids: turn.prompt_ids,
            response_ids: turn.response_ids,
            temperature: turn.sampling.temperature,
        }
    }
}

/// Both rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The version that gave them, where the teacher calls it by its number.
    pub scored_by: Option<Version>,
    /// With the hint.
    pub teacher: Vec<f32>,
    /// Without it.
    pub student: Vec<f32>,
    /// What is likeliest with the hint; empty where it was not asked for.
    pub teacher_top: Likeliest,
    /// What is likeliest without it.
    pub student_top: Likeliest,
}

/// Why there are no rows.
#[derive(Debug)]
pub enum NoRows {
    /// This turn cannot be taught.
    Turn(HintStatus, String),
    /// The teacher cannot be asked.
    Teacher(CompleteError),
    /// The home holds no model yet.
    NoModel,
    /// The model cannot render.
    Model(RenderError),
    /// The weights cannot be read.
    Weights(WeightsError),
}

/// Renders with the home's model and asks a server for log-probabilities.
#[derive(Debug)]
pub struct Teacher {
    completer: Completer,
    home: Home,
    /// How many of the likeliest ids of each position are asked for.
    top_k: usize,
    renderer: RwLock<Option<Arc<Renderer>>>,
    /// Its tokenizer is known to be that of the home's model.
    same_tokenizer: AtomicBool,
}

impl Teacher {
    /// A teacher that has not been asked yet.
    pub fn new(completer: Completer, home: &Home, top_k: usize) -> Self {
        let (home, renderer) = (home.clone(), RwLock::new(None));
        Self { completer, home, top_k, renderer, same_tokenizer: AtomicBool::new(false) }
    }

    /// Both rows for a turn in the light of `hint`.
    pub async fn rows(&self, told: &Told, hint: &str) -> Result<Rows, NoRows> {
        let turn = |status, detail: &str| NoRows::Turn(status, detail.to_owned());
        if told.temperature <= 0.0 {
            return Err(turn(HintStatus::TeacherFailed, "greedy"));
        }
        if told.response_ids.is_empty() || told.prompt_ids.is_empty() {
            return Err(turn(HintStatus::TeacherFailed, "the turn holds no tokens"));
        }
        let renderer = self.renderer().await?;
        let hinted = hinted_prompt(&renderer, told, hint)?;
        self.require_tokenizer(&renderer).await?;
        let with = [hinted.as_slice(), &told.response_ids].concat();
        let without = [told.prompt_ids.as_slice(), &told.response_ids].concat();
        let mut last = String::new();
        for _ in 0..ROUNDS_MAX {
            let rows = tokio::try_join!(
                self.score(&with, hinted.len(), told.temperature),
                self.score(&without, told.prompt_ids.len(), told.temperature),
            );
            match rows {
                Ok((teacher, student)) if teacher.weights == student.weights => {
                    return Ok(both(teacher, student));
                }
                Ok((teacher, student)) => {
                    let (one, other) = (teacher.weights, student.weights);
                    last = format!("the version changed from {one} to {other} in between");
                }
                Err(error) if error.is_too_long() => {
                    return Err(NoRows::Turn(HintStatus::TooLong, error.to_string()));
                }
                Err(error) if error.is_down() || error.is_misconfigured() => {
                    return Err(NoRows::Teacher(error));
                }
                Err(error @ CompleteError::Refused { .. }) => {
                    return Err(NoRows::Turn(HintStatus::TeacherFailed, error.to_string()));
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(NoRows::Turn(HintStatus::TeacherFailed, last))
    }

    async fn score(
        &self,
        ids: &[u32],
        start: usize,
        temperature: f32,
    ) -> Result<Scored, CompleteError> {
        self.completer.score(ids, start, temperature, self.top_k).await
    }

    /// Looks once whether the server reads the ids of the home's model.
    async fn require_tokenizer(&self, renderer: &Renderer) -> Result<(), NoRows> {
        if !self.same_tokenizer.load(Ordering::Relaxed) {
            let told = self.completer.has_tokenizer(renderer.tokenizer_sha256()).await;
            self.same_tokenizer.store(told.map_err(NoRows::Teacher)?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Each hint with the prompt that it makes, for a teacher that the trainer computes.
    ///
    /// # Errors
    /// As [`Teacher::rows`], which has rendered one of them before.
    pub async fn candidates(
        &self,
        told: &Told,
        hints: Vec<String>,
    ) -> Result<Vec<HintCandidate>, NoRows> {
        let renderer = self.renderer().await?;
        let candidate = |hint: String| {
            let hinted = hinted_prompt(&renderer, told, &hint)?;
            Ok(HintCandidate { hint, prompt: Splice::between(&told.prompt_ids, &hinted) })
        };
        hints.into_iter().map(candidate).collect()
    }

    /// The renderer of the base model; every version of a home shares its tokenizer.
    async fn renderer(&self) -> Result<Arc<Renderer>, NoRows> {
        if let Some(renderer) = &*self.renderer.read().await {
            return Ok(Arc::clone(renderer));
        }
        let mut slot = self.renderer.write().await;
        if let Some(renderer) = &*slot {
            return Ok(Arc::clone(renderer));
        }
        let registry = Registry::open(&self.home).map_err(NoRows::Weights)?;
        if !registry.versions().map_err(NoRows::Weights)?.contains(&Version::BASE) {
            emit(HintWaitsForModel);
            return Err(NoRows::NoModel);
        }
        let renderer = Renderer::open(&registry.dir(Version::BASE)).map_err(NoRows::Model)?;
        Ok(Arc::clone(slot.insert(Arc::new(renderer))))
    }
}

fn both(teacher: Scored, student: Scored) -> Rows {
    Rows {
        scored_by: teacher.version(),
        teacher: teacher.logprobs,
        student: student.logprobs,
        teacher_top: teacher.top,
        student_top: student.top,
    }
}

/// The prompt with the hint, once the prompt without it was proven to be the recorded one.
fn hinted_prompt(renderer: &Renderer, told: &Told, hint: &str) -> Result<Vec<u32>, NoRows> {
    let mismatch = |detail: String| NoRows::Turn(HintStatus::RenderMismatch, detail);
    let messages: Vec<Value> = serde_json::from_str(&told.messages)
        .map_err(|error| mismatch(format!("messages: {error}")))?;
    let tools: Option<Value> = match told.tools.trim() {
        "" => None,
        tools => {
            Some(serde_json::from_str(tools).map_err(|error| mismatch(format!("tools: {error}")))?)
        }
    };
    let render = |messages: &[Value]| {
        renderer.prompt(messages, tools.as_ref()).map_err(|error| mismatch(error.to_string()))
    };
    let plain = render(&messages)?;
    if plain != told.prompt_ids {
        let at = plain.iter().zip(&told.prompt_ids).take_while(|(a, b)| a == b).count();
        let (got, recorded) = (plain.len(), told.prompt_ids.len());
        let detail = format!("{got} ids instead of {recorded}, the first other one at {at}");
        return Err(mismatch(detail));
    }
    let hinted = render(&with_hint(&messages, hint))?;
    if hinted == plain {
        return Err(NoRows::Turn(
            HintStatus::TeacherFailed,
            "the request holds no user message that could carry the hint".to_owned(),
        ));
    }
    Ok(hinted)
}
