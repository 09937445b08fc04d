//! Progress: a few live lines on a terminal, plain lines elsewhere. Everything goes to stderr.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How the loop stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Turns answered and recorded.
    pub turns: u64,
    /// Turns placed and closed.
    pub rollouts: u64,
    /// Turns judged.
    pub scores: u64,
    /// Turns with an accepted hint.
    pub hints: u64,
    /// Samples that wait for the next batch.
    pub ready: u64,
    /// Samples of a batch.
    pub batch_size: u64,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Deployments of a newly trained version.
    pub deployed: u64,
    /// The version that answers.
    pub live_version: u64,
    /// Mean score of the turns judged last.
    pub mean_reward: Option<f64>,
    /// What has to be changed before anything can be learned, if something has.
    pub advice: Option<String>,
    /// Everything that is known, for the last line.
    pub all: serde_json::Value,
}

impl Figures {
    /// The figures as one line.
    pub fn line(&self) -> String {
        let reward = self.mean_reward.map_or_else(|| "-".to_owned(), |r| format!("{r:+.2}"));
        format!(
            "turns {} | rollouts {} | scores {} | hints {} | {} of {} samples | step {} | live \
             version {} | mean reward {reward}",
            self.turns,
            self.rollouts,
            self.scores,
            self.hints,
            self.ready,
            self.batch_size,
            self.steps,
            self.live_version,
        )
    }
}

/// Where progress is shown.
pub struct Screen {
    bars: Option<Bars>,
    last: String,
    advised: Option<String>,
    shown: Instant,
    stderr: Box<dyn Write + Send>,
}

struct Bars {
    all: MultiProgress,
    samples: ProgressBar,
    loop_line: ProgressBar,
    trouble: ProgressBar,
}

/// Least time between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(1);

impl Screen {
    /// Live bars where `terminal`, plain lines to `stderr` elsewhere.
    pub fn new(terminal: bool, stderr: Box<dyn Write + Send>) -> Self {
        let bars = terminal.then(Bars::new);
        let (last, advised) = (String::new(), None);
        Self { bars, last, advised, shown: Instant::now() - PLAIN_EVERY, stderr }
    }

    /// Writes a line above the live ones.
    pub fn say(&mut self, text: &str) {
        match &self.bars {
            Some(bars) => {
                bars.all.println(text).ok();
            }
            None => {
                writeln!(self.stderr, "{text}").ok();
            }
        }
    }

    /// Says that a child answers requests.
    pub fn answers(&mut self, child: &str, address: SocketAddr) {
        self.say(&match child {
            "serve" => format!("serving at http://{address}/v1 (any API key)"),
            _ => format!("{child} at http://{address}/v1"),
        });
    }

    /// Shows the figures, if they changed.
    pub fn show<'a>(&mut self, figures: &Figures, deaths: impl Iterator<Item = (&'a str, usize)>) {
        if figures.advice != self.advised {
            if let Some(advice) = &figures.advice {
                self.say(advice);
            }
            self.advised.clone_from(&figures.advice);
        }
        let line = figures.line();
        if let Some(bars) = &self.bars {
            bars.samples.set_length(figures.batch_size);
            bars.samples.set_position(figures.ready.min(figures.batch_size));
            bars.loop_line.set_message(line);
            let trouble: Vec<String> = deaths
                .filter(|(_, count)| *count > 0)
                .map(|(stage, count)| format!("{stage} restarted {count}x in the last minute"))
                .collect();
            bars.trouble.set_message(trouble.join(", "));
        } else if line != self.last && self.shown.elapsed() >= PLAIN_EVERY {
            self.say(&line.clone());
            self.last = line;
            self.shown = Instant::now();
        }
    }

    /// Leaves the last state standing.
    pub fn end(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.samples.abandon();
            bars.loop_line.abandon();
            bars.trouble.finish_and_clear();
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = |template| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let samples = all.add(ProgressBar::new(16));
        samples.set_style(style("next step {bar:32} {pos} of {len} samples"));
        let loop_line = all.add(ProgressBar::no_length());
        loop_line.set_style(style("{msg}"));
        let trouble = all.add(ProgressBar::no_length());
        trouble.set_style(style("{msg:.yellow}"));
        Self { all, samples, loop_line, trouble }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_appear_once_per_change() {
        let sink = Sink::default();
        let mut screen = Screen::new(false, Box::new(sink.clone()));
        let figures = Figures { turns: 3, ready: 11, batch_size: 16, ..Figures::default() };
        screen.show(&figures, std::iter::empty());
        screen.show(&figures, std::iter::empty());
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("turns 3") && text.contains("11 of 16 samples"), "{text}");
    }

    #[test]
    fn advice_is_said_once_until_it_changes() {
        let sink = Sink::default();
        let mut screen = Screen::new(false, Box::new(sink.clone()));
        let advice = |text: &str| Figures { advice: Some(text.to_owned()), ..Figures::default() };
        for figures in [&advice("one"), &advice("one"), &Figures::default(), &advice("two")] {
            screen.show(figures, std::iter::empty());
        }
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let said: Vec<&str> = text.lines().filter(|line| !line.starts_with("turns")).collect();
        assert_eq!(said, ["one", "two"]);
    }
}
