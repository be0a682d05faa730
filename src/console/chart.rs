//! Charts as SVG, drawn on the server: no script, and the same numbers in the JSON API.

use std::fmt;

use askama::Template;
use serde::Serialize;

use super::format::{number, span};
use super::live::history::STEP_MILLIS;
use crate::session::Timestamp;
use crate::wire::time;

/// The drawing, in units of its own.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// Into how many columns the time is cut for what shows on hover.
const COLUMNS: usize = 60;

/// How series are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Each as a line.
    Lines,
    /// One on top of the other.
    Stacked,
}

/// Values over time.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// Names it within the page.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// How it is drawn.
    pub kind: Kind,
    /// When the first value was taken, RFC 3339.
    pub from: String,
    /// From one value to the next, in milliseconds.
    pub step_millis: i64,
    /// What is shown, all of the same length.
    pub series: Vec<Series>,
    #[serde(skip)]
    start: Timestamp,
}

/// One of a chart's series.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// What it is called.
    pub name: &'static str,
    /// Its values; none where there is none.
    pub values: Vec<Option<f64>>,
}

impl Chart {
    /// A chart of series whose first values are of step `first`.
    #[must_use]
    pub fn new(
        (id, title, unit): (&'static str, &'static str, &'static str),
        kind: Kind,
        first: i64,
        series: Vec<Series>,
    ) -> Self {
        let start = Timestamp::from_millis(first * STEP_MILLIS);
        Self {
            id,
            title,
            unit,
            kind,
            from: time::format(start),
            step_millis: STEP_MILLIS,
            series,
            start,
        }
    }

    /// What is drawn: as given, or each on top of those before it.
    fn levels(&self) -> Vec<Vec<Option<f64>>> {
        let mut levels: Vec<Vec<Option<f64>>> = Vec::new();
        for series in &self.series {
            let mut values = series.values.clone();
            if let (Kind::Stacked, Some(below)) = (self.kind, levels.last()) {
                for (value, below) in values.iter_mut().zip(below) {
                    *value = Some(value.unwrap_or_default() + below.unwrap_or_default());
                }
            }
            levels.push(values);
        }
        levels
    }

    fn length(&self) -> usize {
        self.series.first().map_or(0, |series| series.values.len())
    }

    fn x(&self, at: usize) -> f64 {
        let last = self.length().saturating_sub(1).max(1);
        LEFT + (WIDTH - LEFT - RIGHT) * at as f64 / last as f64
    }

    fn drawing(&self) -> Drawing<'_> {
        let levels = self.levels();
        let largest = levels.iter().flatten().flatten().copied();
        let scale = Scale::up_to(largest.fold(0.0, f64::max));
        let path = |at: usize| match self.kind {
            Kind::Lines => self.line(&levels[at], &scale),
            Kind::Stacked => self.area(
                &levels[at],
                at.checked_sub(1).map(|at| &*levels[at]),
                &scale,
            ),
        };
        let shapes = self.series.iter().enumerate().map(|(at, series)| Shape {
            number: at + 1,
            name: series.name,
            path: path(at),
            latest: series
                .values
                .last()
                .copied()
                .flatten()
                .map_or_else(|| "–".into(), number),
        });
        Drawing {
            chart: self,
            shapes: shapes.collect(),
            levels: scale.ticks(),
            times: self.times(),
            columns: self.columns(),
            summary: self.summary(),
        }
    }

    fn line(&self, values: &[Option<f64>], scale: &Scale) -> String {
        let mut path = String::new();
        let mut pen = 'M';
        for (at, value) in values.iter().enumerate() {
            let Some(value) = value else {
                pen = 'M';
                continue;
            };
            path.push_str(&format!("{pen}{:.1} {:.1}", self.x(at), scale.y(*value)));
            pen = 'L';
        }
        path
    }

    fn area(&self, top: &[Option<f64>], below: Option<&[Option<f64>]>, scale: &Scale) -> String {
        let base = |at: usize| below.and_then(|below| below[at]).unwrap_or_default();
        let upper = top.iter().enumerate();
        let upper = upper.map(|(at, value)| (at, value.unwrap_or_default()));
        let lower = (0..top.len()).rev().map(|at| (at, base(at)));
        let points = upper
            .chain(lower)
            .map(|(at, value)| format!("{:.1} {:.1}", self.x(at), scale.y(value)));
        format!("M{}Z", points.collect::<Vec<_>>().join("L"))
    }

    fn times(&self) -> Vec<Tick> {
        let length = self.length() as i64 * self.step_millis;
        let ticks = (0..=3).map(|part| {
            let ago = length * (3 - part) / 3;
            let share = part as f64 / 3.0;
            Tick {
                at: format!("{:.1}", LEFT + (WIDTH - LEFT - RIGHT) * share),
                label: if part == 3 {
                    "now".into()
                } else {
                    format!("−{}", span(ago))
                },
                anchor: ["start", "middle", "middle", "end"][usize::try_from(part).unwrap_or(0)],
            }
        });
        ticks.collect()
    }

    fn columns(&self) -> Vec<Column> {
        let size = self.length().div_ceil(COLUMNS).max(1);
        let starts = (0..self.length()).step_by(size);
        let columns = starts.map(|start| {
            let end = (start + size).min(self.length());
            let at = self.start.as_millis() + start as i64 * self.step_millis;
            let clock = time::format(Timestamp::from_millis(at));
            let means = self.series.iter().map(|series| {
                let values: Vec<f64> = series.values[start..end]
                    .iter()
                    .flatten()
                    .copied()
                    .collect();
                let mean = (!values.is_empty())
                    .then(|| values.iter().sum::<f64>() / values.len() as f64)
                    .map_or_else(|| "–".to_owned(), number);
                format!("{}: {mean} {}", series.name, self.unit)
            });
            let told = means.collect::<Vec<_>>().join("\n");
            Column {
                x: format!("{:.1}", self.x(start)),
                width: format!(
                    "{:.1}",
                    self.x(end.min(self.length() - 1)) - self.x(start) + 0.1
                ),
                title: format!("{} UTC\n{told}", &clock[11..19]),
            }
        });
        columns.collect()
    }

    /// What the chart says, for those who do not see it.
    fn summary(&self) -> String {
        let told = self.series.iter().map(|series| {
            let values = || series.values.iter().flatten().copied();
            let latest = series.values.last().copied().flatten();
            format!(
                "{}: {} {}, between {} and {}",
                series.name,
                latest.map_or_else(|| "nothing".to_owned(), number),
                self.unit,
                number(values().fold(f64::INFINITY, f64::min).min(1e300)),
                number(values().fold(0.0, f64::max)),
            )
        });
        format!(
            "The last 15 minutes. {}.",
            told.collect::<Vec<_>>().join("; ")
        )
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.drawing().render().map_err(|_| fmt::Error)?)
    }
}

/// From values to heights.
struct Scale {
    top: f64,
}

impl Scale {
    /// Up to the next 1, 2 or 5 times a power of ten.
    fn up_to(largest: f64) -> Self {
        if largest <= 0.0 {
            return Self { top: 1.0 };
        }
        let power = 10_f64.powf(largest.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        let top = steps.into_iter().find(|step| *step >= largest);
        Self {
            top: top.unwrap_or(10.0 * power),
        }
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / self.top).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<Tick> {
        let ticks = [0.0, 0.5, 1.0].map(|share| Tick {
            at: format!("{:.1}", self.y(share * self.top)),
            label: number(share * self.top),
            anchor: "end",
        });
        ticks.into()
    }
}

#[derive(Template)]
#[template(path = "console/chart.html")]
struct Drawing<'a> {
    chart: &'a Chart,
    shapes: Vec<Shape>,
    levels: Vec<Tick>,
    times: Vec<Tick>,
    columns: Vec<Column>,
    summary: String,
}

struct Shape {
    number: usize,
    name: &'static str,
    path: String,
    latest: String,
}

struct Tick {
    at: String,
    label: String,
    anchor: &'static str,
}

struct Column {
    x: String,
    width: String,
    title: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(kind: Kind, values: &[&[f64]]) -> Chart {
        let series = values.iter().map(|values| Series {
            name: "a <b>",
            values: values.iter().copied().map(Some).collect(),
        });
        Chart::new(("id", "Title", "things/s"), kind, 0, series.collect())
    }

    #[test]
    fn a_chart_has_axes_a_unit_a_legend_and_what_shows_on_hover() {
        let svg = chart(Kind::Lines, &[&[0.0, 3.0, 4.2]]).to_string();
        for part in [
            "things/s",
            "now",
            ">5<",
            "a &#60;b&#62;",
            "00:00:03 UTC",
            "<title>",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("style="), "{svg}");
    }

    #[test]
    fn stacked_series_reach_their_sum() {
        let levels = chart(Kind::Stacked, &[&[1.0, 2.0], &[3.0, 4.0]]).levels();
        assert_eq!(levels[1], [Some(4.0), Some(6.0)]);
    }

    #[test]
    fn the_axis_ends_at_a_round_number_above_all_values() {
        for (largest, top) in [
            (0.0, 1.0),
            (0.3, 0.5),
            (7.0, 10.0),
            (10.0, 10.0),
            (230.0, 250.0),
        ] {
            assert!((Scale::up_to(largest).top - top).abs() < 1e-9, "{largest}");
        }
    }
}
