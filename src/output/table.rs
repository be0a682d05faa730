//! Renders results as tables, JSON or YAML.

use clap::{Args, ValueEnum};
use serde::Serialize;

/// The output flag.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputArgs {
    /// Output format.
    #[arg(
        short,
        long,
        env = "SUNDOWN_OUTPUT",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: Format,
}

/// Output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl OutputArgs {
    /// Prints `value` to stdout, with `table` for [`Format::Table`].
    ///
    /// # Errors
    /// If `value` cannot be serialized.
    pub fn print<T: Serialize + ?Sized>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        super::line(self.render(value, table)?);
        Ok(())
    }

    /// Renders `value` without a trailing newline, with `table` for [`Format::Table`].
    ///
    /// # Errors
    /// If `value` cannot be serialized.
    pub fn render<T: Serialize + ?Sized>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<String> {
        let text = match self.output {
            Format::Table => table(value),
            Format::Json => serde_json::to_string_pretty(value)?,
            Format::Yaml => serde_yaml::to_string(value)?,
        };
        Ok(text.trim_end().to_owned())
    }
}

/// The longest cell, in characters. Records of other writers may have keys of a megabyte.
const MAX_CELL: usize = 200;

/// Renders columns, each as wide as its widest cell, with control characters replaced by
/// spaces and long cells cut.
#[must_use]
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| cut(cell)))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([header[column].len()])
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        line.trim_end().replace(char::is_control, " ")
    };
    let body = rows
        .iter()
        .map(|row| line(row.each_ref().map(String::as_str)));
    let lines: Vec<_> = std::iter::once(line(header)).chain(body).collect();
    lines.join("\n")
}

fn cut(cell: &str) -> String {
    match cell.char_indices().nth(MAX_CELL) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["session_logs", "3"], ["é\n", "12"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table(["TOPIC", "PARTITIONS"], &rows),
            "TOPIC         PARTITIONS\nsession_logs  3\né             12"
        );
    }
    #[test]
    fn a_cell_of_any_length_is_shown() {
        let long = "é".repeat(70_000);
        let shown = table(["KEY", "N"], &[[long, "1".to_owned()]]);
        assert!(shown.chars().count() < 3 * MAX_CELL, "{shown}");
        assert!(shown.ends_with("…  1"), "{shown}");
    }
}
