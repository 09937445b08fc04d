//! What tools' results say of the reply that called them.

use serde_json::Value;

/// Failures that the reply did not cause; they say nothing.
const OUTSIDE: &[&str] = &[
    "timeout",
    "timed out",
    "econnrefused",
    "enotfound",
    "etimedout",
    "econnreset",
    "rate limit",
    "too many requests",
    "temporarily unavailable",
    "service unavailable",
    "bad gateway",
    "gateway",
    "network",
    "connection refused",
    "connection reset",
    "could not resolve",
    "no space left",
    "quota",
    "internal server error",
    "overloaded",
    " 429",
    " 500",
    " 502",
    " 503",
    " 504",
];

/// How a plain text begins that reports a failure.
const FAILURES: &[&str] = &[
    "error:",
    "error ",
    "traceback (most recent call last)",
    "command failed",
    "exception:",
    "fatal:",
    "uncaught ",
    "syntaxerror",
    "typeerror",
    "invalid argument",
    "tool error",
    "tool not found",
    "unknown tool",
    "permission denied",
    "no such file or directory",
];

/// Marks of an exit code in plain text; a number follows.
const EXIT_CODES: &[&str] = &[
    "exited with code ",
    "exit code: ",
    "exit code ",
    "exit status ",
    "exit_code: ",
    "exit_code=",
];

/// -1 if a result is a failure that the reply caused, +1 if every result says that it succeeded,
/// else 0; with the reason.
pub fn judge(results: &[String]) -> (i8, &'static str) {
    let verdicts: Vec<Option<bool>> = results.iter().map(|result| succeeded(result)).collect();
    if results.is_empty() {
        return (0, "no results");
    }
    let failures = results.iter().zip(&verdicts).filter(|(_, v)| **v == Some(false));
    let causes: Vec<bool> = failures.map(|(text, _)| is_outside(text)).collect();
    if causes.contains(&false) {
        return (-1, "tool error");
    }
    match causes.is_empty() {
        false => (0, "a tool failed for a reason outside the reply"),
        true if verdicts.iter().all(|verdict| *verdict == Some(true)) => (1, "tool success"),
        true => (0, "results that say nothing of success"),
    }
}

fn is_outside(text: &str) -> bool {
    let lower = text.to_lowercase();
    OUTSIDE.iter().any(|mark| lower.contains(mark))
}

/// Whether a result states success or failure; `None` if it states neither.
fn succeeded(text: &str) -> Option<bool> {
    let text = text.trim();
    if let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(text) {
        let inner = [&value["details"], &value["result"], &value["result"]["details"]];
        return stated(&value).or_else(|| inner.into_iter().find_map(stated));
    }
    let lower = text.to_lowercase();
    if let Some(code) = exit_code(&lower) {
        return Some(code == 0);
    }
    FAILURES.iter().any(|mark| lower.starts_with(mark)).then_some(false)
}

/// What the fields of a JSON result state.
fn stated(value: &Value) -> Option<bool> {
    let error = |name: &str| match value.get(name)? {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::Array(list) if list.is_empty() => None,
        _ => Some(false),
    };
    let flag = |name: &str| value.get(name)?.as_bool();
    let code = |name: &str| value.get(name)?.as_i64().map(|code| code == 0);
    let status = || match value.get("status")?.as_str()?.to_lowercase().as_str() {
        "error" | "failed" | "failure" => Some(false),
        "ok" | "success" | "succeeded" | "completed" => Some(true),
        _ => None,
    };
    error("error")
        .or_else(|| error("isError"))
        .or_else(|| error("is_error"))
        .or_else(|| code("exitCode"))
        .or_else(|| code("exit_code"))
        .or_else(|| code("returncode"))
        .or_else(|| flag("success"))
        .or_else(|| flag("ok"))
        .or_else(status)
}

/// The last exit code that a plain text names.
fn exit_code(lower: &str) -> Option<i64> {
    let (at, mark) = EXIT_CODES.iter().filter_map(|m| Some((lower.rfind(m)?, m))).max()?;
    let digits = &lower[at + mark.len()..];
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_say_what_they_state_and_no_more() {
        for (results, score) in [
            (&["Error: unknown flag --x"][..], -1),
            (&["Traceback (most recent call last):\n  ValueError"], -1),
            (&["ls: x: No such file\n(Command exited with code 2)"], -1),
            (&["hello\n(Command exited with code 0)"], 1),
            (&["hello"], 0),
            (&["the file says error: none"], 0),
            (&[r#"{"error": "no such column"}"#], -1),
            (&[r#"{"error": null, "rows": 3}"#], 0),
            (&[r#"{"success": true}"#], 1),
            (&[r#"{"success": false}"#], -1),
            (&[r#"{"result": {"details": {"exitCode": 1}}}"#], -1),
            (&[r#"{"status": "completed", "details": {}}"#], 1),
            (&[r#"{"status": "accepted"}"#], 0),
            (&["Error: connect ECONNREFUSED 127.0.0.1:80"], 0),
            (&[r#"{"error": "503 Service Unavailable"}"#], 0),
            (&[r#"{"ok": true}"#, "Error: bad input"], -1),
            (&[r#"{"ok": true}"#, "plain"], 0),
            (&[r#"{"ok": true}"#, r#"{"exit_code": 0}"#], 1),
            (&[], 0),
        ] {
            let texts: Vec<String> = results.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(judge(&texts).0, score, "{results:?}");
        }
    }
}
