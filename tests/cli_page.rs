//! `docs/reference/cli.md` is generated from the program's commands and flags:
//! `UPDATE=1 cargo test --test cli_page`.
#![allow(clippy::unwrap_used, reason = "tests panic on unexpected values")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};
use sundown::cli::Cli;

const PAGE: &str = "docs/reference/cli.md";
const INTRODUCTION: &str = "\
# Command line

Generated from the program, as `sundown help COMMAND` prints it. A flag takes precedence over its environment
variable. [Tutorials](../tutorials/local.md) show the commands in use.

";

#[test]
fn the_page_describes_every_command_and_flag() {
    let mut cli = Cli::command();
    cli.build();
    let mut page = INTRODUCTION.to_owned();
    write!(page, "| command | |\n|---|---|\n").unwrap();
    for command in commands(&cli) {
        let (name, about) = (command.get_name(), about(command));
        writeln!(page, "| [`{name}`](#sundown-{name}) | {about} |").unwrap();
    }
    write!(page, "\n## Flags of all commands\n\n").unwrap();
    write_flags(&mut page, &cli);
    for command in commands(&cli) {
        describe(&mut page, command, "sundown", 2);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "{PAGE} is not what the program prints: UPDATE=1 cargo test --test cli_page"
    );
}

fn commands(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|command| command.get_name() != "help" && !command.is_hide_set())
}

fn describe(page: &mut String, command: &Command, parent: &str, level: usize) {
    let name = format!("{parent} {}", command.get_name());
    let heading = "#".repeat(level);
    let long = command.get_long_about().map(ToString::to_string);
    let text = long.unwrap_or_else(|| about(command));
    write!(page, "\n{heading} {name}\n\n{}\n\n", text.trim_end()).unwrap();
    write_flags(page, command);
    for command in commands(command) {
        describe(page, command, &name, level + 1);
    }
}

fn about(command: &Command) -> String {
    command.get_about().unwrap().to_string()
}

/// Writes the command's own flags; those of all commands only at the top.
fn write_flags(page: &mut String, command: &Command) {
    let is_top = command.get_name() == "sundown";
    let shown: Vec<_> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
        .filter(|arg| is_top || !arg.is_global_set())
        .collect();
    if shown.is_empty() {
        while page.ends_with("\n\n") {
            page.pop();
        }
        return;
    }
    write!(page, "| flag | default | meaning |\n|---|---|---|\n").unwrap();
    for arg in shown {
        writeln!(
            page,
            "| {} | {} | {} |",
            flag(arg),
            default(arg),
            meaning(arg)
        )
        .unwrap();
    }
}

fn flag(arg: &Arg) -> String {
    let names = [
        arg.get_short().map(|short| format!("-{short}")),
        arg.get_long().map(|long| format!("--{long}")),
    ];
    let mut flag = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if takes_value(arg) {
        let values: Vec<_> = arg.get_value_names().unwrap_or_default().to_vec();
        let values = values
            .iter()
            .map(|value| value.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        if !flag.is_empty() {
            flag.push(' ');
        }
        flag.push_str(&values);
    }
    let mut flag = format!("`{flag}`");
    if let Some(variable) = arg.get_env() {
        write!(flag, "<br>`{}`", variable.to_str().unwrap()).unwrap();
    }
    flag
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values();
    if values.iter().any(|value| !value.is_empty()) && takes_value(arg) {
        let values: Vec<_> = values
            .iter()
            .map(|value| value.to_str().unwrap().replace('|', "\\|"))
            .collect();
        return format!("`{}`", values.join(" "));
    }
    if arg.is_required_set() {
        "required".to_owned()
    } else {
        String::new()
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
    let words: Vec<_> = help.split_whitespace().collect();
    let mut meaning = words.join(" ").replace('|', "\\|");
    let values: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() && takes_value(arg) {
        let end = if meaning.ends_with('.') { "" } else { "." };
        write!(meaning, "{end} Values: {}", values.join(", ")).unwrap();
    }
    meaning
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}
