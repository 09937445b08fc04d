//! Every family, rope scaling and adapter against what transformers and peft computed
//! (`scripts/make-parity`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use openclaw_rl::model::{
    Adapter, Causal, Decoder, Differentiation, Pack, Parameters, RopeScaling, SaveDtype, Sequence,
    backward, forward,
};

use crate::golden::{self, Array, difference};

/// The response starts here, as in the script.
const START: usize = 70;
/// The reference is computed in float64; logits are at most 13 in magnitude, and ours were found
/// to be off by up to 2.2e-5.
const LOGITS_OFF_MAX: f32 = 5e-5;
/// Of the largest element of the same gradient; ours were found to be off by up to 5.3e-6.
const GRADIENT_OFF_MAX: f32 = 2e-5;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/parity")
}

/// Folders that hold this file, by name.
fn cases(file: &str) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|dir| dir.join(file).is_file());
    dirs.sort();
    dirs
}

struct Case {
    name: String,
    decoder: Decoder,
    ids: Vec<u32>,
    expected: BTreeMap<String, Array>,
}

fn open(dir: &Path, decoder: Decoder) -> Case {
    let name = dir.file_name().unwrap().to_string_lossy().into_owned();
    let expected = golden::read(&dir.join("expected.safetensors"));
    let ids = expected["ids"].values.iter().map(|id| *id as u32).collect();
    Case { name, decoder, ids, expected }
}

fn load(dir: &Path) -> Decoder {
    Decoder::load(dir, &Device::flex()).unwrap_or_else(|error| panic!("{error}"))
}

fn models() -> Vec<Case> {
    let cases = cases("config.json");
    assert!(cases.len() >= 7, "{cases:?}");
    cases.iter().map(|dir| open(dir, load(dir))).collect()
}

/// The folder of an adapter's base, and the adapter.
fn adapter(dir: &Path) -> (PathBuf, Decoder, Adapter) {
    let text = std::fs::read_to_string(dir.join("adapter_config.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&text).unwrap();
    let base = root().join(settings["base_model_name_or_path"].as_str().unwrap());
    let decoder = load(&base);
    let adapter = Adapter::load(dir, decoder.config(), &Device::flex());
    (base, decoder, adapter.unwrap_or_else(|error| panic!("{error}")))
}

fn adapted() -> Vec<Case> {
    let cases = cases("adapter_config.json");
    assert!(cases.len() >= 3, "{cases:?}");
    let open = |dir: &PathBuf| {
        let (_, decoder, adapter) = adapter(dir);
        open(dir, decoder.with_adapter(&adapter).unwrap())
    };
    cases.iter().map(open).collect()
}

fn logits(decoder: &Decoder, ids: &[u32]) -> Vec<f32> {
    let positions: Vec<u32> = (0..ids.len() as u32).collect();
    let hidden = decoder.hidden(ids, &positions, &mut Causal::default());
    decoder.logits(hidden).try_into_vec_as().unwrap()
}

impl Case {
    fn gradient(&self, how: Differentiation) -> Parameters {
        let sequence = Sequence::new(self.decoder.config(), self.ids.clone(), START).unwrap();
        let pack = Pack::new(self.decoder.config(), &[sequence], &[1.0]).unwrap();
        let (answers, tape) = forward(&self.decoder, &pack, None, how);
        let weights: Vec<f32> =
            (0..answers.logprobs.dims()[0]).map(|t| 1.0 - 0.3 * t as f32).collect();
        let weights = Tensor::from_floats(weights.as_slice(), self.decoder.device());
        backward(&self.decoder, tape, weights)
    }

    fn check_logits(&self) {
        let off = difference(&logits(&self.decoder, &self.ids), &self.expected["logits"].values);
        assert!(off < LOGITS_OFF_MAX, "{}: logits are off by {off:e}", self.name);
    }

    /// Whether the case has gradients; then they are right, and there are no others.
    fn check_gradients(&self) -> bool {
        let wanted = |name: &&String| name.starts_with("grad/");
        let expected: Vec<&String> = self.expected.keys().filter(wanted).collect();
        if expected.is_empty() {
            return false;
        }
        let gradient = self.gradient(Differentiation::default());
        let names: Vec<String> = gradient.names().map(|name| format!("grad/{name}")).collect();
        assert!(names.iter().eq(expected), "{}: {names:?}", self.name);
        for (name, found) in gradient.iter() {
            let expected = &self.expected[&format!("grad/{name}")].values;
            let scale = expected.iter().fold(0f32, |max, value| max.max(value.abs()));
            let off = difference(&found.to_vec().unwrap(), expected) / scale;
            assert!(off < GRADIENT_OFF_MAX, "{} {name}: off by {off:e} of {scale}", self.name);
        }
        true
    }
}

#[test]
fn logits_of_every_family_and_scaling_are_those_of_transformers() {
    let models = models();
    models.iter().for_each(Case::check_logits);
    let scalings: Vec<RopeScaling> =
        models.iter().map(|case| case.decoder.config().rope_scaling).collect();
    // Each kind is among them, and scaled ones are looked at beyond their original length.
    for kind in [
        |scaling: &RopeScaling| matches!(scaling, RopeScaling::Default),
        |scaling: &RopeScaling| matches!(scaling, RopeScaling::Linear { .. }),
        |scaling: &RopeScaling| matches!(scaling, RopeScaling::Llama3 { original: 16, .. }),
        |scaling: &RopeScaling| matches!(scaling, RopeScaling::Yarn(yarn) if yarn.original == 16),
    ] {
        assert!(scalings.iter().any(kind));
    }
}

#[test]
fn gradients_of_every_parameter_are_those_of_transformers() {
    let checked = models().iter().filter(|case| case.check_gradients()).count();
    assert!(checked >= 6, "{checked}");
}

#[test]
fn what_was_saved_computes_the_same() {
    for case in models() {
        let dir = tempfile::tempdir().unwrap();
        case.decoder.save(dir.path(), SaveDtype::F32).unwrap();
        let again = load(dir.path());
        assert_eq!(again.config(), case.decoder.config(), "{}", case.name);
        assert_eq!(logits(&again, &case.ids), logits(&case.decoder, &case.ids), "{}", case.name);
        let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
        // Both styles stand in the file, and each says the same alone.
        for style in [["rope_parameters", ""], ["rope_scaling", "rope_theta"]] {
            let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
            for key in style {
                json.as_object_mut().unwrap().remove(key);
            }
            let path = dir.path().join("config.json");
            let alone = openclaw_rl::model::ModelConfig::parse(&json.to_string(), &path);
            assert_eq!(alone.unwrap(), *case.decoder.config(), "{} without {style:?}", case.name);
        }
    }
}

#[test]
fn an_adapter_computes_what_it_does_in_peft() {
    for case in adapted() {
        case.check_logits();
        assert!(case.check_gradients(), "{}", case.name);
    }
}

#[test]
fn how_an_adapter_is_differentiated_does_not_change_its_gradient() {
    use openclaw_rl::model::Recompute;
    for case in adapted() {
        let how = |recompute| Differentiation { recompute, ..Differentiation::default() };
        let kept = case.gradient(how(Recompute::Never));
        let again = case.gradient(how(Recompute::Blocks));
        for (name, kept) in kept.iter() {
            let again = again.get(name).unwrap().to_vec().unwrap();
            assert!(difference(&kept.to_vec().unwrap(), &again) < 1e-5, "{} {name}", case.name);
        }
    }
}

#[test]
fn an_adapter_that_was_saved_computes_the_same() {
    for dir in cases("adapter_config.json") {
        let (_, base, adapter) = adapter(&dir);
        let saved = tempfile::tempdir().unwrap();
        adapter.save(saved.path(), None).unwrap();
        let again = Adapter::load(saved.path(), base.config(), &Device::flex()).unwrap();
        assert_eq!(again.settings(), adapter.settings());
        let ids = open(&dir, base.clone()).ids;
        let [first, second] =
            [&adapter, &again].map(|one| logits(&base.with_adapter(one).unwrap(), &ids));
        assert_eq!(first, second, "{}", dir.display());
        assert_ne!(first, logits(&base, &ids), "{}", dir.display());
    }
}

/// log p of every id after the first, from the expected logits.
fn expected_logprobs(case: &Case) -> Vec<f32> {
    let vocab = case.decoder.config().vocab_size;
    let rows = case.expected["logits"].values.chunks_exact(vocab);
    let logprob = |(row, next): (&[f32], &u32)| {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|value| f64::from(value - max).exp()).sum();
        (f64::from(row[*next as usize] - max) - sum.ln()) as f32
    };
    rows.zip(&case.ids[1..]).map(logprob).collect()
}

/// In small chunks, together in one batch, over its own caches and kernels.
#[tokio::test]
async fn an_engine_scores_every_family_and_adapter_as_transformers_does() {
    use openclaw_rl::engine::{Engine, EngineOptions, ModelSet, ScoreRequest};
    use openclaw_rl::rollout::Version;
    use std::sync::Arc;
    let adapters: Vec<(PathBuf, Case)> = cases("adapter_config.json")
        .iter()
        .map(|dir| {
            let (base, decoder, adapter) = adapter(dir);
            (base, open(dir, decoder.with_adapter(&adapter).unwrap()))
        })
        .collect();
    let mut scored = 0;
    for dir in cases("config.json") {
        let base = open(&dir, load(&dir));
        let mut set = ModelSet::from(Arc::new(base.decoder.clone()));
        let mut all: Vec<(&Case, Option<Arc<str>>)> = vec![(&base, None)];
        for (_, case) in adapters.iter().filter(|(of, _)| *of == dir) {
            set = set.with_adapter(&case.name, Arc::new(case.decoder.clone()));
            all.push((case, Some(case.name.as_str().into())));
        }
        let options = EngineOptions { prefill_chunk: 24, ..EngineOptions::default() };
        let engine = Engine::start(set, Version(0), options).unwrap();
        let requests: Vec<_> = all
            .iter()
            .map(|(case, adapter)| {
                let (ids, adapter) = (case.ids.clone(), adapter.clone());
                let plain = ScoreRequest { ids, start: 1, temperature: 1.0, ..Default::default() };
                engine.score(ScoreRequest { adapter, ..plain })
            })
            .collect();
        for (request, (case, _)) in requests.into_iter().zip(&all) {
            let found = request.await.unwrap().logprobs;
            let off = difference(&found, &expected_logprobs(case));
            assert!(off < 1e-4, "{}: log-probabilities are off by {off:e}", case.name);
            scored += 1;
        }
    }
    assert_eq!(scored, cases("expected.safetensors").len());
}
