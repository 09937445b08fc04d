//! Defaults, then the TOML file, then flags: one validated configuration per stage, and where
//! each value came from.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use openclaw_rl::config::{ConfigError, Home};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Global;
use crate::edge::{self, Fault};

/// Sections that a configuration file may have.
const SECTIONS: [&str; 8] = ["serve", "collect", "score", "hint", "train", "deploy", "run", "eval"];

/// Values that go well together, in place of the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// For a model of a few million parameters.
    Embedded,
}

impl Preset {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
        }
    }

    /// Its configuration file.
    const fn file(self) -> &'static str {
        match self {
            Self::Embedded => include_str!("presets/embedded.toml"),
        }
    }

    /// What it says of a section.
    fn section(self, section: &str) -> Result<Map<String, Value>, Fault> {
        let table: toml::Table = self.file().parse().map_err(|error| {
            Fault::failed(format!("preset {}: {error}", self.name()), "a fault of this program")
        })?;
        Ok(table.get(section).map(object).unwrap_or_default())
    }
}

/// A stage's configuration with the origin of each value.
pub struct Resolved<C> {
    /// What the stage is told, validated.
    pub config: C,
    /// `key = value  # origin` lines of the section.
    listing: String,
    section: &'static str,
}

/// Layers defaults, the file's section and the flags that were given.
///
/// # Errors
/// An unreadable file, an unknown section or key, a value of the wrong type or out of range.
pub fn resolve<C, A>(
    global: &Global,
    section: &'static str,
    flags: &A,
    validate: impl Fn(&C) -> Result<(), ConfigError>,
) -> Result<Resolved<C>, Fault>
where
    C: DeserializeOwned + Serialize + Default,
    A: Serialize,
{
    let file = match &global.config {
        Some(path) => file_section(path, section)?,
        None => Map::new(),
    };
    let preset = global.preset.map(|preset| preset.section(section)).transpose()?;
    let (preset, flags) = (preset.unwrap_or_default(), given(flags));
    let mut merged = object(&C::default());
    for (key, value) in preset.iter().chain(&file).chain(&flags) {
        merged.insert(key.clone(), value.clone());
    }
    let listing = listing(section, &merged, [&preset, &file, &flags]);
    let origin =
        global.config.as_deref().map_or_else(String::new, |path| path.display().to_string());
    let config: C = serde_json::from_value(Value::Object(merged)).map_err(|error| {
        Fault::usage(
            format!("[{section}] of the configuration {origin}: {error}"),
            "compare with `--dry-run` without the file, or with docs/cli.md",
        )
    })?;
    validate(&config)?;
    Ok(Resolved { config, listing, section })
}

impl<C> Resolved<C> {
    /// With `--dry-run`: prints the values with their origins, and says that nothing else is to
    /// be done.
    pub fn is_dry_run(&self, global: &Global) -> bool {
        if global.dry_run {
            edge::print_text(&format!("[{}]\n{}", self.section, self.listing));
        }
        global.dry_run
    }
}

/// The home: the flag or environment variable, else the file's `home`, else `~/.openclaw-rl`.
pub fn home(global: &Global) -> Result<Home, Fault> {
    if let Some(home) = &global.home {
        return Ok(Home::new(absolute(home)?));
    }
    if let Some(path) = &global.config
        && let Some(home) = file_table(path)?.get("home")
    {
        let home = home.as_str().ok_or_else(|| {
            Fault::usage(format!("`home` in {}: not a text", path.display()), "home = \"/path\"")
        })?;
        return Ok(Home::new(absolute(Path::new(home))?));
    }
    let user = std::env::home_dir().ok_or_else(|| {
        Fault::usage("the user's home directory is not known", "name one with `--home DIR`")
    })?;
    Ok(Home::new(user.join(".openclaw-rl")))
}

fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    std::path::absolute(path).map_err(|error| {
        Fault::usage(format!("home `{}`: {error}", path.display()), "name a directory")
    })
}

fn file_table(path: &Path) -> Result<toml::Table, Fault> {
    let hint = "the configuration is a TOML file with a section per stage (docs/cli.md)";
    let text = std::fs::read_to_string(path).map_err(|error| {
        Fault::usage(format!("configuration {}: {error}", path.display()), hint)
    })?;
    let table: toml::Table = text.parse().map_err(|error| {
        Fault::usage(format!("configuration {}: {error}", path.display()), hint)
    })?;
    match table.keys().find(|key| *key != "home" && !SECTIONS.contains(&key.as_str())) {
        None => Ok(table),
        Some(unknown) => Err(Fault::usage(
            format!("configuration {}: unknown key `{unknown}`", path.display()),
            "the top level holds `home` and the sections serve, collect, score, hint, train, \
             deploy, run, eval",
        )),
    }
}

fn file_section(path: &Path, section: &str) -> Result<Map<String, Value>, Fault> {
    match file_table(path)?.get(section) {
        None => Ok(Map::new()),
        Some(toml::Value::Table(table)) => Ok(object(table)),
        Some(_) => Err(Fault::usage(
            format!("configuration {}: `{section}` is not a section", path.display()),
            "write it as [section] with keys below it",
        )),
    }
}

/// The value as a JSON object, by way of its text, so that an f32 of 0.6 stays 0.6.
fn object(value: &impl Serialize) -> Map<String, Value> {
    let text = serde_json::to_string(value).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The flags that were given: what is absent or empty was not.
pub fn given(flags: &impl Serialize) -> Map<String, Value> {
    let mut map = object(flags);
    map.retain(|_, value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
    map
}

/// What holds where a key is not set, if that is more than nothing.
fn unset(section: &str, key: &str) -> Option<&'static str> {
    match (section, key) {
        ("serve", "temperature") => Some("the model's generation_config.json, else 0.6"),
        ("serve", "top_p") => Some("the model's generation_config.json, else 1"),
        ("serve", "top_k" | "min_p") => Some("the model's generation_config.json, else 0"),
        ("serve", "repetition_penalty") => {
            Some("1 while turns are recorded, else the model's generation_config.json, else 1")
        }
        ("serve", "version") => Some("the live version"),
        ("run", "judge_device") => Some("as [serve] device"),
        ("run", "judge_cache_tokens") => Some("half of [serve] cache_tokens, 16384 at least"),
        _ => None,
    }
}

fn listing(
    section: &str,
    merged: &Map<String, Value>,
    [preset, file, flags]: [&Map<String, Value>; 3],
) -> String {
    let mut text = String::new();
    for (key, value) in merged {
        let layers = [(flags, "flag"), (file, "file"), (preset, "preset")];
        let layer = layers.into_iter().find(|(layer, _)| layer.contains_key(key));
        let origin = layer.map_or("default", |(_, origin)| origin);
        // Writing to a String cannot fail.
        let _ = match value {
            Value::Null => match unset(section, key) {
                Some(what) => writeln!(text, "# {key} is not set: {what}  # {origin}"),
                None => writeln!(text, "# {key} is not set  # {origin}"),
            },
            value => writeln!(text, "{key} = {value}  # {origin}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use openclaw_rl::config::{Judge, ScoreConfig, ServeConfig, TrainConfig};

    use super::*;

    fn global(file: &str) -> (tempfile::TempDir, Global) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, file).unwrap();
        let global = Global {
            home: None,
            config: Some(path),
            preset: None,
            dry_run: false,
            log: "info".into(),
            exit_with_parent: false,
        };
        (dir, global)
    }

    #[derive(Serialize)]
    struct Flags {
        port: Option<u16>,
    }

    #[test]
    fn flags_override_the_file_which_overrides_defaults() {
        let (_dir, global) = global("[serve]\nport = 1\ntop_k = 7\n");
        let serve =
            resolve(&global, "serve", &Flags { port: Some(2) }, ServeConfig::validate).unwrap();
        assert_eq!((serve.config.port, serve.config.top_k), (2, Some(7)));
        assert_eq!(serve.config.running_max, ServeConfig::default().running_max);
        assert!(serve.listing.contains("port = 2  # flag"), "{}", serve.listing);
        assert!(serve.listing.contains("top_k = 7  # file"), "{}", serve.listing);
        assert!(serve.listing.contains("running_max = 16  # default"), "{}", serve.listing);
        let model = "# temperature is not set: the model's generation_config.json, else 0.6";
        assert!(serve.listing.contains(model), "{}", serve.listing);
    }

    #[test]
    fn a_preset_lies_between_defaults_and_file() {
        let (_dir, mut global) = global("[train]\nepochs = 2\n");
        global.preset = Some(Preset::Embedded);
        let none = Flags { port: None };
        let train = resolve(&global, "train", &none, TrainConfig::validate).unwrap();
        assert_eq!((train.config.epochs, train.config.learning_rate), (2, 3e-4));
        assert!(train.listing.contains("epochs = 2  # file"), "{}", train.listing);
        assert!(train.listing.contains("# preset"), "{}", train.listing);
        let serve = resolve(&global, "serve", &none, ServeConfig::validate).unwrap();
        assert_eq!(serve.config, ServeConfig::default(), "it says nothing of that");
    }

    #[test]
    fn every_section_of_a_preset_is_one() {
        let table: toml::Table = Preset::Embedded.file().parse().unwrap();
        for section in table.keys() {
            assert!(SECTIONS.contains(&section.as_str()), "{section}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_also_in_flattened_sections() {
        for (section, text) in [("serve", "[serve]\nprot = 1\n"), ("score", "[score]\nvoets = 1\n")]
        {
            let (_dir, global) = global(text);
            let none = Flags { port: None };
            let fault = match section {
                "serve" => resolve(&global, "serve", &none, ServeConfig::validate).err(),
                _ => resolve(&global, "score", &none, ScoreConfig::<Judge>::validate).err(),
            };
            let fault = format!("{:?}", fault.expect("refused"));
            assert!(fault.contains("unknown field"), "{fault}");
        }
    }

    #[test]
    fn values_keep_their_types_in_flattened_sections() {
        let (_dir, global) = global("[score]\nvotes = 5\njudge = \"http://127.0.0.1:1/v1/\"\n");
        let score =
            resolve(&global, "score", &Flags { port: None }, ScoreConfig::<Judge>::validate)
                .unwrap();
        assert_eq!(score.config.judge.votes, 5);
        assert_eq!(score.config.judge.judge.to_string(), "http://127.0.0.1:1/v1");
    }

    #[test]
    fn an_unknown_section_and_a_wrong_value_are_named() {
        let (_dir, unknown) = global("[sevre]\nport = 1\n");
        let none = Flags { port: None };
        let fault = resolve(&unknown, "serve", &none, ServeConfig::validate).err().unwrap();
        assert!(format!("{fault:?}").contains("sevre"));
        let (_dir, wrong) = global("[serve]\ntop_p = 1.5\n");
        let fault = resolve(&wrong, "serve", &none, ServeConfig::validate).err().unwrap();
        assert!(format!("{fault:?}").contains("top_p"));
    }
}
