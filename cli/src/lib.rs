//! The command line: arguments → run, which returns data → render, which writes it.
//!
//! No decision about compatibility is taken here; verdicts come from `probe-matrix` and `compat-tests`. Results go to
//! stdout, in one piece and only after the work is done; messages and progress go to stderr.

pub mod args;
pub mod exit;
pub mod interrupt;
pub mod render;
pub mod report;
pub mod run;

use args::{Cli, Command};
use clap::{ColorChoice, CommandFactory, FromArgMatches};
use exit::{Exit, Failure};
use render::screen::Screen;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line and returns how the process should end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    interrupt::take_file_size_limit_as_error();
    let exit = match parse(&arguments) {
        // Not a command of the user's, and its exit code is for its parent only.
        Ok(Cli { command: Command::Worker, .. }) => return run::worker::serve(),
        Ok(cli) => dispatch(&cli).unwrap_or_else(|failure| {
            render::message(&failure.to_string());
            failure.exit()
        }),
        Err(refused) => refuse(&refused),
    };
    exit.into()
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    // Help and errors are written while the arguments are still being parsed: the option is looked for by itself.
    let plain = arguments.iter().any(|argument| argument == "--no-color") || !render::screen::color_wanted();
    let color = if plain { ColorChoice::Never } else { ColorChoice::Auto };
    Cli::from_arg_matches(&Cli::command().color(color).try_get_matches_from(arguments)?)
}

/// Help and version go to stdout and are a success, errors to stderr.
fn refuse(refused: &clap::Error) -> Exit {
    let result = refused.print();
    match result {
        _ if refused.use_stderr() => Exit::BadInput,
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            render::message(&format!("the help text could not be written to stdout: {error}"));
            Exit::ToolFailed
        }
        _ => Exit::Success,
    }
}

fn dispatch(cli: &Cli) -> Result<Exit, Failure> {
    let screen = Screen::of_stdout(cli.no_color);
    if matches!(cli.command, Command::Scan(_) | Command::Relocate(_) | Command::Kernel(_)) {
        interrupt::end_with_word();
    }
    match &cli.command {
        Command::Preflight(args) => run::preflight::command(args, &screen),
        Command::Probe(args) => run::probe::command(args, &screen),
        Command::Scan(args) => run::scan::command(args, &screen),
        Command::Relocate(args) => run::relocate::command(args, &screen),
        Command::Explain(args) => run::explain::command(args, &screen),
        Command::Catalog(command) => run::catalog::command(command, &screen),
        Command::Kernel(command) => run::kernel::command(command, &screen),
        Command::Schema(args) => run::schema::command(args, &screen),
        Command::Worker => unreachable!("the worker is served before"),
    }
}
