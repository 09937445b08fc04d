//! Satisfaction over turns as a picture: SVG, without a library, a font or a script.

use std::fmt::Write;

use serde::Deserialize;

use super::Report;
use super::figures::Share;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 736.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 352.0;
/// Told apart by people who see few colours, and on paper by their order (Okabe and Ito 2008).
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
const INK: &str = "#333333";
const GRID: &str = "#dddddd";

/// A picture that can be drawn.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawing {
    /// What it shows.
    pub title: String,
    /// A line below the title.
    #[serde(default)]
    pub note: String,
    /// At most six of them have a colour of their own.
    pub curves: Vec<Curve>,
}

/// A line of the picture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// What it is called.
    pub name: String,
    /// Turns that the users had reacted to, replies that were as wanted, and all that were looked
    /// at, in the order of the turns.
    pub points: Vec<(usize, usize, usize)>,
}

impl Curve {
    fn shares(&self) -> impl DoubleEndedIterator<Item = (usize, Share)> {
        self.points.iter().map(|(turns, met, n)| (*turns, Share::of(*met, *n)))
    }
}

impl Drawing {
    /// The picture.
    pub fn svg(&self) -> String {
        draw(&self.title, &self.note, &self.curves)
    }
}

impl Report {
    /// The picture of a run.
    pub fn drawing(&self) -> Drawing {
        Drawing {
            title: "First replies as the user wants them".to_owned(),
            note: format!(
                "held-out prompts, {} of each persona for every version; bands are 95 % intervals",
                self.curve.first().map_or(0, |point| {
                    point.personas.values().map(|share| share.n).max().unwrap_or_default()
                }),
            ),
            curves: self.curves(),
        }
    }

    /// The lines of a run: each persona, and all together where there are several.
    fn curves(&self) -> Vec<Curve> {
        let line = |name: &str, share: &dyn Fn(&super::Point) -> Share| {
            let points = self.curve.iter().map(|point| {
                let Share { met, n, .. } = share(point);
                (point.turns, met, n)
            });
            Curve { name: name.to_owned(), points: points.collect() }
        };
        let mut curves: Vec<Curve> = self
            .personas
            .iter()
            .map(|name| line(name, &|point| point.personas.get(name).copied().unwrap_or_default()))
            .collect();
        if curves.len() > 1 {
            curves.push(line("all", &|point| point.satisfaction));
        }
        curves
    }
}

fn draw(title: &str, note: &str, curves: &[Curve]) -> String {
    let most = curves.iter().flat_map(Curve::shares).map(|(turns, _)| turns).max();
    let scale = Scale { turns: most.unwrap_or_default().max(1) };
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"{INK}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, LEFT, 26.0, "start", 17, title);
    text(&mut svg, LEFT, 46.0, "start", 12, note);
    axes(&mut svg, scale);
    for (at, curve) in curves.iter().enumerate() {
        let color = COLORS[at % COLORS.len()];
        one(&mut svg, scale, curve, color);
    }
    legend(&mut svg, curves);
    svg.push_str("</svg>\n");
    svg
}

/// From turns and shares to places.
#[derive(Clone, Copy)]
struct Scale {
    turns: usize,
}

impl Scale {
    fn x(self, turns: usize) -> f64 {
        LEFT + (RIGHT - LEFT) * turns as f64 / self.turns as f64
    }

    fn y(share: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * share
    }

    /// A round number of turns between two marks: 1, 2 or 5 times a power of ten.
    fn step(self) -> usize {
        let rough = (self.turns as f64 / 8.0).max(1.0);
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough);
        (step.unwrap_or(10.0) * power) as usize
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    let _ = writeln!(svg, "<text {place} font-size=\"{size}\">{words}</text>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), color: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn axes(svg: &mut String, scale: Scale) {
    for percent in (0..=100).step_by(20) {
        let y = Scale::y(f64::from(percent) / 100.0);
        line(svg, (LEFT, y), (RIGHT, y), GRID);
        text(svg, LEFT - 8.0, y + 4.0, "end", 12, &format!("{percent} %"));
    }
    for turns in (0..=scale.turns).step_by(scale.step().max(1)) {
        let x = scale.x(turns);
        line(svg, (x, BOTTOM), (x, BOTTOM + 5.0), INK);
        text(svg, x, BOTTOM + 20.0, "middle", 12, &turns.to_string());
    }
    line(svg, (LEFT, BOTTOM), (RIGHT, BOTTOM), INK);
    let middle = f64::midpoint(LEFT, RIGHT);
    text(svg, middle, BOTTOM + 40.0, "middle", 13, "replies that a user reacted to");
}

/// A curve, with the band that its intervals make.
fn one(svg: &mut String, scale: Scale, curve: &Curve, color: &str) {
    let place = |turns: usize, share: f64| format!("{:.1},{:.1}", scale.x(turns), Scale::y(share));
    let upper = curve.shares().map(|(turns, share)| place(turns, share.high));
    let lower = curve.shares().rev().map(|(turns, share)| place(turns, share.low));
    let band = upper.chain(lower).collect::<Vec<_>>().join(" ");
    let middle: Vec<String> =
        curve.shares().map(|(turns, share)| place(turns, share.share)).collect();
    let _ = writeln!(svg, "<polygon points=\"{band}\" fill=\"{color}\" fill-opacity=\"0.12\"/>");
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
        middle.join(" ")
    );
    for (turns, share) in curve.shares() {
        let (x, y) = (scale.x(turns), Scale::y(share.share));
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>");
    }
}

/// The names, in a row below.
fn legend(svg: &mut String, curves: &[Curve]) {
    let width = (RIGHT - LEFT) / curves.len().max(1) as f64;
    for (at, curve) in curves.iter().enumerate() {
        let (x, y) = (LEFT + width * at as f64, HEIGHT - 8.0);
        let color = COLORS[at % COLORS.len()];
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{color}\"/>",
            y - 10.0
        );
        let last = curve.shares().last().map_or(0.0, |(_, share)| 100.0 * share.share);
        text(svg, x + 17.0, y, "start", 13, &format!("{} ({last:.0} %)", curve.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, shares: &[usize]) -> Curve {
        let points = shares.iter().enumerate();
        let points = points.map(|(at, met)| (at * 16, *met, 64)).collect();
        Curve { name: name.to_owned(), points }
    }

    #[test]
    fn a_picture_shows_every_curve_where_it_belongs() {
        let svg = draw("a < b & c", "note", &[curve("one", &[0, 64]), curve("two", &[32, 32])]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b &amp; c"));
        let bottom_to_top = format!("points=\"{LEFT:.1},{BOTTOM:.1} {RIGHT:.1},{TOP:.1}\"");
        assert!(svg.contains(&bottom_to_top), "{svg}");
        let half = f64::midpoint(TOP, BOTTOM);
        assert!(svg.contains(&format!("points=\"{LEFT:.1},{half:.1} {RIGHT:.1},{half:.1}\"")));
        assert!(svg.contains("one (100 %)") && svg.contains("two (50 %)"));
        assert_eq!(svg.matches("<circle").count(), 4);
    }

    #[test]
    fn marks_are_round_numbers() {
        for (turns, step) in [(1, 1), (10, 2), (48, 10), (144, 20), (150, 20), (900, 200)] {
            assert_eq!(Scale { turns }.step(), step, "{turns}");
        }
    }

    #[test]
    fn nothing_can_be_drawn() {
        assert!(draw("empty", "", &[]).contains("empty"));
        assert!(draw("empty", "", &[curve("none", &[])]).contains("none (0 %)"));
    }
}
