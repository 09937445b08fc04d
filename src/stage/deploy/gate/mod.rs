//! The gate: what a version must be before any server hears of it.
//!
//! In this order, the first failure decides: its files are whole and every weight is finite
//! ([`files`]); it does not speak too differently from the live version on recent turns that no
//! batch consumed ([`drift`]); it solves no significantly smaller part of a set of tasks with
//! checkable answers, and its replies to them are not significantly more often empty, cut off or
//! looping ([`probes`]); where a judge is named, the judge does not significantly prefer the live
//! version ([`opinion`]). It only reads, on a thread of low priority, and holds two decoders while
//! it computes.

pub mod drift;
pub mod files;
pub mod opinion;
pub mod probes;
pub mod test;

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};

use self::drift::{Drift, Sample};
use self::probes::{Probe, Reply};
use super::error::DeployError;
use crate::config::{DeployConfig, DtypeChoice};
use crate::fault::chain;
use crate::model::{Adapter, Decoder, ModelError, Placement};
use crate::render::Renderer;
use crate::rollout::Version;
use crate::weights::Registry;

/// Fewer turns or tokens than these say nothing; then the replies to the probes are measured.
const TURNS_MIN: usize = 4;
const TOKENS_MIN: usize = 64;
/// How many of those.
const PROBES_MEASURED: usize = 16;
/// How much lower than a server's the priority of the gate's threads is.
const NICE: i32 = 10;

/// What the gate found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The figures, for the `gate` column of `deployments`.
    pub figures: Map<String, Value>,
    /// Why the version must not go live.
    pub refused: Option<String>,
}

impl Verdict {
    /// The column's text.
    pub fn json(&self) -> String {
        let mut figures = self.figures.clone();
        if let Some(reason) = &self.refused {
            figures.insert("refused".to_owned(), reason.as_str().into());
        }
        Value::Object(figures).to_string()
    }

    fn note(&mut self, name: &str, figures: impl serde::Serialize) {
        self.figures.insert(name.to_owned(), json!(figures));
    }
}

/// Which versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What would go live.
    pub candidate: Version,
    /// What is live.
    pub live: Version,
}

/// Looks at versions, and remembers what the last ones answered.
#[derive(Clone)]
pub struct Gate {
    config: DeployConfig,
    registry: Registry,
    probes: Vec<Probe>,
    /// Of the candidate and the live version of the last look: a candidate is the next live one.
    replies: BTreeMap<Version, Vec<Reply>>,
}

impl Gate {
    /// A gate with the probes that the configuration names.
    ///
    /// # Errors
    /// The file of probes cannot be read.
    pub fn open(config: &DeployConfig, registry: &Registry) -> Result<Self, DeployError> {
        let (config, registry) = (config.clone(), registry.clone());
        let probes = probes::all(config.gate_probes, config.probes.as_deref())?;
        Ok(Self { config, registry, probes, replies: BTreeMap::new() })
    }

    /// Only the files: for what was live before, or is put live against the gate's advice.
    pub async fn inspect(&self, version: Version) -> Result<Verdict, DeployError> {
        let registry = self.registry.clone();
        on_a_calm_thread(move || {
            let mut verdict = Verdict::default();
            by_files(&registry, version, &mut verdict);
            verdict
        })
        .await
    }

    /// Everything. `samples` are held-out turns, newest first.
    ///
    /// # Errors
    /// The gate itself broke down; nothing is known of the version then.
    pub async fn examine(
        &mut self,
        pair: Pair,
        samples: Vec<Sample>,
    ) -> Result<Verdict, DeployError> {
        let mut gate = self.clone();
        let handle = tokio::runtime::Handle::current();
        let (gate, verdict) = on_a_calm_thread(move || {
            let begun = Instant::now();
            let mut verdict = Verdict::default();
            let looked = gate.look(pair, &samples, &mut verdict, &handle);
            verdict.note("took_ms", begun.elapsed().as_millis() as u64);
            (gate, looked.map(|()| verdict))
        })
        .await?;
        self.replies = gate.replies;
        verdict
    }

    fn look(
        &mut self,
        pair: Pair,
        samples: &[Sample],
        verdict: &mut Verdict,
        handle: &tokio::runtime::Handle,
    ) -> Result<(), DeployError> {
        if !by_files(&self.registry, pair.candidate, verdict) {
            return Ok(());
        }
        verdict.note("against", pair.live.0);
        // Neither is let go while it is looked at.
        let _held = [pair.live, pair.candidate].map(|version| self.registry.hold(version));
        let broke = |error: ModelError| DeployError::Gate { reason: chain(&error) };
        let at = Placement::find(self.config.device, DtypeChoice::Auto).map_err(broke)?;
        let (live, candidate) = match self.load(pair, &at)? {
            Ok(both) => both,
            Err(error) => {
                verdict.refused = Some(chain(&error));
                return Ok(());
            }
        };
        let tokens: usize = samples.iter().map(|sample| sample.response.len()).sum();
        let enough = samples.len() >= TURNS_MIN && tokens >= TOKENS_MIN;
        if enough {
            self.by_drift([&live, &candidate], "turns", samples, verdict)?;
            if verdict.refused.is_some() {
                return Ok(());
            }
        }
        if self.probes.is_empty() {
            return Ok(());
        }
        let renderer = match Renderer::open(&self.registry.dir(pair.candidate)) {
            Ok(renderer) => renderer,
            Err(error) => {
                verdict.note("probes", json!({ "skipped": chain(&error) }));
                return Ok(());
            }
        };
        let [of_live, own] = handle.block_on(self.ask(pair, [&live, &candidate], &renderer))?;
        if !enough {
            let said = probes::samples(&of_live, PROBES_MEASURED);
            self.by_drift([&live, &candidate], "probes", &said, verdict)?;
        }
        let judged = probes::compare(&self.probes, &of_live, &own);
        verdict.refused = verdict.refused.take().or_else(|| judged.refusal());
        verdict.note("probes", &judged);
        if self.config.gate_judge.is_some() {
            let heard = handle.block_on(opinion::ask(&self.config, &self.probes, &of_live, &own));
            verdict.refused = verdict.refused.take().or_else(|| heard.refusal());
            verdict.note("judge", &heard);
        }
        Ok(())
    }

    /// Both models; where the candidate cannot be loaded, why.
    fn load(
        &self,
        pair: Pair,
        at: &Placement,
    ) -> Result<Result<(Decoder, Decoder), ModelError>, DeployError> {
        let mut bases: BTreeMap<Version, Decoder> = BTreeMap::new();
        let mut load = |version: Version| -> Result<Decoder, ModelError> {
            let base = self.registry.base_of(version)?;
            let whole = base.unwrap_or(version);
            let decoder = match bases.get(&whole) {
                Some(decoder) => decoder.clone(),
                None => {
                    let (read, _) = Decoder::read(&self.registry.dir(whole), &at.device)?;
                    let ready = read.for_inference(at.precision)?;
                    bases.insert(whole, ready.clone());
                    ready
                }
            };
            match base {
                None => Ok(decoder),
                Some(_) => {
                    let dir = self.registry.dir(version);
                    let adapter = Adapter::load(&dir, decoder.config(), &at.device)?;
                    decoder.with_adapter(&adapter)
                }
            }
        };
        let live = load(pair.live).map_err(|error| DeployError::Gate { reason: chain(&error) })?;
        Ok(load(pair.candidate).map(|candidate| (live, candidate)))
    }

    /// What both answer to every probe: the live version, and the candidate.
    async fn ask(
        &mut self,
        pair: Pair,
        [live, candidate]: [&Decoder; 2],
        renderer: &Renderer,
    ) -> Result<[Vec<Reply>; 2], DeployError> {
        let tokens = self.config.gate_probe_tokens;
        let of_live = match self.replies.remove(&pair.live) {
            Some(replies) => replies,
            None => probes::ask(live, pair.live, renderer, &self.probes, tokens).await?,
        };
        let own = probes::ask(candidate, pair.candidate, renderer, &self.probes, tokens).await?;
        self.replies =
            BTreeMap::from([(pair.live, of_live.clone()), (pair.candidate, own.clone())]);
        Ok([of_live, own])
    }

    fn by_drift(
        &self,
        [live, candidate]: [&Decoder; 2],
        on: &str,
        samples: &[Sample],
        verdict: &mut Verdict,
    ) -> Result<(), DeployError> {
        let drift = drift::measure(live, candidate, samples)
            .map_err(|reason| DeployError::Gate { reason })?;
        let bound = self.config.gate_kl_max;
        let Drift { mean, turns, tokens, .. } = drift;
        verdict.note("kl", json!({ "on": on, "bound": bound, "figures": drift }));
        // Not a number is not within.
        if !matches!(mean.partial_cmp(&bound), Some(order) if order.is_le()) {
            verdict.refused = Some(format!(
                "it is {mean:.3} nats from the live version, on the mean of {tokens} tokens of \
                 {turns} {on}; {bound} are allowed"
            ));
        }
        Ok(())
    }
}

/// Notes what the files are like; whether they are as they should be.
fn by_files(registry: &Registry, version: Version, verdict: &mut Verdict) -> bool {
    match files::inspect(registry, version) {
        Ok(figures) => {
            if let Value::Object(figures) = json!(figures) {
                verdict.figures.extend(figures);
            }
            true
        }
        Err(reason) => {
            verdict.refused = Some(reason);
            false
        }
    }
}

/// Runs something on a thread of its own that gives way to others, as do the threads that it
/// starts: a server on the same cores keeps them.
async fn on_a_calm_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DeployError> {
    let (done, result) = tokio::sync::oneshot::channel();
    let run = move || {
        // On Linux this is of the thread, not of the process. Where it is refused, it is no harm.
        let _ = rustix::process::nice(NICE);
        let _ = done.send(work());
    };
    let started = std::thread::Builder::new().name("gate".to_owned()).spawn(run);
    let broken = |reason: String| DeployError::Panicked { reason };
    let thread = started.map_err(|error| broken(error.to_string()))?;
    let result = result.await.map_err(|_| broken("the gate's thread".to_owned()));
    drop(thread);
    result
}
