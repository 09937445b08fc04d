//! Stop strings, found in text as it comes.

/// Looks for stop strings; what may be the beginning of one is held back.
#[derive(Debug)]
pub(super) struct Stops {
    stops: Vec<String>,
    held: String,
    /// Which of them was found.
    found: Option<usize>,
}

impl Stops {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new(), found: None }
    }

    /// Takes the next text; what may be shown now, and whether a stop string was found (which,
    /// like everything after it, is never shown).
    pub(super) fn push(&mut self, text: &str) -> (String, bool) {
        if self.found.is_some() {
            return (String::new(), true);
        }
        self.held.push_str(text);
        let places = self.stops.iter().enumerate();
        let places = places.filter_map(|(which, stop)| Some((self.held.find(stop)?, which)));
        if let Some((at, which)) = places.min() {
            self.found = Some(which);
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let begun = self.stops.iter().map(|stop| begun(&self.held, stop)).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - begun);
        (std::mem::replace(&mut self.held, kept), false)
    }

    /// The stop string that was found.
    pub(super) fn found(&self) -> Option<&str> {
        self.found.and_then(|which| self.stops.get(which)).map(String::as_str)
    }

    /// What was held back, once no more text comes.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// How many bytes at the end of `text` may be the beginning of `stop`.
fn begun(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(at, _)| at)
        .skip(1)
        .filter(|length| text.as_bytes().ends_with(&stop.as_bytes()[..*length]))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let mut found = Stops::new(stops.iter().map(ToString::to_string).collect());
        let mut texts = Vec::new();
        for piece in pieces {
            let (text, hit) = found.push(piece);
            texts.push(text);
            if hit {
                return (texts, true);
            }
        }
        texts.push(found.finish());
        (texts, false)
    }

    #[test]
    fn nothing_of_a_stop_string_is_shown() {
        assert_eq!(
            shown(&["END"], &["aE", "N", "Db"]),
            (vec!["a".into(), "".into(), "".into()], true)
        );
        let no_stop = shown(&["END"], &["aE", "Nx"]);
        assert_eq!(no_stop, (vec!["a".into(), "ENx".into(), "".into()], false));
        let open = shown(&["END"], &["aEN"]);
        assert_eq!(open, (vec!["a".into(), "EN".into()], false));
    }

    #[test]
    fn the_first_of_several_ends_the_text() {
        let (texts, hit) = shown(&["bc", "abcd", "é🦞"], &["xab", "c"]);
        assert!(hit);
        assert_eq!(texts.concat(), "xa");
        let (texts, hit) = shown(&["é🦞"], &["aé", "é🦞z"]);
        assert!(hit);
        assert_eq!(texts.concat(), "aé");
        let mut stops = Stops::new(vec!["abcd".into(), "bc".into()]);
        assert_eq!(stops.found(), None);
        stops.push("xabc");
        assert_eq!(stops.found(), Some("bc"));
    }

    #[test]
    fn without_stop_strings_nothing_waits() {
        assert_eq!(shown(&[], &["a", "b"]), (vec!["a".into(), "b".into(), "".into()], false));
    }
}
