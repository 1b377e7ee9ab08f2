//! `truth make|check|long|accuracy`, started by `cargo xtask truth` and `cargo xtask accuracy`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use truth::accuracy;
use truth::make::{self, Plan};
use truth::predict;
use truth::sample;
use truth::table::{LONG, Tables};

const USAGE: &str =
    "usage: truth make|check --init FILE --kernels DIRECTORY --objects DIRECTORY [--tables DIRECTORY]
                  [--kernel NAME]… [--corpus NAME]…
       truth long [--tables DIRECTORY]
       truth accuracy --kernels DIRECTORY --objects DIRECTORY [--tables DIRECTORY]
                  [--kernel NAME]… [--set NAME]…
       truth sample --kernels DIRECTORY --objects DIRECTORY [--tables DIRECTORY]
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("truth: {err}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let (command, args) = args.split_first().ok_or(USAGE)?;
    // Every option of every command has one value.
    let mut options: Vec<(&str, &str)> = Vec::new();
    for pair in args.chunks(2) {
        match pair {
            [option, value] => options.push((option, value)),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let all = |name: &str| {
        let values =
            options.iter().filter(|(option, _)| *option == name).map(|(_, value)| (*value).to_owned());
        values.collect::<Vec<_>>()
    };
    let path =
        |name: &str| all(name).pop().map(PathBuf::from).ok_or_else(|| format!("{name} is missing\n{USAGE}"));
    let tables = path("--tables").unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("tables"));
    let read = || Tables::read(&tables).map_err(|err| format!("{}: {err}", tables.display()));
    let plan = || {
        Ok::<_, String>(Plan {
            init: path("--init")?,
            kernels: path("--kernels")?,
            objects: path("--objects")?,
            only_kernels: all("--kernel"),
            only_corpora: all("--corpus"),
            tables: tables.clone(),
        })
    };
    match command.as_str() {
        "make" => make::run(&plan()?),
        "check" => make::check(&plan()?),
        "long" => {
            println!("{LONG}");
            read()?.sets().for_each(|(_, truth)| print!("{}", truth.long()));
            Ok(())
        }
        "accuracy" => {
            let tables = read()?.only(&all("--set"), &all("--kernel"));
            let predictions = predict::run(&tables, &path("--kernels")?, &path("--objects")?)?;
            for (set, truth) in tables.sets().filter(|(_, truth)| !truth.entries.is_empty()) {
                print!("{}", accuracy::compare(truth, &predictions).show(set));
            }
            Ok(())
        }
        "sample" => {
            let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
            sample::make(&read()?, &path("--kernels")?, &path("--objects")?, &to)
        }
        _ => Err(USAGE.to_owned()),
    }
}
