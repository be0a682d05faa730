//! Charts of measured points as SVG, in the reader's light or dark color scheme.

use std::fmt::Write;

/// Points in axes of their own.
pub struct Panel {
    pub title: &'static str,
    /// What the axes are.
    pub x: &'static str,
    pub y: &'static str,
    pub scale: Scale,
    pub points: Vec<(f64, f64)>,
}

/// Of the horizontal axis; the vertical one begins at 0.
#[derive(Clone, Copy)]
pub enum Scale {
    Linear,
    Logarithmic,
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 52.0;
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.axis{stroke:#59636e}\
.grid{stroke:#d1d9e0}.line{fill:none;stroke:#0969da;stroke-width:2}.point{fill:#0969da}\
.back{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.axis{stroke:#9198a1}\
.grid{stroke:#3d444d}.line{stroke:#4493f8}.point{fill:#4493f8}.back{fill:#0d1117}}";

/// The panels side by side.
pub fn svg(panels: &[Panel]) -> String {
    let width = WIDTH * panels.len() as f64;
    let titles: Vec<&str> = panels.iter().map(|panel| panel.title).collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" \
         width=\"{width}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>CPU time of the tracker: {}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{width}\" height=\"{HEIGHT}\"/>\n",
        titles.join("; ")
    );
    for (number, panel) in panels.iter().enumerate() {
        panel.draw(WIDTH * number as f64, &mut svg).unwrap();
    }
    svg + "</svg>\n"
}

impl Panel {
    fn draw(&self, offset: f64, svg: &mut String) -> std::fmt::Result {
        writeln!(svg, "<g transform=\"translate({offset})\">")?;
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        writeln!(
            svg,
            "<text class=\"title\" x=\"{LEFT}\" y=\"22\">{}</text>",
            self.title
        )?;
        let step = step(self.top());
        for tick in (0..).map(|number| f64::from(number) * step) {
            if tick > self.top() {
                break;
            }
            let y = self.down(tick);
            let tick = (tick * 100.0).round() / 100.0;
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                LEFT - 8.0,
                y + 4.0
            )?;
        }
        for (x, _) in &self.points {
            let at = self.across(*x);
            writeln!(
                svg,
                "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 5.0,
                bottom + 19.0,
                short(*x)
            )?;
        }
        writeln!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 12.0,
            self.x,
            LEFT - 8.0,
            TOP - 8.0,
            self.y
        )?;
        self.draw_points(svg)?;
        writeln!(svg, "</g>")
    }

    fn draw_points(&self, svg: &mut String) -> std::fmt::Result {
        let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", self.across(*x), self.down(*y));
        let line: Vec<String> = self.points.iter().map(place).collect();
        writeln!(
            svg,
            "<polyline class=\"line\" points=\"{}\"/>",
            line.join(" ")
        )?;
        for (x, y) in &self.points {
            let (across, down) = (self.across(*x), self.down(*y));
            writeln!(
                svg,
                "<circle class=\"point\" cx=\"{across:.1}\" cy=\"{down:.1}\" r=\"4\"/>\
                 <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{y:.2}</text>",
                down - 10.0
            )?;
        }
        Ok(())
    }

    /// Where the vertical axis ends: some room is left above the highest point.
    fn top(&self) -> f64 {
        let highest = self.points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
        highest * 1.25
    }

    fn down(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - y / self.top() * (HEIGHT - BOTTOM - TOP)
    }

    fn across(&self, x: f64) -> f64 {
        let on_axis = |x: f64| match self.scale {
            Scale::Linear => x,
            Scale::Logarithmic => x.log10(),
        };
        let (first, last) = (self.points[0].0, self.points[self.points.len() - 1].0);
        let share = (on_axis(x) - on_axis(first)) / (on_axis(last) - on_axis(first));
        LEFT + 20.0 + share * (WIDTH - LEFT - RIGHT - 40.0)
    }
}

/// A round number of which two to five make up `top`.
fn step(top: f64) -> f64 {
    let power = 10_f64.powf(top.log10().floor());
    let fits = |step: &f64| top / step <= 5.0;
    let steps = [0.2, 0.5, 1.0, 2.0].map(|factor| factor * power);
    steps.into_iter().find(fits).unwrap_or(power)
}

fn short(count: f64) -> String {
    match count {
        1e6.. => format!("{} M", count / 1e6),
        1e3.. => format!("{} k", count / 1e3),
        _ => count.to_string(),
    }
}
