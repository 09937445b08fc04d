//! The fields of a body that say who asks, in which conversation, and what may be kept of it.

use serde_json::{Map, Value};

use super::{BadField, Fields};

/// Body fields that place a turn in its session, or name its user.
const FIELDS: &[&str] = &[
    "user",
    "session_id",
    "turn_type",
    "session_done",
    "prompt_cache_key",
    "conversation",
    "litellm_session_id",
    "safety_identifier",
];
/// The body field that asks for nothing to be kept.
const NO_TRAIN: &str = "no_train";
/// What stands between a user and a session in one client's name for both
/// (`user_…_account_…_session_…`).
const SESSION_MARK: &str = "_session_";

/// What a body says of its session and its user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// (name, text), in a fixed order.
    pub fields: Vec<(&'static str, String)>,
    /// Nothing of the request may be kept.
    pub no_train: bool,
}

impl Session {
    /// Takes the fields out of a body; `metadata` is the body's own, if it has one.
    ///
    /// # Errors
    /// `no_train` is neither true nor false: what was meant must not be guessed.
    pub(super) fn take(
        fields: &mut Fields,
        metadata: &Map<String, Value>,
    ) -> Result<Self, BadField> {
        let mut named: Vec<_> = FIELDS
            .iter()
            .filter_map(|key| fields.raw(key).and_then(text).map(|text| (*key, text)))
            .collect();
        let unnamed = named.iter().all(|(name, _)| *name != "user");
        if let Some(user) = metadata.get("user_id").filter(|_| unnamed).cloned().and_then(text) {
            named.insert(0, ("user", user));
        }
        let user = named.iter().find(|(name, _)| *name == "user");
        let within = user.and_then(|(_, user)| split_user(user).1);
        let stated = metadata.get("session_id").cloned().and_then(text);
        if let Some(session) = stated.or(within) {
            named.push(("metadata.session_id", session));
        }
        Ok(Self { fields: named, no_train: no_train(fields)? })
    }

    /// The same, where a body without `metadata` that is an object is as good as one without any.
    pub(super) fn of_openai(fields: &mut Fields) -> Result<Self, BadField> {
        let metadata = match fields.raw("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        Self::take(fields, &metadata)
    }

    /// The text of a field, if it came.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| *key == name).map(|(_, text)| text.as_str())
    }
}

/// A user's name without the session that some clients write into it, and that session: either
/// behind `_session_`, or as JSON with a `session_id`.
pub fn split_user(user: &str) -> (String, Option<String>) {
    let whole = || (user.to_owned(), None);
    if user.starts_with('{') {
        let Ok(Value::Object(parts)) = serde_json::from_str(user) else { return whole() };
        let part = |key: &str| parts.get(key)?.as_str().filter(|text| !text.is_empty());
        let Some(session) = part("session_id") else { return whole() };
        let name = part("account_uuid").or_else(|| part("device_id")).unwrap_or(user);
        return (name.to_owned(), Some(session.to_owned()));
    }
    match user.split_once(SESSION_MARK) {
        Some((name, session)) if name.starts_with("user_") && !session.is_empty() => {
            (name.to_owned(), Some(session.to_owned()))
        }
        _ => whole(),
    }
}

/// A field's text; of an object, its `id`.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Object(object) => object.get("id")?.as_str().map(str::to_owned),
        other => Some(other.to_string()),
    }
}

fn no_train(fields: &mut Fields) -> Result<bool, BadField> {
    let said = match fields.raw(NO_TRAIN) {
        None => return Ok(false),
        Some(Value::Bool(said)) => Some(said),
        Some(Value::Number(number)) => number.as_u64().filter(|n| *n < 2).map(|n| n == 1),
        Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Some(true),
            "0" | "false" | "no" => Some(false),
            _ => None,
        },
        Some(_) => None,
    };
    said.ok_or_else(|| fields.bad(NO_TRAIN, "expected true or false"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: Value) -> Session {
        Session::of_openai(&mut Fields::of_body(body).unwrap()).unwrap()
    }

    #[test]
    fn what_names_a_session_or_a_user_is_taken() {
        let session = of(json!({
            "user": "ann", "session_done": true, "turn_type": null, "conversation": {"id": "c"},
            "metadata": {"session_id": "s", "other": "x"}, "zeta": 1,
        }));
        let expected = [
            ("user", "ann"),
            ("session_done", "true"),
            ("conversation", "c"),
            ("metadata.session_id", "s"),
        ];
        let expected = expected.map(|(key, text)| (key, text.to_owned()));
        assert_eq!((session.fields, session.no_train), (expected.to_vec(), false));
        assert_eq!(of(json!({"metadata": ["no object"], "conversation": {}})), Session::default());
    }

    #[test]
    fn a_session_within_a_users_name_is_told_apart() {
        let name = "user_0a_account_b1_session_c2-d3";
        assert_eq!(split_user(name), ("user_0a_account_b1".into(), Some("c2-d3".into())));
        let json = r#"{"device_id":"d","account_uuid":"","session_id":"s"}"#;
        assert_eq!(split_user(json), ("d".into(), Some("s".into())));
        for name in ["ann", "my_session_x", "user_a_session_", "{", r#"{"device_id":"d"}"#, ""] {
            assert_eq!(split_user(name), (name.to_owned(), None));
        }
        let session = of(json!({"user": name}));
        assert_eq!(
            (session.get("user"), session.get("metadata.session_id")),
            (Some(name), Some("c2-d3"))
        );
    }

    #[test]
    fn what_may_not_be_kept_is_never_guessed() {
        for (said, expected) in [
            (json!(true), true),
            (json!("Yes"), true),
            (json!(1), true),
            (json!(" false "), false),
            (json!(0), false),
            (json!(null), false),
        ] {
            assert_eq!(of(json!({"no_train": said})).no_train, expected, "{said}");
        }
        for wrong in [json!("maybe"), json!(2), json!(-1), json!([]), json!({}), json!("")] {
            let mut fields = Fields::of_body(json!({"no_train": wrong})).unwrap();
            assert_eq!(Session::of_openai(&mut fields).unwrap_err().param, "no_train");
        }
    }
}
