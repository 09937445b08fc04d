//! What a reply's text has to be, where that is not anything: `response_format` of OpenAI,
//! `structured_outputs` of vLLM, `json_schema` and `regex` of SGLang.

use serde_json::Value;

use super::{BadField, Fields};

/// What a text has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum TextShape {
    /// A JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema {
        /// The schema.
        schema: Value,
        /// Whether a keyword that cannot be enforced is refused.
        strict: bool,
    },
    /// What this regular expression matches.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
}

impl TextShape {
    /// Takes `response_format` or `structured_outputs`; `None` where any text will do.
    ///
    /// # Errors
    /// They are no such thing, or both are there.
    pub fn openai(fields: &mut Fields) -> Result<Option<Self>, BadField> {
        let format = response_format(fields)?;
        let mut wanted = fields.object("structured_outputs")?;
        let structured = Self::structured(&mut wanted, "json")?;
        if format.is_some() && structured.is_some() {
            let problem = "give either `structured_outputs` or `response_format`";
            return Err(fields.bad("structured_outputs", problem));
        }
        Ok(format.or(structured))
    }

    /// Takes `json_schema` or `regex` of SGLang's `sampling_params`.
    ///
    /// # Errors
    /// They are no such thing, or both are there.
    pub fn sglang(fields: &mut Fields) -> Result<Option<Self>, BadField> {
        Self::structured(fields, "json_schema")
    }

    fn structured(fields: &mut Fields, schema: &str) -> Result<Option<Self>, BadField> {
        for key in ["ebnf", "grammar", "structural_tag"] {
            if fields.raw(key).is_some() {
                return Err(fields.bad(key, &format!("is not supported; `{schema}`, `regex` are")));
            }
        }
        let mut shapes = Vec::new();
        if let Some(value) = fields.raw(schema) {
            let value = match value {
                Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
                value => value,
            };
            if !value.is_object() {
                let expected = "expected a JSON schema: an object, or the text of one";
                return Err(fields.bad(schema, expected));
            }
            shapes.push(Self::JsonSchema { schema: value, strict: false });
        }
        if let Some(regex) = fields.get::<String>("regex", "a regular expression")? {
            shapes.push(Self::Regex(regex));
        }
        if let Some(choices) = fields.get::<Vec<String>>("choice", "an array of strings")? {
            shapes.push(Self::Choice(choices));
        }
        if shapes.len() > 1 {
            return Err(fields.bad("regex", "only one kind of shape can be wanted"));
        }
        Ok(shapes.pop())
    }
}

fn response_format(fields: &mut Fields) -> Result<Option<TextShape>, BadField> {
    let Some(format) = fields.raw("response_format") else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(TextShape::JsonObject)),
        Some("json_schema") => match &format["json_schema"]["schema"] {
            schema @ (Value::Object(_) | Value::Bool(true)) => {
                let strict = format["json_schema"]["strict"].as_bool().unwrap_or_default();
                Ok(Some(TextShape::JsonSchema { schema: schema.clone(), strict }))
            }
            _ => {
                let at = "response_format.json_schema.schema";
                Err(BadField::new(at, "expected a JSON schema: an object"))
            }
        },
        _ => {
            let problem = "expected \"text\", \"json_object\" or \"json_schema\"";
            Err(BadField::new("response_format.type", problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn openai(body: Value) -> Result<Option<TextShape>, BadField> {
        TextShape::openai(&mut Fields::of_body(body)?)
    }

    #[test]
    fn each_form_is_read() {
        let schema = json!({"type": "object"});
        let wanted = |strict| TextShape::JsonSchema { schema: json!({"type": "object"}), strict };
        for (body, shape) in [
            (json!({}), None),
            (json!({"response_format": {"type": "text"}}), None),
            (json!({"response_format": {"type": "json_object"}}), Some(TextShape::JsonObject)),
            (
                json!({"response_format": {"type": "json_schema",
                    "json_schema": {"name": "x", "strict": true, "schema": schema}}}),
                Some(wanted(true)),
            ),
            (json!({"structured_outputs": {"json": schema.to_string()}}), Some(wanted(false))),
            (
                json!({"structured_outputs": {"choice": ["a", "b"]}}),
                Some(TextShape::Choice(vec!["a".into(), "b".into()])),
            ),
        ] {
            assert_eq!(openai(body), Ok(shape));
        }
        let mut params = Fields::of_body(json!({"regex": "a+"})).unwrap();
        assert_eq!(TextShape::sglang(&mut params), Ok(Some(TextShape::Regex("a+".into()))));
    }

    #[test]
    fn what_is_none_is_named() {
        for (body, at) in [
            (json!({"response_format": "json"}), "response_format.type"),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}}),
                "response_format.json_schema.schema",
            ),
            (json!({"structured_outputs": {"json": "x"}}), "structured_outputs.json"),
            (json!({"structured_outputs": {"grammar": "x"}}), "structured_outputs.grammar"),
            (
                json!({"structured_outputs": {"regex": "x", "choice": []}}),
                "structured_outputs.regex",
            ),
            (
                json!({"structured_outputs": {"regex": "x"},
                    "response_format": {"type": "json_object"}}),
                "structured_outputs",
            ),
        ] {
            assert_eq!(openai(body).unwrap_err().param, at);
        }
    }
}
