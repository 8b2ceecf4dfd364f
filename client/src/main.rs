//! `rollcall`: asks a Rollcall server who is on a picture and where they were seen, feeds it
//! files and streams, and watches what happens. docs/cli.md describes it.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
