//! `counterfoil nats-issuer`: what the NATS server is to trust as `issuer` of its auth callout.

use super::GlobalArgs;
use super::exit::{CliError, Exit, Outcome};

pub(super) fn run(global: &GlobalArgs) -> Outcome {
    let config = global.installation()?;
    let unset = || {
        CliError::usage(
            "nats.callout_key is not set: 64 hexadecimal digits, as `openssl rand -hex 32` makes them",
        )
    };
    let key = config.nats.callout_key().ok_or_else(unset)?;
    println!("{}", key.issuer());
    Ok(Exit::Good)
}
