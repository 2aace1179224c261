//! The `counterfoil` program; everything is in the library.

fn main() -> counterfoil::cli::Exit {
    counterfoil::cli::run()
}
