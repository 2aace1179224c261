//! Arguments that cannot be read, told as every other error is: for people as clap says it, for machines as JSON.

use std::ffi::OsString;

use clap::error::ErrorKind;

use super::exit::{CliError, Exit};
use super::output::Output;

/// Says what came of arguments that are no command: help or version, which were asked for, or what is wrong with them.
pub(super) fn told(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let wrong = error.use_stderr();
    if wrong && arguments.iter().any(|argument| argument == "--json") {
        Output::new(true).error(&CliError::usage(text(error)));
        return Exit::Usage;
    }
    // Nobody may be there to read it any more (`| head`).
    let _ = error.print();
    if wrong { Exit::Usage } else { Exit::Good }
}

fn text(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing: --help lists them".to_owned();
    }
    let text = error.render().to_string();
    text.trim_start_matches("error: ").trim_end().to_owned()
}
