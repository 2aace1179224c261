//! The `counterfoil` binary.

use counterfoil::cli;
use counterfoil::wiping::WipingAllocator;

#[global_allocator]
static MEMORY: WipingAllocator = WipingAllocator;

fn main() -> cli::exit::Exit {
    cli::main()
}
