//! Reading a JSON object field by field, so that what is wrong can be named.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::CHOICES_MAX;

/// A field of a request that cannot be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{param}`: {problem}")]
pub struct BadField {
    /// The path of the field: `stream_options.include_usage`.
    pub param: String,
    /// What is wrong with it.
    pub problem: String,
}

impl BadField {
    /// A field and what is wrong with it.
    pub fn new(param: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { param: param.into(), problem: problem.into() }
    }
}

/// The fields of one object that were not taken yet. Null is the same as absent.
#[derive(Debug)]
pub struct Fields {
    at: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The fields of a request's body.
    ///
    /// # Errors
    /// The body is no object.
    pub fn of_body(body: Value) -> Result<Self, BadField> {
        match body {
            Value::Object(map) => Ok(Self { at: String::new(), map }),
            other => {
                let problem = format!("expected a JSON object, got {}", kind(&other));
                Err(BadField::new("body", problem))
            }
        }
    }

    /// The path of a field of this object.
    pub fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    /// Takes a field as it is.
    pub fn raw(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a field of type `T`, described by `expected`.
    ///
    /// # Errors
    /// It has another type.
    pub fn get<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, BadField> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        let got = match &value {
            Value::Number(number) => number.to_string(),
            other => kind(other).to_owned(),
        };
        serde_json::from_value(value)
            .map(Some)
            .map_err(|_| self.bad(key, &format!("expected {expected}, got {got}")))
    }

    /// Takes a field that is an object; without it, an empty one.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&mut self, key: &str) -> Result<Self, BadField> {
        let map = self.get::<Map<String, Value>>(key, "an object")?;
        Ok(Self { at: self.path(key), map: map.unwrap_or_default() })
    }

    /// What is wrong with a field of this object.
    pub fn bad(&self, key: &str, problem: &str) -> BadField {
        BadField::new(self.path(key), problem)
    }

    /// Takes a number within a range, described by `expected`.
    ///
    /// # Errors
    /// It is no number, or lies outside.
    pub fn number(
        &mut self,
        key: &str,
        expected: &str,
        fits: impl Fn(f32) -> bool,
    ) -> Result<Option<f32>, BadField> {
        let number: Option<f32> = self.get(key, expected)?;
        match number {
            Some(value) if !(value.is_finite() && fits(value)) => {
                Err(self.bad(key, &format!("expected {expected}, got {value}")))
            }
            number => Ok(number),
        }
    }

    /// Takes a whole number above 0.
    ///
    /// # Errors
    /// It is something else.
    pub fn positive(&mut self, key: &str) -> Result<Option<u32>, BadField> {
        let expected = "a whole number above 0";
        match self.get::<u32>(key, expected)? {
            Some(0) => Err(self.bad(key, &format!("expected {expected}, got 0"))),
            limit => Ok(limit),
        }
    }

    /// Takes how many replies are wanted: 1 where nothing is said.
    ///
    /// # Errors
    /// It is no number from 1 to [`CHOICES_MAX`].
    pub fn choices(&mut self, key: &str) -> Result<usize, BadField> {
        let expected = format!("a whole number from 1 to {CHOICES_MAX}");
        let n = self.get::<usize>(key, &expected)?.unwrap_or(1);
        if (1..=CHOICES_MAX).contains(&n) {
            return Ok(n);
        }
        Err(self.bad(key, &format!("expected {expected}, got {n}")))
    }

    /// Refuses a field that would change the answer, unless it has the value that changes
    /// nothing.
    ///
    /// # Errors
    /// It has another value.
    pub fn neutral(&mut self, key: &str, neutral: f64) -> Result<(), BadField> {
        match self.raw(key) {
            None => Ok(()),
            Some(value) if value.as_f64() == Some(neutral) => Ok(()),
            Some(_) => Err(self.bad(key, &format!("only {neutral} (no effect) is supported"))),
        }
    }

    /// Takes `stop`: a string or an array of strings, none of them empty.
    ///
    /// # Errors
    /// It is something else, or holds more than 16.
    pub fn stops(&mut self, key: &str) -> Result<Vec<String>, BadField> {
        let expected = "expected a string or an array of at most 16 strings, none of them empty";
        let stops = match self.raw(key) {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(value) => serde_json::from_value(value).map_err(|_| self.bad(key, expected))?,
        };
        if stops.len() > 16 || stops.iter().any(String::is_empty) {
            return Err(self.bad(key, expected));
        }
        Ok(stops)
    }

    /// Takes a seed: any whole number of 64 bits, with or without sign.
    ///
    /// # Errors
    /// It is something else.
    pub fn seed(&mut self, key: &str) -> Result<Option<u64>, BadField> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
        seed.map(Some).ok_or_else(|| self.bad(key, "expected a whole number"))
    }

    /// Takes `top_k`: -1 and 0 keep all, as 0.
    ///
    /// # Errors
    /// It is something else.
    pub fn top_k(&mut self) -> Result<Option<u32>, BadField> {
        let expected = "a whole number from -1 (-1 and 0 keep all)";
        let Some(top_k) = self.get::<i64>("top_k", expected)? else { return Ok(None) };
        let problem = || self.bad("top_k", &format!("expected {expected}, got {top_k}"));
        let kept = if top_k == -1 { 0 } else { top_k };
        u32::try_from(kept).map(Some).map_err(|_| problem())
    }
}

/// What a JSON value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: Value) -> Fields {
        Fields::of_body(body).unwrap()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        let mut outer = fields(json!({"a": {"b": "x"}, "t": 3, "n": null}));
        let mut inner = outer.object("a").unwrap();
        let error = inner.get::<bool>("b", "true or false").unwrap_err();
        assert_eq!(error.to_string(), "`a.b`: expected true or false, got a string");
        let error = outer.number("t", "0 to 2", |t| t <= 2.0).unwrap_err();
        assert_eq!(error.to_string(), "`t`: expected 0 to 2, got 3");
        assert_eq!(outer.get::<bool>("n", "true or false"), Ok(None));
        assert!(Fields::of_body(json!([])).unwrap_err().to_string().contains("got an array"));
    }

    #[test]
    fn numbers_take_their_wire_forms() {
        let mut all = fields(json!({"top_k": -1, "seed": -1, "n": 1, "p": 0.5}));
        assert_eq!(all.top_k(), Ok(Some(0)));
        assert_eq!(all.seed("seed"), Ok(Some(u64::MAX)));
        assert_eq!(all.neutral("n", 1.0), Ok(()));
        assert!(all.neutral("p", 0.0).is_err());
        assert!(fields(json!({"top_k": -2})).top_k().is_err());
        assert!(fields(json!({"seed": 1.5})).seed("seed").is_err());
    }

    #[test]
    fn stop_is_a_string_or_some() {
        assert_eq!(fields(json!({"stop": "a"})).stops("stop"), Ok(vec!["a".to_owned()]));
        assert_eq!(fields(json!({"stop": ["a", "b"]})).stops("stop").map(|s| s.len()), Ok(2));
        assert_eq!(fields(json!({"stop": null})).stops("stop"), Ok(vec![]));
        for wrong in [json!(""), json!(1), json!(["a", ""]), json!([1]), json!(vec!["a"; 17])] {
            assert!(fields(json!({"stop": wrong})).stops("stop").is_err());
        }
    }
}
