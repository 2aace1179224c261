//! `counterfoil permissions`: prints who may do what, and what each route asks for; a test compares it with
//! `docs/permissions.md`.

use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use crate::http::api;
use crate::identity;

/// Prints it.
///
/// # Errors
/// A mistake in the routes.
pub fn run() -> Outcome {
    let table = api::table(&api::Api::default()).map_err(CliError::usage)?;
    Output::write(&identity::render(&table))?;
    Ok(Exit::Good)
}
