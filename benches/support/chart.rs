//! Line charts in SVG, readable on light and dark backgrounds.

use std::fmt::Write as _;

use super::{axis::Axis, rounds::Figure};

/// A chart of the figures of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chart {
    pub(crate) row: &'static str,
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    /// What grows along the x axis.
    pub(crate) x: &'static str,
    /// The unit of the y axis.
    pub(crate) y: &'static str,
    pub(crate) scale: Scale,
}

/// The scale of the y axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scale {
    /// Linear, from zero.
    Linear,
    Logarithmic,
}

/// The image, and the plot area within it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 340.0;

/// Colours that are legible on white and on black; clients that state a dark colour scheme get better
/// ones.
const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #768390 }
  .title { font-size: 16px; font-weight: 600 }
  .grid { stroke: #8c959f; stroke-opacity: .3 }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
  .subject { stroke: #1f77d0 } .subject-dot { fill: #1f77d0 }
  .baseline { stroke: #d9730d } .baseline-dot { fill: #d9730d }
  .dashed { stroke-dasharray: 7 5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #adbac7 }
    .subject { stroke: #58a6ff } .subject-dot { fill: #58a6ff }
    .baseline { stroke: #f0883e } .baseline-dot { fill: #f0883e }
  }
";

/// One line of a chart.
struct Line {
    name: String,
    class: &'static str,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

impl Chart {
    /// Draws the row's figures; the arguments name the two sides.
    pub(crate) fn draw(&self, [subject, baseline]: [&str; 2], figures: &[Figure]) -> String {
        let lines = self.lines([subject, baseline], figures);
        let points = || lines.iter().flat_map(|line| &line.points);
        let x = Axis::logarithmic(points().map(|point| point.0), LEFT, RIGHT);
        let y = match self.scale {
            Scale::Linear => Axis::from_zero(points().map(|point| point.1), BOTTOM, TOP),
            Scale::Logarithmic => Axis::logarithmic(points().map(|point| point.1), BOTTOM, TOP),
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"24\">{title}</text>\n",
            title = self.title
        );
        self.frame(&mut svg, &x, &y);
        legend(&mut svg, &lines);
        for line in &lines {
            line.draw(&mut svg, &x, &y);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// A line for each figure name and side; all but the first name are dashed.
    fn lines(&self, [subject, baseline]: [&str; 2], figures: &[Figure]) -> Vec<Line> {
        let figures: Vec<_> = figures.iter().filter(|figure| figure.row == self.row).collect();
        let mut names: Vec<&str> = Vec::new();
        for figure in &figures {
            if !names.contains(&figure.name) {
                names.push(figure.name);
            }
        }
        let compared = figures.iter().any(|figure| figure.baseline.is_some());
        let label = |side: &str, name: &str| match (compared, names.len()) {
            (false, _) => name.to_owned(),
            (true, 1) => side.to_owned(),
            (true, _) => format!("{side}, {name}"),
        };
        let mut lines = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let of_name = || figures.iter().filter(|figure| figure.name == *name);
            let x = |figure: &Figure| f64::from(figure.x.unwrap_or(1));
            lines.push(Line {
                name: label(subject, name),
                class: "subject",
                dashed: at > 0,
                points: of_name().map(|figure| (x(figure), figure.subject.median())).collect(),
            });
            if compared {
                let value =
                    |figure: &Figure| figure.baseline.as_ref().map(|series| (x(figure), series.median()));
                lines.push(Line {
                    name: label(baseline, name),
                    class: "baseline",
                    dashed: at > 0,
                    points: of_name().filter_map(|figure| value(figure)).collect(),
                });
            }
        }
        lines
    }

    fn frame(&self, svg: &mut String, x: &Axis, y: &Axis) {
        for (value, text) in x.ticks() {
            let at = x.position(value);
            let _infallible = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                BOTTOM + 20.0
            );
        }
        for (value, text) in y.ticks() {
            let at = y.position(value);
            let _infallible = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                at + 4.5
            );
        }
        let _infallible = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            f64::midpoint(LEFT, RIGHT),
            HEIGHT - 12.0,
            self.x,
            LEFT - 8.0,
            TOP - 14.0,
            self.y
        );
    }
}

impl Line {
    fn draw(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let dashed = if self.dashed { " dashed" } else { "" };
        let at = |(value, measured): &(f64, f64)| (x.position(*value), y.position(*measured));
        let path: Vec<_> = self.points.iter().map(at).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _infallible =
            writeln!(svg, "<path class=\"line {}{dashed}\" d=\"M{}\"/>", self.class, path.join("L"));
        for (x, y) in self.points.iter().map(at) {
            let _infallible =
                writeln!(svg, "<circle class=\"{}-dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>", self.class);
        }
    }
}

/// Writes the legend above the plot area.
fn legend(svg: &mut String, lines: &[Line]) {
    let mut at = LEFT;
    for line in lines {
        let dashed = if line.dashed { " dashed" } else { "" };
        let _infallible = writeln!(
            svg,
            "<path class=\"line {}{dashed}\" d=\"M{at:.1} 46h28\"/><text x=\"{:.1}\" y=\"50.5\">{}</text>",
            line.class,
            at + 34.0,
            line.name
        );
        // About seven pixels for each character.
        at += 60.0 + 7.0 * f64::from(u32::try_from(line.name.chars().count()).unwrap_or_default());
    }
}
