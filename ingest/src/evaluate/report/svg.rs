//! Pictures: curves over linear or logarithmic axes, and bars.

use std::fmt::Write as _;

use super::escape;

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 52.0;
/// Points nearer to each other than this, in pixels, are one.
const NEAR: f64 = 0.4;
/// Told apart by colour, and by their dashes where colours are not seen.
const DASHES: [&str; 6] = ["", "7 4", "2 3", "9 3 2 3", "12 4", "1 2"];

/// A picture.
#[derive(Clone, Debug)]
pub enum Plot {
    /// Numbers over numbers.
    Curves(Curves),
    /// A number for each name.
    Bars(Bars),
}

/// Numbers over numbers.
#[derive(Clone, Debug)]
pub struct Curves {
    /// What it shows.
    pub title: String,
    /// The same in a sentence, for those who do not see it.
    pub description: String,
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// A number for each name.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// The same in a sentence.
    pub description: String,
    /// What names are.
    pub x_label: String,
    /// What numbers are.
    pub y_label: String,
    /// Names and numbers, none below 0.
    pub bars: Vec<(String, f64)>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it measures.
    pub label: String,
    /// Where it begins; above 0 if it is logarithmic.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Whether each step is a factor.
    pub log: bool,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// A line.
    #[default]
    Line,
    /// A line with the area below it.
    Area,
    /// A dot for each point.
    Dots,
}

/// Points in order.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// What they are.
    pub name: String,
    /// Across and upwards.
    pub points: Vec<(f64, f64)>,
    /// How they are drawn.
    pub style: Style,
}

impl Axis {
    /// An even axis.
    #[must_use]
    pub fn linear(label: &str, from: f64, to: f64) -> Self {
        Self {
            label: label.to_owned(),
            from,
            to: if to > from { to } else { from + 1.0 },
            log: false,
        }
    }

    /// An axis of factors.
    #[must_use]
    pub fn log(label: &str, from: f64, to: f64) -> Self {
        Self {
            label: label.to_owned(),
            from,
            to,
            log: true,
        }
    }

    /// From 0 at the beginning to 1 at the end; what lies beyond is put on the edge.
    fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        if self.log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let powers = (-12..=12).map(|power| 10_f64.powi(power));
            let near = |power: &f64| *power >= self.from * 0.999 && *power <= self.to * 1.001;
            return powers.filter(near).collect();
        }
        let rough = (self.to - self.from) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.from / step - 1e-9).ceil();
        let all = (0..20).map(|at| (first + f64::from(at)) * step);
        all.take_while(|tick| *tick <= self.to + step * 1e-9)
            .collect()
    }
}

/// A number as it stands at an axis.
fn tick_label(value: f64) -> String {
    let size = value.abs();
    if size < 1e-12 {
        "0".into()
    } else if !(1e-3..1e7).contains(&size) {
        format!("{value:e}")
    } else {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Plot {
    /// The picture as SVG, to stand in a page whose style names `--ink`, `--faint`, `--rule` and the
    /// colours `--s0` to `--s5`; without such a style it has colours of its own.
    #[must_use]
    pub fn svg(&self) -> String {
        match self {
            Self::Curves(curves) => curves.svg(),
            Self::Bars(bars) => bars.svg(),
        }
    }
}

fn colour(series: usize) -> String {
    let own = [
        "#1f6fb2", "#c9601a", "#2e8b57", "#8b4fb0", "#b03a48", "#6b7280",
    ];
    let at = series % own.len();
    format!("var(--s{at}, {})", own[at])
}

fn begin(title: &str, description: &str) -> String {
    let (title, description) = (escape(title), escape(description));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{title}</title>\n<desc>{description}</desc>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"15\" font-weight=\"600\" fill=\"var(--ink, #1c2430)\">{title}</text>\n"
    )
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, more: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"var(--faint, #5f6b7a)\"{more}>{}</text>",
        escape(text)
    );
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"var(--rule, #d5dae1)\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn labels(svg: &mut String, x: &str, y: &str) {
    let middle = (
        LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
        TOP + (HEIGHT - TOP - BOTTOM) / 2.0,
    );
    text(svg, (middle.0, HEIGHT - 12.0), "middle", "", x);
    let turn = format!(" transform=\"rotate(-90 16 {:.1})\"", middle.1);
    text(svg, (16.0, middle.1), "middle", &turn, y);
}

fn across(part: f64) -> f64 {
    LEFT + part * (WIDTH - LEFT - RIGHT)
}

fn up(part: f64) -> f64 {
    HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
}

fn y_ticks(svg: &mut String, y: &Axis) {
    for tick in y.ticks() {
        let at = up(y.place(tick));
        rule(svg, (across(0.0), at), (across(1.0), at));
        text(svg, (LEFT - 8.0, at + 4.0), "end", "", &tick_label(tick));
    }
}

impl Curves {
    fn svg(&self) -> String {
        let mut svg = begin(&self.title, &self.description);
        y_ticks(&mut svg, &self.y);
        for tick in self.x.ticks() {
            let at = across(self.x.place(tick));
            rule(&mut svg, (at, up(0.0)), (at, up(1.0)));
            text(
                &mut svg,
                (at, up(0.0) + 18.0),
                "middle",
                "",
                &tick_label(tick),
            );
        }
        labels(&mut svg, &self.x.label, &self.y.label);
        for (number, series) in self.series.iter().enumerate() {
            self.draw(&mut svg, number, series);
        }
        self.legend(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    /// Where the points are, without those that nobody could tell apart.
    fn places(&self, series: &Series) -> Vec<(f64, f64)> {
        let finite = series
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite());
        let all = finite.map(|(x, y)| (across(self.x.place(*x)), up(self.y.place(*y))));
        let mut places: Vec<(f64, f64)> = Vec::new();
        let mut last = None;
        for place in all {
            let near = |other: &(f64, f64)| {
                (place.0 - other.0).abs() < NEAR && (place.1 - other.1).abs() < NEAR
            };
            if !places.last().is_some_and(near) {
                places.push(place);
            }
            last = Some(place);
        }
        if let Some(last) = last
            && places.last() != Some(&last)
        {
            places.push(last);
        }
        places
    }

    fn draw(&self, svg: &mut String, number: usize, series: &Series) {
        let places = self.places(series);
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return;
        };
        let colour = colour(number);
        if series.style == Style::Dots {
            for (x, y) in &places {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\" fill-opacity=\"0.8\"/>"
                );
            }
            return;
        }
        let mut path = String::new();
        for (at, (x, y)) in places.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { "M" } else { "L" });
        }
        if series.style == Style::Area {
            let floor = up(0.0);
            let _ = writeln!(
                svg,
                "<path d=\"{path}L{:.1} {floor:.1}L{:.1} {floor:.1}Z\" fill=\"{colour}\" fill-opacity=\"0.18\"/>",
                last.0, first.0
            );
        }
        let dashes = DASHES[number % DASHES.len()];
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke-dasharray=\"{dashes}\"/>"
        );
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (number, series) in self
            .series
            .iter()
            .enumerate()
            .filter(|(_, series)| !series.name.is_empty())
        {
            let colour = colour(number);
            if series.style == Style::Dots {
                let middle = x + 11.0;
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{middle:.1}\" cy=\"36\" r=\"3.5\" fill=\"{colour}\"/>"
                );
            } else {
                let (to, dashes) = (x + 22.0, DASHES[number % DASHES.len()]);
                let _ = writeln!(
                    svg,
                    "<line x1=\"{x:.1}\" y1=\"36\" x2=\"{to:.1}\" y2=\"36\" stroke=\"{colour}\" stroke-width=\"3\" stroke-dasharray=\"{dashes}\"/>"
                );
            }
            text(svg, (x + 28.0, 40.0), "start", "", &series.name);
            // About as wide as letters of this size are.
            x += 48.0 + 6.8 * series.name.chars().count() as f64;
        }
    }
}

impl Bars {
    fn svg(&self) -> String {
        let mut svg = begin(&self.title, &self.description);
        let most = self
            .bars
            .iter()
            .map(|(_, value)| *value)
            .fold(0.0, f64::max);
        let y = Axis::linear(
            &self.y_label,
            0.0,
            if most > 0.0 { most * 1.05 } else { 1.0 },
        );
        y_ticks(&mut svg, &y);
        labels(&mut svg, &self.x_label, &self.y_label);
        let count = self.bars.len().max(1) as f64;
        // As many names as there is room for.
        let step = (count / 16.0).ceil();
        for (at, (name, value)) in self.bars.iter().enumerate() {
            let at = at as f64;
            let (from, to) = (across((at + 0.1) / count), across((at + 0.9) / count));
            let top = up(y.place(*value));
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {}</title></rect>",
                to - from,
                up(0.0) - top,
                colour(0),
                escape(name),
                tick_label(*value)
            );
            if at % step == 0.0 {
                text(
                    &mut svg,
                    (f64::midpoint(from, to), up(0.0) + 18.0),
                    "middle",
                    "",
                    name,
                );
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}
