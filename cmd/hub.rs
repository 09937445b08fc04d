//! Where models are fetched from: the variables that every tool of the hub heeds.

use std::path::PathBuf;

use openclaw_rl::config::HubConfig;

/// `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_CACHE` or `HF_HOME`, and `HF_HUB_OFFLINE`.
pub fn from_environment() -> HubConfig {
    from(|name| std::env::var(name).ok(), std::env::home_dir())
}

fn from(variable: impl Fn(&str) -> Option<String>, user: Option<PathBuf>) -> HubConfig {
    let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let cache = match (given("HF_HUB_CACHE"), given("HF_HOME")) {
        (Some(cache), _) => Some(PathBuf::from(cache)),
        (None, Some(home)) => Some(PathBuf::from(home).join("hub")),
        (None, None) => user.map(|user| user.join(".cache/huggingface/hub")),
    };
    let yes = |value: String| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on");
    HubConfig {
        endpoint: given("HF_ENDPOINT"),
        token: given("HF_TOKEN").map(|token| token.trim().to_owned()),
        cache: cache.map(|cache| std::path::absolute(&cache).unwrap_or(cache)),
        offline: given("HF_HUB_OFFLINE").is_some_and(yes),
        ..HubConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_the_hub_are_heeded() {
        let from = |set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
            from(variable, Some(PathBuf::from("/home/u")))
        };
        let none = from(&[("HF_TOKEN", " ")]);
        assert_eq!(none.cache, Some(PathBuf::from("/home/u/.cache/huggingface/hub")));
        assert_eq!((none.endpoint, none.token, none.offline), (None, None, false));
        let home = from(&[("HF_HOME", "/hf"), ("HF_TOKEN", "t\n"), ("HF_HUB_OFFLINE", "1")]);
        assert_eq!(home.cache, Some(PathBuf::from("/hf/hub")));
        assert_eq!((home.token.as_deref(), home.offline), (Some("t"), true));
        let all =
            [("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c"), ("HF_ENDPOINT", "http://127.0.0.1:1")];
        assert_eq!(from(&all).cache, Some(PathBuf::from("/c")));
        assert_eq!(from(&all).endpoint.as_deref(), Some("http://127.0.0.1:1"));
    }
}
