//! The `counterfoil` binary.

use counterfoil::cli;

fn main() -> cli::exit::Exit {
    cli::main()
}
