//! Charts, rendered as SVG on the server, without scripts.

use std::fmt;

use askama::Template;
use serde::Serialize;

use super::format::{number, span};
use super::live::history::STEP_MILLIS;
use crate::session::Timestamp;
use crate::wire::time;

// Dimensions and margins in user units of the SVG.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// Columns with a tooltip.
const COLUMNS: usize = 60;

/// The representation of the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChartKind {
    Lines,
    /// Stacked areas.
    Stacked,
}

/// Time series with a title and a unit.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// Unique within the page.
    pub id: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub kind: ChartKind,
    /// Time of the first values, RFC 3339.
    pub from: String,
    /// Interval between values in milliseconds.
    pub step_millis: i64,
    /// Series of the same length.
    pub series: Vec<Series>,
    #[serde(skip)]
    start: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
pub struct Series {
    pub name: &'static str,
    /// One value per step, `None` where it is unknown.
    pub values: Vec<Option<f64>>,
}

impl Chart {
    /// Creates a chart of series that begin at step `first`.
    #[must_use]
    pub fn new(
        (id, title, unit): (&'static str, &'static str, &'static str),
        kind: ChartKind,
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

    /// The upper edges of the series, accumulated in stacked charts.
    fn levels(&self) -> Vec<Vec<Option<f64>>> {
        let mut levels: Vec<Vec<Option<f64>>> = Vec::new();
        for series in &self.series {
            let mut values = series.values.clone();
            if let (ChartKind::Stacked, Some(below)) = (self.kind, levels.last()) {
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

    fn svg(&self) -> ChartSvg<'_> {
        let levels = self.levels();
        let largest = levels.iter().flatten().flatten().copied();
        let scale = AxisScale::up_to(largest.fold(0.0, f64::max));
        let path = |at: usize| match self.kind {
            ChartKind::Lines => self.line(&levels[at], &scale),
            ChartKind::Stacked => self.area(
                &levels[at],
                at.checked_sub(1).map(|at| &*levels[at]),
                &scale,
            ),
        };
        let shapes = self
            .series
            .iter()
            .enumerate()
            .map(|(at, series)| SeriesShape {
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
        ChartSvg {
            chart: self,
            shapes: shapes.collect(),
            levels: scale.ticks(),
            times: self.times(),
            columns: self.columns(),
            summary: self.summary(),
        }
    }

    fn line(&self, values: &[Option<f64>], scale: &AxisScale) -> String {
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

    fn area(
        &self,
        top: &[Option<f64>],
        below: Option<&[Option<f64>]>,
        scale: &AxisScale,
    ) -> String {
        let base = |at: usize| below.and_then(|below| below[at]).unwrap_or_default();
        let upper = top.iter().enumerate();
        let upper = upper.map(|(at, value)| (at, value.unwrap_or_default()));
        let lower = (0..top.len()).rev().map(|at| (at, base(at)));
        let points = upper
            .chain(lower)
            .map(|(at, value)| format!("{:.1} {:.1}", self.x(at), scale.y(value)));
        format!("M{}Z", points.collect::<Vec<_>>().join("L"))
    }

    fn times(&self) -> Vec<AxisTick> {
        let length = self.length() as i64 * self.step_millis;
        let ticks = (0..=3).map(|part| {
            let ago = length * (3 - part) / 3;
            let share = part as f64 / 3.0;
            AxisTick {
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

    fn columns(&self) -> Vec<HoverColumn> {
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
            let means = means.collect::<Vec<_>>().join("\n");
            HoverColumn {
                x: format!("{:.1}", self.x(start)),
                width: format!(
                    "{:.1}",
                    self.x(end.min(self.length() - 1)) - self.x(start) + 0.1
                ),
                title: format!("{} UTC\n{means}", &clock[11..19]),
            }
        });
        columns.collect()
    }

    /// Text alternative of the chart.
    fn summary(&self) -> String {
        let series = self.series.iter().map(|series| {
            let values = || series.values.iter().flatten().copied();
            let latest = series.values.last().copied().flatten();
            format!(
                "{}: {} {}, minimum {}, maximum {}",
                series.name,
                latest.map_or_else(|| "no data in".to_owned(), number),
                self.unit,
                number(values().fold(f64::INFINITY, f64::min).min(1e300)),
                number(values().fold(0.0, f64::max)),
            )
        });
        format!(
            "The last {}. {}.",
            span(self.length() as i64 * self.step_millis),
            series.collect::<Vec<_>>().join("; ")
        )
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.svg().render().map_err(|_| fmt::Error)?)
    }
}

/// The scale of the vertical axis.
struct AxisScale {
    top: f64,
}

impl AxisScale {
    /// Ends the scale at the next 1, 2, 2.5, 5 or 10 times a power of ten.
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

    fn ticks(&self) -> Vec<AxisTick> {
        let ticks = [0.0, 0.5, 1.0].map(|share| AxisTick {
            at: format!("{:.1}", self.y(share * self.top)),
            label: number(share * self.top),
            anchor: "end",
        });
        ticks.into()
    }
}

#[derive(Template)]
#[template(path = "console/chart.html")]
struct ChartSvg<'a> {
    chart: &'a Chart,
    shapes: Vec<SeriesShape>,
    levels: Vec<AxisTick>,
    times: Vec<AxisTick>,
    columns: Vec<HoverColumn>,
    summary: String,
}

struct SeriesShape {
    number: usize,
    name: &'static str,
    path: String,
    latest: String,
}

struct AxisTick {
    at: String,
    label: String,
    anchor: &'static str,
}

struct HoverColumn {
    x: String,
    width: String,
    title: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(kind: ChartKind, values: &[&[f64]]) -> Chart {
        let series = values.iter().map(|values| Series {
            name: "a <b>",
            values: values.iter().copied().map(Some).collect(),
        });
        Chart::new(("id", "Title", "things/s"), kind, 0, series.collect())
    }

    #[test]
    fn a_chart_has_axes_a_unit_a_legend_and_tooltips() {
        let svg = chart(ChartKind::Lines, &[&[0.0, 3.0, 4.2]]).to_string();
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
        let levels = chart(ChartKind::Stacked, &[&[1.0, 2.0], &[3.0, 4.0]]).levels();
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
            assert!(
                (AxisScale::up_to(largest).top - top).abs() < 1e-9,
                "{largest}"
            );
        }
    }
}
