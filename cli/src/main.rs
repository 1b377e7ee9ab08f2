//! The `portolan` binary.

fn main() -> std::process::ExitCode {
    portolan_cli::main(std::env::args_os())
}
