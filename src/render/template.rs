//! The model's own chat template, run as Hugging Face runs it.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, Value as Template};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Told;

const NAME: &str = "chat_template";
const TOOL_NAME: &str = "tool_use";

/// A compiled chat template with the special tokens it may name.
#[derive(Debug)]
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    /// `bos_token`, `eos_token` … as text.
    special: Map<String, Value>,
}

/// The sources of a template: the main one, and the one for requests with tools, if they differ.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) main: String,
    pub(super) tool_use: Option<String>,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// What the compiler says, with its line.
    pub(super) fn new(sources: Sources, special: Map<String, Value>) -> Result<Self, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment
            .add_function("strftime_now", |format: String| strftime(&format, unix_seconds()));
        environment.add_filter("tojson", tojson);
        let failed = |error: Error| format!("{error:#}");
        environment.add_template_owned(NAME, sources.main).map_err(failed)?;
        if let Some(source) = sources.tool_use {
            environment.add_template_owned(TOOL_NAME, source).map_err(failed)?;
        }
        Ok(Self { environment, special })
    }

    /// The prompt's text for canonical messages.
    ///
    /// # Errors
    /// What the template, or the machine that runs it, objects to.
    pub(super) fn render(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        told: Told<'_>,
    ) -> Result<String, String> {
        let tool_use = tools.and_then(|_| self.environment.get_template(TOOL_NAME).ok());
        let template = match tool_use {
            Some(template) => template,
            None => self.environment.get_template(NAME).map_err(|error| error.to_string())?,
        };
        let mut context: Map<String, Value> = self.special.clone();
        context.extend(told.template.clone());
        context.insert("messages".into(), messages.into());
        context.insert("tools".into(), tools.cloned().unwrap_or(Value::Null));
        context.insert("add_generation_prompt".into(), told.begin_reply.into());
        template
            .render(Template::from(Serde(&context)))
            .map_err(|error| error.detail().map_or_else(|| format!("{error:#}"), ToOwned::to_owned))
    }
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Python's `json.dumps(value, ensure_ascii=False)`, which is what Hugging Face's `tojson` does:
/// no HTML escaping, a space after each separator, `indent` as there.
fn tojson(value: &Template, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Accepted as in Python, and without effect on the text here.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let failed = |error: serde_json::Error| {
        Error::new(ErrorKind::BadSerialization, "cannot be written as JSON").with_source(error)
    };
    let mut out = Vec::new();
    match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
        Some(width) => {
            let width = " ".repeat(width.min(16));
            let pretty = serde_json::ser::PrettyFormatter::with_indent(width.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, pretty))
        }
    }
    .map_err(failed)?;
    String::from_utf8(out)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "is not text").with_source(error))
}

/// JSON with `, ` and `: ` between things, as Python writes it.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

fn unix_seconds() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(elapsed.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The moment (seconds since the Unix epoch, UTC) in the directives that templates use; an
/// unknown directive stays as it is.
fn strftime(format: &str, seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let month_name = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') => out.push_str(&year.to_string()),
            Some('y') => out.push_str(&format!("{:02}", year.rem_euclid(100))),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('e') => out.push_str(&format!("{day:2}")),
            Some('B') => out.push_str(month_name),
            Some('b') => out.push_str(&month_name[..3]),
            Some('A') => out.push_str(weekday),
            Some('a') => out.push_str(&weekday[..3]),
            Some('H') => out.push_str(&format!("{hour:02}")),
            Some('M') => out.push_str(&format!("{minute:02}")),
            Some('S') => out.push_str(&format!("{second:02}")),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Year, month (1 to 12) and day of a day counted from the Unix epoch, in the Gregorian calendar
/// (Hinnant's `civil_from_days`).
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, messages: &Value) -> Result<String, String> {
        let sources = Sources { main: source.to_owned(), tool_use: None };
        let template = ChatTemplate::new(sources, Map::new()).unwrap();
        let told = Told { begin_reply: true, template: &Map::new() };
        template.render(messages.as_array().unwrap(), None, told)
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let messages = json!([{"x": [1, 2.0, true, null, "<é'\"&\n"], "y": {}, "z": []}]);
        let text = render("{{ messages[0] | tojson }}", &messages).unwrap();
        assert_eq!(text, r#"{"x": [1, 2.0, true, null, "<é'\"&\n"], "y": {}, "z": []}"#);
        let text = render("{{ {'a': [1]} | tojson(indent=2) }}", &messages).unwrap();
        assert_eq!(text, "{\n  \"a\": [\n    1\n  ]\n}");
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work() {
        let source = "{% for m in messages %}\n    {% if m.c.startswith('a') %}\n{{ m.c.strip() \
                      }}|\n    {% endif %}\n{% endfor %}\nend";
        let text = render(source, &json!([{"c": "a b "}, {"c": "b"}])).unwrap();
        assert_eq!(text, "a b|\nend");
    }

    #[test]
    fn an_exception_of_the_template_is_its_own_message() {
        let error = render("{{ raise_exception('roles must alternate') }}", &json!([]));
        assert_eq!(error, Err("roles must alternate".to_owned()));
    }

    #[test]
    fn dates() {
        assert_eq!(strftime("%A %d %B %Y %H:%M:%S %q", 0), "Thursday 01 January 1970 00:00:00 %q");
        assert_eq!(strftime("%a %e %b %y %%", 951_782_400 + 86_399), "Tue 29 Feb 00 %");
        assert_eq!(strftime("%Y-%m-%d %H:%M:%S", 1_795_328_955), "2026-11-22 06:29:15");
    }
}
