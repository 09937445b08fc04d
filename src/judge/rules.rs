//! The rules judge: explicit feedback only, deterministic, and silent where it cannot tell.
//!
//! It reads the reaction (what came next, up to a further reply): the user's words by the tables
//! of [`super::phrases`], else the tools' results. docs/judging.md states the rules.

use super::Exchange;
use super::exchange::text_of;
use super::phrases as table;
use super::results;

/// Sentences of a user's message that are read.
const SENTENCES_MAX: usize = 12;
/// A passage in quotation marks that is narrower is read as the user's own; characters of East
/// Asian scripts are two wide.
const QUOTED_WIDTH_MIN: usize = 12;
/// A line that is pasted from a log has as many characters at least.
const LOG_CHARS_MIN: usize = 30;
/// Sentences of a hint.
const HINT_SENTENCES_MAX: usize = 3;
/// Longest hint, in characters.
const HINT_CHARS_MAX: usize = 600;
/// A message longer than this is pasted material, not feedback, after its first sentences.
const LONG_MESSAGE_CHARS: usize = 1_500;

/// What the rules say of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// -1, 0 or +1.
    pub score: i8,
    /// The rule that decided.
    pub reason: String,
    /// The user's own instruction, where there is one.
    pub hint: Option<String>,
}

/// The verdict on a reply.
pub fn verdict(exchange: &Exchange) -> Verdict {
    let reaction = exchange.reaction();
    let words: Vec<String> = reaction
        .iter()
        .filter(|message| message["role"] == "user")
        .map(|message| text_of(&message["content"]))
        .collect();
    let asked = asks(&text_of(&exchange.reply["content"]));
    let spoke = words.iter().any(|words| !words.trim().is_empty());
    let said = read_words(&words.join("\n"), asked);
    if said.score != 0 {
        return said;
    }
    let results = reaction.iter().filter(|message| message["role"] == "tool");
    let texts: Vec<String> = results.map(|message| text_of(&message["content"])).collect();
    let (score, reason) = match results::judge(&texts) {
        // it may be the very thing that was to be found out
        (-1, _) if is_probe(exchange) => (0, "a failure that may have been looked for"),
        // what the user went on to say is not known to be content
        (1, _) if spoke => (0, "tool success, and words that do not decide"),
        found => found,
    };
    let replaced = exchange.regenerated.is_some_and(|regenerated| regenerated.replaced);
    match score {
        0 if replaced => {
            let reason = "the user went on with another reply".to_owned();
            Verdict { score: -1, reason, hint: said.hint }
        }
        0 => said,
        _ => Verdict { score, reason: reason.to_owned(), hint: said.hint },
    }
}

/// Whether it was asked for to find something out, so that a failure may be the answer.
fn is_probe(exchange: &Exchange) -> bool {
    let (_, request) = exchange.split_request();
    let asked = request.iter().filter(|message| message["role"] == "user");
    asked
        .map(|message| lower_whole(&text_of(&message["content"])))
        .any(|text| table::PROBES.iter().any(|probe| text.contains(probe)))
}

/// Whether a reply ends with a question, so that a "no" may be its answer.
fn asks(reply: &str) -> bool {
    let last = reply.trim_end_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '?' | '？'));
    last.ends_with(['?', '？'])
}

/// What one sentence was found to say.
#[derive(Default)]
struct Found {
    praise: Option<String>,
    complaint: Option<String>,
    change: Option<String>,
    next_time: Option<String>,
}

impl Found {
    fn is_feedback(&self) -> bool {
        let all = [&self.praise, &self.complaint, &self.change, &self.next_time];
        all.into_iter().any(Option::is_some)
    }
}

fn read_words(words: &str, reply_asked: bool) -> Verdict {
    let own = own_words(words);
    let sentences = sentences(&own);
    let nothing = || Verdict { score: 0, reason: "no explicit feedback".to_owned(), hint: None };
    let plain = lower_whole(&own);
    if holds(&plain, table::OWN_SLIPS) || holds(&lower_whole(words), table::TO_A_JUDGE) {
        return nothing();
    }
    let mut all = Found::default();
    let mut leading = true;
    for (number, sentence) in sentences.iter().enumerate() {
        let found = read_sentence(sentence, number == 0 && !reply_asked);
        let is_feedback = found.is_feedback();
        let strong = leading || (number < 3 && own.chars().count() < LONG_MESSAGE_CHARS);
        all.praise = all.praise.or(found.praise.filter(|_| leading));
        all.change = all.change.or(found.change.filter(|_| leading));
        all.complaint = all.complaint.or(found.complaint.filter(|_| strong));
        all.next_time = all.next_time.or(found.next_time.filter(|_| strong));
        leading &= is_feedback;
    }
    let is_long = own.chars().count() >= LONG_MESSAGE_CHARS;
    if all.praise.is_some() && (is_long || is_doubtful(&sentences, &plain)) {
        all.praise = None;
    }
    if all.complaint.is_none() && is_bad_word(&sentences) {
        all.complaint = Some("a bad word".to_owned());
    }
    if let Some(sign) = sign(&own, table::BAD_SIGNS) {
        all.complaint = all.complaint.or(Some(sign));
    }
    if let Some(sign) = sign(&own, table::GOOD_SIGNS).filter(|_| sentences.is_empty()) {
        all.praise = all.praise.or(Some(sign));
    }
    let (score, reason) = match &all {
        Found { complaint: Some(phrase), .. } => (-1, format!("complaint: {phrase}")),
        Found { change: Some(phrase), .. } => (-1, format!("asks for a change: {phrase}")),
        Found { next_time: Some(_), .. } if holds(&plain, table::KEEP_ON) => return nothing(),
        Found { next_time: Some(phrase), praise: None, .. } => (-1, format!("wish: {phrase}")),
        Found { next_time: Some(_), .. } => (0, "praise with a wish".to_owned()),
        Found { praise: Some(phrase), .. } => (1, format!("praise: {phrase}")),
        _ => return nothing(),
    };
    let hint =
        (score < 0 || all.next_time.is_some()).then(|| directives(&sentences, score)).flatten();
    Verdict { score, reason, hint }
}

/// Whether praise is taken back, or followed by a statement of which the rules know nothing: it
/// may be irony, or courtesy.
fn is_doubtful(sentences: &[&str], plain: &str) -> bool {
    let turns = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'');
        table::CONTRARY.contains(&word) || table::NEGATIONS.contains(&word) || word.ends_with("n't")
    };
    let statements = sentences.iter().filter(|sentence| !sentence.ends_with(['?', '？']));
    if holds(plain, table::DOUBTS)
        || statements.flat_map(|s| s.split_whitespace()).any(|word| turns(&lower(word)))
        || sentences
            .iter()
            .flat_map(|sentence| parts_of(sentence))
            .any(|part| begins_any(&lower(part), table::CONTRARY))
    {
        return true;
    }
    let parts = || sentences.iter().flat_map(|sentence| parts_of(sentence));
    let sighed = |part: &str| {
        let rest = table::SIGHS.iter().find_map(|sigh| part.strip_prefix(sigh));
        rest.is_some_and(|rest| table::PRAISE.contains(&rest.trim_start()))
    };
    if parts().any(|part| sighed(&lower(part))) {
        return true;
    }
    let thanked = parts().any(|part| begins_any(without_lead_ins(&lower(part)), table::THANKS));
    let fits = |sentence: &&str| {
        sentence.ends_with(['?', '？'])
            || clauses(sentence).iter().all(|(_, clause)| {
                table::PRAISE.contains(&clause.as_str())
                    || begins_any(clause, table::THANKS)
                    || begins_any(clause, table::AFTER_PRAISE)
                    || thanked && begins_any(clause, table::AFTER_THANKS)
                    || begins_any(clause, table::NEXT_TIMES)
            })
    };
    !sentences.iter().take(2).all(fits)
}

/// Whether nothing is said but that it is bad, and perhaps why.
fn is_bad_word(sentences: &[&str]) -> bool {
    let all: Vec<_> = sentences.iter().flat_map(|sentence| clauses(sentence)).collect();
    let bad = |clause: &str| table::BAD_WORDS.contains(&clause);
    let about = |clause: &str| begins_any(clause, &["it", "that", "this", "you", "the", "your"]);
    all.first().is_some_and(|(_, clause)| bad(clause))
        && all
            .iter()
            .all(|(_, clause)| bad(clause) || about(clause) || begins_any(clause, table::CHANGES))
}

fn begins_any(clause: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| begins(clause, phrase))
}

/// Whether a text in lower case holds one of some phrases.
fn holds(plain: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| plain.contains(phrase))
}

/// A whole message in lower case, with straight apostrophes.
fn lower_whole(text: &str) -> String {
    text.replace(['\u{2019}', '\u{02bc}'], "'").to_lowercase()
}

/// Whether a line is one that a program printed: it begins with a date or a time, or tells of an
/// error as programs do.
fn is_of_a_log(line: &str) -> bool {
    let stamp = line.trim_start_matches('[');
    let digits = stamp.chars().take_while(char::is_ascii_digit).count();
    let stamped = (digits == 4 && stamp[4..].starts_with(['-', '/']))
        || (digits == 2 && stamp[2..].starts_with(':'));
    let told = ["ERROR", "WARN", "FATAL", "Traceback", "Exception", "Error:", "error:", "panicked"];
    let tells = ["Error response", "error["];
    line.chars().count() >= LOG_CHARS_MIN
        && (stamped || told.iter().chain(&tells).any(|word| line.contains(word)))
}

/// The message without code blocks, lines of logs, quoted lines and passages in quotation marks.
fn own_words(text: &str) -> String {
    let mut in_code = false;
    let lines = text.lines().filter(|line| {
        let line = line.trim_start();
        if line.starts_with("```") {
            in_code = !in_code;
            return false;
        }
        !in_code && !line.starts_with('>') && !is_of_a_log(line)
    });
    without_quotations(&lines.collect::<Vec<_>>().join("\n"))
}

/// Passages of some length in quotation marks are not the user's own words; a mark takes their
/// place.
fn without_quotations(text: &str) -> String {
    let mut own = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '“', '«', '「', '„']) {
        let open = rest[at..].chars().next().unwrap_or('"');
        let close: &[char] = match open {
            '“' => &['”'],
            '«' => &['»'],
            '「' => &['」'],
            '„' => &['“', '”'],
            _ => &['"'],
        };
        let inside = &rest[at + open.len_utf8()..];
        let Some(length) = inside.find(close) else { break };
        own.push_str(&rest[..at]);
        let quoted = &inside[..length];
        let width: usize = quoted.chars().map(|c| if c < '\u{2e80}' { 1 } else { 2 }).sum();
        own.push_str(if width < QUOTED_WIDTH_MIN { quoted } else { "…" });
        rest = inside[length..].trim_start_matches(close);
    }
    own + rest
}

/// The first sentences, with their punctuation.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let ends = match c {
            '\n' | '。' | '！' | '？' => true,
            '.' | '!' | '?' => next.is_none_or(char::is_whitespace),
            _ => false,
        };
        if ends || next.is_none() {
            let end = at + c.len_utf8();
            let sentence = text[start..end].trim();
            // what holds a box is meant for a judge, and is no user's feedback
            if sentence.chars().any(char::is_alphanumeric) && !sentence.contains("\\boxed") {
                found.push(sentence);
            }
            start = end;
        }
    }
    found.truncate(SENTENCES_MAX);
    found
}

/// The clauses of a sentence, each with its lower-case form, lead-ins taken off.
fn clauses(sentence: &str) -> Vec<(&str, String)> {
    let offset = |part: &str| part.as_ptr() as usize - sentence.as_ptr() as usize;
    parts_of(sentence)
        .into_iter()
        .map(|part| (&sentence[offset(part)..], lower(part)))
        .map(|(rest, clause)| (from_word(rest), without_lead_ins(&clause).to_owned()))
        .filter(|(_, clause)| !clause.is_empty())
        .collect()
}

/// The parts of a sentence between its commas and the like.
fn parts_of(sentence: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, c) in sentence.char_indices() {
        let cut = match c {
            ',' | ':' | ';' => sentence[at + 1..].starts_with(char::is_whitespace),
            '，' | '：' | '；' | '—' | '–' | '!' => true,
            '-' => sentence[..at].ends_with(' ') && sentence[at + 1..].starts_with(' '),
            _ => false,
        };
        if cut {
            parts.push(&sentence[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&sentence[start..]);
    parts.retain(|part| part.chars().any(char::is_alphanumeric));
    parts
}

/// From the first letter or digit on.
fn from_word(text: &str) -> &str {
    text.trim_start_matches(|c: char| !c.is_alphanumeric()).trim_end()
}

fn lower(text: &str) -> String {
    let straight = text.replace(['\u{2019}', '\u{02bc}'], "'").to_lowercase();
    let edge = |c: char| !c.is_alphanumeric();
    straight.trim_matches(edge).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn without_lead_ins(clause: &str) -> &str {
    let mut rest = clause;
    while let Some(lead_in) = table::LEAD_INS.iter().find(|lead_in| begins(rest, lead_in)) {
        rest = rest[lead_in.len()..].trim_start_matches(|c: char| !c.is_alphanumeric());
    }
    rest
}

/// Whether a clause begins with a phrase, at a word's end where the script has words.
fn begins(clause: &str, phrase: &str) -> bool {
    let Some(rest) = clause.strip_prefix(phrase) else { return false };
    let spaced = phrase.chars().next_back().is_some_and(|c| c < '\u{2e80}');
    !spaced || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '\'')
}

fn first(clause: &str, phrases: &[&str], except: &[&str]) -> Option<String> {
    if except.iter().any(|phrase| begins(clause, phrase)) {
        return None;
    }
    phrases.iter().find(|phrase| begins(clause, phrase)).map(|phrase| (*phrase).to_owned())
}

fn read_sentence(sentence: &str, may_deny: bool) -> Found {
    let question = sentence.ends_with(['?', '？']);
    let clauses = clauses(sentence);
    let mut found = Found::default();
    for (number, (_, clause)) in clauses.iter().enumerate() {
        let asked = question && number + 1 == clauses.len();
        if !asked {
            let whole = table::PRAISE.iter().find(|praise| *praise == clause);
            let praise = whole.map(|praise| (*praise).to_owned());
            let praise = praise.or_else(|| first(clause, table::THANKS, table::NO_PRAISE));
            found.praise = found.praise.or(praise);
            let complaint = first(clause, table::COMPLAINTS, table::NO_COMPLAINT);
            found.complaint = found.complaint.or(complaint);
            found.next_time = found.next_time.or(first(clause, table::NEXT_TIMES, &[]));
        }
        if number == 0 || found.is_feedback() {
            found.change = found.change.or(first(clause, table::CHANGES, table::NO_CHANGE));
        }
        let half = holds(&lower_whole(sentence), table::YES_AND_NO);
        let denies =
            number == 0 && may_deny && !asked && !half && table::NOES.contains(&clause.as_str());
        if denies {
            let after = clauses.get(1).map(|(_, clause)| clause.as_str());
            let harmless = after.is_some_and(|after| {
                table::HARMLESS_AFTER_NO.iter().any(|phrase| begins(after, phrase))
            });
            if harmless {
                return Found::default();
            }
            found.complaint = Some(clause.clone());
        }
    }
    if found.complaint.is_some() && clauses.iter().any(|(_, c)| begins(c, "thanks for nothing")) {
        found.praise = None;
    }
    found
}

fn sign(text: &str, signs: &[&str]) -> Option<String> {
    signs.iter().find(|sign| text.contains(**sign)).map(|sign| (*sign).to_owned())
}

/// The user's own instructions: from where each begins to the end of its sentence.
fn directives(sentences: &[&str], score: i8) -> Option<String> {
    let openers = if score < 0 { table::DIRECTIVES } else { table::NEXT_TIMES };
    let mut found = Vec::new();
    for sentence in sentences {
        let clauses = clauses(sentence);
        let directive = clauses.iter().find(|(_, clause)| {
            first(clause, openers, table::NO_CHANGE).is_some()
                && !table::NOES.contains(&clause.as_str())
                && first(clause, &["don't know", "i said no", "make it stop"], &[]).is_none()
        });
        let Some((text, _)) = directive else { continue };
        let polite = ["can you", "could you", "would you"];
        let asked = text.ends_with(['?', '？']);
        if !asked || polite.iter().any(|polite| lower(text).starts_with(polite)) {
            found.push(*text);
        }
    }
    found.truncate(HINT_SENTENCES_MAX);
    let hint = found.join(" ");
    let short = hint.chars().count() <= HINT_CHARS_MAX;
    (!hint.is_empty() && short).then_some(hint)
}
