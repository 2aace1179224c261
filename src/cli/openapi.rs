//! `counterfoil openapi`: prints the API description that the server serves; CI compares it with the one
//! that is checked in.

use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use crate::http::{api, openapi};

/// Prints it.
///
/// # Errors
/// A mistake in the routes.
pub fn run() -> Outcome {
    let table = api::table(&api::Api::default()).map_err(CliError::usage)?;
    Output::write(&openapi::document(table.routes()).map_err(CliError::usage)?)?;
    Ok(Exit::Good)
}
