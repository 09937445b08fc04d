//! JSON read byte by byte: where a value ends, and where it stops being one.

/// How deep objects and arrays may stand in each other.
const DEPTH_MAX: usize = 128;

/// What a byte did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All is well, and the value goes on.
    More,
    /// It was the last byte of the value.
    End,
    /// No JSON goes on like this.
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// After `[`.
    FirstItem,
    /// After `{`.
    FirstKey,
    /// After `,` in an object.
    Key,
    Colon,
    /// After a value within an object or array.
    Next,
    Text,
    Escape,
    /// Hexadecimal digits that are left of an escape.
    Hex(u8),
    Number(Digits),
    /// What is left of `true`, `false` or `null`.
    Word(&'static [u8]),
}

/// Where in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Digits {
    /// Whether a number may end here.
    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Power)
    }

    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::Sign),
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Some(Self::Power),
            _ => None,
        }
    }
}

/// Reads one object or array. Every prefix of bytes that it did not call wrong can be completed
/// to JSON.
#[derive(Clone, Debug)]
pub(super) struct JsonScan {
    state: State,
    /// What is open: whether each is an object.
    open: Vec<bool>,
    /// Whether the text being read is a key.
    key: bool,
}

impl JsonScan {
    pub(super) const fn new() -> Self {
        Self { state: State::Value, open: Vec::new(), key: false }
    }

    /// Takes the next byte.
    pub(super) fn push(&mut self, byte: u8) -> Step {
        if let State::Number(digits) = self.state {
            match digits.next(byte) {
                Some(next) => {
                    self.state = State::Number(next);
                    return Step::More;
                }
                None if digits.may_end() => self.state = State::Next,
                None => return Step::Wrong,
            }
        }
        let state = match (self.state, byte) {
            (State::Text | State::Escape | State::Hex(_), _) => self.text(byte),
            (State::Word([letter, rest @ ..]), _) if byte == *letter => {
                Some(if rest.is_empty() { State::Next } else { State::Word(rest) })
            }
            (State::Word(_), _) => None,
            (same, b' ' | b'\t' | b'\n' | b'\r') => Some(same),
            (State::Colon, b':') => Some(State::Value),
            (State::FirstKey | State::Key, b'"') => {
                self.key = true;
                Some(State::Text)
            }
            (State::Value | State::FirstItem, _) if byte != b']' => self.value(byte),
            (State::Next, b',') => match self.open.last() {
                Some(true) => Some(State::Key),
                _ => Some(State::Value),
            },
            (State::FirstItem | State::FirstKey | State::Next, b']' | b'}') => {
                return self.close(byte == b'}');
            }
            _ => None,
        };
        match state {
            Some(state) => {
                self.state = state;
                Step::More
            }
            None => Step::Wrong,
        }
    }

    fn text(&mut self, byte: u8) -> Option<State> {
        match (self.state, byte) {
            (State::Text, b'"') if self.key => Some(State::Colon),
            (State::Text, b'"') => Some(State::Next),
            (State::Text, b'\\') => Some(State::Escape),
            (State::Text, 0..0x20) => None,
            (State::Escape, b'u') => Some(State::Hex(4)),
            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                Some(State::Text)
            }
            (State::Hex(1), _) if byte.is_ascii_hexdigit() => Some(State::Text),
            (State::Hex(left), _) if byte.is_ascii_hexdigit() => Some(State::Hex(left - 1)),
            (State::Text, _) => Some(State::Text),
            _ => None,
        }
    }

    fn value(&mut self, byte: u8) -> Option<State> {
        let state = match byte {
            b'{' | b'[' if self.open.len() < DEPTH_MAX => {
                self.open.push(byte == b'{');
                if byte == b'{' { State::FirstKey } else { State::FirstItem }
            }
            // One value alone ends with its last byte only if it closes.
            _ if self.open.is_empty() => return None,
            b'"' => {
                self.key = false;
                State::Text
            }
            b'-' => State::Number(Digits::Minus),
            b'0' => State::Number(Digits::Zero),
            b'1'..=b'9' => State::Number(Digits::Whole),
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            _ => return None,
        };
        Some(state)
    }

    fn close(&mut self, object: bool) -> Step {
        let fits = match self.state {
            State::FirstItem => !object,
            State::FirstKey => object,
            _ => self.open.last() == Some(&object),
        };
        if !fits {
            return Step::Wrong;
        }
        self.open.pop();
        self.state = State::Next;
        if self.open.is_empty() { Step::End } else { Step::More }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use serde_json::Value;

    use super::*;

    /// How many bytes are read, and what the last of them did.
    fn scan(text: &str) -> (usize, Step) {
        let mut scan = JsonScan::new();
        for (index, byte) in text.bytes().enumerate() {
            match scan.push(byte) {
                Step::More => {}
                step => return (index + 1, step),
            }
        }
        (text.len(), Step::More)
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        for text in [
            "{}",
            "[]",
            r#" { "a" : [ 1 , -0.5e+3 , true , false , null , {} , [] ] , "b\u00e9\n" : "é🦞" }"#,
            r#"{"a":0,"b":[[1],[2]],"c":"}]"}"#,
        ] {
            assert!(serde_json::from_str::<Value>(text).is_ok());
            assert_eq!(scan(text), (text.len(), Step::End), "{text}");
            assert_eq!(scan(&format!("{text}}}")), (text.len(), Step::End));
        }
    }

    #[test]
    fn what_is_no_json_is_seen_at_once() {
        for (text, at) in [
            ("1", 1),
            ("{1", 2),
            ("{\"a\"1", 5),
            ("{\"a\":1,}", 8),
            ("[1,]", 4),
            ("[}", 2),
            ("{]", 2),
            ("[01", 3),
            ("[-]", 3),
            ("[1.]", 4),
            ("[1e]", 4),
            ("[trux", 5),
            ("[\"\\x", 4),
            ("[\"\\u00g", 7),
            ("[\"a\nb", 4),
            ("{\"a\":{\"b\":1]", 12),
            ("[1 2", 4),
        ] {
            assert_eq!(scan(text), (at, Step::Wrong), "{text}");
        }
        assert_eq!(scan(&"[".repeat(DEPTH_MAX + 1)), (DEPTH_MAX + 1, Step::Wrong));
    }

    /// On random bytes of JSON's own alphabet it agrees with serde_json.
    #[test]
    fn it_agrees_with_a_parser() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let pieces = [
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "1", "0", "-", ".", "e", " ", "true",
            "null", "\\n", "\n",
        ];
        let mut whole = 0;
        for _ in 0..200_000 {
            let count = rng.random_range(1..9);
            let inner: String =
                (0..count).map(|_| pieces[rng.random_range(0..pieces.len())]).collect();
            let text =
                if rng.random_bool(0.5) { format!("[{inner}") } else { format!("{{{inner}") };
            let (read, step) = scan(&text);
            let parsed = serde_json::from_str::<Value>(&text[..read]).is_ok();
            assert_eq!(parsed, step == Step::End, "{text}");
            whole += usize::from(parsed);
        }
        assert!(whole > 1000, "{whole}");
    }
}
