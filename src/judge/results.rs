//! What tools' results say of the reply that called them.

use serde_json::Value;

/// Failures that the reply did not cause; they say nothing.
#[rustfmt::skip]
const OUTSIDE: &[&str] = &[
    "timeout", "time-out", "timed out", "econnrefused", "enotfound", "etimedout", "econnreset",
    "eai_again", "rate limit", "rate-limit", "ratelimit", "too many requests", "toomanyrequests",
    "temporarily", "temporary failure", "unavailable", "bad gateway", "gateway", "network",
    "connection refused", "connectionrefused", "connection reset", "connection lost",
    "connection closed", "connection aborted", "could not resolve", "name resolution",
    "max retries", "unreachable", "no route to host", "no internet", "no space left", "disk full",
    "quota", "internal server error", "internal_error", "internal error", "server error",
    "on our side", "on our end", "overloaded", "over capacity", "incident", "outage",
    "maintenance", "offline", "is down", "down for", "try again later", "try again in",
    "power cut", "power failure", "battery", "toner", "out of ink", "out of paper", "paper jam",
    "deadline exceeded", "did not answer", "did not respond", "does not respond", "not responding",
    "no answer after", "limit reached", "lost the connection", "lost connection",
    "certificate has expired", "license expired", "out of memory", "oom-kill", " 429", " 500",
    " 502", " 503", " 504", "wartung", "nicht erreichbar", "nicht verfügbar", "überlastet",
    "zeitüberschreitung", "später erneut", "délai d'attente", "indisponible", "ne répond pas",
    "hors ligne", "surchargé", "injoignable", "no disponible", "mantenimiento",
    "tiempo de espera", "más tarde", "fuera de servicio", "puerta de enlace",
    "non raggiungibile", "non disponibile", "manutenzione", "più tardi", "scaduto",
    "indisponível", "manutenção", "mais tarde", "onbereikbaar", "niet beschikbaar", "onderhoud",
    "niedostępn", "przekroczono limit", "недоступ", "время ожидания", "перегружен", "超时", "超時",
    "维护", "不可用", "无响应", "过载", "稍后再试", "メンテナンス", "タイムアウト", "利用できません",
    "混み合って", "점검", "시간 초과", "사용할 수 없", "/dev/tty", "/dev/video",
];

/// What test runners print: it tells of the code that is tested, not of the call that ran them.
#[rustfmt::skip]
const TESTS: &[&str] = &[
    "assertionerror", "assertion failed", "tests failed", "test failed", "failing tests",
    "failures:", "tests:", "test suites:", " failed (", " failed,", "failed in ", "--- fail:",
];

/// How a line begins that reports a failure.
#[rustfmt::skip]
const FAILURES: &[&str] = &[
    "error:", "error ", "error[", "errors:", "e: ", "traceback (most recent call last)",
    "command failed", "exception:", "fatal:", "fatal error", "uncaught ", "invalid argument",
    "tool error", "tool not found", "unknown tool", "unknown command", "unknown option",
    "unrecognized option", "permission denied", "access denied", "no such file or directory",
    "npm err", "panic:", "thread 'main' panicked", "segmentation fault", "build failed",
    "compilation failed", "refused:", "rejected:", "failed:", "fehler:", "erreur", "errore:",
    "erro:", "fout:", "błąd:", "ошибка", "错误", "エラー", "오류",
];

/// Programs that put their name before their own complaints, and before nothing else.
#[rustfmt::skip]
const PROGRAMS: &[&str] = &[
    "bash", "sh", "zsh", "/bin/sh", "-bash", "ls", "cat", "cp", "mv", "rm", "mkdir", "rmdir",
    "find",
    "grep", "sed", "awk", "tar", "curl", "wget", "ssh", "scp", "git", "python", "python3", "node",
    "chmod", "chown", "touch", "head", "tail", "sort", "cut", "psql", "mysql", "pg_dump", "docker",
    "make", "gcc", "ld", "cd",
];

/// Words of a report that the call was wrong, not the world around it.
#[rustfmt::skip]
const FAULTS: &[&str] = &[
    "syntax", "parse", "unexpected", "not found", "no such", "not exist", "unknown", "unrecognized",
    "invalid", "illegal", "malformed", "bad ", "must ", "expected", "missing", "required",
    "not defined", "undefined", "undeclared", "mismatch", "unsupported", "not supported",
    "cannot find", "can't find", "could not find", "could not read", "cannot open",
    "could not open",
    "is not a", "is not an", "are not", "out of range", "out of bounds", "already exists",
    "did you mean", "usage:", "typeerror", "nameerror", "keyerror", "valueerror", "indexerror",
    "attributeerror", "syntaxerror", "importerror", "modulenotfounderror", "referenceerror",
    "filenotfounderror", "zerodivisionerror", "indentationerror", "unboundlocalerror",
    "permission denied", "not allowed", "refused:", "no module", "no column", "no table",
    "no field", "no entry", "failed to compile", "could not compile", "compilation", "e0",
    "positional argument", "argument", "option", "unbekannt", "nicht gefunden", "ungültig",
    "introuvable", "inconnu", "invalide", "no encontrad", "desconocid", "inválid", "no existe",
    "non trovat", "non riconosciut", "non esiste", "não encontrad", "não existe", "niet gevonden",
    "nie znaleziono", "nie istnieje", "не найден", "不存在", "未找到", "找不到", "无效", "必须", "無効",
    "見つかりません", "未定義", "찾을 수 없", "잘못된",
];

/// Words of a report that the call did what was wanted.
#[rustfmt::skip]
const SUCCESSES: &[&str] = &[
    "success", "ok", "done", "created", "written", "wrote", "saved", "updated", "deleted",
    "installed", "replaced", "replacement", "replacements", "passed", "completed", "complete",
    "sent", "merged", "added", "removed", "moved", "copied", "committed", "deployed", "uploaded",
    "downloaded", "built", "finished", "scheduled", "booked", "applied", "renamed", "restarted",
    "started", "stopped", "enabled", "disabled", "pushed", "cloned", "switched", "formatted",
    "imported", "exported", "converted", "successfully", "up to date", "creating", "fertig",
    "gespeichert", "erstellt", "gesendet", "enregistré", "créé", "envoyé", "terminé", "guardado",
    "creado", "enviado", "salvato", "creato", "inviato", "salvo", "criado", "opgeslagen",
    "zapisano", "сохранено", "готово", "成功", "完成", "已保存", "已创建", "保存しました", "完了", "저장",
];

/// Words with which a plain result may be no success.
#[rustfmt::skip]
const DOUBTFUL: &[&str] = &[
    "error", "fail", "exception", "traceback", "fatal", "denied", "forbidden", "unauthor", "unable",
    "cannot", "can't", "couldn't", "could not", "not ", "refused", "rejected", "abort", "conflict",
    "no match", "too large", "too long", "skipped", "bounced", "warning", "locked", "killed",
    "read-only", "limit reached", "lost ", "throttl", "exceeded", "dropped", "ignored", "partial",
    "fehl", "nicht ", "erreur", "impossible", "impossibil",
    "错", "失败", "失敗", "실패",
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

/// Lines from which on a result is content, not a report.
const CONTENT_LINES: usize = 4;
/// Lines at the end of a result that may report a failure, and at its beginning.
const LINES_READ: usize = 4;

/// -1 if a result is a failure that the reply caused, +1 if every result is a success, or one of
/// several was kept from being one from outside; else 0; with the reason.
pub fn judge(results: &[String]) -> (i8, &'static str) {
    let verdicts: Vec<Option<bool>> = results.iter().map(|result| succeeded(result)).collect();
    if results.is_empty() {
        return (0, "no results");
    }
    let failures = results.iter().zip(&verdicts).filter(|(_, v)| **v == Some(false));
    let causes: Vec<bool> = failures.map(|(text, _)| is_at_fault(text)).collect();
    if causes.contains(&true) {
        return (-1, "tool error");
    }
    let successes = verdicts.iter().filter(|verdict| **verdict == Some(true)).count();
    match (causes.len(), successes) {
        (0, successes) if successes == results.len() => (1, "tool success"),
        (0, _) => (0, "results that say nothing of success"),
        (failed, successes) if successes > failed => (1, "tool success but for an outage"),
        _ => (0, "a tool failed for a reason outside the reply"),
    }
}

fn is_outside(lower: &str) -> bool {
    OUTSIDE.iter().any(|mark| lower.contains(mark))
}

/// Whether a failure is the reply's own: what a program reports in words must name such a fault.
fn is_at_fault(text: &str) -> bool {
    let lower = text.to_lowercase();
    let stated = text.trim_start().starts_with('{') || exit_code(&lower).is_some();
    let of_tests = TESTS.iter().any(|mark| lower.contains(mark));
    let at_fault = stated || FAULTS.iter().any(|mark| lower.contains(mark));
    at_fault && !of_tests && !is_outside(&lower)
}

/// Whether a result states success or failure; `None` if it states neither, or only a part's.
fn succeeded(text: &str) -> Option<bool> {
    stated_by(text).filter(|success| !success || !is_partial(&text.to_lowercase()))
}

/// Whether a text in lower case counts fewer than all: "12 of 15", "12/15", "failed": 3.
fn is_partial(lower: &str) -> bool {
    let spaced = lower.replace('/', " of ");
    let spaced = spaced.replace(|c: char| !c.is_alphanumeric(), " ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let number = |word: &str| word.parse::<u64>().ok();
    let fewer = |three: &[&str]| {
        let (some, all) = (number(three[0]), number(three[2]));
        three[1] == "of" && some.zip(all).is_some_and(|(some, all)| some < all)
    };
    let bad = |word: &str| {
        ["fail", "skip", "reject", "error", "miss"].iter().any(|b| word.starts_with(b))
    };
    let counted = |two: &[&str]| {
        let count = |word: &str| number(word).is_some_and(|count| count > 0);
        bad(two[0]) && count(two[1]) || bad(two[1]) && count(two[0])
    };
    words.windows(3).any(fewer) || words.windows(2).any(counted)
}

/// What a result states.
fn stated_by(text: &str) -> Option<bool> {
    let text = text.trim();
    if let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(text) {
        let inner = [&value["details"], &value["result"], &value["result"]["details"]];
        let stated = stated(&value).or_else(|| inner.into_iter().find_map(stated));
        return stated.or_else(|| (!is_questionable(&text.to_lowercase())).then_some(true));
    }
    let lower = text.to_lowercase();
    if let Some(code) = exit_code(&lower) {
        return Some(code == 0);
    }
    let lines: Vec<&str> = lower.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let ends = lines.iter().take(LINES_READ).chain(lines.iter().rev().take(LINES_READ));
    if ends.into_iter().any(|line| reports_failure(line)) {
        return Some(false);
    }
    if is_outside(&lower) && lines.len() <= LINES_READ {
        return Some(false);
    }
    let says_so = || {
        let words = || lower.split(|c: char| !c.is_alphanumeric());
        SUCCESSES.iter().any(|mark| match mark.is_ascii() && !mark.contains(' ') {
            true => words().any(|word| word == *mark),
            false => lower.contains(mark),
        })
    };
    // a report in words that are not known may be one of failure
    let is_content = lines.len() >= CONTENT_LINES
        || (!lines.is_empty() && lines.iter().all(|line| !line.contains(char::is_whitespace)));
    (!is_questionable(&lower) && (is_content || says_so())).then_some(true)
}

/// Whether a result in lower case holds a word that may tell of a failure.
fn is_questionable(lower: &str) -> bool {
    let holds = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    holds(DOUBTFUL) || holds(OUTSIDE) || holds(FAULTS)
}

/// Whether a line in lower case is a program's report of its failure.
fn reports_failure(line: &str) -> bool {
    let (name, rest) = line.split_once(": ").unwrap_or((line, ""));
    let raised = name.ends_with("error") || name.ends_with("exception");
    FAILURES.iter().any(|mark| line.starts_with(mark))
        || (raised && !name.contains(' ') && !rest.is_empty())
        || (PROGRAMS.contains(&name) && !rest.is_empty())
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
            (&["hello"], 1),
            (&["hello there"], 0),
            (&["The archive is out of order today"], 0),
            (&["src/a.rs\nsrc/b.rs"], 1),
            (&["a line\nand another\nof a file\nthat was read"], 1),
            (&["wrote 3 lines"], 1),
            (&["uploaded 3 of 5 files"], 0),
            (&["uploaded 5 of 5 files"], 1),
            (&[r#"{"ok": true, "failed": 2}"#], 0),
            (&[r#"{"ok": true, "failed": 0}"#], 1),
            (&["AssertionError: 1 failed"], 0),
            (&["wrote 3 lines, 2 failed"], 0),
            (&[""], 0),
            (&["ls: unrecognized option '--tutti'"], -1),
            (&["NameError: name 'plt' is not defined"], -1),
            (&["Error: the planets do not stand well"], 0),
            (&["the file says error: none"], 0),
            (&[r#"{"error": "no such column"}"#], -1),
            (&[r#"{"error": null, "rows": 3}"#], 0),
            (&[r#"{"success": true}"#], 1),
            (&[r#"{"success": false}"#], -1),
            (&[r#"{"result": {"details": {"exitCode": 1}}}"#], -1),
            (&[r#"{"status": "completed", "details": {}}"#], 1),
            (&[r#"{"status": "accepted"}"#], 1),
            (&[r#"{"note": "the disk is read-only"}"#], 0),
            (&["Error: connect ECONNREFUSED 127.0.0.1:80"], 0),
            (&["503 Service Unavailable", "fine", "done"], 1),
            (&["503 Service Unavailable", "done"], 0),
            (&[r#"{"error": "503 Service Unavailable"}"#], 0),
            (&[r#"{"ok": true}"#, "Error: bad input"], -1),
            (&[r#"{"ok": true}"#, "plain words"], 0),
            (&[r#"{"ok": true}"#, r#"{"exit_code": 0}"#], 1),
            (&[], 0),
        ] {
            let texts: Vec<String> = results.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(judge(&texts).0, score, "{results:?}");
        }
    }
}
