//! A tool call's body, as Qwen and Hermes write it: `{"name": "…", "arguments": {…}}`.

use serde_json::Value;

use super::json::{JsonScan, Step};

/// A whole call: the function's name, and its arguments (a JSON object, as it was written).
pub(super) type Call = (String, String);

/// The beginning of a call's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The name is known, and arguments begin at this byte: an object that has begun well.
    Begun { name: String, at: usize },
    /// It may become one.
    Open,
    /// It is something else, which may be a call all the same once it is whole.
    Other,
}

/// Reads the beginning of a body as far as it is there.
pub(super) fn head(body: &str) -> Head {
    let mut at = 0;
    let mut name = None;
    for expected in ["{", "\"name\"", ":", "", ",", "", ":", "{"] {
        at += body[at..].len() - body[at..].trim_start().len();
        let rest = &body[at..];
        if rest.is_empty() {
            return Head::Open;
        }
        let length = match (expected, &name) {
            ("", None) => match text(rest) {
                Some(length) => {
                    let Ok(read) = serde_json::from_str(&rest[..length]) else {
                        return Head::Other;
                    };
                    name = Some(read);
                    length
                }
                None if rest.starts_with('"') => return Head::Open,
                None => return Head::Other,
            },
            ("", Some(_)) => match ["\"arguments\"", "\"parameters\""].map(|key| is(rest, key)) {
                [Some(true), _] => "\"arguments\"".len(),
                [_, Some(true)] => "\"parameters\"".len(),
                [None, _] | [_, None] => return Head::Open,
                _ => return Head::Other,
            },
            (word, _) => match is(rest, word) {
                Some(true) => word.len(),
                None => return Head::Open,
                Some(false) => return Head::Other,
            },
        };
        // The object's own brace stays where it is.
        at += if expected == "{" && name.is_some() { 0 } else { length };
    }
    let Some(name) = name.filter(|name: &String| !name.is_empty()) else { return Head::Other };
    match body[at + 1..].trim_start().bytes().next() {
        None => Head::Open,
        Some(b'"' | b'}') => Head::Begun { name, at },
        Some(_) => Head::Other,
    }
}

/// Whether text begins with a word; `None` where it may still.
fn is(text: &str, word: &str) -> Option<bool> {
    if text.len() < word.len() && word.starts_with(text) {
        return None;
    }
    Some(text.starts_with(word))
}

/// The length of the JSON string that text begins with, if it is whole.
fn text(text: &str) -> Option<usize> {
    let mut escaped = false;
    let mut bytes = text.bytes().enumerate();
    bytes.next().filter(|(_, byte)| *byte == b'"')?;
    for (index, byte) in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// A whole body, if it is a call. What it lacks at its end does not matter once name and
/// arguments are whole.
pub(super) fn whole(body: &str) -> Option<Call> {
    let Head::Begun { name, at } = head(body) else { return unordered(body) };
    let mut scan = JsonScan::new();
    for (index, byte) in body.bytes().enumerate().skip(at) {
        match scan.push(byte) {
            Step::More => {}
            Step::Wrong => return None,
            Step::End => {
                let (arguments, tail) = body[at..].split_at(index + 1 - at);
                return is_tail(tail).then(|| (name, arguments.to_owned()));
            }
        }
    }
    None
}

/// A body whose fields stand in another order, or whose arguments are JSON within a string.
fn unordered(body: &str) -> Option<Call> {
    let Value::Object(mut call) = serde_json::from_str(body.trim()).ok()? else { return None };
    let name = call.get("name")?.as_str().filter(|name| !name.is_empty())?.to_owned();
    let arguments = match call.remove("arguments").or_else(|| call.remove("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(text)) => {
            serde_json::from_str::<Value>(&text).ok().filter(Value::is_object)?;
            text
        }
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => return None,
    };
    Some((name, arguments))
}

/// What may stand between the arguments and the end of a call: braces (one is right, models
/// forget it or write two), or further fields.
pub(super) fn is_tail(tail: &str) -> bool {
    if tail.trim_start().starts_with(',') {
        return serde_json::from_str::<Value>(&format!("{{\"\":0{tail}")).is_ok();
    }
    after_braces(tail).is_empty()
}

/// A tail without the braces and the white space that it begins with.
pub(super) fn after_braces(tail: &str) -> &str {
    tail.trim_start_matches(|letter: char| letter == '}' || letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_known_as_soon_as_its_arguments_begin() {
        let body = "\n{ \"name\" : \"f\\u00e9\\\"\" , \"arguments\" : { \"a\"";
        let begun = body.rfind('{').unwrap();
        let quote = body.rfind("\"a\"").unwrap();
        for cut in 0..=quote {
            assert_eq!(head(&body[..cut]), Head::Open, "{:?}", &body[..cut]);
        }
        let name = "fé\"".to_owned();
        assert_eq!(head(&body[..=quote]), Head::Begun { name, at: begun });
        assert!(matches!(head(r#"{"name":"f","parameters":{}"#), Head::Begun { .. }));
    }

    #[test]
    fn another_beginning_is_another() {
        for body in [
            "x",
            "[",
            r#"{"arguments""#,
            r#"{"name":1"#,
            r#"{"name":"","arguments":{}"#,
            r#"{"name":"f"}"#,
            r#"{"name":"f","id""#,
            r#"{"name":"f","arguments":"{"#,
            r#"{"name":"f","arguments":{a"#,
            r#"{"name":"\x","arguments":{}"#,
        ] {
            assert_eq!(head(body), Head::Other, "{body}");
        }
    }

    #[test]
    fn a_whole_call_keeps_its_arguments_as_they_were_written() {
        let call = |arguments: &str| Some(("f".to_owned(), arguments.to_owned()));
        assert_eq!(whole(r#"{"name": "f", "arguments": { "a": 1 }}"#), call(r#"{ "a": 1 }"#));
        assert_eq!(whole(r#"{"name":"f","arguments":{},"id":"x"}"#), call("{}"));
        assert_eq!(whole(r#"{"arguments":{"a": 1},"name":"f"}"#), call(r#"{"a":1}"#));
        assert_eq!(whole(r#"{"name":"f","arguments":"{\"b\": 2}"}"#), call(r#"{"b": 2}"#));
        assert_eq!(whole(r#"{"name":"f"}"#), call("{}"));
        assert_eq!(whole("{\"name\":\"f\",\"arguments\":{}"), call("{}"), "a brace forgotten");
        assert_eq!(whole("{\"name\":\"f\",\"arguments\":{}}}\n"), call("{}"), "one too many");
        for body in [
            r#"{"name":"f","arguments":{"a"}}"#,
            r#"{"name":"f","arguments":{}} and"#,
            r#"{"name":"f","arguments":{},}"#,
            r#"{"name":"f","arguments":[]}"#,
            r#"{"name":"f","arguments":{"a":1"#,
        ] {
            assert_eq!(whole(body), None, "{body}");
        }
    }
}
