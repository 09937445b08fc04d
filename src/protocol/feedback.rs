//! `POST /v1/feedback`: what a user says of a reply.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BadField, CHOICES_MAX, Fields, Session};
use crate::rollout::{Rating, TurnId};

/// Most characters of what a user says of a reply.
pub const FEEDBACK_TEXT_MAX: usize = 8192;
/// The fields that may name the turn.
const NAMES: &[&str] = &["turn_id", "response_id", "id"];

/// A user's verdict on a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackRequest {
    /// The turn that it is about.
    pub turn_id: TurnId,
    /// Good or bad.
    pub rating: Rating,
    /// What should have been done.
    pub text: Option<String>,
    /// Who says so.
    pub session: Session,
}

impl FeedbackRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing or wrong.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        Ok(Self {
            turn_id: turn_id(&mut fields)?.choice(choice(&mut fields)?),
            rating: rating(&mut fields)?,
            text: text(&mut fields)?,
            session: Session::of_openai(&mut fields)?,
        })
    }
}

fn turn_id(fields: &mut Fields) -> Result<TurnId, BadField> {
    let expected = "a turn's id, or a reply's as it came (`chatcmpl-…`, `msg_…`)";
    let mut named = None;
    for name in NAMES {
        let Some(text) = fields.get::<String>(name, expected)? else { continue };
        let turn = TurnId::of_reply(&text);
        let turn = turn.map_err(|_| fields.bad(name, &format!("expected {expected}")))?;
        if named.is_some_and(|other| other != turn) {
            return Err(fields.bad(name, "names another turn than the fields beside it"));
        }
        named = Some(turn);
    }
    named.ok_or_else(|| fields.bad("turn_id", "is required (or `response_id`, or `id`)"))
}

/// Which of several replies of one id is meant.
fn choice(fields: &mut Fields) -> Result<usize, BadField> {
    let expected = format!("a whole number below {CHOICES_MAX}");
    let choice = fields.get::<usize>("choice", &expected)?.unwrap_or_default();
    if choice < CHOICES_MAX {
        return Ok(choice);
    }
    Err(fields.bad("choice", &format!("expected {expected}, got {choice}")))
}

fn rating(fields: &mut Fields) -> Result<Rating, BadField> {
    let rating = match fields.raw("rating") {
        None => return Err(fields.bad("rating", "is required: \"up\" or \"down\"")),
        Some(Value::String(text)) => match text.as_str() {
            "up" | "good" | "thumbs_up" => Some(Rating::Up),
            "down" | "bad" | "thumbs_down" => Some(Rating::Down),
            _ => None,
        },
        Some(Value::Number(number)) => match number.as_i64() {
            Some(1) => Some(Rating::Up),
            Some(-1) => Some(Rating::Down),
            _ => None,
        },
        Some(_) => None,
    };
    rating.ok_or_else(|| fields.bad("rating", "expected \"up\" or \"down\""))
}

fn text(fields: &mut Fields) -> Result<Option<String>, BadField> {
    let Some(text) = fields.get::<String>("text", "a string")? else { return Ok(None) };
    let count = text.chars().count();
    if count > FEEDBACK_TEXT_MAX {
        let problem = format!("is {count} characters long, at most {FEEDBACK_TEXT_MAX}");
        return Err(fields.bad("text", &problem));
    }
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// What `POST /v1/feedback` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackTaken {
    /// The turn that was rated.
    pub turn_id: String,
    /// `up` or `down`.
    pub rating: String,
    /// Always true: what is not durable is an error.
    pub recorded: bool,
    /// Where the turn stood when it was rated.
    pub state: String,
    /// Why it was put aside, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "0193e0f3-9c5a-7c3d-8e2f-0123456789ab";

    #[test]
    fn a_turn_goes_by_all_its_names() {
        let turn: TurnId = ID.parse().unwrap();
        for name in [ID.to_owned(), format!("chatcmpl-{ID}"), format!(" msg_{ID} ")] {
            for field in NAMES {
                let body = json!({*field: name, "rating": "up"});
                assert_eq!(FeedbackRequest::parse(body).unwrap().turn_id, turn);
            }
        }
        for name in ["", "chatcmpl-", "resp_1", &format!("cmpl-{ID}"), &ID[1..]] {
            let body = json!({"id": name, "rating": "up"});
            assert_eq!(FeedbackRequest::parse(body).unwrap_err().param, "id", "{name}");
        }
        let both = json!({"id": format!("msg_{ID}"), "turn_id": ID, "rating": "up"});
        assert!(FeedbackRequest::parse(both).is_ok());
    }

    #[test]
    fn ratings_and_texts_are_read() {
        let parse = |more: Value| {
            let mut body = json!({"turn_id": ID, "rating": "up"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            FeedbackRequest::parse(body)
        };
        for (rating, expected) in [
            (json!("up"), Rating::Up),
            (json!("good"), Rating::Up),
            (json!("thumbs_up"), Rating::Up),
            (json!(1), Rating::Up),
            (json!("down"), Rating::Down),
            (json!("bad"), Rating::Down),
            (json!("thumbs_down"), Rating::Down),
            (json!(-1), Rating::Down),
        ] {
            assert_eq!(parse(json!({"rating": rating})).unwrap().rating, expected, "{rating}");
        }
        assert_eq!(parse(json!({"text": " \n"})).unwrap().text, None);
        let most = "é".repeat(FEEDBACK_TEXT_MAX);
        assert_eq!(parse(json!({"text": most})).unwrap().text, Some(most.clone()));
        let other = "0193e0f3-9c5a-7c3d-8e2f-0123456789ac";
        let second = parse(json!({"choice": 1})).unwrap();
        assert_eq!(second.turn_id, other.parse().unwrap());
        for (more, at) in [
            (json!({"rating": null}), "rating"),
            (json!({"rating": "UP"}), "rating"),
            (json!({"rating": 0}), "rating"),
            (json!({"rating": 1.5}), "rating"),
            (json!({"rating": true}), "rating"),
            (json!({"text": 5}), "text"),
            (json!({"text": format!("{most}x")}), "text"),
            (json!({"choice": 128}), "choice"),
            (json!({"choice": -1}), "choice"),
            (json!({"choice": "1"}), "choice"),
            (json!({"turn_id": null}), "turn_id"),
            (json!({"turn_id": 5}), "turn_id"),
            (json!({"turn_id": "x"}), "turn_id"),
            (json!({"id": other}), "id"),
            (json!({"response_id": "x"}), "response_id"),
            (json!({"no_train": "perhaps"}), "no_train"),
        ] {
            assert_eq!(parse(more.clone()).unwrap_err().param, at, "{more}");
        }
        assert_eq!(FeedbackRequest::parse(json!([])).unwrap_err().param, "body");
    }
}
