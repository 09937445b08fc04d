//! What is to be continued or scored as it is, without a chat template.

use serde_json::Value;

/// A prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text.
    Text(String),
    /// Ids.
    Ids(Vec<u32>),
}

/// It is neither text nor ids, nor an array of either; or something in it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPrompt;

impl Prompt {
    /// One string or array of ids, or an array of such.
    ///
    /// # Errors
    /// It is something else, or something in it is empty.
    pub fn several(value: Value) -> Result<Vec<Self>, NoPrompt> {
        let prompts = match value {
            Value::Array(values) if !values.first().is_some_and(Value::is_number) => {
                values.into_iter().map(Self::one).collect::<Result<Vec<_>, _>>()?
            }
            value => vec![Self::one(value)?],
        };
        Some(prompts).filter(|prompts| !prompts.is_empty()).ok_or(NoPrompt)
    }

    /// One string or array of ids.
    ///
    /// # Errors
    /// It is something else, or empty.
    pub fn one(value: Value) -> Result<Self, NoPrompt> {
        match value {
            Value::String(text) if !text.is_empty() => Ok(Self::Text(text)),
            Value::Array(ids) if !ids.is_empty() => {
                let ids = serde_json::from_value(Value::Array(ids)).map_err(|_| NoPrompt)?;
                Ok(Self::Ids(ids))
            }
            _ => Err(NoPrompt),
        }
    }
}
