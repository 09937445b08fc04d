//! How a reply is drawn where the request does not say.

use crate::config::ServeConfig;
use crate::events::serve::SamplingDefaults;
use crate::render::GenerationDefaults;
use crate::rollout::Sampling;

/// Temperature where neither the configuration nor the model says.
const TEMPERATURE: f32 = 0.6;

/// What holds where the request does not say: the configuration, else the model's own
/// `generation_config.json`, else nothing but T = 0.6. And where each came from.
///
/// A repetition penalty of the model's is left out while turns are recorded: no turn that was
/// drawn with one can be trained on.
pub(super) fn sampling(
    config: &ServeConfig,
    model: GenerationDefaults,
) -> (Sampling, SamplingDefaults) {
    let none = Sampling::default();
    let penalty = model.repetition_penalty.filter(|penalty| *penalty != 1.0);
    let left_out = penalty.filter(|_| config.records() && config.repetition_penalty.is_none());
    let penalty = penalty.filter(|_| left_out.is_none());
    let mut told = Vec::new();
    let sampling = Sampling {
        temperature: settle(
            &mut told,
            "temperature",
            (config.temperature, model.temperature),
            TEMPERATURE,
        ),
        top_p: settle(&mut told, "top_p", (config.top_p, model.top_p), none.top_p),
        top_k: settle(&mut told, "top_k", (config.top_k, model.top_k), none.top_k),
        min_p: settle(&mut told, "min_p", (config.min_p, model.min_p), none.min_p),
        repetition_penalty: settle(
            &mut told,
            "repetition_penalty",
            (config.repetition_penalty, penalty),
            none.repetition_penalty,
        ),
        ..none
    };
    (sampling, SamplingDefaults { settled: told.join(", "), penalty_left_out: left_out })
}

/// The first that says: the configuration, the model, the house.
fn settle<T: std::fmt::Display>(
    told: &mut Vec<String>,
    name: &str,
    (config, model): (Option<T>, Option<T>),
    house: T,
) -> T {
    let (value, origin) = match (config, model) {
        (Some(value), _) => (value, "configuration"),
        (None, Some(value)) => (value, "model"),
        (None, None) => (house, "default"),
    };
    told.push(format!("{name} {value} ({origin})"));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: GenerationDefaults = GenerationDefaults {
        temperature: Some(0.7),
        top_p: Some(0.8),
        top_k: Some(20),
        min_p: None,
        repetition_penalty: Some(1.05),
    };

    #[test]
    fn the_configuration_comes_before_the_model_and_the_model_before_the_house() {
        let (plain, told) = sampling(&ServeConfig::default(), GenerationDefaults::default());
        assert_eq!(plain, Sampling { temperature: 0.6, ..Sampling::default() });
        assert!(told.settled.starts_with("temperature 0.6 (default), top_p 1 (default)"));
        let config = ServeConfig { top_p: Some(0.9), ..ServeConfig::default() };
        let (settled, told) = sampling(&config, MODEL);
        assert_eq!((settled.temperature, settled.top_p, settled.top_k), (0.7, 0.9, 20));
        let expected = "temperature 0.7 (model), top_p 0.9 (configuration), top_k 20 (model)";
        assert!(told.settled.starts_with(expected), "{}", told.settled);
    }

    #[test]
    fn a_penalty_of_the_models_does_not_keep_turns_from_being_trained_on() {
        let (recording, told) = sampling(&ServeConfig::default(), MODEL);
        assert_eq!((recording.repetition_penalty, told.penalty_left_out), (1.0, Some(1.05)));
        assert!(!recording.shifts_logits());
        let config = ServeConfig { record: false, ..ServeConfig::default() };
        let (only_serving, told) = sampling(&config, MODEL);
        assert_eq!((only_serving.repetition_penalty, told.penalty_left_out), (1.05, None));
        let config = ServeConfig { repetition_penalty: Some(1.1), ..ServeConfig::default() };
        let (wished, told) = sampling(&config, MODEL);
        assert_eq!((wished.repetition_penalty, told.penalty_left_out), (1.1, None));
    }
}
