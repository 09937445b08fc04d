//! How a model's makers would have it sampled: the numbers of its `generation_config.json`.

use serde_json::{Map, Value};

/// Sampling parameters that a model's `generation_config.json` names; `None` where it does not.
///
/// `do_sample` and the limits on length are not read: whether and how long a reply is sampled is
/// for the request and the server to say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Temperature, 0 to 10.
    pub temperature: Option<f32>,
    /// Nucleus mass, above 0, at most 1.
    pub top_p: Option<f32>,
    /// Most probable tokens kept; 0 keeps all.
    pub top_k: Option<u32>,
    /// Least probability beside the most probable token, 0 to 1.
    pub min_p: Option<f32>,
    /// Penalty on what the prompt or the reply holds already, 0.1 to 10; 1 changes nothing.
    pub repetition_penalty: Option<f32>,
}

impl GenerationDefaults {
    /// Reads the content of the file.
    ///
    /// # Errors
    /// A value that is no number, or out of range.
    pub(super) fn read(config: &Map<String, Value>) -> Result<Self, String> {
        let number = |key: &str, fits: fn(f64) -> bool, expected: &str| match config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|number| fits(*number)) {
                Some(number) => Ok(Some(number as f32)),
                None => Err(format!("`{key}` is {value}, expected {expected}")),
            },
        };
        let top_k = number("top_k", |k| k >= -1.0 && k.fract() == 0.0, "a whole number")?;
        Ok(Self {
            temperature: number("temperature", |t| (0.0..=10.0).contains(&t), "0 to 10")?,
            top_p: number("top_p", |p| p > 0.0 && p <= 1.0, "above 0, at most 1")?,
            top_k: top_k.map(|k| k.max(0.0) as u32),
            min_p: number("min_p", |p| (0.0..=1.0).contains(&p), "0 to 1")?,
            repetition_penalty: number(
                "repetition_penalty",
                |penalty| (0.1..=10.0).contains(&penalty),
                "0.1 to 10",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: Value) -> Result<GenerationDefaults, String> {
        GenerationDefaults::read(config.as_object().unwrap())
    }

    #[test]
    fn what_is_named_is_read() {
        assert_eq!(read(json!({"do_sample": true})), Ok(GenerationDefaults::default()));
        let config = json!({"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0,
            "repetition_penalty": 1.05, "max_length": 20});
        let expected = GenerationDefaults {
            temperature: Some(0.7),
            top_p: Some(0.8),
            top_k: Some(20),
            min_p: Some(0.0),
            repetition_penalty: Some(1.05),
        };
        assert_eq!(read(config), Ok(expected));
        let none = json!({"temperature": null, "top_k": -1});
        let expected = GenerationDefaults { top_k: Some(0), ..GenerationDefaults::default() };
        assert_eq!(read(none), Ok(expected), "-1 keeps all");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (key, value) in [
            ("temperature", json!(-1)),
            ("temperature", json!("hot")),
            ("top_p", json!(0)),
            ("top_p", json!(1.5)),
            ("top_k", json!(1.5)),
            ("top_k", json!(-2)),
            ("min_p", json!(2)),
            ("repetition_penalty", json!(0)),
        ] {
            let problem = read(json!({ key: value })).unwrap_err();
            assert!(problem.contains(&format!("`{key}`")), "{problem}");
        }
    }
}
